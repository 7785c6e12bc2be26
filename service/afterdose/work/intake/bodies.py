"""What a sender's bytes hold, before anything is stored: arrivals to keep, and for the rest why not.

Nothing here knows HTTP, the database or the clock, so whatever brings doses (a push, a poll, an interface engine) goes
through the same door. The accepted shapes: one resource of the types that ``fhir.accepted`` names (doses, orders,
visits, encounters, people, and as hints what we write), or a Bundle of any type that carries some (search results of a
HAPI subscription, topic-based notifications of R4, R4B and R5, messages). A notification may name a dose, or what we
have written, without carrying it; the store knows what is ours and passes over the rest.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from urllib.parse import unquote

from afterdose.core.errors import BadInput, Problem
from afterdose.fhir import references, strict_json
from afterdose.fhir.decode import accepted, administration, notification
from afterdose.fhir.decode.notification import Notification
from afterdose.store.rows import Via
from afterdose.work.intake.reception import Entry, Origin, Reception, arrival_of, deletion, hint_of

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

_COVERING = frozenset(
    {"AidboxSubscriptionStatus", "MessageHeader", "OperationOutcome", "Parameters", "SubscriptionStatus"}
)
"""What accompanies the resources of a notification, a message or a search result, and tells nothing of a patient."""


def receive(
    body: bytes,
    origin: Origin,
    *,
    via: Via = "push",
    expected_type: str | None = None,
    expected_id: str | None = None,
) -> Reception:
    """Read a body that holds a resource or a Bundle.

    ``expected_type``, ``expected_id``: what the URL named and the resource must have; with an id a Bundle is refused.
    Raises BadInput where nothing of the body can be kept: it is not strict FHIR JSON, no such resource, or a Bundle
    in which everything meant for us is wrong.
    """
    if body.lstrip()[:1] == b"[":
        raise BadInput(Problem("structure", "", "the body is an array and no resource"))
    return received(
        strict_json.loads(body), body, origin, via=via, expected_type=expected_type, expected_id=expected_id
    )


def received(
    resource: object,
    body: bytes,
    origin: Origin,
    *,
    via: Via = "push",
    expected_type: str | None = None,
    expected_id: str | None = None,
) -> Reception:
    """The same for a ``body`` that has been parsed already. Raises BadInput."""
    if isinstance(resource, list):
        raise BadInput(Problem("structure", "", "the body is an array and no resource"))
    if isinstance(resource, dict) and resource.get("resourceType") == "Bundle" and expected_id is None:
        return _bundle(resource, origin, via)
    arrival = arrival_of(resource, body, origin, via)
    if expected_type is not None and arrival.resource_type != expected_type:
        raise BadInput(Problem("invalid", "resourceType", f"is not {expected_type}, which the URL names"))
    if expected_id is not None and arrival.resource_id != expected_id:
        raise BadInput(Problem("value", f"{arrival.resource_type}.id", "is not the id that the URL names"))
    return Reception(None, (Entry(arrival),))


def _bundle(bundle: Mapping[str, object], origin: Origin, via: Via) -> Reception:
    type_ = bundle.get("type")
    if not isinstance(type_, str) or type_ not in BUNDLE_TYPES:
        raise BadInput(Problem("not-supported", "Bundle.type", f"is not one of {', '.join(sorted(BUNDLE_TYPES))}"))
    listed = bundle.get("entry", [])
    if not isinstance(listed, list):
        raise BadInput(Problem("structure", "Bundle.entry", "is not an array"))
    carried = {name for entry in listed for name in _carried(entry, origin)}
    covers = [_cover(entry, bundle.get("timestamp")) for entry in listed]
    named: dict[tuple[str, str], None] = {}
    entries: list[Entry] = []
    for place, (entry, cover) in enumerate(zip(listed, covers, strict=True)):
        path = f"Bundle.entry[{place}]"
        if cover is not None and not (carried and cover.is_empty):
            about = [_named(focus, origin) for focus in cover.focuses if focus]
            entries.append(_told(entry, cover, path, about, carried, origin))
        elif any(covers) and (about := _only_named(entry, origin)):
            entries.append(_told(entry, None, path, about, carried, origin))
        else:
            entries.append(_entry(entry, path, origin, via))
            continue
        if not entries[-1].refused:
            named |= {name: None for name in about if name is not None and name not in carried}
    hints = tuple(hint_of(origin, *name, via) for name in named if name[0] in accepted.NAMED)
    unread = tuple(name for name in named if name[0] in accepted.READ_BY_ID and origin.readable)
    refused = [entry for entry in entries if entry.refused]
    taken = bool(hints or unread) or any(entry.arrival for entry in entries)
    # What a queue carries broken would be sent for ever; what it only tells of can be put right at one of its ends.
    is_stuck = any(cover is not None and cover.is_queued for cover in covers)
    carried_only = all(cover is None or not entry.refused for entry, cover in zip(entries, covers, strict=True))
    if refused and not taken and not (is_stuck and carried_only):
        raise BadInput(*(problem for entry in refused for problem in entry.problems))
    unnamed = origin.polled and not carried and any(cover is not None and cover.is_empty for cover in covers)
    told = tuple(cover for cover in covers if cover is not None)
    return Reception(type_, tuple(entries), hints, unnamed, told, unread)


def _cover(entry: object, sent: object) -> Notification | None:
    return notification.read(entry.get("resource"), sent=sent) if isinstance(entry, dict) else None


def _carried(entry: object, origin: Origin) -> Iterator[tuple[str, str]]:
    """Type and id of what an entry carries, or says to be deleted."""
    if not isinstance(entry, dict):
        return
    resource, request = entry.get("resource"), entry.get("request")
    type_ = resource.get("resourceType") if isinstance(resource, dict) else None
    if isinstance(resource, dict) and isinstance(type_, str) and type_ in accepted.TYPES:
        yield type_, str(resource.get("id"))
    elif isinstance(request, dict) and request.get("method") == "DELETE":
        named = _named(request.get("url"), origin) or _named(entry.get("fullUrl"), origin)
        if named is not None:
            yield named


def _only_named(entry: object, origin: Origin) -> list[tuple[str, str] | None]:
    """Type and id of what an entry of an id-only notification names; empty where it is no such entry."""
    if not isinstance(entry, dict) or "resource" in entry:
        return []
    request = entry.get("request")
    if isinstance(request, dict) and request.get("method") == "DELETE":
        return []
    named = _named(entry.get("fullUrl"), origin) or _named(_request(request)[1] if request else None, origin)
    return [named] if named is not None else []


def _told(
    entry: object,
    cover: Notification | None,
    path: str,
    about: Sequence[tuple[str, str] | None],
    carried: Collection[tuple[str, str]],
    origin: Origin,
) -> Entry:
    """What becomes of an entry that carries nothing itself: ``about`` is what it names, None for types not taken."""
    if cover is not None and cover.is_empty and (origin.polled or (origin.asked and cover.is_numbered)):
        return Entry()
    if cover is not None and cover.is_empty:
        problem = Problem("not-supported", path, "tells of events without naming any; ids or full resources are needed")
        return Entry(problems=(problem,), refused=strict_json.dumps(entry))
    missing = [name for name in about if name not in carried]
    if not origin.readable and any(name is not None and name[0] == administration.TYPE for name in missing):
        problem = Problem(
            "not-supported", path, "names a dose, and this source cannot be read: full resources are needed"
        )
        return Entry(problems=(problem,), refused=strict_json.dumps(entry))
    taken = accepted.NAMED | accepted.READ_BY_ID if origin.readable else accepted.NAMED
    if any(name is None or name[0] not in taken for name in missing):
        text = f"names what has to come as a full resource; by id are taken {', '.join(sorted(taken))}"
        return Entry(problems=(Problem("not-supported", path, text),))
    return Entry()


def _entry(entry: object, path: str, origin: Origin, via: Via) -> Entry:
    try:
        return _read_entry(entry, path, origin, via)
    except BadInput as bad:
        return Entry(problems=tuple(_placed(bad.problems, path)), refused=strict_json.dumps(entry))


def _read_entry(entry: object, path: str, origin: Origin, via: Via) -> Entry:
    if not isinstance(entry, dict):
        raise BadInput(Problem("structure", "", "is not an object"))
    resource, request = entry.get("resource"), entry.get("request")
    method, url = _request(request)
    if isinstance(resource, dict):
        type_ = resource.get("resourceType")
        if type_ is not None and not isinstance(type_, str):
            raise BadInput(Problem("structure", "resource.resourceType", "is not a string"))
        if type_ in _COVERING:
            return Entry()
        if type_ not in accepted.TYPES:
            return Entry(problems=(Problem("not-supported", f"{path}.resource", "is of a type not taken here"),))
    named = _named(url, origin)
    if method == "DELETE":
        named = named or _named(entry.get("fullUrl"), origin)
        if named is None:
            return Entry(problems=(Problem("not-supported", f"{path}.request.url", "is of a type not taken here"),))
        return Entry(deletion(origin, *named, via=via))
    if resource is None:
        raise BadInput(Problem("not-supported", "resource", "is missing: notifications must carry the full resource"))
    arrival = arrival_of(resource, strict_json.dumps(resource), origin, via)
    own = (arrival.resource_type, arrival.resource_id)
    for found, element in ((named, "request.url"), (_named(entry.get("fullUrl"), origin), "fullUrl")):
        if found is not None and found != own:
            raise BadInput(Problem("value", element, "names another type or id than the resource has"))
    return Entry(arrival)


def _request(request: object) -> tuple[str | None, str | None]:
    if request is None:
        return None, None
    if not isinstance(request, dict):
        raise BadInput(Problem("structure", "request", "is not an object"))
    method, url = request.get("method"), request.get("url")
    return method if isinstance(method, str) else None, url if isinstance(url, str) else None


def _named(url: object, origin: Origin) -> tuple[str, str] | None:
    """Type and id in ``Type/ID``, relative or under whatever base the sender writes; None for types not taken."""
    if not isinstance(url, str):
        return None
    for taken in accepted.TYPES:
        local = references.local_id(url, taken, origin.base_url)
        if local is not None:
            return taken, local
    *_, type_, id_ = ["", "", *unquote(url).partition("/_history/")[0].split("/")]
    return (type_, id_) if type_ in accepted.TYPES and references.is_id(id_) else None


def _placed(problems: tuple[Problem, ...], path: str) -> Iterator[Problem]:
    """The same problems with the entry that they are in."""
    for problem in problems:
        type_, dot, below = problem.path.partition(".")
        below = f"resource.{below}" if dot and type_ in accepted.TYPES else problem.path
        yield Problem(problem.code, f"{path}.{below}" if below else path, problem.text)
