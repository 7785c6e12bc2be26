"""What the web part keeps of the numbers and the signs of life of topic-based notifications."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from afterdose.settings import load_settings
from afterdose.store.subscriptions import SubscriptionRow
from web_server import OPERATIONS, TOKEN, Web, open_web, write_settings

EXAMPLES = Path(__file__).parents[2] / "wire"
MOMENT = "2026-01-05T10:{:02}:00Z"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with open_web(tmp_path) as opened:
        yield opened


def send(web: Web, body: object) -> TestResponse:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return web.client.post("/fhir", data=data, headers=headers, content_type="application/fhir+json")


def r4(type_: str, count: object, *events: tuple[object, str | None], subscription: str = "Subscription/s1") -> Any:
    """A notification as the back-port to R4 has it."""
    told = [
        {
            "name": "notification-event",
            "part": [
                {"name": "event-number", "valueString" if isinstance(number, str) else "valueInteger": number},
                {"name": "timestamp", "valueInstant": MOMENT.format(int(str(number)))},
                *([{"name": "focus", "valueReference": {"reference": focus}}] if focus else []),
            ],
        }
        for number, focus in events
    ]
    head = [
        {"name": "subscription", "valueReference": {"reference": subscription}},
        {"name": "status", "valueCode": "active"},
        {"name": "type", "valueCode": type_},
        {"name": "events-since-subscription-start", "valueString": str(count)},
    ]
    status = {"resourceType": "Parameters", "parameter": [*head, *told]}
    return {"resourceType": "Bundle", "type": "history", "entry": [{"resource": status}]}


def r5(type_: str, count: object, *events: tuple[object, str | None]) -> Any:
    """The same as R4B and R5 have it."""
    told = [
        {
            "eventNumber": number,
            "timestamp": MOMENT.format(int(str(number))),
            **({"focus": {"reference": focus}} if focus else {}),
        }
        for number, focus in events
    ]
    status = {
        "resourceType": "SubscriptionStatus",
        "status": "active",
        "type": type_,
        "eventsSinceSubscriptionStart": count,
        "subscription": {"reference": "https://ehr.example.org/fhir/Subscription/s1"},
        "notificationEvent": told,
    }
    return {"resourceType": "Bundle", "type": "subscription-notification", "entry": [{"resource": status}]}


def kept(web: Web) -> SubscriptionRow:
    (row,) = web.store.subscriptions.all()
    assert (row.source, row.id) == ("ehr", "s1")
    return row


@pytest.mark.parametrize("shape", [r4, r5])
@pytest.mark.parametrize("kind", [str, int])
def test_numbers_are_kept_whether_they_come_as_text_or_as_numbers(web: Web, shape: Any, kind: Any) -> None:
    assert send(web, shape("handshake", kind(0))).status_code == 200
    send(web, shape("event-notification", kind(1), (kind(1), "MedicationAdministration/d1")))
    send(web, shape("event-notification", kind(4), (kind(4), "MedicationAdministration/d4")))

    row = kept(web)
    assert row.numbering is not None
    assert (row.numbering.reached, row.numbering.missing, row.status) == (1, (2, 3), "active")
    assert row.gap_at is not None


def test_a_heartbeat_says_that_the_sender_lives_and_how_many_events_there_were(web: Web) -> None:
    send(web, r4("event-notification", 1, (1, "MedicationAdministration/d1")))
    before = kept(web).heard_at
    send(web, r4("heartbeat", 3))

    row = kept(web)
    assert row.numbering is not None
    assert row.numbering.missing == (2, 3)
    assert before is not None
    assert row.heard_at is not None
    assert row.heard_at > before


def test_the_examples_of_the_guide_are_counted(web: Web) -> None:
    for name in ("handshake", "id-only", "heartbeat", "full-resource"):
        body = (EXAMPLES / "backport" / f"backport-r4-notification-{name}.json").read_bytes()
        assert send(web, body.replace(b"Encounter", b"MedicationAdministration")).status_code in (200, 400)

    (row,) = web.store.subscriptions.all()
    assert row.numbering is not None
    assert (row.id, row.numbering.exists) == ("admission", 2)


def test_events_that_are_not_named_are_remembered_by_their_numbers(web: Web) -> None:
    send(web, r4("handshake", 0))
    answer = send(web, r4("event-notification", 2, (1, None), (2, None)))

    assert answer.status_code == 200
    assert kept(web).unnamed == 1


def test_a_subscription_that_cannot_be_one_is_not_kept(web: Web) -> None:
    for name in ("Subscription/../x", "Patient/1", "urn:uuid:0", "Subscription/" + "x" * 65):
        send(web, r4("heartbeat", 1, subscription=name))

    assert web.store.subscriptions.all() == []


def test_of_a_server_that_numbers_deliveries_only_the_signs_of_life_are_kept(tmp_path: Path) -> None:
    path = write_settings(tmp_path)
    path.write_text(path.read_text().replace('clinic = "example"', 'clinic = "example"\nehr = "hapi"'))
    with open_web(tmp_path, load_settings(path, {})) as web:
        send(web, r4("event-notification", 1, (1, "MedicationAdministration/d1")))
        send(web, r4("event-notification", 9, (9, "MedicationAdministration/d1")))

        row = kept(web)
        assert (row.numbering, row.gap_at) == (None, None)
        assert row.heard_at is not None
        assert send(web, r4("event-notification", 10, (10, None))).status_code == 400


def test_what_is_wrong_with_a_subscription_is_shown_and_leaves_the_server_ready(web: Web) -> None:
    send(web, r4("handshake", 0))
    headers = {"Authorization": f"Bearer {OPERATIONS}"}
    answer = web.client.get("/readyz", headers=headers)
    told = answer.get_json()
    assert (answer.status_code, told["degraded"]) == (200, False)
    assert web.counted('afterdose_subscriptions_troubled{source="ehr"} 0.0')

    web.store.subscriptions.trouble("ehr", "s1", {"off": datetime(2026, 1, 5, 10, tzinfo=UTC)})
    answer = web.client.get("/readyz", headers=headers)
    told = answer.get_json()
    assert (answer.status_code, told["degraded"]) == (200, True)
    (one,) = told["subscriptions"]
    assert (one["source"], one["status"], one["polled"]) == ("ehr", "active", False)
    assert one["troubles"] == {"off": "2026-01-05T10:00:00Z"}
    assert web.counted('afterdose_subscriptions_troubled{source="ehr"} 1.0')


def test_what_is_only_named_is_on_disk_before_the_answer(web: Web) -> None:
    answer = send(web, r4("event-notification", 2, (1, "MedicationRequest/o1"), (2, "Encounter/e1")))

    assert answer.status_code == 200
    assert [(one.resource_type, one.resource_id) for one in web.store.unread.due("ehr", 9)] == [
        ("Encounter", "e1"),
        ("MedicationRequest", "o1"),
    ]


def test_what_hapi_sends_for_a_topic_is_a_hint_and_its_number_is_not_counted(tmp_path: Path) -> None:
    recorded = json.loads((EXAMPLES / "hapi" / "topic-r4-id-only" / "request.json").read_text())
    path = write_settings(tmp_path)
    path.write_text(path.read_text().replace('clinic = "example"', 'clinic = "example"\nehr = "hapi"'))
    with open_web(tmp_path, load_settings(path, {})) as web:
        for _ in range(2):
            assert send(web, recorded["body"].encode()).get_json(force=True)["resourceType"] == "Bundle"

        fact = web.store.facts.latest("ehr", "d0")
        (row,) = web.store.subscriptions.all()
    assert fact is not None
    assert fact.interaction == "hint"
    assert (row.id, row.status, row.numbering) == ("1004", "active", None)
