"""What intake accepts and refuses of a MedicationAdministration, and which references are of this server."""

import json
import time
from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from afterdose.fhir.decode.administration import envelope, problems
from afterdose.fhir.references import contained, local_id, patient_id, short

DATA = Path(__file__).parents[2] / "data" / "administrations"
SUBJECT = {"reference": "Patient/1"}
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
GOOD: dict[str, Any] = {
    "resourceType": "MedicationAdministration",
    "id": "dose-1",
    "meta": {"versionId": "7", "lastUpdated": "2026-01-05T11:00:00.000-05:00"},
    "status": "completed",
    "medicationCodeableConcept": {"coding": [{"system": RXNORM, "code": "6130", "display": "ketamine"}]},
    "subject": SUBJECT,
    "effectivePeriod": {"start": "2026-01-05T10:00:00-05:00", "end": "2026-01-05T10:40:00-05:00"},
    "dosage": {"dose": {"value": Decimal("35.00"), "unit": "mg"}},
}


def changed(**members: object) -> dict[str, Any]:
    """The good administration with other members; None takes one away."""
    resource = deepcopy(GOOD) | members
    return {name: value for name, value in resource.items() if value is not None or name not in members}


def test_a_good_administration_has_no_problem() -> None:
    assert problems(GOOD) == ()


@pytest.mark.parametrize("file", sorted(DATA.glob("*.json")), ids=lambda file: file.stem)
def test_published_examples_of_every_version_are_accepted(file: Path) -> None:
    assert problems(json.loads(file.read_text(), parse_float=Decimal)) == ()


@pytest.mark.parametrize(
    "resource",
    [
        changed(hello="world"),
        changed(id=None),
        changed(meta=None),
        changed(dosage=None),
        changed(effectivePeriod=None, effectiveDateTime="2026-01-05T10:00:00"),
        changed(effectivePeriod=None, effectiveDateTime="2026-01-05"),
        changed(effectivePeriod=None, effectiveDateTime="2026"),
        changed(effectivePeriod=None, occurenceDateTime="2026-01-05T10:00:00Z"),
        changed(effectivePeriod=None, occurrencePeriod={"start": "2026-01-05T10:00:00Z"}),
        changed(effectivePeriod=None, occurenceTiming={"event": ["2026-01-05T10:00:00Z"]}),
        changed(effectivePeriod={"extension": [{"url": "http://example.org/unknown", "valueCode": "unknown"}]}),
        changed(medicationCodeableConcept=None, medicationReference={"reference": "Medication/1"}),
        changed(medicationCodeableConcept=None, medication={"concept": {"text": "ketamine"}}),
        changed(subject={"identifier": {"system": "urn:example:mrn", "value": "123"}}),
        changed(subject={"reference": "Patient/1", "type": "Device"}),
        changed(subject={"reference": "http://elsewhere.example/fhir/Patient/1"}),
        changed(dosage={"dose": {"value": -35, "unit": "mg"}}),
        changed(dosage={"dose": {"unit": "mg"}}),
        changed(dosage={"text": "one spray"}),
        changed(status=None, _status={"extension": [{"url": "http://example.org/masked", "valueCode": "masked"}]}),
        changed(note=[{"text": "患者 e\u0301 \U0001f600"}]),
        changed(category=[{"coding": [{"code": "outpatient"}]}]),
        changed(given=["a", None], _given=[None, {"id": "b"}]),
        changed(status="entered-in-error", medicationCodeableConcept=None, effectivePeriod=None),
    ],
)
def test_what_can_be_kept_is_accepted(resource: dict[str, Any]) -> None:
    assert problems(resource) == ()


