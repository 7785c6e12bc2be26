"""What a sender's bytes hold, before anything is stored: arrivals to keep, and for the rest why not.

Nothing here knows HTTP, the database or the clock, so whatever brings doses (a push, a poll, an interface engine) goes
through the same door. The accepted shapes: one MedicationAdministration, or a Bundle of any type that carries some
(search results of a HAPI subscription, topic-based notifications of R4, R4B and R5, messages).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from afterdose.core.errors import BadInput, Problem
from afterdose.fhir import administration, references, strict_json
from afterdose.store.rows import Arrival, Via

BUNDLE_TYPES = frozenset(
    {
        "batch",
        "collection",
        "history",
        "message",
        "searchset",
        "subscription-notification",
        "transaction",
    }
)
"""http://hl7.org/fhir/R5/valueset-bundle-type.html without documents and responses."""

_COVERING = frozenset({"MessageHeader", "OperationOutcome", "Parameters", "SubscriptionStatus"})
"""What accompanies the administrations of a notification, a message or a search result, and holds no dose."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A source as intake sees it: its name, the EHR that its patients belong to, and the base of its references."""

    source: str
    target: str
    base_url: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What one entry of a Bundle (or a resource that came alone) turned out to be.

    An ``arrival`` to keep; or ``problems`` with the ``refused`` bytes; or problems without bytes, which is a resource
    type that is none of our business; or nothing at all, which is the notification's own cover sheet.
    """

    arrival: Arrival | None = None
    problems: tuple[Problem, ...] = ()
    refused: bytes = b""


@dataclass(frozen=True, slots=True)
class Reception:
    """All that one body held; ``bundle_type`` is None where a resource came alone."""

    bundle_type: str | None
    entries: tuple[Entry, ...]

    @property
    def arrivals(self) -> list[Arrival]:
        """What is to be stored, in the order of the body."""
        return [entry.arrival for entry in self.entries if entry.arrival is not None]


def receive(body: bytes, origin: Origin, *, via: Via = "push", expected_id: str | None = None) -> Reception:
    """Read a body that holds a MedicationAdministration or a Bundle.

    ``expected_id``: the id that the URL named, which the resource must have; a Bundle is refused then.
    Raises BadInput where nothing of the body can be kept: it is not strict FHIR JSON, no such resource, or a Bundle
    in which everything meant for us is wrong.
    """
    if body.lstrip()[:1] == b"[":
        raise BadInput(Problem("structure", "", "the body is an array and no resource"))
    resource = strict_json.loads(body)
    if isinstance(resource, dict) and resource.get("resourceType") == "Bundle" and expected_id is None:
        return _bundle(resource, origin, via)
    arrival = _arrival(resource, body, origin, via)
    if expected_id is not None and arrival.resource_id != expected_id:
        raise BadInput(Problem("value", f"{administration.TYPE}.id", "is not the id that the URL names"))
    return Reception(None, (Entry(arrival),))


def deletion(origin: Origin, resource_id: str, *, via: Via = "push") -> Arrival:
    """The arrival that says that an administration was deleted. Raises BadInput where that can be no id."""
    if not references.is_id(resource_id):
        raise BadInput(Problem("value", f"{administration.TYPE}.id", "is not 1 to 64 letters, digits, '-' and '.'"))
    return Arrival(
        source=origin.source,
        resource_id=resource_id,
        target=origin.target,
        patient=None,
        interaction="delete",
        via=via,
    )


def _arrival(resource: object, raw: bytes, origin: Origin, via: Via) -> Arrival:
    problems = administration.problems(resource)
    if problems or not isinstance(resource, Mapping):
        raise BadInput(*problems)
    envelope = administration.envelope(resource)
    if envelope.id is None:
        raise BadInput(
            Problem("required", f"{administration.TYPE}.id", "is missing, so its versions could not be told")
        )
    return Arrival(
        source=origin.source,
        resource_id=envelope.id,
        target=origin.target,
        patient=references.patient_id(envelope.subject, base_url=origin.base_url),
        via=via,
        version=envelope.version,
        last_updated=envelope.last_updated,
        raw=raw,
    )


def _bundle(bundle: Mapping[str, object], origin: Origin, via: Via) -> Reception:
    type_ = bundle.get("type")
    if not isinstance(type_, str) or type_ not in BUNDLE_TYPES:
        raise BadInput(Problem("not-supported", "Bundle.type", f"is not one of {', '.join(sorted(BUNDLE_TYPES))}"))
    listed = bundle.get("entry", [])
    if not isinstance(listed, list):
        raise BadInput(Problem("structure", "Bundle.entry", "is not an array"))
    entries = tuple(_entry(entry, f"Bundle.entry[{place}]", origin, via) for place, entry in enumerate(listed))
    refused = [entry for entry in entries if entry.refused]
    if refused and not any(entry.arrival for entry in entries):
        raise BadInput(*(problem for entry in refused for problem in entry.problems))
    return Reception(type_, entries)


def _entry(entry: object, path: str, origin: Origin, via: Via) -> Entry:
    try:
        return _read_entry(entry, path, origin, via)
    except BadInput as bad:
        return Entry(problems=tuple(_placed(bad.problems, path)), refused=strict_json.dumps(entry))


def _read_entry(entry: object, path: str, origin: Origin, via: Via) -> Entry:
    if not isinstance(entry, Mapping):
        raise BadInput(Problem("structure", "", "is not an object"))
    resource, request = entry.get("resource"), entry.get("request")
    method, url = _request(request)
    if isinstance(resource, Mapping):
        type_ = resource.get("resourceType")
        if type_ in _COVERING:
            return Entry()
        if type_ != administration.TYPE:
            return Entry(problems=(Problem("not-supported", f"{path}.resource", "is of a type not taken here"),))
    named = _named_id(url, origin) if url is not None else None
    if method == "DELETE":
        if named is None:
            return Entry(problems=(Problem("not-supported", f"{path}.request.url", "is of a type not taken here"),))
        return Entry(deletion(origin, named, via=via))
    if resource is None:
        raise BadInput(Problem("not-supported", "resource", "is missing: notifications must carry the full resource"))
    arrival = _arrival(resource, strict_json.dumps(resource), origin, via)
    for id_, element in ((named, "request.url"), (_named_id(entry.get("fullUrl"), origin), "fullUrl")):
        if id_ is not None and id_ != arrival.resource_id:
            raise BadInput(Problem("value", element, "names another id than the resource has"))
    return Entry(arrival)


def _request(request: object) -> tuple[str | None, str | None]:
    if request is None:
        return None, None
    if not isinstance(request, Mapping):
        raise BadInput(Problem("structure", "request", "is not an object"))
    method, url = request.get("method"), request.get("url")
    return method if isinstance(method, str) else None, url if isinstance(url, str) else None


def _named_id(url: object, origin: Origin) -> str | None:
    """The id in ``MedicationAdministration/ID``, relative or under whatever base the sender writes; else None."""
    if not isinstance(url, str):
        return None
    local = references.local_id(url, administration.TYPE, origin.base_url)
    if local is not None:
        return local
    *_, type_, id_ = ["", "", *unquote(url).split("/")]
    return id_ if type_ == administration.TYPE and references.is_id(id_) else None


def _placed(problems: tuple[Problem, ...], path: str) -> Iterator[Problem]:
    """The same problems with the entry that they are in."""
    for problem in problems:
        below = problem.path.removeprefix(f"{administration.TYPE}.")
        if below != problem.path:
            below = f"resource.{below}"
        yield Problem(problem.code, f"{path}.{below}" if below else path, problem.text)
