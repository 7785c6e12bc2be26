"""What intake makes of topic-based notifications: the examples of the Backport guide, and what servers do besides."""

import json
from pathlib import Path
from typing import Any

import pytest

from afterdose.core.errors import BadInput
from afterdose.store.rows import Arrival
from afterdose.work.intake.bodies import Origin, Reception, receive

EXAMPLES = Path(__file__).parents[2] / "wire" / "backport"
ORIGIN = Origin("mar", "ehr", "https://example.org/fhir")
UNREADABLE = Origin("mar", "ehr", "https://example.org/fhir", readable=False)
POLLED = Origin("mar", "ehr", "https://example.org/fhir", polled=True)
SUBSCRIPTION = {"reference": "https://example.org/fhir/Subscription/1"}
ID = "86009987-eabe-42bf-8c02-b112b18cb616"


def example(name: str) -> bytes:
    return (EXAMPLES / f"backport-{name}.json").read_bytes()


def of_doses(name: str) -> bytes:
    return example(name).replace(b"Encounter", b"MedicationAdministration")


def r4(*focuses: str | None, type_: str = "event-notification") -> dict[str, Any]:
    """The cover sheet as HAPI writes it: the timestamp is a date, numbers are text."""
    events = [
        {
            "name": "notification-event",
            "part": [
                {"name": "event-number", "valueString": str(number)},
                {"name": "timestamp", "valueDate": "2026-01-05T15:00:00Z"},
                {"name": "related-query", "part": [{"name": "query", "valueString": "x"}]},
                *([{"name": "focus", "valueReference": {"reference": focus}}] if focus else []),
            ],
        }
        for number, focus in enumerate(focuses, 1)
    ]
    head = [{"name": "subscription", "valueReference": SUBSCRIPTION}, {"name": "type", "valueCode": type_}]
    return {"resource": {"resourceType": "Parameters", "parameter": [*head, *events]}}


def r5(*focuses: str | None, type_: str = "event-notification") -> dict[str, Any]:
    """The same as R4B and R5 have it, with a member of athenahealth's own."""
    events = [
        {"eventNumber": str(number), **({"focus": {"reference": focus}} if focus else {})}
        for number, focus in enumerate(focuses, 1)
    ]
    resource = {"resourceType": "SubscriptionStatus", "type": type_, "subscription": SUBSCRIPTION}
    return {"resource": {**resource, "eventsInNotification": len(events), "notificationEvent": events}}


def bundle(*entries: object, type_: str = "history") -> bytes:
    return json.dumps({"resourceType": "Bundle", "type": type_, "entry": list(entries)}).encode()


def dose(id_: str, **elements: Any) -> dict[str, Any]:
    resource = {
        "resourceType": "MedicationAdministration",
        "id": id_,
        "status": "completed",
        "medicationCodeableConcept": {"text": "x"},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2026-01-05T10:00:00Z",
    }
    return {"resource": {**resource, **elements}}


def told(reception: Reception) -> list[tuple[str, str]]:
    return [(arrival.resource_id, arrival.interaction) for arrival in reception.arrivals]


@pytest.mark.parametrize("name", ["r4-notification-handshake", "r4-notification-heartbeat"])
def test_a_handshake_and_a_heartbeat_are_taken_and_tell_nothing(name: str) -> None:
    reception = receive(example(name), ORIGIN)

    assert told(reception) == []
    assert [entry.problems for entry in reception.entries] == [()]


def test_a_dose_that_is_only_named_is_a_hint() -> None:
    (arrival,) = receive(of_doses("r4-notification-id-only"), ORIGIN).arrivals

    hint = Arrival(source="mar", resource_id=ID, target="ehr", patient=None, interaction="hint")
    assert arrival == hint


@pytest.mark.parametrize("name", ["r4-notification-full-resource", "r4b-notification-full-resource"])
def test_what_is_carried_needs_no_hint(name: str) -> None:
    (arrival,) = receive(example(name), ORIGIN).arrivals

    assert (arrival.resource_type, arrival.resource_id, arrival.interaction) == ("Encounter", ID, "upsert")