@pytest.mark.parametrize(
    ("resource", "code", "path"),
    [
        (changed(resourceType="Observation"), "invalid", "resourceType"),
        (changed(resourceType="medicationadministration"), "structure", "resourceType"),
        (changed(status=None), "required", "MedicationAdministration.status"),
        (changed(status="Completed"), "code-invalid", "MedicationAdministration.status"),
        (changed(status="given"), "code-invalid", "MedicationAdministration.status"),
        (changed(status=1), "value", "MedicationAdministration.status"),
        (changed(id="a" * 65), "value", "MedicationAdministration.id"),
        (changed(id="a/b"), "value", "MedicationAdministration.id"),
        (changed(id=".."), "value", "MedicationAdministration.id"),
        (changed(id=5), "value", "MedicationAdministration.id"),
        (changed(meta="1"), "structure", "MedicationAdministration.meta"),
        (changed(meta={"versionId": 1}), "value", "MedicationAdministration.meta.versionId"),
        (
            changed(medicationReference={"reference": "Medication/1"}),
            "structure",
            "MedicationAdministration.medication",
        ),
        (changed(medicationCodeableConcept=None), "required", "MedicationAdministration.medication"),
        (changed(effectiveDateTime="2026-01-05"), "structure", "MedicationAdministration.effective"),
        (changed(effectivePeriod=None), "required", "MedicationAdministration.effective"),
        (changed(subject=None), "required", "MedicationAdministration.subject"),
        (changed(subject={}), "structure", "MedicationAdministration.subject"),
        (changed(subject={"display": "somebody"}), "required", "MedicationAdministration.subject"),
        (changed(subject="Patient/1"), "structure", "MedicationAdministration.subject"),
        (changed(subject={"reference": 1}), "value", "MedicationAdministration.subject.reference"),
        (changed(note=[{"text": ""}]), "value", "MedicationAdministration.note[0].text"),
        (changed(note=[]), "structure", "MedicationAdministration.note"),
        (changed(reasonCode=[None]), "structure", "MedicationAdministration.reasonCode[0]"),
        ({**GOOD, "note": None}, "structure", "MedicationAdministration.note"),
        (changed(effectivePeriod="2026-01-05"), "structure", "MedicationAdministration.effectivePeriod"),
        (
            changed(effectivePeriod={"start": "2026-01-05 10:00:00Z"}),
            "value",
            "MedicationAdministration.effectivePeriod.start",
        ),
        (changed(effectivePeriod=None, effectiveDateTime="2026-02-30T10:00:00Z"), "value", None),
        (changed(effectivePeriod=None, effectiveDateTime=1763647200), "value", None),
        (changed(effectivePeriod=None, occurenceTiming={"event": "x"}), "structure", None),
        (changed(effectivePeriod=None, occurenceTiming={"event": ["x"]}), "value", None),
        (
            changed(medicationCodeableConcept="ketamine"),
            "structure",
            "MedicationAdministration.medicationCodeableConcept",
        ),
        (changed(medicationCodeableConcept={"coding": {"code": "6130"}}), "structure", None),
        (changed(medicationCodeableConcept={"coding": ["6130"]}), "structure", None),
        (changed(medicationCodeableConcept={"coding": [{"code": 6130}]}), "value", None),
        (changed(medicationCodeableConcept={"text": 1}), "value", None),
        (
            changed(medicationCodeableConcept=None, medication={"concept": "ketamine"}),
            "structure",
            "MedicationAdministration.medication.concept",
        ),
        (changed(dosage=[{}]), "structure", "MedicationAdministration.dosage"),
        (changed(dosage={"dose": {"value": "35"}}), "value", "MedicationAdministration.dosage.dose.value"),
        (changed(dosage={"dose": {"value": True}}), "value", "MedicationAdministration.dosage.dose.value"),
        (changed(dosage={"dose": 35}), "structure", "MedicationAdministration.dosage.dose"),
        (changed(dosage={"rateRatio": 5}), "structure", "MedicationAdministration.dosage.rateRatio"),
        (changed(dosage={"rateRatio": {"numerator": {"value": "x"}}}), "value", None),
        (
            changed(dosage={"rateRatio": {"numerator": {"value": 1}}, "rateQuantity": {"value": 1}}),
            "structure",
            "MedicationAdministration.dosage.rate",
        ),
    ],
)
def test_what_is_malformed_is_refused_with_code_and_path(resource: dict[str, Any], code: str, path: str | None) -> None:
    found = [(problem.code, problem.path) for problem in problems(resource)]
    assert code in {found_code for found_code, _ in found}
    assert path is None or (code, path) in found


@pytest.mark.parametrize("value", [[], "text", 5, None])
def test_what_is_no_object_is_refused(value: object) -> None:
    assert [problem.code for problem in problems(value)] == ["structure"]


def test_an_empty_subject_is_one_problem() -> None:
    assert [problem.code for problem in problems(changed(subject={}))] == ["structure"]


def test_a_member_that_cannot_be_an_element_is_not_named() -> None:
    told = problems(changed(note=[{"text": "x", "DoeJane": "", "authorString": ""}]))
    base = "MedicationAdministration.note[0]"
    assert {problem.path for problem in told} == {f"{base}.(member)", f"{base}.authorString"}


def test_no_received_value_stands_in_a_problem() -> None:
    canary = "CANARY-depression"
    resource = changed(
        status=canary, id=f"{canary}!", note=[{"text": canary, canary: ""}], effectivePeriod={"start": canary}
    )
    told = problems(resource)
    assert len(told) >= 4
    assert canary not in "".join(f"{problem.path} {problem.text}" for problem in told)


