"""Whose record a patient's is: merges followed and taken back, before anything is decided (decision 0018).

A Patient is a fact like any other: pushed, polled, or read. What it says is noted under its own claim, and everybody
whom it names is due. A patient who was replaced hands over everything that we keep of it and is looked after under the
survivor; when the link is gone, it is given back. Neither needs the other's claim at the same moment: whoever has
something gives it away, so nothing is ever looked after twice.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from afterdose.core.dose import DoseKey
from afterdose.core.errors import EhrGone, EhrRefused
from afterdose.core.identity import founded_by
from afterdose.core.links import Link, survivor
from afterdose.core.person import Person
from afterdose.core.reasons import Reason
from afterdose.fhir import strict_json
from afterdose.fhir.decode.administration import TYPE as ADMINISTRATION
from afterdose.fhir.decode.administration import envelope
from afterdose.fhir.decode.person import PersonSaid, read_person
from afterdose.store.due import MOVED
from afterdose.store.rows import AgendaEntry, Claim, Fact, PersonRow, Reading
from afterdose.store.store import Store
from afterdose.work.source import Source, parsed

_PATIENT = "Patient"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the claimed patient is. ``elsewhere``: everything is looked after under another patient, who is due.

    ``former``: other Patients whose records went up in this one; ``person``: what is said of this one.
    """

    patient: str
    former: tuple[str, ...] = ()
    elsewhere: bool = False
    person: Person = field(default_factory=Person)

    @property
    def all(self) -> tuple[str, ...]:
        """The Patient ids under which facts are this person's."""
        return (self.patient, *self.former)


@dataclass(frozen=True, slots=True)
class _Statement:
    """What one source said last: None where it said that there is no such Patient any more. ``at``: as it dates it."""

    said: PersonSaid | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """Finds out who patients are. One instance serves all workers of a process."""

    store: Store
    sources: Collection[Source]
    clock: Callable[[], datetime]

    def settle(self, claim: Claim, hold: Callable[[], None]) -> Identity:
        """Who the claimed patient is, after everything was handed to where it belongs.

        Raises EhrUnavailable where a deletion has to be confirmed and the source does not answer, and LeaseLost.
        """
        if claim.patient.startswith("~"):
            return Identity(patient=claim.patient)
        row = self._noted(claim, hold)
        persons, target, patient = self.store.persons, claim.target, claim.patient
        links = persons.links_around(target, patient)
        who = survivor(patient, links)
        if row.kept_with is not None:
            self._make_due(target, row.kept_with)
            return Identity(patient=patient, elsewhere=True)
        if who is not None and who != patient:
            self.store.custody.hand_over(claim, who)
            return Identity(patient=patient, elsewhere=True)
        former = self._former(claim, links)
        for other in sorted({one for link in links for one in link} - {patient, *former}):
            if survivor(other, links) == patient:
                self._make_due(target, other)
        return Identity(patient=patient, former=former, person=_person(row, clear=who is not None))

    def _former(self, claim: Claim, links: frozenset[Link]) -> tuple[str, ...]:
        """Whom the claimed patient has taken up; who is somebody else again gets back what is theirs."""
        kept = []
        for other in self.store.persons.kept_with(claim.target, claim.patient):
            now = survivor(other, links | self.store.persons.links_around(claim.target, other))
            if now is None or now == claim.patient:
                kept.append(other)
            else:
                keys = self._keys(claim.target, other)
                self.store.custody.give_back(claim, other, now, keys, self._founded(claim, keys))
        return tuple(kept)

    def _keys(self, target: str, patient: str) -> list[DoseKey]:
        """The doses and orders whose newest version names a patient."""
        facts = self.store.facts
        doses = [key for key, versions in facts.history(target, patient).items() if _names(versions[-1], patient)]
        others = facts.others(target, patient)
        return doses + [DoseKey(one.source, f"{one.resource_type}/{one.resource_id}") for one in others]

    def _founded(self, claim: Claim, keys: Collection[DoseKey]) -> set[UUID]:
        """The courses, dose sessions and visits known under the claimed patient that some doses and orders founded."""
        known = {row.key.subject for row in self.store.ledger.load(claim.target, claim.patient)}
        for member in self.store.outcomes.memberships(claim.target, claim.patient).values():
            known |= {member.session_id, member.course_id}
        return founded_by(keys, known)

    def _make_due(self, target: str, patient: str) -> None:
        self.store.agenda.put_all([AgendaEntry(target=target, patient=patient, due_at=self.clock(), reason=MOVED)])

    def _noted(self, claim: Claim, hold: Callable[[], None]) -> PersonRow:
        """What is known of the claimed patient, brought up to date with what its sources say."""
        before = self.store.persons.find(claim.target, claim.patient)
        row = before or PersonRow(target=claim.target, patient=claim.patient)
        statements = list(self._statements(claim, hold))
        if not statements:
            return row
        newest = max(statements, key=lambda one: one.at)
        now = replace(
            row,
            gone=newest.said is None,
            active=newest.said is None or newest.said.active,
            died_by=_died_by(newest, row),
        )
        links = frozenset(link for one in statements for link in _links(one.said, claim.patient))
        if now != row or links != self.store.persons.said_by(claim.target, claim.patient):
            self.store.persons.note(claim, now, links)
        return now

    def _statements(self, claim: Claim, hold: Callable[[], None]) -> Iterator[_Statement]:
        for source in (one for one in self.sources if one.target == claim.target):
            facts = self.store.facts.versions(source.name, claim.patient, _PATIENT)
            fact = max(facts, key=_moment) if facts else None
            reading = self.store.readings.find(source.name, _PATIENT, claim.patient)
            if fact is not None and fact.interaction == "delete" and _is_news(fact, reading):
                reading = self._confirmed(claim, source, fact, hold) or reading
            if (found := _statement(fact, reading, source, claim.patient)) is not None:
                yield found

    def _confirmed(self, claim: Claim, source: Source, fact: Fact, hold: Callable[[], None]) -> Reading | None:
        """What the source answers when it is asked for a Patient that it said to be deleted; None where nothing."""
        if source.client is None or fact.via == "read":
            return None
        hold()
        try:
            found = source.client.read_patient(claim.patient)
        except (EhrGone, EhrRefused):
            return None
        raw = strict_json.dumps(found.resource)
        reading = Reading(
            source=source.name, resource_type=_PATIENT, resource_id=claim.patient, read_at=self.clock(), raw=raw
        )
        self.store.readings.keep(claim, reading)
        return reading


