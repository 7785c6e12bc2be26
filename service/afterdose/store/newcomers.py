"""Which arrivals are new facts, and who is due because of them. Pure; ``append`` asks the database and writes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from types import MappingProxyType
from typing import Any, NamedTuple

from afterdose.fhir.decode.administration import TYPE as ADMINISTRATION
from afterdose.store.rows import Arrival, Receipt
from afterdose.store.schema import patient_key

Owned = tuple[str, str, str]
"""Target, resource type and id of something that we may have written."""
Resource = tuple[str, str, str]
"""Source, resource type and id: what the versions of one resource share."""


@dataclass(slots=True)
class Latest:
    """The newest fact of one resource: stored (``seq``) or about to be (``place`` among the plan's new facts).

    ``concerned``: every agenda key that its versions ever stood under.
    """

    version: str | None
    content_hash: str
    interaction: str
    via: str
    patient: str | None
    concerned: set[tuple[str, str]]
    seq: int = 0
    place: int | None = None


@dataclass(frozen=True, slots=True)
class NewFact:
    """An arrival to store, with its hash and its patient (a delete and a hint have that of the fact before them)."""

    arrival: Arrival
    content_hash: str
    patient: str | None


class Answer(NamedTuple):
    """Where the fact of an arrival stands: among the plan's new facts (``place``), else it has its ``seq`` already.

    Neither (0) where it was passed over.
    """

    place: int | None
    seq: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write for a group of arrivals, who is due because of it, and an answer for each arrival."""

    new: list[NewFact]
    due: set[tuple[str, str]]
    answers: list[Answer]

    def receipts(self, seqs: Sequence[int]) -> list[Receipt]:
        """One receipt an arrival, given the numbers that the new facts got."""
        return [Receipt(seq if place is None else seqs[place], duplicate) for place, seq, duplicate in self.answers]


def unowned(arrivals: Iterable[Arrival]) -> set[Owned]:
    """What is named without a patient and may be ours, so that the ledger knows whose it is."""
    return {
        (one.target, one.resource_type, one.resource_id)
        for one in arrivals
        if one.patient is None and one.interaction != "upsert" and one.resource_type != ADMINISTRATION
    }


def plan(
    arrivals: Iterable[Arrival], latest: Mapping[Resource, Latest], owners: Mapping[Owned, str] = MappingProxyType({})
) -> Plan:
    """Decide which arrivals are new facts. An arrival repeats only the latest fact of its id: A, B, A is three.

    A re-read is authoritative, so it is stored once even where it equals what was pushed. A hint never repeats another:
    the resource may have changed since, and may be being read right now. Everyone whom any version
    of a new fact's resource named is due. ``owners``: the patients of what is ours; a hint of anything else but a dose
    is passed over.
    """
    known = dict(latest)
    new: list[NewFact] = []
    due: set[tuple[str, str]] = set()
    answers: list[Answer] = []
    for arrival in arrivals:
        resource = resource_of(arrival)
        content_hash = sha256(arrival.raw).hexdigest()
        before = known.get(resource)
        owner = owners.get((arrival.target, arrival.resource_type, arrival.resource_id))
        if arrival.patient is None and owner is not None:
            arrival = replace(arrival, patient=owner)
        if arrival.interaction == "hint" and arrival.resource_type != ADMINISTRATION and owner is None:
            answers.append(Answer(None, 0, duplicate=True))
            continue
        if before is not None and _repeats(arrival, content_hash, before):
            answers.append(Answer(before.place, before.seq, duplicate=True))
            continue
        newest = _after(arrival, content_hash, before, len(new))
        known[resource] = newest
        answers.append(Answer(newest.place, newest.seq, duplicate=False))
        new.append(NewFact(arrival, content_hash, newest.patient))
        due |= newest.concerned
    return Plan(new, due, answers)


def resource_of(arrival: Arrival) -> Resource:
    return arrival.source, arrival.resource_type, arrival.resource_id


def _repeats(arrival: Arrival, content_hash: str, latest: Latest) -> bool:
    return (
        arrival.version == latest.version
        and content_hash == latest.content_hash
        and arrival.interaction == latest.interaction != "hint"
        and (arrival.via != "read" or latest.via == "read")
    )


def _after(arrival: Arrival, content_hash: str, before: Latest | None, place: int) -> Latest:
    patient = arrival.patient
    if before is not None and patient is None and arrival.interaction != "upsert":
        patient = before.patient
    concerned = concerned_by(resource_of(arrival), [(arrival.target, patient)]) | (
        before.concerned if before else set()
    )
    return Latest(arrival.version, content_hash, arrival.interaction, arrival.via, patient, concerned, place=place)


def concerned_by(resource: Resource, named: Iterable[Sequence[Any]]) -> set[tuple[str, str]]:
    """The agenda keys of (target, patient) pairs; only a dose of nobody known has a key of its own."""
    source, type_, id_ = resource
    return {
        (target, patient_key(patient, source, id_))
        for target, patient in named
        if patient is not None or type_ == ADMINISTRATION
    }
