"""How the sandbox notifies: in HAPI's shapes, in order, with a few retries, and never by way of a redirect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests

from afterdose.sandbox import SandboxEHR, faults

SEND_DELETES = "http://hapifhir.io/fhir/StructureDefinition/subscription-send-delete-messages"
DOSE = {
    "resourceType": "MedicationAdministration",
    "status": "completed",
    "subject": {"reference": "Patient/p"},
    "medicationCodeableConcept": {"text": "ketamine"},
}


@pytest.fixture
def ehr() -> Iterator[SandboxEHR]:
    with SandboxEHR(retry_delays=(0.01, 0.01)) as sandbox:
        yield sandbox


def subscription(endpoint: str, **channel: Any) -> dict[str, Any]:
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "test",
        "criteria": "MedicationAdministration?status=completed",
        "channel": {"type": "rest-hook", "endpoint": endpoint, **channel},
    }


def test_a_requested_subscription_is_active_once_created(ehr: SandboxEHR, subscriber: Any) -> None:
    assert ehr.create(subscription(subscriber.url))["status"] == "active"


def test_without_a_payload_the_notification_is_an_empty_post_to_the_endpoint_itself(
    ehr: SandboxEHR, subscriber: Any, eventually: Any
) -> None:
    ehr.create(subscription(subscriber.url))
    ehr.create(DOSE)
    eventually(lambda: subscriber.received)
    assert [(got.method, got.path, got.body) for got in subscriber.received] == [("POST", "/hook", b"")]


def test_versions_arrive_in_the_order_in_which_they_were_written(
    ehr: SandboxEHR, subscriber: Any, eventually: Any
) -> None:
    ehr.create(subscription(subscriber.url, payload="application/fhir+json"))
    for number in range(20):
        ehr.put({**DOSE, "id": "d", "note": [{"text": str(number)}]})
    eventually(lambda: len(subscriber.received) == 20)
    assert [json.loads(got.body)["meta"]["versionId"] for got in subscriber.received] == [
        str(number) for number in range(1, 21)
    ]
    assert {got.path for got in subscriber.received} == {"/hook/MedicationAdministration/d"}
    assert subscriber.received[0].headers["if-match"] == '"1"'


def test_what_does_not_match_the_criteria_is_not_sent(ehr: SandboxEHR, subscriber: Any, eventually: Any) -> None:
    ehr.create(subscription(subscriber.url, payload="application/fhir+json"))
    ehr.put({**DOSE, "id": "unheard", "status": "in-progress"})
    ehr.put({"resourceType": "Patient", "id": "p"})
    ehr.put({**DOSE, "id": "heard"})
    eventually(lambda: subscriber.received)
    assert [got.path for got in subscriber.received] == ["/hook/MedicationAdministration/heard"]


def test_a_deletion_is_sent_where_the_extension_asks_for_it(ehr: SandboxEHR, subscriber: Any, eventually: Any) -> None:
    extension = [{"url": SEND_DELETES, "valueBoolean": True}]
    ehr.create(subscription(subscriber.url, payload="application/fhir+json", extension=extension))
    ehr.put({**DOSE, "id": "d"})
    ehr.delete("MedicationAdministration", "d")
    eventually(lambda: len(subscriber.received) == 2)
    last = subscriber.received[1]
    assert (last.method, last.path, last.body) == ("DELETE", "/hook/MedicationAdministration/d", b"")


def test_a_deletion_is_not_sent_unasked(ehr: SandboxEHR, subscriber: Any, eventually: Any) -> None:
    ehr.create(subscription(subscriber.url, payload="application/fhir+json"))
    ehr.put({**DOSE, "id": "d"})
    ehr.delete("MedicationAdministration", "d")
    ehr.put({**DOSE, "id": "next"})
    eventually(lambda: len(subscriber.received) == 2)
    assert [got.method for got in subscriber.received] == ["PUT", "PUT"]


def test_a_refused_notification_is_sent_again_and_then_given_up(
    ehr: SandboxEHR, subscriber: Any, eventually: Any
) -> None:
    subscriber.answers += [(503, {})] * 3
    ehr.create(subscription(subscriber.url, payload="application/fhir+json"))
    ehr.put({**DOSE, "id": "lost"})
    ehr.put({**DOSE, "id": "next"})
    eventually(lambda: len(ehr.deliveries) == 4)
    assert [delivery.result for delivery in ehr.deliveries] == [503, 503, 503, 200]
    assert [got.path.rpartition("/")[2] for got in subscriber.received] == ["lost", "lost", "lost", "next"]


def test_a_redirect_is_not_followed(ehr: SandboxEHR, subscriber: Any, eventually: Any) -> None:
    subscriber.answers += [(302, {"Location": "/elsewhere"})]
    ehr.create(subscription(subscriber.url, payload="application/fhir+json"))
    ehr.put({**DOSE, "id": "d"})
    eventually(lambda: len(ehr.deliveries) == 2)
    assert {got.path for got in subscriber.received} == {"/hook/MedicationAdministration/d"}


def test_a_subscription_that_is_off_or_deleted_is_silent(ehr: SandboxEHR, subscriber: Any, eventually: Any) -> None:
    off = ehr.create(subscription(f"{subscriber.url}/off", payload="application/fhir+json"))
    gone = ehr.create(subscription(f"{subscriber.url}/gone", payload="application/fhir+json"))
    ehr.create(subscription(f"{subscriber.url}/on", payload="application/fhir+json"))
    ehr.put({**off, "status": "off"})
    ehr.delete("Subscription", gone["id"])
    ehr.put({**DOSE, "id": "d"})
    eventually(lambda: subscriber.received)
    assert [got.path for got in subscriber.received] == ["/hook/on/MedicationAdministration/d"]


def test_a_transaction_that_fails_notifies_of_nothing(ehr: SandboxEHR, subscriber: Any, eventually: Any) -> None:
    ehr.create(subscription(subscriber.url, payload="application/fhir+json"))
    entries = [
        {"resource": {**DOSE, "id": "undone"}, "request": {"method": "PUT", "url": "MedicationAdministration/undone"}},
        {"request": {"method": "GET", "url": "Patient/nobody"}},
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    assert requests.post(ehr.base_url, json=bundle, timeout=10).status_code == 404
    ehr.put({**DOSE, "id": "heard"})
    eventually(lambda: subscriber.received)
    assert [got.path for got in subscriber.received] == ["/hook/MedicationAdministration/heard"]


def test_a_commit_whose_answer_is_lost_still_notifies(ehr: SandboxEHR, subscriber: Any, eventually: Any) -> None:
    ehr.create(subscription(subscriber.url, payload="application/fhir+json"))
    ehr.fail_next("PUT", "MedicationAdministration", faults.commit_then_drop())
    with pytest.raises(requests.ConnectionError):
        requests.put(f"{ehr.base_url}/MedicationAdministration/d", json={**DOSE, "id": "d"}, timeout=10)
    assert eventually(lambda: subscriber.received)[0].path == "/hook/MedicationAdministration/d"


@pytest.mark.parametrize(
    "change",
    [
        {"criteria": "Nothing?status=completed"},
        {"criteria": "Patient?no-such-parameter=1"},
        {"channel": {"type": "email", "endpoint": "mailto:nobody"}},
        {"channel": {"type": "rest-hook", "endpoint": "ftp://nowhere"}},
    ],
)
def test_a_subscription_that_could_never_be_delivered_is_refused(ehr: SandboxEHR, change: dict[str, Any]) -> None:
    body = {**subscription("http://127.0.0.1/hook"), **change}
    assert requests.post(f"{ehr.base_url}/Subscription", json=body, timeout=10).status_code == 422


def test_search_lag_does_not_delay_notifications(ehr: SandboxEHR, subscriber: Any, eventually: Any) -> None:
    ehr.behaviour = replace(ehr.behaviour, search_lag=3600)
    ehr.create(subscription(subscriber.url, payload="application/fhir+json"))
    ehr.put({**DOSE, "id": "d"})
    eventually(lambda: subscriber.received)
