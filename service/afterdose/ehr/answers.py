"""What an EHR's answer means: bytes in; a value, or an error of core.errors, out. Pure.

Nothing counts as success because of its status alone: the answer must be FHIR JSON of the right type, or, for a write,
an empty body with a Location, or with an ETag where the id was ours to say (what Oracle Health sends). An answer to a
write that cannot be trusted is EhrAmbiguous: the write may have happened. No message or code is ever taken from
``diagnostics``, which may hold patient data.
Rules: FHIR R4 http.html.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

from afterdose.core.errors import BadInput, EhrAmbiguous, EhrConflict, EhrError, EhrGone, EhrRefused, EhrUnavailable
from afterdose.ehr.outcomes import element_of, issue_code, worst_issue
from afterdose.ehr.waits import retry_after
from afterdose.ehr.wire import Answer, TransactionEntry, type_of
from afterdose.fhir import strict_json
from afterdose.fhir.strict_json import Json

Resource = dict[str, Json]

# A CapabilityStatement of HAPI has tens of thousands of members; the size in bytes is capped where it is read.
_MAX_MEMBERS = 1_000_000

_FHIR_MEDIA_TYPES = frozenset({"application/fhir+json", "application/json+fhir", "application/json"})
_LOCATION = re.compile(r"([A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_COMPRESSED = re.compile(r'(?:--|-|;)(?:gzip|br|deflate|zstd)"$')
_WRITTEN = {200: False, 201: True, 204: False}
_DELETED = frozenset({200, 202, 204})
_MOVED_FOR_GOOD = frozenset({301, 308})
# 401 too: whatever is wrong with our credentials, it says nothing about the patient in hand.
_TRANSIENT = frozenset({401, 423, 424, 425, 429})


class Action(NamedTuple):
    """What was asked: its name for messages, and what it means when it fails."""

    name: str
    changes: bool = False
    addressed: bool = True
    conditional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A resource as it was read; ``etag`` is opaque."""

    resource: Resource
    etag: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a search: the matches, and the link to the next page as the EHR wrote it."""

    resources: list[Resource]
    next_link: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A write that the EHR has acknowledged. ``created`` is False where a conditional create found one."""

    id: str
    etag: str | None
    resource: Resource | None
    created: bool


def decipher_read(answer: Answer, type_: str, id_: str, *, now: datetime) -> Found:
    """The answer to a read. 404 and 410 are EhrGone, unless a web page says so: that is a proxy, not the EHR."""
    action = Action(f"{type_} read")
    resource = _expect(answer, action, type_, now)
    if resource.get("id") != id_:
        raise _untrusted(action, answer, now, f"a {type_} with another id")
    return Found(resource=resource, etag=_etag(answer) or etag_of(resource))


def decipher_patient(answer: Answer, id_: str, *, base_url: str, now: datetime) -> Found:
    """The answer to the read of a Patient, who may be another one: the record was merged into that one.

    Epic answers so, with a warning (4107); others name the survivor's address (301, 308). That is not followed: only an
    id of the same server is taken from it.
    """
    if answer.status in _MOVED_FOR_GOOD:
        survivor = _id_from_location(answer.headers.get("location"), "Patient", base_url)
        if survivor is not None and survivor != id_:
            return Found(resource={"resourceType": "Patient", "id": survivor}, etag=None)
    action = Action("Patient read")
    resource = _expect(answer, action, "Patient", now)
    if _own_id(resource) is None:
        raise _untrusted(action, answer, now, "a Patient without an id")
    return Found(resource=resource, etag=answer.headers.get("etag") or etag_of(resource))


def decipher_search(answer: Answer, type_: str, *, now: datetime) -> Page:
    """The answer to a search. Included resources are left out; an OperationOutcome among them may refuse."""
    action = Action(f"{type_} search", addressed=False)
    bundle = _expect(answer, action, "Bundle", now)
    if bundle.get("type") != "searchset":
        raise _untrusted(action, answer, now, "a Bundle that is no searchset")
    resources: list[Resource] = []
    for entry in _objects(bundle.get("entry")):
        resource = _object(entry.get("resource"))
        if resource.get("resourceType") == "OperationOutcome" and worst_issue(resource, errors_only=True):
            raise EhrRefused(f"{action.name}: refused inside the result", status=200, code=issue_code(resource))
        if resource.get("resourceType") == type_ and _object(entry.get("search")).get("mode") in (None, "match"):
            resources.append(resource)
    return Page(resources=resources, next_link=_next_link(bundle))


