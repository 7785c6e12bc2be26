"""Which resource of an input a reference names."""

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from afterdose.core.dose import DoseKey, Family
from afterdose.core.errors import BadInput
from afterdose.core.reasons import Reason
from afterdose.fhir.decode.announced import announcements
from afterdose.fhir.decode.dose import decode_dose
from afterdose.fhir.decode.offline import Pool, read
from builders import codes_for_tests

URN = "urn:uuid:0d9c6f3e-51f5-4b0c-9a3a-0b6f1d6f7c11"
BASE = "http://ehr.example/fhir"
ZONE = ZoneInfo("America/New_York")
CODES = codes_for_tests()
KETAMINE = {"coding": [{"system": "urn:test:drug", "code": "ketamine"}]}


def a_resource(type_: str, id: str | None = "1", **members: Any) -> dict[str, Any]:
    return {"resourceType": type_} | ({"id": id} if id is not None else {}) | members


def a_dose(**members: Any) -> dict[str, Any]:
    dose = a_resource("MedicationAdministration", "dose", status="completed", effectiveDateTime="2026-01-05T10:00:00Z")
    return dose | {"subject": {"reference": "Patient/1"}, "medicationCodeableConcept": KETAMINE} | members


def a_bundle(*entries: tuple[str | None, dict[str, Any]]) -> dict[str, Any]:
    listed = [({"fullUrl": url} if url else {}) | {"resource": resource} for url, resource in entries]
    return {"resourceType": "Bundle", "type": "collection", "entry": listed}


def pool_of(*resources: dict[str, Any]) -> Pool:
    return Pool(entry for resource in resources for entry in read(json.dumps(resource).encode()))


def subject_of(pool: Pool) -> str:
    (dose,) = pool.all("MedicationAdministration")
    subject: Any = dose["subject"]
    return str(subject["reference"])


@pytest.mark.parametrize(
    ("url", "reference", "found"),
    [
        (None, "Patient/1", "Patient/1"),
        (None, "Patient/1/_history/2", "Patient/1/_history/2"),
        (None, f"{BASE}/Patient/1", "Patient/1"),
        (None, f"{BASE}/Patient/1/_history/2", "Patient/1"),
        (None, f"{BASE}/Patient/2", f"{BASE}/Patient/2"),
        (f"{BASE}/Patient/1", f"{BASE}/Patient/1", "Patient/1"),
        (f"{BASE}/Patient/1", f"{BASE}/Patient/1/_history/2", "Patient/1"),
        (f"{BASE}/Patient/1", "http://other.example/fhir/Patient/1", "http://other.example/fhir/Patient/1"),
        (URN, URN, "Patient/1"),
        (URN, URN[:-1] + "2", URN[:-1] + "2"),
    ],
)
def test_a_reference_becomes_relative_where_the_input_has_what_it_names(
    url: str | None, reference: str, found: str
) -> None:
    entries = a_bundle((url, a_resource("Patient")), (None, a_dose(subject={"reference": reference})))
    assert subject_of(pool_of(entries)) == found


def test_a_dose_names_the_patient_of_its_own_server_although_the_input_does_not_hold_the_patient() -> None:
    dose = a_dose(subject={"reference": f"{BASE}/Patient/9"})
    assert subject_of(pool_of(a_bundle((f"{BASE}/MedicationAdministration/dose", dose)))) == "Patient/9"
    assert subject_of(pool_of(dose)) == f"{BASE}/Patient/9"


def test_a_resource_without_an_id_is_called_by_the_uuid_of_its_bundle() -> None:
    pool = pool_of(a_bundle((URN, a_resource("Patient", None)), (None, a_dose(subject={"reference": URN}))))
    assert subject_of(pool) == f"Patient/{URN.removeprefix('urn:uuid:')}"


def test_resources_of_several_files_and_of_nested_bundles_know_each_other() -> None:
    order = a_resource("MedicationRequest", "order", reasonCode=[{"coding": [{"system": "s", "code": "c"}]}])
    pool = pool_of(a_bundle((None, a_bundle((None, order)))), a_dose(request={"reference": "MedicationRequest/order"}))
    (dose,) = pool.all("MedicationAdministration")
    context = pool.context(dose, CODES, ZONE, until=datetime(2026, 1, 5, tzinfo=UTC))
    assert [coding.code for coding in context.request_reasons] == ["c"]


