"""What is known of the resources of one source around one patient: as they were sent to us, and as they were read.

Of a resource that was both the newer version counts. What is read is kept here until it is stored with its time.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from afterdose.ehr.wire import Parameters
from afterdose.fhir import strict_json
from afterdose.fhir.decode.administration import envelope
from afterdose.store.rows import Fact, Reading
from afterdose.store.store import Store
from afterdose.work.source import Resource, Source


@dataclass(frozen=True, slots=True)
class Known:
    """A resource as last heard of (``at``), None where it is not there or not given. ``said``: its version's time."""

    resource: Resource | None
    at: datetime
    said: datetime


class Remembered:
    """What was sent to us (``facts``) and read of one source."""

    def __init__(self, source: Source, facts: Iterable[Fact], store: Store, clock: Callable[[], datetime]) -> None:
        self._source = source
        self._facts = {(fact.resource_type, fact.resource_id): fact for fact in facts}
        self._store = store
        self._clock = clock
        self._read: dict[tuple[str, str], Known | None] = {}
        self._new: dict[tuple[str, str], Reading] = {}
        self._places: dict[tuple[object, ...], tuple[str, str]] = {}

    def sent(self, interaction: str, *types: str) -> Iterator[tuple[str, str]]:
        """Type and id of what was sent to us of some types, and last with that interaction."""
        return (key for key, fact in self._facts.items() if key[0] in types and fact.interaction == interaction)

    def latest(self, type_: str, id_: str) -> Known | None:
        """The newer version of what was pushed and what was read; that it was not there to read takes nothing back."""
        fact, read = self._facts.get((type_, id_)), self.reading(type_, id_)
        if fact is None:
            return read
        resource = self._source.read(fact.raw) if fact.interaction == "upsert" else None
        pushed = Known(resource, fact.received_at, fact.last_updated or fact.received_at)
        if read is None:
            return pushed
        newer = read if read.resource is not None and read.said >= pushed.said else pushed
        return Known(newer.resource, max(pushed.at, read.at), newer.said)

    def reading(self, type_: str, id_: str) -> Known | None:
        """As it was last read; None where it never was, or is not to be read now."""
        if self._source.client is None:
            return None
        if (type_, id_) not in self._read:
            stored = self._store.readings.find(self._source.name, type_, id_)
            resource = self._source.read(stored.raw) if stored is not None and stored.raw else None
            self._read[type_, id_] = _known(resource, stored.read_at) if stored is not None else None
        return self._read[type_, id_]

    def keep(self, place: tuple[str, str], resource: Resource | None) -> Known:
        """Remember what was read now; None where it is not there, or not given."""
        type_, id_ = place
        reading = Reading(
            source=self._source.name,
            resource_type=type_,
            resource_id=id_,
            read_at=self._clock(),
            raw=strict_json.dumps(resource) if resource is not None else b"",
        )
        self._new[place] = reading
        known = _known(self._source.understood(resource) if resource is not None else None, reading.read_at)
        self._read[place] = known
        return known

    def place(self, type_: str, patient: str, parameters: Parameters) -> tuple[str, str]:
        """Under what a search about a patient is remembered."""
        asked = (type_, patient, *parameters.items())
        found = self._places.get(asked) or (type_, f"?{urlencode({'patient': patient, **parameters}, doseq=True)}")
        return self._places.setdefault(asked, found)

    @property
    def readings(self) -> list[Reading]:
        """What was read here, to be stored with its time."""
        return list(self._new.values())


def _known(resource: Resource | None, read_at: datetime) -> Known:
    said = envelope(resource).last_updated if resource is not None else None
    return Known(resource, read_at, said or read_at)
