"""What an EHR refuses for good, read by read: where the dose ends, after how many calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from ward import MONDAY, PATIENT, Ward, dose

from afterdose.sandbox import Behaviour, faults

pytestmark = pytest.mark.faults

ENDED = MONDAY - timedelta(hours=1)
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
CLASSES = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
HANGS_ON = ("Encounter", "Medication", "MedicationRequest", "Patient")


@contextmanager
def opened(folder: Path, *, without: str = "", absent: str = "") -> Iterator[Ward]:
    """``without``: what is not there; ``absent``: of what type the EHR knows none."""
    subject = {"reference": f"Patient/{PATIENT}"}
    drug = {"coding": [{"system": RXNORM, "code": "6130"}]}
    kind = {"system": CLASSES, "code": "AMB"}
    order = {"status": "active", "intent": "order", "medicationCodeableConcept": drug, "subject": subject}
    with Ward(folder, behaviour=Behaviour(absent=frozenset({absent} - {""}))) as ward:
        for one in (
            {"resourceType": "Medication", "id": "m1", "code": drug},
            {"resourceType": "MedicationRequest", "id": "r1", **order},
            {"resourceType": "Encounter", "id": "e1", "status": "finished", "class": kind, "subject": subject},
        ):
            if one["resourceType"] not in (without, absent):
                ward.ehr.put(one)
        if without == "Patient":
            ward.ehr.delete("Patient", PATIENT)
        yield ward


def chart(ward: Ward) -> None:
    """A dose that says nothing itself of what it was, and in what order and visit it was given."""
    made = dose(
        "d1",
        ENDED,
        context={"reference": "Encounter/e1"},
        request={"reference": "MedicationRequest/r1"},
        medicationReference={"reference": "Medication/m1"},
    )
    del made["medicationCodeableConcept"]
    ward.chart(made)


def calls(ward: Ward) -> dict[str, int]:
    """Reads by id, by type."""
    paths = [one.path.strip("/").split("/") for one in ward.ehr.requests if one.method == "GET"]
    types = [path[1] for path in paths if len(path) == 3]
    return {type_: types.count(type_) for type_ in (*HANGS_ON, "MedicationAdministration") if type_ in types}


def judged(ward: Ward) -> tuple[str, set[str]]:
    row = ward.store.outcomes.find("ehr", "d1")
    assert row is not None
    return row.outcome.value, {reason.value for reason in row.reasons}


def test_a_dose_costs_one_read_of_each_thing_that_it_hangs_on(tmp_path: Path) -> None:
    with opened(tmp_path) as ward:
        chart(ward)
        ward.settle()

        assert judged(ward)[0] == "planned"
        assert calls(ward) == dict.fromkeys((*HANGS_ON, "MedicationAdministration"), 1)


ENDS = [
    ("Encounter", "planned", "psychiatric-indication"),
    ("Medication", "review", "medication-unresolved"),
    ("MedicationRequest", "planned", "psychiatric-indication"),
    ("Patient", "planned", "psychiatric-indication"),
]
"""Where a dose for depression ends that lacks one of the things around it."""


@pytest.mark.parametrize("how", ["forbidden", "not there", "a type that the server does not have"])
@pytest.mark.parametrize(("type_", "outcome", "reason"), ENDS)
def test_a_refusal_that_lasts_ends_in_one_state_and_is_asked_once(
    tmp_path: Path, type_: str, outcome: str, reason: str, how: str
) -> None:
    unknown = how.startswith("a type") and type_ != "Patient"
    missing = type_ if how == "not there" else ""
    if missing == "Patient":
        outcome, reason = "review", "patient-gone"
    with opened(tmp_path, without=missing, absent=type_ if unknown else "") as ward:
        if how == "forbidden":
            ward.ehr.fail_next("GET", f".*/{type_}/.*", faults.status(403), times=1000)
        if unknown:
            ward.ehr.fail_next("GET", f".*/{type_}/.*", faults.status(404), times=1000)
        chart(ward)
        ward.settle()

        said, reasons = judged(ward)
        assert (said, reason in reasons) == (outcome, True), reasons
        assert calls(ward)[type_] == 1
        assert ward.store.agenda.parked() == []


@pytest.mark.parametrize(
    ("status", "outcome", "reason"),
    [(403, "review", "source-unreadable"), (410, "withdrawn", "deleted")],
)
def test_the_dose_itself_ends_in_one_state_too(tmp_path: Path, status: int, outcome: str, reason: str) -> None:
    with opened(tmp_path) as ward:
        ward.ehr.fail_next("GET", ".*/MedicationAdministration/.*", _says(status), times=1000)
        chart(ward)
        ward.settle()

        said, reasons = judged(ward)
        assert (said, reason in reasons) == (outcome, True), reasons
        assert calls(ward)["MedicationAdministration"] == 1


def test_a_dose_that_was_only_named_and_stays_closed_is_given_to_a_person(tmp_path: Path) -> None:
    with opened(tmp_path) as ward:
        ward.ehr.fail_next("GET", ".*/MedicationAdministration/.*", _says(403), times=1000)
        status = {"name": "type", "valueCode": "event-notification"}
        focus = {"name": "focus", "valueReference": {"reference": "MedicationAdministration/d1"}}
        event = {"name": "notification-event", "part": [{"name": "event-number", "valueString": "1"}, focus]}
        cover = {"resourceType": "Parameters", "parameter": [status, event]}
        bundle = {"resourceType": "Bundle", "type": "history", "entry": [{"resource": cover}]}
        assert ward.nudge(json.dumps(bundle).encode(), "application/fhir+json") == 200

        while ward.step():
            pass

        (parked,) = ward.store.agenda.parked()
        assert (parked.patient, parked.parked) == ("~ehr/d1", "ehr-refused")
        assert calls(ward)["MedicationAdministration"] == 1


def _says(status: int) -> faults.Fault:
    """The EHR itself says so."""
    body = b'{"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "processing"}]}'
    return lambda _serve, _pause: faults.Answer(status, (("Content-Type", "application/fhir+json"),), body)
