"""Every kind of evidence decides also where it stands in the EHR alone and nobody has sent it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ward import MONDAY, PATIENT, Resource, Ward, dose

from afterdose.content.locate import bundled

pytestmark = pytest.mark.faults

ENDED = MONDAY - timedelta(hours=1)
SUBJECT = {"reference": f"Patient/{PATIENT}"}
SNOMED = "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ROLES = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
CLASSES = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
MARKS = "https://afterdose.org/fhir/CodeSystem/afterdose-mark"
UCUM = "http://unitsofmeasure.org"
ENCOUNTER = {"reference": "Encounter/e1"}
REQUEST = {"reference": "MedicationRequest/r1"}


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    with Ward(tmp_path) as opened:
        yield opened


def coded(system: str, code: str) -> Resource:
    return {"coding": [{"system": system, "code": code}]}


def encounter(**changes: Any) -> Resource:
    kind = {"system": CLASSES, "code": "AMB"}
    return {"resourceType": "Encounter", "id": "e1", "status": "finished", "class": kind, "subject": SUBJECT} | changes


def request(**changes: Any) -> Resource:
    return {
        "resourceType": "MedicationRequest",
        "id": "r1",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": coded(RXNORM, "6130"),
        "subject": SUBJECT,
    } | changes


def place(code: str) -> Resource:
    return {"resourceType": "Location", "id": "l1", "type": [coded(ROLES, code)]}


def condition(id_: str, code: str) -> Resource:
    return {"resourceType": "Condition", "id": id_, "code": coded(ICD, code), "subject": SUBJECT}


def propofol(**changes: Any) -> Resource:
    return dose("x1", ENDED - timedelta(minutes=30), medicationCodeableConcept=coded(RXNORM, "8782")) | changes


def by_reference(given: Resource) -> Resource:
    del given["medicationCodeableConcept"]
    return {**given, "medicationReference": {"reference": "Medication/m1"}}


def bare(**changes: Any) -> Resource:
    """A dose that says nothing of why it was given."""
    made = dose("d1", ENDED, **changes)
    del made["reasonCode"]
    return made


EVIDENCE: dict[str, tuple[Resource, list[Resource], tuple[str, str]]] = {
    "the reason of the request": (
        bare(request=REQUEST),
        [request(reasonCode=[coded(ICD, "F33.2")])],
        ("planned", "psychiatric-indication"),
    ),
    "a condition that the request gives as its reason": (
        bare(request=REQUEST),
        [request(reasonReference=[{"reference": "Condition/c1"}]), condition("c1", "F33.2")],
        ("planned", "psychiatric-indication"),
    ),
    "a condition that the dose gives as its reason": (
        bare(reasonReference=[{"reference": "Condition/c1"}]),
        [condition("c1", "F33.2")],
        ("planned", "psychiatric-indication"),
    ),
    "the place of the encounter": (
        bare(context=ENCOUNTER),
        [encounter(location=[{"location": {"reference": "Location/l1"}}]), place("PSYCHF")],
        ("planned", "psychiatric-setting"),
    ),
    "the specialty of who gave it": (
        bare(performer=[{"actor": {"reference": "PractitionerRole/p1"}}]),
        [{"resourceType": "PractitionerRole", "id": "p1", "specialty": [coded(SNOMED, "394587001")]}],
        ("planned", "psychiatric-setting"),
    ),
    "an intensive care unit": (
        dose("d1", ENDED, context=ENCOUNTER),
        [encounter(location=[{"location": {"reference": "Location/l1"}}]), place("ICU")],
        ("not-eligible", "excluded-setting"),
    ),
    "the class of the encounter": (
        dose("d1", ENDED, context=ENCOUNTER),
        [encounter(**{"class": {"system": CLASSES, "code": "EMER"}})],
        ("review", "emergency"),
    ),
    "the specialty of who ordered it": (
        bare(request=REQUEST),
        [
            request(requester={"reference": "PractitionerRole/p1"}),
            {"resourceType": "PractitionerRole", "id": "p1", "specialty": [coded(SNOMED, "394577000")]},
        ],
        ("not-eligible", "excluded-specialty"),
    ),
    "the problem list": (dose("d1", ENDED), [condition("c1", "F20.0")], ("review", "caution-condition")),
    "an anaesthesia at the same hour": (
        dose("d1", ENDED),
        [
            {
                "resourceType": "Procedure",
                "id": "x1",
                "status": "completed",
                "code": coded(SNOMED, "50697003"),
                "subject": SUBJECT,
                "performedDateTime": ENDED.isoformat(),
            }
        ],
        ("not-eligible", "anaesthesia-or-ect"),
    ),
    "propofol at the same hour": (dose("d1", ENDED), [propofol()], ("not-eligible", "anaesthesia-drug-beside")),
    "propofol by a reference at the same hour": (
        dose("d1", ENDED),
        [
            by_reference(propofol()),
            {"resourceType": "Medication", "id": "m1", "code": coded(RXNORM, "8782")},
        ],
        ("not-eligible", "anaesthesia-drug-beside"),
    ),
    "propofol that was not given": (dose("d1", ENDED), [propofol(status="not-done")], ("planned", "")),
    "propofol of the day before": (
        dose("d1", ENDED),
        [propofol(effectivePeriod={"start": (ENDED - timedelta(days=1)).isoformat()})],
        ("planned", ""),
    ),
    "what the medication is": (
        by_reference(dose("d1", ENDED)),
        [{"resourceType": "Medication", "id": "m1", "code": coded(RXNORM, "6130")}],
        ("planned", "psychiatric-indication"),
    ),
    "the body weight": (
        dose("d1", ENDED, dosage={"route": coded(SNOMED, "47625008"), "dose": {"value": 110, "unit": "mg"}}),
        [
            {
                "resourceType": "Observation",
                "id": "w1",
                "status": "final",
                "code": coded("http://loinc.org", "29463-7"),
                "subject": SUBJECT,
                "effectiveDateTime": (ENDED - timedelta(days=3)).isoformat(),
                "valueQuantity": {"value": 140, "unit": "kg", "system": UCUM, "code": "kg"},
            }
        ],
        ("planned", "dose-within-envelope"),
    ),
    "the birthday": (
        dose("d1", ENDED),
        [{"resourceType": "Patient", "id": PATIENT, "birthDate": "2012-02-01"}],
        ("review", "patient-minor"),
    ),
    "a death": (
        dose("d1", ENDED),
        [{"resourceType": "Patient", "id": PATIENT, "birthDate": "1980-02-01", "deceasedBoolean": True}],
        ("unmet", "patient-deceased"),
    ),
}


@pytest.mark.parametrize("kind", EVIDENCE)
def test_evidence_decides_where_only_the_ehr_has_it(ward: Ward, kind: str) -> None:
    given, chart, (outcome, reason) = EVIDENCE[kind]
    for resource in chart:
        ward.ehr.put(resource)

    ward.chart(given)
    ward.settle()

    row = ward.store.outcomes.find("ehr", "d1")
    assert row is not None
    assert row.outcome.value == outcome
    assert reason in {one.value for one in row.reasons} | {""}


def test_the_phase_that_an_episode_of_care_names_is_that_of_the_course(ward: Ward) -> None:
    ward.ehr.put(encounter(episodeOfCare=[{"reference": "EpisodeOfCare/ep1"}]))
    episode = {"resourceType": "EpisodeOfCare", "id": "ep1", "status": "active", "patient": SUBJECT}
    ward.ehr.put({**episode, "type": [coded(MARKS, "maintenance")]})

    ward.chart(dose("d1", ENDED, context=ENCOUNTER))
    ward.settle()

    assert "maintenance phase" in ward.plans()[0]["text"]["div"]


def test_the_next_dose_of_the_order_that_a_dose_names_cuts_its_window(ward: Ward) -> None:
    times = [(ENDED + timedelta(hours=hours)).isoformat() for hours in (-1, 48)]
    ward.ehr.put(request(dosageInstruction=[{"timing": {"event": times}}]))

    ward.chart(dose("d1", ENDED, request=REQUEST))
    ward.settle()

    (visit,) = ward.appointments("proposed")
    assert visit["requestedPeriod"][0]["end"] < (ENDED + timedelta(hours=48)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(("status", "outcome"), [("active", "planned"), ("rejected", "review"), (None, "review")])
def test_a_consent_decides_where_the_clinic_wants_one(tmp_path: Path, status: str | None, outcome: str) -> None:
    clinic = (bundled() / "mappings/clinics/example-7-days.toml").read_text(encoding="utf-8")
    wanting = tmp_path / "wanting-consent.toml"
    wanting.write_text(clinic.replace("consent_required = false", "consent_required = true"), encoding="utf-8")
    with Ward(tmp_path) as ward:
        ward.workshop.close()
        ward.reopen(clinic=str(wanting))
        if status is not None:
            scope = coded("http://terminology.hl7.org/CodeSystem/consentscope", "treatment")
            consent = {"resourceType": "Consent", "id": "k1", "status": status, "scope": scope, "patient": SUBJECT}
            ward.ehr.put({**consent, "category": [{"text": "follow-up"}], "dateTime": "2026-01-02"})

        ward.chart(dose("d1", ENDED))
        ward.settle()

        row = ward.store.outcomes.find("ehr", "d1")
        assert row is not None
        assert row.outcome.value == outcome
