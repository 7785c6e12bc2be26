"""EHRs that answer reads from copies: what they do not show yet, or show as it was, is no person's doing."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from stories import DOSE, ENDED
from ward import OPEN_PLANS, PATIENT, Ward, dose

from afterdose.core.care import Standing
from afterdose.sandbox import Behaviour, faults
from afterdose.sandbox.faults import Answer, Fault
from doubles.odd import HABITS, OddEhr

pytestmark = pytest.mark.faults

FHIR = ("Content-Type", "application/fhir+json")
OUTCOME = b'{"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "not-found"}]}'


def says(status: int, body: bytes = OUTCOME, *headers: tuple[str, str]) -> Fault:
    return lambda _serve, _pause: Answer(status, (FHIR, *headers), body)


def opens(visit: dict) -> str:
    return visit["requestedPeriod"][0]["start"]


def in_utc(moment: object) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def test_what_is_not_shown_right_after_it_was_written_was_not_removed(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.chart(DOSE)
        ward.step()
        ward.ehr.fail_next("GET", "/(CarePlan|Appointment)/", says(404), times=2)
        ward.store.agenda.put("ehr", PATIENT, ward.clock(), "test")
        ward.settle()

        ward.check()
        assert {row.standing for row in ward.store.ledger.load("ehr", PATIENT)} == {Standing.WRITTEN}


def test_what_is_not_there_any_more_a_minute_after_it_was_written_was_removed(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.chart(DOSE)
        ward.settle()
        ward.clock.advance(timedelta(minutes=2))
        ward.ehr.fail_next("GET", "/CarePlan/", says(404))
        ward.store.agenda.put("ehr", PATIENT, ward.clock(), "test")
        ward.step()

        rows = ward.store.ledger.load("ehr", PATIENT)
        assert [row.standing for row in rows if row.resource_type == "CarePlan"] == [Standing.REMOVED_BY_PERSON]


def test_a_version_from_before_our_last_write_is_no_edit(tmp_path: Path) -> None:
    with Ward(tmp_path, behaviour=Behaviour(transaction="undeclared")) as ward:
        ward.chart(DOSE)
        ward.settle()
        (visit,) = ward.appointments()
        old = json.dumps(visit).encode()
        ward.clock.advance(timedelta(minutes=2))
        ward.chart(dose("d-1", ENDED - timedelta(minutes=30)))
        ward.step()
        ward.ehr.fail_next("GET", "/Appointment/", says(200, old, ("ETag", 'W/"1"')))
        ward.chart(dose("d-1", ENDED - timedelta(minutes=45)))
        ward.settle()

        ward.check()
        (visit,) = ward.appointments("proposed")
        assert opens(visit).startswith(in_utc(ENDED + timedelta(hours=23, minutes=15)))


def test_a_dose_that_is_read_as_it_was_before_its_correction_is_read_again(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.chart(DOSE)
        ward.settle()
        old = json.dumps(ward.ehr.get("MedicationAdministration", "d-1")).encode()
        ward.ehr.fail_next("GET", "/MedicationAdministration/", says(200, old))
        ward.chart(dose("d-1", ENDED - timedelta(minutes=30)))
        ward.settle()

        ward.check()
        (visit,) = ward.appointments("proposed")
        assert opens(visit).startswith(in_utc(ENDED + timedelta(hours=23, minutes=30)))


@pytest.mark.parametrize("habit", ["spells times anew", "reorders lists", "adds labels, narratives and displays"])
@pytest.mark.parametrize("transaction", ["atomic", "undeclared"])
def test_what_was_made_without_an_answer_and_stored_in_other_words_is_still_ours(
    habit: str, transaction: str, tmp_path: Path
) -> None:
    behaviour = Behaviour(transaction=transaction)
    with Ward(tmp_path, behaviour=behaviour, front=lambda staff: OddEhr(staff, HABITS[habit])) as ward:
        ward.ehr.fail_next("POST", "/fhir$|/Appointment$", faults.commit_then_status(502))
        ward.chart(DOSE)
        ward.settle()
        ward.chart(dose("d-1", ENDED - timedelta(minutes=30)))
        ward.settle()

        ward.check()
        assert len(ward.plans(*OPEN_PLANS)) == 1
        (visit,) = ward.appointments("proposed")
        assert opens(visit).startswith(in_utc(ENDED + timedelta(hours=23, minutes=30)))
