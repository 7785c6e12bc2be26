"""What one delivery turned out to hold: the values, and how an arrival is made of a resource, a deletion or a name."""

from dataclasses import dataclass

from afterdose.core.errors import BadInput, Problem
from afterdose.fhir import references
from afterdose.fhir.decode import accepted, administration
from afterdose.fhir.decode.notification import Notification
from afterdose.store.rows import Arrival, Via


@dataclass(frozen=True, slots=True)
class Origin:
    """A source as intake sees it: its name, the EHR that its patients belong to, and the base of its references.

    ``readable``: whether a dose that is only named can be read there; ``polled``: whether one that is not even named
    is found by asking what changed, ``asked`` by asking for the event of its number. ``polled_types``: of which types
    it is asked what changed.
    """

    source: str
    target: str
    base_url: str
    readable: bool = True
    polled: bool = False
    asked: bool = False
    polled_types: frozenset[str] = frozenset()


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
    """All that one body held; ``bundle_type`` is None where a resource came alone.

    ``hints``: of the doses, and of what we may have written, that were named and not carried. ``unnamed``: something
    happened that only a poll can find. ``notifications``: the cover sheets of a topic-based notification.
    ``unread``: type and id of what else was named and is to be read. ``enveloped``: it came in no FHIR at all;
    ``validation``: the code that such a sender wants to have back.
    """

    bundle_type: str | None
    entries: tuple[Entry, ...]
    hints: tuple[Arrival, ...] = ()
    unnamed: bool = False
    notifications: tuple[Notification, ...] = ()
    unread: tuple[tuple[str, str], ...] = ()
    enveloped: bool = False
    validation: str | None = None

    @property
    def arrivals(self) -> list[Arrival]:
        """What is to be stored, in the order of the body, hints last."""
        return [*(entry.arrival for entry in self.entries if entry.arrival is not None), *self.hints]


def deletion(origin: Origin, resource_type: str, resource_id: str, *, via: Via = "push") -> Arrival:
    """The arrival that says that a resource was deleted, a hint where only our own are of interest.

    Raises BadInput where that can be no id.
    """
    if not references.is_id(resource_id):
        raise BadInput(Problem("value", f"{resource_type}.id", "is not 1 to 64 letters, digits, '-' and '.'"))
    return Arrival(
        source=origin.source,
        resource_type=resource_type,
        resource_id=resource_id,
        target=origin.target,
        patient=references.patient_id(f"{resource_type}/{resource_id}", base_url=origin.base_url),
        interaction="hint" if resource_type in accepted.OURS else "delete",
        via=via,
    )


def arrival_of(resource: object, raw: bytes, origin: Origin, via: Via) -> Arrival:
    """A resource as it is to be stored, or a hint of one of ours. Raises BadInput where it cannot be."""
    problems = accepted.problems(resource)
    if problems or not isinstance(resource, dict):
        raise BadInput(*problems)
    envelope, type_ = administration.envelope(resource), str(resource["resourceType"])
    if envelope.id is None:
        raise BadInput(Problem("required", f"{type_}.id", "is missing, so its versions could not be told"))
    ours = type_ in accepted.OURS
    return Arrival(
        source=origin.source,
        resource_type=type_,
        resource_id=envelope.id,
        target=origin.target,
        patient=None if ours else accepted.patient_of(resource, base_url=origin.base_url),
        interaction="hint" if ours else "upsert",
        via=via,
        version=envelope.version,
        last_updated=envelope.last_updated,
        raw=b"" if ours else raw,
    )


def hint_of(origin: Origin, resource_type: str, resource_id: str, via: Via) -> Arrival:
    """The arrival that says that something became of a dose, or of what we may have written, and not what."""
    return Arrival(
        source=origin.source,
        resource_type=resource_type,
        resource_id=resource_id,
        target=origin.target,
        patient=None,
        interaction="hint",
        via=via,
    )