def test_only_problems_that_may_come_back_are_on_the_problem_list() -> None:
    def problem(id: str, status: str, patient: str = "1") -> dict[str, Any]:
        said = {"clinicalStatus": {"coding": [{"system": "s", "code": status}]}, "code": KETAMINE}
        return a_resource("Condition", id, subject={"reference": f"Patient/{patient}"}, **said)

    pool = pool_of(a_dose(), problem("a", "remission"), problem("b", "resolved"), problem("c", "active", "2"))
    (dose,) = pool.all("MedicationAdministration")
    assert len(pool.context(dose, CODES, ZONE, until=datetime(2026, 1, 5, tzinfo=UTC)).conditions) == 1


def test_a_condition_that_the_order_names_as_reason_is_one() -> None:
    order = a_resource("MedicationRequest", "order", reasonReference=[{"reference": "Condition/why"}])
    why = a_resource("Condition", "why", subject={"reference": "Patient/1"}, code=KETAMINE)
    pool = pool_of(order, why, a_dose(request={"reference": "MedicationRequest/order"}))
    (dose,) = pool.all("MedicationAdministration")
    context = pool.context(dose, CODES, ZONE, until=datetime(2026, 1, 5, tzinfo=UTC))
    assert [coding.code for coding in context.request_reasons] == ["ketamine"]


def test_a_medication_that_is_in_the_input_is_resolved_in_a_dose_and_in_an_order() -> None:
    medication = a_resource("Medication", "med", code=KETAMINE)
    named = {"medicationReference": {"reference": "Medication/med"}}
    dose = {name: value for name, value in (a_dose() | named).items() if name != "medicationCodeableConcept"}
    order = a_resource(
        "MedicationRequest", status="active", intent="order", subject={"reference": "Patient/1"}, **named
    )
    order["dosageInstruction"] = [{"timing": {"event": ["2026-01-08T15:00:00Z", "2026-01-09"]}}]
    pool = pool_of(medication, dose, order)
    (found,) = pool.all("MedicationAdministration")
    now = datetime(2026, 1, 5, 15, tzinfo=UTC)
    decoded = decode_dose(
        found,
        key=DoseKey("input", "dose"),
        patient="1",
        heard_at=now,
        codes=CODES,
        zone=ZONE,
        context=pool.context(found, CODES, ZONE, until=now),
    )
    assert decoded.drug.family is Family.KETAMINE
    assert Reason.MEDICATION_UNRESOLVED not in decoded.problems
    (told,) = announcements(pool, CODES, ZONE, source="input", heard_at=lambda _: now)
    assert told.patient == "1"
    assert [(one.at.isoformat(), one.family) for one in told.doses] == [("2026-01-08T15:00:00+00:00", Family.KETAMINE)]


def test_of_two_versions_the_newer_counts_and_without_a_date_the_later_in_the_input() -> None:
    dated = [
        a_resource("Patient", meta={"lastUpdated": f"2026-01-0{day}T00:00:00Z"}, gender=str(day)) for day in (2, 1)
    ]
    assert [one["gender"] for one in pool_of(*dated).all("Patient")] == ["2"]
    undated = [a_resource("Patient", gender=str(day)) for day in (2, 1)]
    assert [one["gender"] for one in pool_of(*undated).all("Patient")] == ["1"]


@pytest.mark.parametrize("text", ["{a}\n{b}\n", "\n{a}\r\n\r\n{b}", "{a}\n{b}"])
def test_lines_of_ndjson_may_be_empty_and_end_in_any_way(text: str) -> None:
    body = text.replace("{a}", '{"resourceType":"Patient","id":"a"}').replace(
        "{b}", '{"resourceType":"Patient","id":"b"}'
    )
    assert [entry.name for entry in read(body.encode())] == ["Patient/a", "Patient/b"]


def test_a_resource_over_several_lines_is_one_resource() -> None:
    assert len(read(json.dumps(a_dose(), indent=1).encode())) == 1


def test_every_problem_of_a_text_is_reported() -> None:
    with pytest.raises(BadInput) as refused:
        read(b'{"resourceType":"Patient","id":"a b"}\n{"resourceType":"Bundle","entry":[1,{"resource":{}}]}')
    assert [problem.path for problem in refused.value.problems] == [
        "line 1: Patient.id",
        "line 2: Bundle.entry[0]",
        "line 2: Bundle.entry[1].resource.resourceType",
    ]
