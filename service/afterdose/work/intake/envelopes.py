"""Takes what comes in an envelope that is no FHIR: the same arrivals, hints and refusals as from FHIR itself.

An envelope only ever tells that something happened. What is carried whole is kept; a dose that is only named, or that
cannot be taken as it is, is read at its source; of other resources that are only named the source is asked by a poll.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from afterdose.core.errors import BadInput, Problem
from afterdose.fhir import strict_json
from afterdose.fhir.decode import accepted, administration, envelopes
from afterdose.fhir.decode.envelopes import Envelope, Event, Unread
from afterdose.store.rows import Arrival
from afterdose.work.intake.bodies import received
from afterdose.work.intake.reception import Entry, Origin, Reception, arrival_of, deletion, hint_of


def receive(body: bytes, origin: Origin, *, type_: str | None = None, id_: str | None = None) -> Reception:
    """Read a body that holds a resource, a Bundle or an envelope; the first two alone where the URL names a type.

    Raises BadInput where nothing of it can be kept.
    """
    if _ARRAY_OF_OTHERS.match(body):
        raise BadInput(Problem("structure", "", "the body is an array and no resource"))
    value = strict_json.loads(body)
    envelope = envelopes.read(value) if type_ is None and id_ is None else None
    if envelope is None:
        return received(value, body, origin, expected_type=type_, expected_id=id_)
    return _opened(envelope, origin)


_ARRAY_OF_OTHERS = re.compile(rb"[ \t\r\n]*\[[ \t\r\n]*[^{ \t\r\n]")
"""An array that does not begin with an object, seen before it is read."""


class _Taken(NamedTuple):
    """What becomes of a part. ``ask``: only a poll can find what it tells of. ``unread``: what is to be read by id."""

    entry: Entry
    hint: Arrival | None = None
    ask: bool = False
    unread: tuple[str, str] | None = None


def _opened(envelope: Envelope, origin: Origin) -> Reception:
    taken = [_taken(part, origin) for part in envelope.parts]
    refused = [one.entry for one in taken if one.entry.refused and one.hint is None]
    if refused and len(refused) == len(taken):
        raise BadInput(*(problem for entry in refused for problem in entry.problems))
    return Reception(
        None,
        tuple(one.entry for one in taken),
        hints=tuple({(hint.resource_type, hint.resource_id): hint for hint in _hints(taken)}.values()),
        unnamed=any(one.ask for one in taken),
        unread=tuple({one.unread: None for one in taken if one.unread is not None}),
        enveloped=True,
        validation=envelope.validation,
    )


def _hints(taken: list[_Taken]) -> Iterator[Arrival]:
    return (one.hint for one in taken if one.hint is not None)


def _taken(part: Event | Unread, origin: Origin) -> _Taken:
    if isinstance(part, Unread):
        return _Taken(Entry(problems=(part.problem,), refused=part.raw))
    if part.type not in accepted.TYPES or part.id is None:
        return _Taken(Entry())
    if part.is_elsewhere(origin.base_url):
        return _refused(part, Problem("business-rule", part.path, "tells of another FHIR server than this source's"))
    if part.change == "deleted":
        return _Taken(Entry(deletion(origin, part.type, part.id)))
    if not part.raw:
        return _named(part, part.id, origin)
    try:
        return _Taken(Entry(arrival_of(strict_json.loads(part.raw), part.raw, origin, "push")))
    except BadInput as bad:
        entry = Entry(problems=bad.problems, refused=part.raw)
        readable = part.type == administration.TYPE and origin.readable
        return _Taken(entry, hint_of(origin, part.type, part.id, "push") if readable else None)


def _named(event: Event, id_: str, origin: Origin) -> _Taken:
    """What can be read is read by its id; of other types something is found only by a poll."""
    if event.type in accepted.OURS:
        return _Taken(Entry(), hint_of(origin, event.type, id_, "push"))
    if event.type != administration.TYPE:
        ours = hint_of(origin, event.type, id_, "push") if event.type in accepted.NAMED else None
        if origin.readable and event.type in accepted.READ_BY_ID:
            return _Taken(Entry(), ours, unread=(event.type, id_))
        if event.type in origin.polled_types:
            return _Taken(Entry(), ours, ask=True)
        text = f"names a {event.type}, of which this source is not asked what changed: poll.types does not hold it"
        return _Taken(Entry(problems=(Problem("not-supported", event.path, text),)), ours)
    if origin.readable:
        return _Taken(Entry(), hint_of(origin, event.type, id_, "push"))
    text = "names a dose, and this source cannot be read: full resources are needed"
    return _refused(event, Problem("not-supported", event.path, text))


def _refused(event: Event, problem: Problem) -> _Taken:
    told = {
        "change": event.change,
        "resourceType": event.type,
        "id": event.id,
        "host": event.host,
        "store": event.store,
    }
    return _Taken(Entry(problems=(problem,), refused=event.raw or strict_json.dumps(told)))
