"""Ledger, outcomes, readings, reviews, audit and quarantine come back as they were written, under a claim only."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from store_examples import arrival, claim

from afterdose.core.care import ArtifactKey, ArtifactKind, Membership, ReviewItem, Standing
from afterdose.core.dose import DoseKey
from afterdose.core.errors import LeaseLost, Problem
from afterdose.core.reasons import Outcome, Reason
from afterdose.store.engine import Database
from afterdose.store.quarantine import Quarantine
from afterdose.store.rows import Arrival, AuditEntry, Claim, LedgerRow, OutcomeRow, Reading
from afterdose.store.store import Store

DOSE = DoseKey("ehr", "dose-1")
APPOINTMENT = LedgerRow(
    target="main",
    patient="ann",
    key=ArtifactKey(ArtifactKind.APPOINTMENT, UUID(int=1)),
    identifier=UUID(int=2),
    resource_type="Appointment",
    standing=Standing.INTENDED,
)
OUTCOME = OutcomeRow(target="main", patient="ann", key=DOSE, outcome=Outcome.WAITING, reasons=(Reason.STILL_RUNNING,))
QUESTION = ReviewItem(founder=DOSE, administrations=(DOSE,), reasons=(Reason.DOSE_MISSING,))


@pytest.fixture
def claimed(store: Store, clock) -> Claim:
    store.committer.submit([arrival()])
    return claim(store, clock)


def test_a_ledger_row_comes_back_as_it_was_recorded(store: Store, clock, claimed: Claim) -> None:
    full = replace(
        APPOINTMENT,
        standing=Standing.TAKEN_OVER,
        ehr_id="77",
        etag='W/"3"',
        ehr_status="booked",
        booked=True,
        was_active=True,
        desired_hash="abc",
        elements={"owned": {"status": "d1"}, "sent": {}},
        sent_at=clock.now - timedelta(minutes=1),
        attempts=2,
    )
    store.ledger.record(claimed, [full])
    assert store.ledger.load("main", "ann") == [replace(full, updated_at=clock.now)]
    assert store.ledger.load("main", "bob") == []


def test_a_hint_of_something_is_its_patients_where_the_ledger_knows_it_and_else_nobodys(
    store: Store, claimed: Claim
) -> None:
    store.ledger.record(claimed, [replace(APPOINTMENT, ehr_id="visit-1")])
    named = {"source": "ehr", "resource_type": "Appointment", "target": "main", "patient": None}
    hints = [Arrival(resource_id=id_, interaction="hint", **named) for id_ in ("visit-1", "visit-2", "visit-1")]
    before = store.agenda.find("main", "ann").seq

    first, passed_over, again = store.committer.submit(hints)

    assert (passed_over.seq, passed_over.duplicate) == (0, True)
    assert 0 < first.seq < again.seq
    kept = store.facts.versions("ehr", "visit-1", "Appointment")
    assert [(fact.patient, fact.interaction, fact.raw) for fact in kept] == [("ann", "hint", b"")] * 2
    assert store.agenda.find("main", "ann").seq > before
    assert store.facts.versions("ehr", "visit-2", "Appointment") == []


def test_a_deletion_of_something_of_ours_is_its_patients(store: Store, claimed: Claim) -> None:
    store.ledger.record(claimed, [replace(APPOINTMENT, ehr_id="visit-1")])
    named = {"source": "ehr", "resource_type": "Appointment", "target": "main", "patient": None}
    store.committer.submit([Arrival(resource_id="visit-1", interaction="delete", **named)])
    assert [fact.resource_id for fact in store.facts.others("main", "ann")] == ["visit-1"]


def test_recording_again_replaces_the_row_of_the_same_artifact(store: Store, claimed: Claim) -> None:
    second = replace(APPOINTMENT, key=APPOINTMENT.key._replace(generation=1))
    store.ledger.record(claimed, [APPOINTMENT, second])
    store.ledger.record(claimed, [replace(APPOINTMENT, standing=Standing.WITHDRAWN)])
    standings = {row.key.generation: row.standing for row in store.ledger.load("main", "ann")}
    assert standings == {0: Standing.WITHDRAWN, 1: Standing.INTENDED}


def test_nothing_of_another_patient_is_written_under_a_claim(store: Store, claimed: Claim) -> None:
    with pytest.raises(ValueError, match="another patient"):
        store.ledger.record(claimed, [replace(APPOINTMENT, patient="bob")])
    with pytest.raises(ValueError, match="another patient"):
        store.outcomes.replace(claimed, [replace(OUTCOME, patient="bob")])


def test_outcomes_are_replaced_as_a_whole_and_memberships_stay(store: Store, clock, claimed: Claim) -> None:
    member = Membership(session_id=UUID(int=3), course_id=UUID(int=4))
    planned = replace(
        OUTCOME,
        outcome=Outcome.PLANNED,
        reasons=(),
        session_id=UUID(int=3),
        course_id=UUID(int=4),
        details={"anchor": "2026-01-05T15:10:00Z"},
        next_look=clock.now + timedelta(hours=2),
    )
    other = replace(OUTCOME, key=DoseKey("ehr", "dose-2"))
    store.outcomes.replace(claimed, [planned, other], {DOSE: member})
    assert store.outcomes.find("ehr", "dose-1") == replace(planned, updated_at=clock.now)
    assert store.outcomes.counts() == {Outcome.PLANNED: 1, Outcome.WAITING: 1}
    store.outcomes.replace(claimed, [OUTCOME])
    assert store.outcomes.of_patient("main", "ann") == [replace(OUTCOME, updated_at=clock.now)]
    assert store.outcomes.find("ehr", "dose-2") is None
    assert store.outcomes.memberships("main", "ann") == {DOSE: member}


def test_of_a_patient_who_was_given_up_every_administration_is_parked_until_the_next_decision(
    store: Store, clock, claimed: Claim
) -> None:
    other, reason = DoseKey("ehr", "dose-2"), Reason.RETRIES_EXHAUSTED
    store.outcomes.replace(claimed, [OUTCOME])

    store.outcomes.park(claimed, [DOSE, other], reason)
    store.outcomes.park(claimed, [DOSE, other], reason)

    found = {row.key: row for row in store.outcomes.of_patient("main", "ann")}
    assert store.outcomes.counts() == {Outcome.PARKED: 2}
    assert found[DOSE].details == OUTCOME.details
    assert found[DOSE].reasons == (*OUTCOME.reasons, reason)
    assert found[other].reasons == (reason,)
    store.outcomes.replace(claimed, [OUTCOME])
    assert store.outcomes.counts() == {OUTCOME.outcome: 1}


def test_of_two_patients_the_one_whom_the_newest_fact_names_tells_the_outcome(store: Store, clock) -> None:
    store.committer.submit([arrival(patient="bob")])
    store.committer.submit([arrival(patient="ann", raw=b"B")])
    for _ in range(2):
        one = claim(store, clock)
        outcome = Outcome.REVIEW if one.patient == "ann" else Outcome.SUPERSEDED
        store.outcomes.replace(one, [replace(OUTCOME, patient=one.patient, outcome=outcome)])
        clock.forward(seconds=1)
    found = store.outcomes.find("ehr", "dose-1")
    assert found is not None
    assert found.outcome is Outcome.REVIEW


def test_a_reading_replaces_the_one_before(store: Store, clock, claimed: Claim) -> None:
    first = Reading(source="ehr", resource_type="Encounter", resource_id="e1", read_at=clock.now, raw=b"{}")
    later = replace(first, read_at=clock.forward(hours=1), raw=b"")
    assert store.readings.find("ehr", "Encounter", "e1") is None
    store.readings.keep(claimed, first)
    store.readings.keep(claimed, later)
    assert store.readings.find("ehr", "Encounter", "e1") == later
    store.agenda.finish(claimed, None, "done")
    with pytest.raises(LeaseLost):
        store.readings.keep(claimed, first)


def test_a_review_opens_changes_and_closes_with_the_decision(store: Store, clock, claimed: Claim) -> None:
    store.outcomes.replace(claimed, [], questions=[QUESTION])
    store.outcomes.replace(claimed, [], questions=[replace(QUESTION, due=clock.now, reasons=(Reason.ROUTE_UNKNOWN,))])
    [row] = store.reviews.open(10)
    assert (row.founder, row.administrations, row.reasons, row.due) == (
        DOSE,
        (DOSE,),
        (Reason.ROUTE_UNKNOWN,),
        clock.now,
    )
    store.outcomes.replace(claimed, [], questions=[])
    assert store.reviews.open(10) == []
    closed = store.reviews.find("ehr", "dose-1")
    assert closed is not None
    assert (closed.closed_at, closed.closed_by) == (clock.now, None)


def test_a_review_that_is_wanted_again_opens_again(store: Store, claimed: Claim) -> None:
    for items in ([QUESTION], [], [QUESTION]):
        store.outcomes.replace(claimed, [], questions=items)
    assert len(store.reviews.open(10)) == 1


def test_what_a_person_resolved_stays_resolved_until_more_is_asked(store: Store, claimed: Claim) -> None:
    store.outcomes.replace(claimed, [], questions=[QUESTION])
    [row] = store.reviews.open(10)
    assert store.reviews.resolve(row.id, "nurse")
    assert not store.reviews.resolve(row.id, "nurse")
    store.outcomes.replace(claimed, [], questions=[QUESTION])
    assert store.reviews.open(10) == []
    store.outcomes.replace(
        claimed, [], questions=[replace(QUESTION, reasons=(Reason.DOSE_MISSING, Reason.ROUTE_UNKNOWN))]
    )
    assert len(store.reviews.open(10)) == 1


def test_the_most_urgent_review_comes_first(store: Store, clock, claimed: Claim) -> None:
    dues = {"none": None, "late": clock.now + timedelta(hours=2), "soon": clock.now + timedelta(hours=1)}
    items = [replace(QUESTION, founder=DoseKey("ehr", name), due=due) for name, due in dues.items()]
    store.outcomes.replace(claimed, [], questions=items)
    assert [row.founder.id for row in store.reviews.open(10)] == ["soon", "late", "none"]
    assert len(store.reviews.open(1)) == 1


def test_the_audit_trail_is_appended_to(store: Store, clock) -> None:
    read = AuditEntry(actor="worker", action="R", entity_type="Patient", entity_id="ann", outcome="0")
    made = AuditEntry(
        actor="worker", action="C", entity_type="Appointment", entity_id=None, outcome="8", target="main", patient="ann"
    )
    store.audit.append(read)
    begun = clock.now
    store.audit.append(made, replace(made, entity_id="77", outcome="0"))
    assert [entry for _, entry in store.audit.newest(2)] == [replace(made, entity_id="77", outcome="0"), made]
    assert store.audit.newest(10)[-1] == (begun, read)


@pytest.fixture
def small(url: str) -> Iterator[Quarantine]:
    database = Database(url)
    yield Quarantine(database, max_entries=3, max_bytes=100)
    database.close()


def test_a_refused_body_is_kept_as_it_came(store: Store, clock) -> None:
    problem = Problem("structure", "MedicationAdministration.status", "is missing")
    store.quarantine.keep("ehr", clock.now, "application/json", b"\x00{", [problem])
    [refused] = store.quarantine.newest(10)
    assert (refused.source, refused.received_at, refused.body, refused.problems) == (
        "ehr",
        clock.now,
        b"\x00{",
        (problem,),
    )


def test_the_quarantine_drops_and_counts_the_oldest(small: Quarantine, clock) -> None:
    for number in range(5):
        small.keep("ehr", clock.now, None, str(number).encode(), [])
    assert [refused.body for refused in small.newest(10)] == [b"4", b"3", b"2"]
    assert small.counts() == (3, 2)


def test_the_quarantine_is_bounded_in_bytes_and_keeps_the_newest(small: Quarantine, clock) -> None:
    for size in (60, 30, 50):
        small.keep("ehr", clock.now, None, b"x" * size, [])
    assert [len(refused.body) for refused in small.newest(10)] == [50, 30]
    small.keep("ehr", clock.now, None, b"x" * 1000, [])
    assert [len(refused.body) for refused in small.newest(10)] == [1000]
    assert small.counts() == (1, 3)
