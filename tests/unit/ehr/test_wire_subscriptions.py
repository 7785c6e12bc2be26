"""The calls about Subscriptions: what goes out, and what the answers are taken for."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from afterdose.core.errors import EhrAmbiguous, EhrError, EhrGone, EhrRefused, EhrUnavailable
from afterdose.ehr import answers, wire
from afterdose.ehr.wire import Answer
from afterdose.fhir import strict_json

BASE = "https://ehr.example/fhir"
NOW = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
RECORDED = Path(__file__).parents[2] / "wire" / "hapi" / "operation-400-unknown" / "answer.json"


def fhir(status: int, body: Any) -> Answer:
    return Answer(status=status, headers={"content-type": "application/fhir+json"}, body=strict_json.dumps(body))


def test_events_are_asked_for_by_their_numbers() -> None:
    numbers = {"eventsSinceNumber": "3", "eventsUntilNumber": "5", "content": "id-only"}
    request = wire.operation(BASE, "Subscription", "s1", "events", numbers)

    assert request.url == f"{BASE}/Subscription/s1/$events?eventsSinceNumber=3&eventsUntilNumber=5&content=id-only"
    assert (request.method, request.template, request.changes) == ("GET", "Subscription/{id}/$events", False)
    assert wire.operation(BASE, "Subscription", "s1", "status", {}).url == f"{BASE}/Subscription/s1/$status"


@pytest.mark.parametrize(
    ("type_", "id_", "name", "parameters"),
    [
        ("Patient", "p1", "everything", {}),
        ("Subscription", "s1", "get-ws-binding-token", {}),
        ("Subscription", "s1", "events", {"patient": "p1"}),
        ("Subscription", "../Patient", "status", {}),
    ],
)
def test_no_other_operation_can_be_built(type_: str, id_: str, name: str, parameters: dict[str, str]) -> None:
    with pytest.raises(EhrRefused):
        wire.operation(BASE, type_, id_, name, parameters)


def test_only_subscriptions_are_ever_deleted() -> None:
    request = wire.delete(BASE, "Subscription", "s1")

    assert (request.method, request.url, request.changes) == ("DELETE", f"{BASE}/Subscription/s1", True)
    for type_ in wire.INTERACTIONS.keys() - {"Subscription"}:
        with pytest.raises(EhrRefused):
            wire.delete(BASE, type_, "x1")


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_delete_needs_no_body_in_its_answer(status: int) -> None:
    answers.decipher_delete(Answer(status=status, headers={}), "Subscription", now=NOW)


@pytest.mark.parametrize(
    ("status", "error"), [(404, EhrGone), (410, EhrGone), (405, EhrRefused), (429, EhrUnavailable), (500, EhrAmbiguous)]
)
def test_a_delete_that_was_not_done_says_who_has_to_act(status: int, error: type[EhrError]) -> None:
    with pytest.raises(error):
        answers.decipher_delete(fhir(status, {"resourceType": "OperationOutcome"}), "Subscription", now=NOW)


def test_an_operation_that_hapi_does_not_know_is_refused_and_nobody_is_named() -> None:
    said = json.loads(RECORDED.read_text())
    with pytest.raises(EhrRefused) as refused:
        answers.decipher_operation(fhir(said["status"], said["body"]), "Subscription", "events", now=NOW)

    assert refused.value.code == "not-supported"
    assert "Doe" not in str(refused.value)


def test_what_is_no_bundle_is_no_answer() -> None:
    with pytest.raises(EhrUnavailable):
        answers.decipher_operation(fhir(200, {"resourceType": "Parameters"}), "Subscription", "status", now=NOW)
