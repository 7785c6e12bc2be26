"""Psychiatric use, or anaesthesia, sedation, analgesia? Typical cases, through ``afterdose plan``."""

import json
from pathlib import Path
from typing import Any

import pytest

from fhir_inputs import (
    DEPRESSION,
    INTRAVENOUS,
    KETAMINE,
    a_file,
    body_weight,
    infusion,
    milligrams,
    run,
    spray,
)

DOSE = "2026-01-05 10:00"
ICD_10_CM = "http://hl7.org/fhir/sid/icd-10-cm"
SNOMED = "http://snomed.info/sct"
PUSH = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RouteOfAdministration", "code": "IVPUSH"}]}
INTRAMUSCULAR = {"coding": [{"system": SNOMED, "code": "78421000"}]}
ANAESTHETIC_ESKETAMINE = {"coding": [{"system": "http://www.whocc.no/atc", "code": "N01AX14"}]}

Resource = dict[str, Any]


def patient(born: str = "1980-05-01") -> Resource:
    return {"resourceType": "Patient", "id": "pat-1", "birthDate": born}


def encounter(class_: str, place: str | None = None) -> list[Resource]:
    """An encounter, at a kind of place."""
    stay: Resource = {"resourceType": "Encounter", "id": "stay", "status": "in-progress", "class": {"code": class_}}
    if place is None:
        return [stay]
    stay["location"] = [{"location": {"reference": "Location/place"}}]
    kind = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": place}]}
    return [stay, {"resourceType": "Location", "id": "place", "type": [kind]}]


def order_for_depression() -> Resource:
    return {
        "resourceType": "MedicationRequest",
        "id": "order",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/pat-1"},
        "medicationCodeableConcept": KETAMINE,
        "reasonCode": [DEPRESSION],
    }


def problem(system: str, code: str) -> Resource:
    return {
        "resourceType": "Condition",
        "id": "problem",
        "subject": {"reference": "Patient/pat-1"},
        "code": {"coding": [{"system": system, "code": code}]},
    }


def given(mg: float = 35, route: Resource = INTRAVENOUS, minutes: float = 40, **changes: Any) -> Resource:
    """Ketamine in the encounter, without a reason or a category of its own."""
    bare = {"category": None, "reasonCode": None, "context": {"reference": "Encounter/stay"}}
    return infusion("dose", DOSE, minutes=minutes, dosage={"route": route, "dose": milligrams(mg)}, **(bare | changes))


def ordered(**changes: Any) -> list[Resource]:
    """0.5 mg/kg in 40 minutes, ordered for a depression."""
    return [order_for_depression(), given(request={"reference": "MedicationRequest/order"}, **changes)]


def in_words(text: str) -> list[Resource]:
    """Ordered for a depression, and charted without a number."""
    order, dose = ordered()
    return [order, {**dose, "dosage": {"route": INTRAVENOUS, "text": text}}]


CASES = {
    "1 a nasal kit": ([patient(), *encounter("AMB"), spray("dose", DOSE)], "eligible", "nasal-esketamine"),
    "3 0.5 mg/kg ordered for a depression": (
        [patient(), *encounter("AMB"), *ordered()],
        "eligible",
        "psychiatric-indication",
    ),
    "3 charted in words": (
        [patient(), *encounter("AMB"), *in_words("0.5 mg/kg IV over 40 min")],
        "eligible",
        "dose-within-envelope",
    ),
    "3 charted in words that leave a doubt": (
        [patient(), *encounter("AMB"), *in_words("0.5-1 mg/kg IV over 40 min")],
        "review",
        "dose-missing",
    ),
    "5 the same without a reason": ([patient(), *encounter("AMB"), given()], "review", "no-psychiatric-evidence"),
    "7 inpatient psychiatry": (
        [patient(), *encounter("IMP", "PHU"), given(reasonCode=[problem(ICD_10_CM, "F14.20")["code"]])],
        "eligible",
        "psychiatric-setting",
    ),
    "9 1.5 mg/kg pushed": (
        [patient(), *encounter("AMB"), given(105, PUSH, minutes=0)],
        "not-eligible",
        "anaesthetic-dose",
    ),
    "11 twelve hours in intensive care": (
        [patient(), *encounter("IMP", "ICU"), given(168, minutes=720)],
        "not-eligible",
        "continuous-infusion",
    ),
    "13 4 mg/kg into a muscle for agitation": (
        [patient(), *encounter("EMER"), problem(ICD_10_CM, "F20.9"), given(280, INTRAMUSCULAR, minutes=0)],
        "not-eligible",
        "anaesthetic-dose",
    ),
    "15 the anaesthetic product": (
        [patient(), *encounter("AMB"), given(medicationCodeableConcept=ANAESTHETIC_ESKETAMINE)],
        "not-eligible",
        "anaesthetic-product",
    ),
    "17 sixteen years old": ([patient("2009-06-01"), *encounter("AMB"), *ordered()], "review", "patient-minor"),
    "19 not done": ([patient(), *encounter("AMB"), *ordered(status="not-done")], "not-eligible", "not-done"),
    "21 named in words only": (
        [patient(), *encounter("AMB", "PSYCHF"), given(medicationCodeableConcept={"text": "ketamine infusion"})],
        "review",
        "drug-by-text-only",
    ),
    "23 harmful use on the problem list": (
        [patient(), *encounter("AMB"), problem(SNOMED, "724715004"), *ordered()],
        "review",
        "caution-condition",
    ),
}


@pytest.mark.parametrize(("resources", "eligibility", "reason"), CASES.values(), ids=CASES)
def test_psychiatric_use_is_told_from_anaesthesia_and_analgesia(
    tmp_path: Path, resources: list[Resource], eligibility: str, reason: str
) -> None:
    file = a_file(tmp_path, body_weight(70, "2026-01-05 08:00"), *resources)
    document = json.loads(run("plan", "--as-of-dose", "--format", "json", file).stdout)
    (dose,) = document["doses"]
    assert dose["eligibility"] == eligibility
    assert reason in dose["reasons"]
    made = {resource["resourceType"] for resource in document["resources"]}
    whole = {"CarePlan", "Goal", "Appointment", "Task", "ServiceRequest"}
    assert made == {"eligible": whole, "review": {"Task"}, "not-eligible": set()}[eligibility]


def test_a_weight_without_a_date_counts_where_no_other_is_known(tmp_path: Path) -> None:
    undated = body_weight(70, "2026-01-05 08:00")
    del undated["effectiveDateTime"]
    dated = body_weight(100, "2025-06-01 08:00")
    dose = [patient(), *encounter("AMB", "PSYCHF"), given(84)]

    found = [
        json.loads(run("plan", "--as-of-dose", "--format", "json", a_file(tmp_path, *weights, *dose)).stdout)["doses"]
        for weights in ([undated], [undated, dated])
    ]

    assert [[one["eligibility"] for one in doses] for doses in found] == [["review"], ["eligible"]]