def decipher_write(
    answer: Answer, type_: str, *, base_url: str, now: datetime, id_: str | None = None, conditional: bool = False
) -> Written:
    """The answer to a create (``id_`` is None; ``conditional`` with If-None-Exist) or to an update of ``id_``."""
    name = f"{type_} create" if id_ is None else f"{type_} update"
    action = Action(name, changes=True, addressed=id_ is not None, conditional=conditional)
    etag = _etag(answer)
    if answer.status in _WRITTEN and not answer.body.strip():
        location = answer.headers.get("location")
        written_id = _id_from_location(location, type_, base_url)
        if location is None and etag is not None:
            written_id = id_  # Oracle Health answers a patch with the new version alone
        resource = None
    else:
        resource = _expect(answer, action, type_, now)
        written_id, etag = _own_id(resource), etag or etag_of(resource)
    if written_id is None:
        raise _untrusted(action, answer, now, "no id")
    if id_ is not None and written_id != id_:  # made anew, as it would be by every further try
        raise EhrRefused(f"{action.name}: stored under another id", status=answer.status, code="duplicate")
    return Written(id=written_id, etag=etag, resource=resource, created=_WRITTEN[answer.status])


def decipher_delete(answer: Answer, type_: str, *, now: datetime) -> None:
    """The answer to a delete; what is not there (any more) is EhrGone."""
    if answer.status not in _DELETED:
        raise _failure(Action(f"{type_} delete", changes=True), answer, _parse(answer) or {}, now)


def decipher_operation(answer: Answer, type_: str, name: str, *, now: datetime) -> Resource:
    """The Bundle that an operation on one resource answered with."""
    return _expect(answer, Action(f"{type_} {name}"), "Bundle", now)


def decipher_transaction(
    answer: Answer, entries: Sequence[TransactionEntry], *, base_url: str, now: datetime
) -> list[Written | EhrError]:
    """The answer to a transaction, entry by entry: Medplum may answer 200 and yet refuse some of them."""
    conditional = any(entry.if_none_exist is not None for entry in entries)
    versioned = any(entry.if_match is not None for entry in entries)
    action = Action("transaction", changes=True, addressed=False, conditional=conditional and not versioned)
    bundle = _expect(answer, action, "Bundle", now)
    results = _objects(bundle.get("entry"))
    if bundle.get("type") not in ("transaction-response", "batch-response") or len(results) != len(entries):
        raise _untrusted(action, answer, now, "no Bundle with one response for each entry")
    return [
        _entry_result(entry, result, base_url, now, action.name) for entry, result in zip(entries, results, strict=True)
    ]


def decipher_capabilities(answer: Answer, *, now: datetime) -> Resource:
    """The CapabilityStatement that ``metadata`` answered with."""
    return _expect(answer, Action("metadata read", addressed=False), "CapabilityStatement", now)


def etag_of(resource: Mapping[str, Json]) -> str | None:
    """The ETag that a resource's own meta.versionId stands for (http.html#versioning)."""
    version = _object(resource.get("meta")).get("versionId")
    return f'W/"{version}"' if isinstance(version, str) and version.isascii() and version.isprintable() else None


def _etag(answer: Answer) -> str | None:
    """The ETag as the EHR gave it: web servers that compress may mark theirs (Apache's DeflateAlterETag)."""
    etag = answer.headers.get("etag")
    return _COMPRESSED.sub('"', etag) if etag and "content-encoding" in answer.headers else etag


def _expect(answer: Answer, action: Action, type_: str, now: datetime) -> Resource:
    """The resource of a successful answer; raises what any other answer means."""
    resource = _parse(answer)
    if answer.status != 200 and not (action.changes and answer.status in _WRITTEN):
        raise _failure(action, answer, resource or {}, now)
    if resource is None:
        raise _untrusted(action, answer, now, "no FHIR JSON")
    if resource.get("resourceType") != type_:
        raise _untrusted(action, answer, now, f"no {type_}", code=issue_code(resource))
    return resource