def test_problems_are_counted_up_to_a_limit() -> None:
    assert len(problems(changed(note=[{"text": ""}] * 5000))) == 50


def test_the_envelope_has_what_is_needed_to_file_it() -> None:
    found = envelope(GOOD)
    assert (found.id, found.version, found.subject) == ("dose-1", "7", "Patient/1")
    assert found.last_updated == datetime(2026, 1, 5, 16, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "Patient/1", "type": "Device"},
        {"reference": "Patient/1", "type": 5},
        {"identifier": {"value": "1"}},
        "Patient/1",
        None,
    ],
)
def test_nobody_is_taken_for_the_patient_where_the_subject_is_unclear(subject: object) -> None:
    assert envelope(changed(subject=subject)).subject is None


def test_a_subject_may_give_its_type_as_a_word_or_as_a_url() -> None:
    for type_ in ("Patient", "http://hl7.org/fhir/StructureDefinition/Patient"):
        assert envelope(changed(subject={**SUBJECT, "type": type_})).subject == "Patient/1"


@pytest.mark.parametrize("said", ["2026-01-05T11:00:00", "2026-01-05", "yesterday", 5])
def test_a_last_update_that_is_no_instant_is_none(said: object) -> None:
    assert envelope(changed(meta={"lastUpdated": said})).last_updated is None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*GOOD, "medication", "note"]), JSON))
def test_checking_and_filing_never_raise(members: dict[str, Any]) -> None:
    resource = GOOD | members
    assert isinstance(problems(resource), tuple)
    assert envelope(resource) == envelope(resource)


BASE = "https://ehr.example/fhir/r4"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("Patient/1", "1"),
        ("Patient/1/_history/2", "1"),
        ("https://ehr.example/fhir/r4/Patient/1", "1"),
        ("https://EHR.example:443/fhir/r4/Patient/1/_history/5", "1"),
        (None, None),
        ("", None),
        ("Patient", None),
        ("Patient/", None),
        ("Patient/..", None),
        ("Patient/1\r\nX-Evil: 1", None),
        ("Patient/1\n", None),
        ("Patient/1?x=1", None),
        ("Patient/1#a", None),
        ("Patient/" + "a" * 65, None),
        ("Practitioner/1", None),
        ("#p", None),
        ("urn:uuid:9d8e4c4e-0b0e-4f0e-8b0e-2b4d2a9d5b0a", None),
        ("http://ehr.example/fhir/r4/Patient/1", None),
        ("https://ehr.example:8443/fhir/r4/Patient/1", None),
        ("https://ehr.example:port/fhir/r4/Patient/1", None),
        ("https://ehr.example/fhir/r5/Patient/1", None),
        ("https://ehr.example/fhir/r4evil/Patient/1", None),
        ("https://ehr.example.attacker.example/fhir/r4/Patient/1", None),
        ("https://ehr.example@attacker.example/fhir/r4/Patient/1", None),
        ("https://user@ehr.example/fhir/r4/Patient/1", None),
        ("https://ehr.example/fhir/r4/../r4/Patient/1", None),
        ("https://ehr.example\\fhir/r4/Patient/1", None),
        ("file:///fhir/r4/Patient/1", None),
        ("//ehr.example/fhir/r4/Patient/1", None),
    ],
)
def test_only_a_patient_of_this_server_is_one(reference: str | None, expected: str | None) -> None:
    assert patient_id(reference, base_url=BASE) == expected
    assert patient_id(reference, base_url=BASE + "/") == expected


def test_other_types_are_found_the_same_way() -> None:
    assert local_id("Medication/5", "Medication", BASE) == "5"
    assert local_id("Medication/5", "Patient", BASE) is None


def test_a_reference_of_nothing_but_letters_is_read_once() -> None:
    letters = "Aa" * 50_000
    began = time.process_time()
    assert short(letters) == letters
    assert time.process_time() - began < 1


def test_a_reference_is_shortened_to_type_and_id() -> None:
    assert short("https://ehr.example/fhir/Location/5/_history/2") == "Location/5"
    assert short("Location/5") == "Location/5"
    assert short("#x") == "#x"


def test_a_contained_resource_is_found_by_its_id() -> None:
    resource = {"contained": [5, {"id": "a"}, {"id": "b", "code": {}}]}
    assert contained(resource, "#b") == {"id": "b", "code": {}}
    assert contained(resource, "#c") is contained(resource, "b") is contained(resource, None) is None
    assert contained({"contained": "x"}, "#b") is None