def _statement(fact: Fact | None, reading: Reading | None, source: Source, patient: str) -> _Statement | None:
    """The newer of what was sent and what was read."""
    read = parsed(reading.raw) if reading is not None and reading.raw else None
    said_at = (envelope(read).last_updated or reading.read_at) if read is not None and reading is not None else None
    if read is not None and said_at is not None and (fact is None or not _beats(fact, said_at, reading)):
        return _Statement(read_person(read, asked=patient, base_url=source.base_url, zone=source.zone), said_at)
    if fact is None:
        return None
    if fact.interaction == "delete":
        return _Statement(None, fact.received_at)
    sent = parsed(fact.raw)
    return _Statement(read_person(sent, asked=patient, base_url=source.base_url, zone=source.zone), _moment(fact)[0])


def _beats(fact: Fact, said_at: datetime, reading: Reading | None) -> bool:
    """Whether what was sent is newer than what was read; a deletion is dated by its receipt, as its reading is."""
    if fact.interaction == "delete":
        return reading is not None and fact.received_at > reading.read_at
    return _moment(fact)[0] > said_at


def _is_news(fact: Fact, reading: Reading | None) -> bool:
    return reading is None or reading.read_at < fact.received_at


def _moment(fact: Fact) -> tuple[datetime, datetime, int]:
    return fact.last_updated or fact.received_at, fact.received_at, fact.seq


def _died_by(newest: _Statement, before: PersonRow) -> datetime | None:
    """When the patient had died at the latest: as said, else when we first heard of it."""
    if newest.said is None:
        return before.died_by
    if not newest.said.deceased:
        return None
    if newest.said.died_by is not None:
        return min(newest.said.died_by, newest.at)
    return before.died_by or newest.at


def _links(said: PersonSaid | None, patient: str) -> Iterator[Link]:
    if said is not None:
        yield from ((patient, successor) for successor in said.successors)
        yield from ((former, patient) for former in said.predecessors)


def _person(row: PersonRow, *, clear: bool) -> Person:
    hold = None if row.active else Reason.PATIENT_INACTIVE
    if row.gone:
        hold = Reason.PATIENT_GONE
    if not clear:
        hold = Reason.PATIENT_LINKS_UNCLEAR
    return Person(hold=hold, died_by=row.died_by)


def _names(fact: Fact, patient: str) -> bool:
    return fact.resource_type == ADMINISTRATION and fact.patient == patient