def _parse(answer: Answer) -> Resource | None:
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _FHIR_MEDIA_TYPES:
        return None
    try:
        value = strict_json.loads(answer.body.removeprefix(b"\xef\xbb\xbf"), max_members=_MAX_MEMBERS)
    except BadInput:
        return None
    return value if isinstance(value, dict) else None


def _failure(action: Action, answer: Answer, outcome: Mapping[str, Json], now: datetime) -> EhrError:
    """What a status that is no success means, and who has to act."""
    status, code = answer.status, issue_code(outcome)
    text = f"{action.name}: the EHR answered {status}" + (f" ({code})" if code else "")
    wait = retry_after(answer.headers, now)
    if status in (404, 410) and action.addressed:
        if answer.headers.get("content-type", "").lower().startswith("text/html"):
            return _untrusted(action, answer, now, "a web page")
        return EhrGone(text, status=status, code=code)
    if status in (409, 412):
        several = action.conditional and status == 412
        return EhrConflict(text, status=status, code="multiple-matches" if several else code)
    if status in _TRANSIENT:
        return EhrUnavailable(text, status=status, code=code, retry_after=wait)
    if status == 501 or (400 <= status < 500 and status != 408):
        return EhrRefused(text, status=status, code=code, element=element_of(outcome))
    # 408 and every 5xx, 503 too: a gateway says these also when the EHR behind it has done the work.
    kind = EhrAmbiguous if action.changes else EhrUnavailable
    return kind(text, status=status, code=code, retry_after=wait)


def _untrusted(action: Action, answer: Answer, now: datetime, what: str, *, code: str | None = None) -> EhrUnavailable:
    kind = EhrAmbiguous if action.changes else EhrUnavailable
    text = f"{action.name}: the EHR answered {answer.status} with {what}"
    return kind(text, status=answer.status, code=code, retry_after=retry_after(answer.headers, now))


def _entry_result(
    entry: TransactionEntry, result: Mapping[str, Json], base_url: str, now: datetime, name: str
) -> Written | EhrError:
    response, type_ = _object(result.get("response")), type_of(entry.resource)
    action = Action(f"{type_} in {name}", True, entry.id is not None, entry.if_none_exist is not None)
    digits = _text(response.get("status"))[:3]
    headers = {"location": _text(response.get("location")), "etag": _text(response.get("etag"))}
    answer = Answer(status=int(digits) if digits.isascii() and digits.isdigit() else 0, headers=headers)
    if answer.status not in _WRITTEN:
        return _failure(action, answer, _object(response.get("outcome")), now)
    resource = _object(result.get("resource"))
    if resource.get("resourceType") != type_:
        resource = {}
    written_id = _own_id(resource) or _id_from_location(headers["location"], type_, base_url) or entry.id
    if written_id is None or (entry.id is not None and written_id != entry.id):
        return _untrusted(action, answer, now, "no id, or another one")
    etag = headers["etag"] or etag_of(resource)
    return Written(id=written_id, etag=etag, resource=resource or None, created=_WRITTEN[answer.status])


def _id_from_location(location: str | None, type_: str, base_url: str) -> str | None:
    base = f"{base_url.rstrip('/')}/"
    try:
        where, home = urlsplit(urljoin(base, location or "")), urlsplit(base)
        elsewhere = _server(where) != _server(home)
    except ValueError:
        return None
    if elsewhere or not where.path.startswith(home.path):
        return None
    match = _LOCATION.fullmatch(where.path.removeprefix(home.path))
    return match[2] if match and match[1] == type_ else None


def _server(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _own_id(resource: Mapping[str, Json]) -> str | None:
    id_ = resource.get("id")
    return id_ if isinstance(id_, str) and re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", id_) else None


def _next_link(bundle: Mapping[str, Json]) -> str | None:
    for link in _objects(bundle.get("link")):
        if link.get("relation") == "next":
            return _text(link.get("url")) or None
    return None


def _object(value: Json) -> Resource:
    return value if isinstance(value, dict) else {}


def _objects(value: Json) -> list[Resource]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
