"""What is taken beside administrations, and whose it is."""

from typing import Any

import pytest

from afterdose.fhir.decode.accepted import TYPES, patient_of, problems

BASE = "https://ehr.example.org/fhir"
SUBJECT = {"reference": "Patient/p1"}
GOOD: dict[str, dict[str, Any]] = {
    "Appointment": {"status": "booked", "participant": [{"actor": SUBJECT, "status": "accepted"}]},
    "CarePlan": {"status": "active", "intent": "plan", "subject": SUBJECT},
    "Encounter": {"status": "finished", "class": {"code": "AMB"}, "subject": SUBJECT},
    "MedicationAdministration": {
        "status": "completed",
        "medicationCodeableConcept": {"text": "x"},
        "subject": SUBJECT,
        "effectiveDateTime": "2026-01-05T10:00:00Z",
    },
    "MedicationRequest": {"status": "active", "intent": "order", "subject": SUBJECT},
    "Patient": {"birthDate": "1980-02"},
    "ServiceRequest": {"status": "active", "intent": "order", "subject": SUBJECT},
    "Task": {"status": "requested", "intent": "order", "for": SUBJECT},
}


def resource(type_: str, **elements: Any) -> dict[str, Any]:
    made = {"resourceType": type_, "id": "p1", **GOOD[type_], **elements}
    return {name: value for name, value in made.items() if value is not ...}


def found(type_: str, **elements: Any) -> list[tuple[str, str]]:
    return [(problem.code, problem.path) for problem in problems(resource(type_, **elements))]


def test_every_type_that_is_taken_has_an_example_here() -> None:
    assert set(GOOD) == TYPES


@pytest.mark.parametrize("type_", sorted(TYPES))
def test_a_whole_resource_is_taken_and_is_its_patients(type_: str) -> None:
    assert found(type_) == []
    assert patient_of(resource(type_), base_url=BASE) == (None if type_ == "Task" else "p1")  # it is looked up


@pytest.mark.parametrize("type_", sorted(TYPES))
@pytest.mark.parametrize(
    ("elements", "problem"),
    [
        ({"id": "a b"}, ("value", "id")),
        ({"note": None}, ("structure", "note")),
        ({"note": []}, ("structure", "note")),
        ({"note": [{}]}, ("structure", "note[0]")),
        ({"language": ""}, ("value", "language")),
        ({"meta": "x"}, ("structure", "meta")),
        ({"meta": {"versionId": 7}}, ("value", "meta.versionId")),
    ],
)
def test_what_fhir_never_has_is_refused(type_: str, elements: dict[str, Any], problem: tuple[str, str]) -> None:
    assert (problem[0], f"{type_}.{problem[1]}") in found(type_, **elements)


@pytest.mark.parametrize("type_", sorted(TYPES - {"Patient"}))
@pytest.mark.parametrize(("status", "code"), [(..., "required"), ("final", "code-invalid"), (7, "value")])
def test_a_status_is_required_and_one_of_its_codes(type_: str, status: object, code: str) -> None:
    assert (code, f"{type_}.status") in found(type_, status=status)


@pytest.mark.parametrize("type_", ["MedicationRequest", "ServiceRequest"])
def test_a_request_says_what_is_intended_and_for_whom(type_: str) -> None:
    assert found(type_, intent=...) == [("required", f"{type_}.intent")]
    assert found(type_, subject=...) == [("required", f"{type_}.subject")]
    assert found(type_, subject={"display": "Ann"}) == [("required", f"{type_}.subject")]


@pytest.mark.parametrize(
    ("participant", "problem"),
    [
        (..., ("required", "Appointment.participant")),
        ({"actor": SUBJECT}, ("structure", "Appointment.participant")),
        (["x"], ("structure", "Appointment.participant[0]")),
        ([{"actor": "Patient/p1"}], ("structure", "Appointment.participant[0].actor")),
        ([{"actor": {"reference": 7}}], ("value", "Appointment.participant[0].actor.reference")),
    ],
)
def test_an_appointment_says_who_takes_part(participant: object, problem: tuple[str, str]) -> None:
    assert found("Appointment", participant=participant) == [problem]


@pytest.mark.parametrize(
    ("type_", "element"),
    [
        ("Appointment", "start"),
        ("Appointment", "end"),
        ("Patient", "birthDate"),
        ("Patient", "deceasedDateTime"),
        ("ServiceRequest", "occurrenceDateTime"),
    ],
)
def test_a_time_that_is_read_has_to_be_one(type_: str, element: str) -> None:
    assert found(type_, **{element: "2026-02-30"}) == [("value", f"{type_}.{element}")]


@pytest.mark.parametrize(
    ("said", "code"), [("Observation", "invalid"), ("patient", "structure"), (None, "structure"), (7, "structure")]
)
def test_other_types_are_refused(said: object, code: str) -> None:
    assert [one.code for one in problems({"resourceType": said, "id": "1"})] == [code]


def test_nothing_but_an_object_is_a_resource() -> None:
    assert [one.code for one in problems(["Patient"])] == ["structure"]


def test_an_encounter_may_be_nobodys() -> None:
    assert found("Encounter", subject=...) == []
    assert patient_of(resource("Encounter", subject=...), base_url=BASE) is None


def test_the_first_patient_of_a_visit_counts_wherever_he_stands_in_it() -> None:
    people = [{"reference": "Practitioner/x"}, {"reference": f"{BASE}/Patient/p2"}, SUBJECT]
    visit = resource("Appointment", participant=[{"actor": one} for one in people])

    assert patient_of(visit, base_url=BASE) == "p2"


@pytest.mark.parametrize(
    "actor", [{"reference": "https://other.example.org/Patient/p1"}, {"reference": "Patient/p1", "type": "Group"}, {}]
)
def test_nobody_else_is_taken_for_the_patient(actor: dict[str, Any]) -> None:
    assert patient_of(resource("ServiceRequest", subject=actor), base_url=BASE) is None


def test_a_place_of_a_visit_may_be_no_more_than_a_name() -> None:
    people = [{"actor": SUBJECT, "status": "accepted"}, {"actor": {"display": "Room 4"}, "status": "accepted"}]

    assert found("Appointment", participant=people) == []


def test_a_visit_in_the_spelling_of_r5_has_a_subject() -> None:
    visit = resource("Appointment", participant=[{"actor": {"reference": "Practitioner/x"}}], subject=SUBJECT)

    assert patient_of(visit, base_url=BASE) == "p1"
