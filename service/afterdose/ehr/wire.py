"""Every call that afterdose makes to an EHR, as a value: what goes out. Pure; ``answers`` reads what comes back.

A request that is not in ``INTERACTIONS`` cannot be built. Rules: FHIR R4 http.html.
Whatever cannot be sent raises EhrRefused with one of FHIR's issue types.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urljoin, urlsplit
from uuid import UUID

from afterdose.core.errors import EhrRefused
from afterdose.ehr.interactions import INTERACTIONS, OPERATIONS, Interaction
from afterdose.fhir import strict_json

FHIR_JSON = "application/fhir+json"
JSON_PATCH = "application/json-patch+json"


_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{0,8192}")
_URL = re.compile(r"https?://[!-~]{1,8000}")
_SEARCH_NAME = re.compile(r"[A-Za-z_-][A-Za-z0-9_.:-]{0,99}")
# What says nothing about a person, and so may stand in a URL and in the logs of every proxy on the way.
_NEUTRAL_PARAMETERS = frozenset(
    {"_count", "_lastUpdated", "_sort", "_total", "_summary", "content", "eventsSinceNumber", "eventsUntilNumber"}
)
_ABOUT_NOBODY = frozenset({"Subscription"})

Parameters = Mapping[str, str | tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request. ``template`` is its path without ids or values: fit for logs and metrics.

    ``changes`` says whether the EHR may be different afterwards: then no answer is no proof that nothing happened.
    """

    method: str
    url: str
    template: str
    headers: Mapping[str, str]
    body: bytes = b""
    changes: bool = False

    def __post_init__(self) -> None:
        """Refuse what could become a second header or a second request."""
        if not _URL.fullmatch(self.url):
            raise EhrRefused(f"{self.template}: the URL holds characters that cannot be sent", code="value")
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise EhrRefused(f"{self.template}: a header holds characters that cannot be sent", code="value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer; header names are in lower case, the body is decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionEntry:
    """One write in a transaction: an update where ``id`` is given, else a create.

    ``full_url`` (``urn:uuid:...``) is how other entries of the same transaction refer to a create.
    """

    resource: Mapping[str, object]
    full_url: str | None = None
    id: str | None = None
    if_none_exist: str | None = None
    if_match: str | None = None


def read(base_url: str, type_: str, id_: str) -> Request:
    """``GET [base]/[type]/[id]``."""
    _check_known(type_, Interaction.READ)
    return Request(
        method="GET",
        url=_at(base_url, type_, _legal_id(type_, id_)),
        template=f"{type_}/{{id}}",
        headers={"Accept": FHIR_JSON, "Cache-Control": "no-cache"},
    )


def search(base_url: str, type_: str, parameters: Parameters) -> Request:
    """``GET [base]/[type]?...`` where every value is about one of our own artifacts or about nobody, else ``_search``.

    A parameter with several values is repeated, which FHIR reads as *and*. ``handling=strict`` asks the EHR not to
    ignore a parameter that it does not know, and so to answer about other people.
    """
    _check_known(type_, Interaction.SEARCH)
    several = ((name, [said] if isinstance(said, str) else said) for name, said in parameters.items())
    pairs = [(name, value) for name, values in several for value in values]
    for name, value in pairs:
        if not _SEARCH_NAME.fullmatch(name) or not value.isprintable():
            raise EhrRefused(f"{type_} search: a parameter holds characters that cannot be sent", code="value")
    headers = {"Accept": FHIR_JSON, "Cache-Control": "no-cache", "Prefer": "handling=strict"}
    if type_ in _ABOUT_NOBODY or all(_may_stand_in_url(name, value) for name, value in pairs):
        url = _at(base_url, type_) + (f"?{urlencode(pairs)}" if pairs else "")
        return Request(method="GET", url=url, template=type_, headers=headers)
    return Request(
        method="POST",
        url=_at(base_url, type_, "_search"),
        template=f"{type_}/_search",
        headers=headers | {"Content-Type": "application/x-www-form-urlencoded"},
        body=urlencode(pairs).encode("ascii"),
    )


def next_page(base_url: str, type_: str, link: str) -> Request:
    """The next page of a search. A link with the host or port of an inner network is repaired onto the base.

    A link whose path is not under the base's path raises EhrRefused: nothing is sent elsewhere.
    """
    try:
        wanted = urlsplit(urljoin(f"{base_url.rstrip('/')}/", link))
    except ValueError:
        raise EhrRefused(f"{type_} search: the link to the next page is no URL", code="structure") from None
    base = urlsplit(base_url.rstrip("/"))
    if wanted.path != base.path and not wanted.path.startswith(f"{base.path}/"):
        raise EhrRefused(f"{type_} search: the link to the next page leads elsewhere", code="security")
    query = f"?{wanted.query}" if wanted.query else ""
    return Request(
        method="GET",
        url=f"{base.scheme}://{base.netloc}{wanted.path}{query}",
        template=f"{type_}?page",
        headers={"Accept": FHIR_JSON, "Cache-Control": "no-cache"},
    )


def create(base_url: str, resource: Mapping[str, object], *, if_none_exist: str | None = None) -> Request:
    """``POST [base]/[type]``, with If-None-Exist only where asked: not every EHR that declares it is safe with it."""
    type_ = type_of(resource)
    _check_known(type_, Interaction.CREATE)
    return Request(
        method="POST",
        url=_at(base_url, type_),
        template=type_,
        headers=_write_headers({"If-None-Exist": if_none_exist}),
        body=strict_json.dumps(dict(resource)),
        changes=True,
    )


def update(
    base_url: str, type_: str, id_: str, resource: Mapping[str, object], *, if_match: str | None = None
) -> Request:
    """``PUT [base]/[type]/[id]``; ``if_match`` is the ETag as the EHR gave it."""
    _check_known(type_, Interaction.UPDATE)
    if type_of(resource) != type_ or resource.get("id") != id_:
        raise EhrRefused(f"{type_} update: the resource is not the one that is addressed", code="value")
    return Request(
        method="PUT",
        url=_at(base_url, type_, _legal_id(type_, id_)),
        template=f"{type_}/{{id}}",
        headers=_write_headers({"If-Match": if_match}),
        body=strict_json.dumps(dict(resource)),
        changes=True,
    )


def delete(base_url: str, type_: str, id_: str) -> Request:
    """``DELETE [base]/[type]/[id]``."""
    _check_known(type_, Interaction.DELETE)
    url, headers = _at(base_url, type_, _legal_id(type_, id_)), {"Accept": FHIR_JSON}
    return Request(method="DELETE", url=url, template=f"{type_}/{{id}}", headers=headers, changes=True)


def operation(base_url: str, type_: str, id_: str, name: str, parameters: Mapping[str, str]) -> Request:
    """``GET [base]/[type]/[id]/$[name]?...``, with parameters that say nothing about a person."""
    if name not in OPERATIONS.get(type_, ()) or not parameters.keys() <= _NEUTRAL_PARAMETERS:
        raise EhrRefused(f"afterdose has no such operation on {type_}", code="not-supported")
    url = f"{_at(base_url, type_, _legal_id(type_, id_))}/${name}{f'?{urlencode(parameters)}' if parameters else ''}"
    headers = {"Accept": FHIR_JSON, "Cache-Control": "no-cache"}
    return Request(method="GET", url=url, template=f"{type_}/{{id}}/${name}", headers=headers)


def patch(base_url: str, type_: str, id_: str, replaced: Mapping[str, str], *, if_match: str | None = None) -> Request:
    """``PATCH [base]/[type]/[id]`` with a JSON Patch (RFC 6902) that replaces top-level elements."""
    _check_known(type_, Interaction.PATCH)
    operations = [{"op": "replace", "path": f"/{element}", "value": value} for element, value in replaced.items()]
    return Request(
        method="PATCH",
        url=_at(base_url, type_, _legal_id(type_, id_)),
        template=f"{type_}/{{id}}",
        headers=_write_headers({"If-Match": if_match}) | {"Content-Type": JSON_PATCH},
        body=strict_json.dumps(operations),
        changes=True,
    )


def transaction(base_url: str, entries: Sequence[TransactionEntry]) -> Request:
    """``POST [base]`` with a Bundle of type transaction."""
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [_entry(base_url, entry) for entry in entries]}
    return Request(
        method="POST",
        url=base_url.rstrip("/"),
        template="(transaction)",
        headers=_write_headers({}),
        body=strict_json.dumps(bundle),
        changes=True,
    )