@pytest.mark.parametrize("cover", [r4, r5])
@pytest.mark.parametrize("type_", ["history", "subscription-notification", "transaction", "collection"])
def test_one_notification_tells_of_several_events(cover: Any, type_: str) -> None:
    focuses = (
        "MedicationAdministration/d1",
        "https://inside.example.org/r4/MedicationAdministration/d2/_history/3",
        "MedicationAdministration/d1",
        "MedicationAdministration/d3",
        "MedicationAdministration/d4",
    )
    named = {"fullUrl": "https://example.org/fhir/MedicationAdministration/d2"}
    asked = {"request": {"method": "PUT", "url": "MedicationAdministration/d5"}}
    gone = {"request": {"method": "DELETE", "url": "MedicationAdministration/d4"}}

    reception = receive(bundle(cover(*focuses), named, asked, dose("d3"), gone, type_=type_), ORIGIN)

    assert told(reception) == [("d3", "upsert"), ("d4", "delete"), ("d1", "hint"), ("d2", "hint"), ("d5", "hint")]
    assert len(reception.entries) == 5
    assert not any(entry.problems for entry in reception.entries)


@pytest.mark.parametrize("cover", [r4, r5])
def test_events_of_which_nothing_is_named_are_refused_and_not_lost_in_silence(cover: Any) -> None:
    for events in ((), (None,), (None, None)):
        with pytest.raises(BadInput):
            receive(bundle(cover(*events)), ORIGIN)

    assert told(receive(bundle(cover(None), dose("d1")), ORIGIN)) == [("d1", "upsert")]
    assert told(receive(bundle(cover(type_="heartbeat")), ORIGIN)) == []


@pytest.mark.parametrize("cover", [r4, r5])
def test_what_is_not_named_is_for_the_poll_where_there_is_one(cover: Any) -> None:
    assert receive(bundle(cover(None)), POLLED).unnamed
    assert not receive(bundle(cover(None), dose("d1")), POLLED).unnamed
    assert not receive(bundle(cover(type_="heartbeat")), POLLED).unnamed
    assert not receive(bundle(cover("MedicationAdministration/d1")), POLLED).unnamed


def test_a_source_that_cannot_be_read_has_to_carry_its_doses() -> None:
    with pytest.raises(BadInput) as refused:
        receive(bundle(r4("MedicationAdministration/d1")), UNREADABLE)

    assert [problem.path for problem in refused.value.problems] == ["Bundle.entry[0]"]
    reception = receive(bundle(r4("MedicationAdministration/d1"), dose("d2")), UNREADABLE)
    assert told(reception) == [("d2", "upsert")]
    assert reception.entries[0].refused


@pytest.mark.parametrize("cover", [r4, r5])
@pytest.mark.parametrize("type_", ["Appointment", "Encounter", "MedicationRequest", "Patient", "ServiceRequest"])
def test_what_a_plan_depends_on_and_is_only_named_is_to_be_read(cover: Any, type_: str) -> None:
    reception = receive(bundle(cover(f"{type_}/x1", f"https://ehr.example.org/{type_}/x2", f"{type_}/x1")), ORIGIN)

    assert reception.unread == ((type_, "x1"), (type_, "x2"))
    assert [entry.problems for entry in reception.entries] == [()]
    unreadable = receive(bundle(cover(f"{type_}/x1")), UNREADABLE)
    assert unreadable.unread == ()
    deleted = {"request": {"method": "DELETE", "url": f"{type_}/x1"}}
    assert receive(bundle(cover(f"{type_}/x1"), deleted), ORIGIN).unread == ()


@pytest.mark.parametrize("focus", ["Observation/o1", "AuditEvent/a1", "MedicationAdministration/..", "urn:uuid:1"])
def test_other_things_that_are_only_named_are_reported_and_not_kept(focus: str) -> None:
    reception = receive(bundle(r5(focus)), ORIGIN)

    assert told(reception) == []
    assert [entry.problems[0].code for entry in reception.entries] == ["not-supported"]
    assert not reception.entries[0].refused


def test_a_dose_that_is_carried_broken_is_kept_apart_and_not_asked_for() -> None:
    reception = receive(bundle(r4("MedicationAdministration/d1"), dose("d1", status="done"), dose("d2")), ORIGIN)

    assert told(reception) == [("d2", "upsert")]
    assert reception.entries[1].refused


@pytest.mark.parametrize(
    "cover",
    [
        {"resourceType": "SubscriptionStatus", "type": 7, "notificationEvent": "x"},
        {"resourceType": "SubscriptionStatus", "type": "event-notification", "notificationEvent": [{"focus": []}, 3]},
        {
            "resourceType": "Parameters",
            "parameter": [{"name": "type", "valueCode": []}, {"name": "notification-event"}],
        },
        {"resourceType": "Parameters", "parameter": {"name": "notification-event", "part": [{"name": "focus"}]}},
    ],
)
def test_a_cover_sheet_of_other_shapes_hides_no_dose_beside_it(cover: dict[str, Any]) -> None:
    assert told(receive(bundle({"resource": cover}, dose("d1")), ORIGIN)) == [("d1", "upsert")]
