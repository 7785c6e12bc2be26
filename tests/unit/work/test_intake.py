"""What intake makes of the bytes it is given."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from afterdose.core.errors import BadInput
from afterdose.work.intake.bodies import BUNDLE_TYPES, Origin, deletion, receive

ORIGIN = Origin("mar", "ehr", "https://ehr.example.org/fhir")


def administration(id_: str = "d1", **elements: Any) -> dict[str, Any]:
    return {
        "resourceType": "MedicationAdministration",
        "id": id_,
        "meta": {"versionId": "3", "lastUpdated": "2026-01-05T16:00:00+01:00"},
        "status": "completed",
        "medicationCodeableConcept": {"text": "x"},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2026-01-05T10:00:00-05:00",
        **elements,
    }


def bundle(*entries: object, type_: str = "history") -> bytes:
    return json.dumps({"resourceType": "Bundle", "type": type_, "entry": list(entries)}).encode()


def full(id_: str = "d1", **elements: Any) -> dict[str, Any]:
    return {"resource": administration(id_, **elements)}


STATUS = {"resource": {"resourceType": "SubscriptionStatus", "type": "event-notification"}}
R4_STATUS = {
    "resource": {"resourceType": "Parameters", "parameter": [{"name": "type", "valueCode": "handshake"}]},
    "request": {"method": "GET", "url": "Subscription/1/$status"},
}


def test_a_resource_alone_is_kept_byte_for_byte() -> None:
    body = json.dumps(administration(), indent=3).encode()

    (arrival,) = receive(body, ORIGIN).arrivals

    assert arrival.raw == body
    assert (arrival.source, arrival.target, arrival.resource_id) == ("mar", "ehr", "d1")
    assert (arrival.patient, arrival.version, arrival.interaction, arrival.via) == ("p1", "3", "upsert", "push")
    assert arrival.last_updated == datetime(2026, 1, 5, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("reference", "patient"),
    [("https://ehr.example.org/fhir/Patient/p2", "p2"), ("https://other.example.org/fhir/Patient/p2", None)],
)
def test_only_a_patient_of_this_server_is_a_patient(reference: str, patient: str | None) -> None:
    body = json.dumps(administration(subject={"reference": reference})).encode()

    assert receive(body, ORIGIN).arrivals[0].patient == patient


def test_a_resource_without_an_id_is_refused() -> None:
    body = administration()
    del body["id"]

    with pytest.raises(BadInput) as refused:
        receive(json.dumps(body).encode(), ORIGIN)

    assert [(p.code, p.path) for p in refused.value.problems] == [("required", "MedicationAdministration.id")]


def test_the_id_of_the_url_must_be_the_resources() -> None:
    body = json.dumps(administration()).encode()

    assert receive(body, ORIGIN, expected_id="d1").arrivals
    with pytest.raises(BadInput):
        receive(body, ORIGIN, expected_id="d2")
    with pytest.raises(BadInput):
        receive(bundle(full()), ORIGIN, expected_id="d1")


@pytest.mark.parametrize("type_", sorted(BUNDLE_TYPES))
def test_every_administration_of_a_bundle_is_taken_whatever_its_type(type_: str) -> None:
    reception = receive(bundle(full("d1"), full("d2"), type_=type_), ORIGIN)

    assert [arrival.resource_id for arrival in reception.arrivals] == ["d1", "d2"]
    assert reception.bundle_type == type_


@pytest.mark.parametrize("type_", ["document", "batch-response", "", None, 7])
def test_other_bundles_are_refused(type_: object) -> None:
    with pytest.raises(BadInput):
        receive(json.dumps({"resourceType": "Bundle", "type": type_, "entry": [full()]}).encode(), ORIGIN)


@pytest.mark.parametrize("status", [STATUS, R4_STATUS])
def test_the_cover_sheet_of_a_notification_is_no_event(status: dict[str, Any]) -> None:
    assert len(receive(bundle(status, full()), ORIGIN).arrivals) == 1


def test_a_bundle_without_entries_comes_to_nothing() -> None:
    assert receive(b'{"resourceType":"Bundle","type":"history"}', ORIGIN).entries == ()


def test_an_entry_keeps_the_digits_of_its_numbers() -> None:
    body = bundle(full()).replace(b'"completed"', b'"completed", "dosage": {"dose": {"value": 35.00}}')

    assert b'"value":35.00' in receive(body, ORIGIN).arrivals[0].raw


@pytest.mark.parametrize(
    "entry",
    [
        {"request": {"method": "DELETE", "url": "MedicationAdministration/d9"}},
        {"request": {"method": "DELETE", "url": "https://ehr.example.org/fhir/MedicationAdministration/d9"}},
        {"request": {"method": "DELETE", "url": "https://inside.example.org/r4/MedicationAdministration/d9"}},
    ],
)
def test_an_entry_can_say_that_a_dose_was_deleted(entry: dict[str, Any]) -> None:
    (arrival,) = receive(bundle(entry), ORIGIN).arrivals

    assert (arrival.resource_id, arrival.interaction, arrival.raw, arrival.patient) == ("d9", "delete", b"", None)


def test_a_broken_entry_is_kept_apart_from_the_good_ones() -> None:
    reception = receive(bundle(STATUS, full("d1"), full("d2", status="done")), ORIGIN)

    assert [arrival.resource_id for arrival in reception.arrivals] == ["d1"]
    broken = reception.entries[2]
    assert json.loads(broken.refused)["resource"]["id"] == "d2"
    assert [(p.code, p.path) for p in broken.problems] == [("code-invalid", "Bundle.entry[2].resource.status")]


def test_a_bundle_in_which_everything_is_broken_is_refused_as_a_whole() -> None:
    with pytest.raises(BadInput) as refused:
        receive(bundle(STATUS, full(status="done"), "nonsense"), ORIGIN)

    assert [p.path for p in refused.value.problems] == ["Bundle.entry[1].resource.status", "Bundle.entry[2]"]


@pytest.mark.parametrize(
    "entry",
    [
        {"fullUrl": "https://ehr.example.org/fhir/MedicationAdministration/d2", **full("d1")},
        {"request": {"method": "PUT", "url": "MedicationAdministration/d2"}, **full("d1")},
        {"fullUrl": "https://ehr.example.org/fhir/MedicationAdministration/d1"},
        {"request": {"method": "PUT", "url": "MedicationAdministration/d1"}},
        {"request": "PUT", **full("d1")},
        {"resource": {"resourceType": ["MedicationAdministration"], "id": "d1"}},
        {"resource": {"resourceType": {}, "id": "d1"}},
    ],
)
def test_an_entry_that_contradicts_itself_or_lacks_its_resource_is_refused(entry: dict[str, Any]) -> None:
    reception = receive(bundle(full("good"), entry), ORIGIN)

    assert [arrival.resource_id for arrival in reception.arrivals] == ["good"]
    assert reception.entries[1].refused


def test_an_entry_of_another_type_is_reported_and_not_kept() -> None:
    reception = receive(bundle(full(), {"resource": {"resourceType": "Practitioner", "id": "p1"}}), ORIGIN)

    assert reception.entries[1].problems[0].code == "not-supported"
    assert reception.entries[1].refused == b""


def test_a_urn_as_full_url_says_nothing_about_the_id() -> None:
    assert receive(bundle({"fullUrl": "urn:uuid:b21e4fae-ce73-45cb-8e37-1e203362b2ae", **full()}), ORIGIN).arrivals


@pytest.mark.parametrize("body", [b"", b" \n", b"[]", b"[" * 50_000, b"7", b"null", b'"x"', b"{}", b"\xef\xbb\xbf{}"])
def test_what_is_no_resource_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput):
        receive(body, ORIGIN)


@pytest.mark.parametrize("id_", ["", "..", "a/b", "a b", "x" * 65, "ä"])
def test_a_deletion_needs_a_possible_id(id_: str) -> None:
    with pytest.raises(BadInput):
        deletion(ORIGIN, "MedicationAdministration", id_)


def test_an_order_is_taken_like_a_dose() -> None:
    order = {
        "resourceType": "MedicationRequest",
        "id": "o1",
        "meta": {"versionId": "2"},
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/p1"},
    }

    (arrival,) = receive(json.dumps(order).encode(), ORIGIN).arrivals

    assert (arrival.resource_type, arrival.resource_id) == ("MedicationRequest", "o1")
    assert (arrival.patient, arrival.version) == ("p1", "2")


def test_the_type_of_the_url_must_be_the_resources() -> None:
    body = json.dumps(administration()).encode()

    assert receive(body, ORIGIN, expected_type="MedicationAdministration", expected_id="d1").arrivals
    with pytest.raises(BadInput):
        receive(body, ORIGIN, expected_type="Encounter", expected_id="d1")


def test_an_entry_whose_url_names_another_type_is_refused() -> None:
    entry = {"request": {"method": "PUT", "url": "Encounter/d1"}, **full("d1")}

    assert receive(bundle(full("good"), entry), ORIGIN).entries[1].refused


def test_a_deleted_person_is_the_patient_and_a_deleted_order_is_nobodys_yet() -> None:
    assert deletion(ORIGIN, "Patient", "p1").patient == "p1"
    assert deletion(ORIGIN, "MedicationRequest", "o1").patient is None


def test_a_bundle_may_mix_what_is_taken() -> None:
    visit = {
        "resourceType": "Appointment",
        "id": "v1",
        "status": "booked",
        "participant": [{"actor": {"reference": "Patient/p1"}, "status": "accepted"}],
    }
    deleted = {"request": {"method": "DELETE", "url": "https://ehr.example.org/fhir/ServiceRequest/s1"}}

    reception = receive(bundle(full(), {"resource": visit}, deleted), ORIGIN)

    assert [(one.resource_type, one.resource_id) for one in reception.arrivals] == [
        ("MedicationAdministration", "d1"),
        ("Appointment", "v1"),
        ("ServiceRequest", "s1"),
    ]


def test_what_is_wrong_in_an_order_is_told_with_its_place() -> None:
    order = {"resourceType": "ServiceRequest", "id": "o1", "status": "open", "intent": "order", "subject": {"a": "b"}}

    with pytest.raises(BadInput) as refused:
        receive(bundle({"resource": order}), ORIGIN)

    assert [problem.path for problem in refused.value.problems] == [
        "Bundle.entry[0].resource.status",
        "Bundle.entry[0].resource.subject",
    ]