def capabilities(base_url: str) -> Request:
    """``GET [base]/metadata``."""
    return Request(method="GET", url=_at(base_url, "metadata"), template="metadata", headers={"Accept": FHIR_JSON})


def token(system: str, value: str) -> str:
    """A search value ``system|value``, escaped as FHIR R4 search.html#escaping asks."""
    escaped = (re.sub(r"([\\,$|])", r"\\\1", part) for part in (system, value))
    return "|".join(escaped)


def identifier_query(system: str, value: str) -> str:
    """The value of If-None-Exist for one business identifier."""
    return f"identifier={quote(token(system, value), safe=':/|')}"


def type_of(resource: Mapping[str, object]) -> str:
    """The resourceType of what we are about to send."""
    return str(resource.get("resourceType", ""))


def _entry(base_url: str, entry: TransactionEntry) -> dict[str, object]:
    type_ = type_of(entry.resource)
    if entry.id is None:
        _check_known(type_, Interaction.CREATE)
        request = {"method": "POST", "url": type_}
    else:
        _check_known(type_, Interaction.UPDATE)
        request = {"method": "PUT", "url": f"{type_}/{_legal_id(type_, entry.id)}"}
    if entry.if_none_exist is not None:
        request["ifNoneExist"] = entry.if_none_exist
    if entry.if_match is not None:
        request["ifMatch"] = entry.if_match
    full_url = entry.full_url or (_at(base_url, type_, entry.id) if entry.id is not None else None)
    named = {"fullUrl": full_url} if full_url else {}
    return {**named, "resource": dict(entry.resource), "request": request}


def _write_headers(conditions: Mapping[str, str | None]) -> dict[str, str]:
    headers = {"Accept": FHIR_JSON, "Content-Type": FHIR_JSON, "Prefer": "return=representation"}
    return headers | {name: value for name, value in conditions.items() if value is not None}


def _check_known(type_: str, interaction: Interaction) -> None:
    if interaction not in INTERACTIONS.get(type_, frozenset()):
        raise EhrRefused(f"afterdose has no call {interaction} of this resource type", code="not-supported")


def _legal_id(type_: str, id_: str) -> str:
    if not _ID.fullmatch(id_) or id_ in {".", ".."}:
        raise EhrRefused(f"{type_}: this is no legal FHIR id", code="value")
    return id_


def _at(base_url: str, *segments: str) -> str:
    return "/".join((base_url.rstrip("/"), *(quote(segment, safe="") for segment in segments)))


def _may_stand_in_url(name: str, value: str) -> bool:
    """What is neutral, and the UUID of an artifact of ours."""
    text = value.rpartition("|")[2]
    if name != "identifier":
        return name in _NEUTRAL_PARAMETERS
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
