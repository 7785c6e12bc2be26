"""One patient who cannot be worked on stops nobody else, and is given up aloud."""

from __future__ import annotations

from pathlib import Path

import pytest
from stories import DOSE, ENDED
from ward import PATIENT, Resource, Ward, dose

from afterdose.sandbox import faults
from afterdose.store.rows import Arrival

OTHER = "p-2"
# What a damaged database could hold: no intake would keep it, and no reading of it can succeed.
DAMAGED = Arrival(source="ehr", resource_id="d-damaged", target="ehr", patient=PATIENT, raw=b"[]")


@pytest.fixture
def others_dose() -> Resource:
    return dose("d-2", ENDED, subject={"reference": f"Patient/{OTHER}"})


def test_a_patient_whose_facts_are_damaged_is_parked_after_five_tries_and_others_go_on(
    others_dose: Resource, tmp_path: Path
) -> None:
    with Ward(tmp_path) as ward:
        ward.ehr.put({"resourceType": "Patient", "id": OTHER, "birthDate": "1980-02-01"})
        ward.store.committer.submit([DAMAGED])
        ward.chart(others_dose)
        tries = 0
        while not ward.store.agenda.parked():
            while ward.step():
                tries += 1
            assert [plan["subject"]["reference"] for plan in ward.plans()] == [f"Patient/{OTHER}"]
            row = ward.store.agenda.find("ehr", PATIENT)
            assert row is not None
            if row.due_at is not None:
                ward.clock.advance_to(row.due_at)

        assert tries == 5 + 1
        (parked,) = ward.store.agenda.parked()
        assert (parked.patient, parked.parked) == (PATIENT, "failed")
        assert parked.due_at is None


def test_a_long_outage_before_a_failure_does_not_count_as_failures(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.ehr.fail_next("*", "", faults.drop(), times=8)
        ward.chart(DOSE)
        while ward.ehr.faults_left:
            ward.step()
            row = ward.store.agenda.find("ehr", PATIENT)
            assert row is not None
            assert row.due_at is not None
            ward.clock.advance_to(row.due_at)
        ward.store.committer.submit([DAMAGED])

        assert ward.step()

        assert ward.store.agenda.parked() == []
