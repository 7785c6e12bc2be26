"""FHIR messaging: what a message holds is kept, and the answer is a message that says so."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from werkzeug.test import TestResponse

from web_server import TOKEN, Web, open_web

HEADER = {
    "resourceType": "MessageHeader",
    "id": "m1",
    "eventUri": "https://example.org/dose-given",
    "source": {"endpoint": "https://engine.example.org"},
    "focus": [{"reference": "MedicationAdministration/d1"}],
}


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with open_web(tmp_path) as opened:
        yield opened


def dose(id_: str, status: str = "completed") -> dict[str, Any]:
    return {
        "resourceType": "MedicationAdministration",
        "id": id_,
        "status": status,
        "medicationCodeableConcept": {"text": "x"},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2026-01-05T10:00:00Z",
    }


def send(web: Web, *resources: dict[str, Any], type_: str = "message") -> TestResponse:
    bundle = {"resourceType": "Bundle", "type": type_, "entry": [{"resource": one} for one in resources]}
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/fhir+json"}
    return web.client.post("/fhir/$process-message", data=json.dumps(bundle), headers=headers)


def reply(answer: TestResponse) -> dict[str, Any]:
    assert answer.status_code == 200
    Bundle.model_validate_json(answer.data)
    header: dict[str, Any] = json.loads(answer.data)["entry"][0]["resource"]
    return header


def test_a_message_is_kept_and_answered_by_a_message(web: Web) -> None:
    header = reply(send(web, HEADER, dose("d1"), {"resourceType": "Practitioner", "id": "x"}))

    assert header["response"] == {"identifier": "m1", "code": "ok"}
    assert header["eventUri"] == HEADER["eventUri"]
    assert header["source"]["endpoint"].endswith("/fhir/$process-message")
    assert web.store.facts.latest("ehr", "d1") is not None


def test_what_is_wrong_in_a_part_of_a_message_is_said_and_the_rest_is_kept(web: Web) -> None:
    answer = send(web, HEADER, dose("d1"), dose("d2", "done"))

    assert reply(answer)["response"]["code"] == "fatal-error"
    outcome = json.loads(answer.data)["entry"][1]
    assert outcome["fullUrl"] == reply(answer)["response"]["details"]["reference"]
    assert outcome["resource"]["issue"][0]["code"] == "code-invalid"
    assert web.store.facts.latest("ehr", "d1") is not None
    assert web.store.quarantine.counts()[0] == 1


@pytest.mark.parametrize("header", [dose("d1"), {**HEADER, "id": ""}, {"resourceType": "MessageHeader", "id": "m1"}])
def test_a_message_without_a_header_that_can_be_answered_is_refused(web: Web, header: dict[str, Any]) -> None:
    assert send(web, header, dose("d1")).status_code == 400
    assert send(web, HEADER, dose("d1"), type_="history").status_code == 400
    assert web.store.facts.count() == 0
