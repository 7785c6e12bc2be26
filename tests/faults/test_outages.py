"""An EHR that is away for minutes, hours or days: tried again with patience, given up after days, and then aloud."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from stories import DOSE
from ward import OPEN_APPOINTMENTS, OPEN_PLANS, PATIENT, Ward

from afterdose.core.care import ArtifactKind
from afterdose.core.reasons import Outcome
from afterdose.sandbox import faults

pytestmark = pytest.mark.faults

FOR_EVER = 1_000_000


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    with Ward(tmp_path) as running:
        yield running


def tries(ward: Ward, until: datetime) -> Iterator[datetime]:
    """When the patient was tried, while the EHR is away."""
    while True:
        row = ward.store.agenda.find("ehr", PATIENT)
        assert row is not None
        if row.due_at is None or row.due_at > until:
            return
        ward.clock.advance_to(row.due_at)
        yield ward.clock()
        assert ward.step()


@pytest.mark.parametrize("hours", [0.2, 8, 40])
def test_after_an_outage_everything_is_there_once(hours: float, ward: Ward) -> None:
    ward.ehr.fail_next("*", "", faults.drop(), times=FOR_EVER)
    ward.chart(DOSE)
    began = ward.clock()
    moments = list(tries(ward, began + timedelta(hours=hours)))
    waits = [later - earlier for earlier, later in itertools.pairwise(moments)]

    ward.ehr.clear_faults()
    ward.settle()

    ward.check()
    assert len(moments) < 30 + 14 * hours
    assert max(waits) < timedelta(minutes=11)
    assert len(ward.plans(*OPEN_PLANS)) == 1
    now = ward.clock().isoformat()
    assert all(one["requestedPeriod"][0]["end"] > now for one in ward.appointments(*OPEN_APPOINTMENTS))


def test_after_four_days_the_patient_is_parked_and_can_be_replayed(ward: Ward) -> None:
    ward.ehr.fail_next("*", "", faults.drop(), times=FOR_EVER)
    ward.chart(DOSE)
    began = ward.clock()
    last = list(tries(ward, began + timedelta(days=30)))[-1]

    (parked,) = ward.store.agenda.parked()
    assert parked.parked == "retries-exhausted"
    assert timedelta(hours=96) <= last - began < timedelta(hours=98)
    assert ward.store.outcomes.counts() == {Outcome.PARKED: 1}

    ward.ehr.clear_faults()
    ward.store.agenda.put("ehr", PATIENT, ward.clock(), "replay")
    ward.clock.advance_to(ward.workshop.shut()["ehr"])
    ward.settle()
    ward.check()
    assert Outcome.PARKED not in ward.store.outcomes.counts()


def test_no_request_is_sent_earlier_than_the_ehr_allows(ward: Ward) -> None:
    ward.ehr.fail_next("POST", "/fhir$", faults.retry_after(300))
    ward.chart(DOSE)
    ward.step()
    asked = ward.clock()
    row = ward.store.agenda.find("ehr", PATIENT)

    assert row is not None
    assert row.due_at is not None
    assert row.due_at - asked > timedelta(seconds=299)


def test_a_patient_of_whom_something_arrives_meanwhile_is_tried_as_soon_as_the_ehr_may_be_asked(ward: Ward) -> None:
    ward.ehr.fail_next("*", "", faults.drop(), times=20)
    ward.chart(DOSE)
    for _ in range(12):
        row = ward.store.agenda.find("ehr", PATIENT)
        assert row is not None
        assert row.due_at is not None
        ward.clock.advance_to(row.due_at)
        ward.step()
    ward.ehr.clear_faults()

    ward.chart({**DOSE, "note": [{"text": "seen again"}]})
    assert not ward.step()
    ward.clock.advance_to(ward.workshop.shut()["ehr"])
    assert ward.step()

    assert len(ward.plans(*OPEN_PLANS)) == 1


def test_after_an_outage_longer_than_the_window_nothing_is_proposed_in_the_past_and_a_person_is_asked(
    ward: Ward,
) -> None:
    ward.ehr.fail_next("POST", "", faults.drop(), times=FOR_EVER)
    ward.chart(DOSE)
    began = ward.clock()
    list(tries(ward, began + timedelta(hours=80)))
    ward.ehr.clear_faults()
    ward.settle()

    assert ward.appointments(*OPEN_APPOINTMENTS) == []
    rows = ward.store.ledger.load("ehr", PATIENT)
    asked = [row.ehr_status for row in rows if row.key.kind is ArtifactKind.UNMET_TASK]
    assert asked == ["requested"]
    (row,) = ward.store.outcomes.of_patient("ehr", PATIENT)
    assert row.outcome is Outcome.UNMET
    assert row.details["session"]["reason"] == "too-late"
    before = ward.end_state()
    ward.store.agenda.put("ehr", PATIENT, ward.clock(), "test")
    ward.settle()
    assert ward.end_state() == before
