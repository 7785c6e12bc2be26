"""The HTTP of taking events, over a real store and without a socket."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from web_server import TOKEN, Web, open_web

FHIR = "application/fhir+json"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with open_web(tmp_path) as opened:
        yield opened


def dose(id_: str = "d1", **elements: Any) -> dict[str, Any]:
    return {
        "resourceType": "MedicationAdministration",
        "id": id_,
        "status": "completed",
        "medicationCodeableConcept": {"text": "x"},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2026-01-05T10:00:00-05:00",
        **elements,
    }


def send(
    web: Web, method: str, path: str, body: object = None, media: str | None = FHIR, **headers: str
) -> TestResponse:
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
    shown = {"Authorization": f"Bearer {TOKEN}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return web.client.open(path, method=method, data=data, headers=shown, content_type=media)


def issue(answer: TestResponse) -> tuple[int, str]:
    assert answer.content_type == FHIR
    outcome = answer.get_json(force=True)
    assert outcome["resourceType"] == "OperationOutcome"
    return answer.status_code, outcome["issue"][0]["code"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/fhir"),
        ("POST", "/fhir/"),
        ("POST", "/fhir?_format=json"),
        ("POST", "/fhir/MedicationAdministration"),
        ("POST", "/fhir/MedicationAdministration/"),
        ("PUT", "/fhir/MedicationAdministration/d1"),
        ("PUT", "/fhir/MedicationAdministration/d1/"),
        ("POST", "/fhir/MedicationAdministration/d1"),
    ],
)
def test_a_dose_is_taken_wherever_servers_send_it_and_the_answer_is_empty(web: Web, method: str, path: str) -> None:
    for _ in range(2):
        answer = send(web, method, path, dose())

        assert (answer.status_code, answer.data) == (200, b"")
        assert "Content-Type" not in answer.headers

    fact = web.store.facts.latest("ehr", "d1")
    assert fact is not None
    assert (fact.patient, fact.target, fact.via) == ("p1", "ehr", "push")


@pytest.mark.parametrize(
    "media", [FHIR, f"{FHIR}; charset=utf-8", "application/json;charset=UTF-8", "application/json+fhir", FHIR.upper()]
)
def test_the_media_types_of_fhir_json_are_taken(web: Web, media: str) -> None:
    assert send(web, "POST", "/fhir", dose(), media).status_code == 200


@pytest.mark.parametrize(
    "media",
    [None, "", "text/plain", "application/fhir+xml", "application/xml", f"{FHIR}; charset=utf-16", "nonsense"],
)
def test_other_media_types_are_refused(web: Web, media: str | None) -> None:
    assert issue(send(web, "POST", "/fhir", dose(), media)) == (415, "not-supported")


def test_a_compressed_body_is_refused(web: Web) -> None:
    assert issue(send(web, "POST", "/fhir", dose(), Content_Encoding="gzip")) == (415, "not-supported")
    assert send(web, "POST", "/fhir", dose(), Content_Encoding="identity").status_code == 200


def test_a_body_beyond_the_limit_is_refused(web: Web) -> None:
    large = dose(note=[{"text": "x" * 1_048_576}])

    assert issue(send(web, "POST", "/fhir", large)) == (413, "too-long")


@pytest.mark.parametrize("body", [b"", b"  \n"])
def test_an_empty_body_is_refused(web: Web, body: bytes) -> None:
    assert issue(send(web, "POST", "/fhir", body)) == (400, "structure")


def test_the_id_in_the_url_must_be_the_resources(web: Web) -> None:
    assert issue(send(web, "PUT", "/fhir/MedicationAdministration/d2", dose())) == (400, "value")


@pytest.mark.parametrize("path", ["/fhir/Observation", "/fhir/Observation/1", "/fhir/$everything", "/fhir/metadata/x"])
def test_other_resource_types_are_not_found(web: Web, path: str) -> None:
    assert issue(send(web, "POST", path, {"resourceType": "Observation"})) == (404, "not-found")


ORDER = {
    "resourceType": "MedicationRequest",
    "id": "o1",
    "status": "active",
    "intent": "order",
    "subject": {"reference": "Patient/p1"},
}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/fhir"),
        ("POST", "/fhir/MedicationRequest"),
        ("PUT", "/fhir/MedicationRequest/o1"),
        ("POST", "/fhir/MedicationRequest/o1"),
    ],
)
def test_an_order_is_accepted_like_a_dose(web: Web, method: str, path: str) -> None:
    answer = send(web, method, path, ORDER)

    assert (answer.status_code, answer.data) == (200, b"")
    fact = web.store.facts.latest("ehr", "o1", "MedicationRequest")
    assert fact is not None
    assert fact.patient == "p1"
    assert web.counted("afterdose_agenda_due 1.0")


def test_a_resource_of_another_type_than_its_url_is_refused(web: Web) -> None:
    assert issue(send(web, "PUT", "/fhir/Encounter/o1", ORDER)) == (400, "invalid")


def test_an_order_that_cannot_be_kept_goes_to_the_quarantine(web: Web) -> None:
    assert issue(send(web, "POST", "/fhir", {**ORDER, "status": "open"})) == (400, "code-invalid")
    assert len(web.store.quarantine.newest(5)) == 1


def test_a_deleted_order_is_stored_as_deleted(web: Web) -> None:
    send(web, "POST", "/fhir", ORDER)

    assert send(web, "DELETE", "/fhir/MedicationRequest/o1", media=None).status_code == 200
    assert send(web, "POST", "/fhir", b"{}", X_Medplum_Deleted_Resource="Encounter/e1").status_code == 200
    assert [fact.interaction for fact in web.store.facts.others("ehr", "p1")] == ["delete"]
    assert web.store.facts.latest("ehr", "e1", "Encounter") is not None


def test_reading_is_not_offered(web: Web) -> None:
    answer = send(web, "GET", "/fhir/MedicationAdministration/d1")

    assert issue(answer) == (405, "not-supported")
    assert answer.headers["Allow"] == "DELETE, POST, PUT"


def test_probes_are_answered(web: Web) -> None:
    assert send(web, "HEAD", "/fhir/").status_code == 200
    assert "POST" in send(web, "OPTIONS", "/fhir").headers["Allow"]


def test_a_deleted_dose_is_stored_as_deleted(web: Web) -> None:
    send(web, "POST", "/fhir", dose())

    answer = send(web, "DELETE", "/fhir/MedicationAdministration/d1", media=None)

    assert (answer.status_code, answer.data) == (200, b"")
    fact = web.store.facts.latest("ehr", "d1")
    assert fact is not None
    assert (fact.interaction, fact.patient) == ("delete", "p1")


def test_medplum_says_in_a_header_what_was_deleted(web: Web) -> None:
    send(web, "POST", "/fhir", dose())

    answer = send(web, "POST", "/fhir", b"{}", X_Medplum_Deleted_Resource="MedicationAdministration/d1")

    assert (answer.status_code, answer.data) == (200, b"")
    fact = web.store.facts.latest("ehr", "d1")
    assert fact is not None
    assert fact.interaction == "delete"


@pytest.mark.parametrize(
    ("deleted", "body", "expected"),
    [
        ("Practitioner/d1", b"{}", (404, "not-found")),
        ("MedicationAdministration/", b"{}", (400, "value")),
        ("MedicationAdministration/d1", b'{"resourceType":"MedicationAdministration"}', (400, "invalid")),
        ("MedicationAdministration/../x", b"{}", (400, "value")),
    ],
)
def test_a_header_of_medplum_that_fits_nothing_is_refused(
    web: Web, deleted: str, body: bytes, expected: tuple[int, str]
) -> None:
    assert issue(send(web, "POST", "/fhir", body, X_Medplum_Deleted_Resource=deleted)) == expected


@pytest.mark.parametrize(
    ("type_", "answer_type"),
    [("transaction", "transaction-response"), ("batch", "batch-response"), ("history", "transaction-response")],
)
def test_a_bundle_is_answered_entry_by_entry(web: Web, type_: str, answer_type: str) -> None:
    entries = [
        {"resource": {"resourceType": "Parameters", "parameter": [{"name": "type", "valueCode": "heartbeat"}]}},
        {"resource": dose("d1")},
        {"resource": dose("d2", status="done")},
        {"resource": {"resourceType": "Observation", "id": "e1"}},
        {"request": {"method": "DELETE", "url": "MedicationAdministration/d3"}},
    ]

    answer = send(web, "POST", "/fhir", {"resourceType": "Bundle", "type": type_, "entry": entries})

    assert answer.status_code == 200
    reply = answer.get_json(force=True)
    assert (reply["resourceType"], reply["type"]) == ("Bundle", answer_type)
    statuses = [entry["response"]["status"][:3] for entry in reply["entry"]]
    assert statuses == ["200", "200", "400", "404", "200"]
    assert reply["entry"][2]["response"]["outcome"]["issue"][0]["expression"] == ["Bundle.entry[2].resource.status"]
    assert web.store.facts.latest("ehr", "d1") is not None
    assert web.store.facts.latest("ehr", "d2") is None
    (kept,) = web.store.quarantine.newest(5)
    assert json.loads(kept.body)["resource"]["id"] == "d2"


def test_a_handshake_is_answered_with_a_bundle(web: Web) -> None:
    status = {"resourceType": "SubscriptionStatus", "type": "handshake"}
    notification = {"resourceType": "Bundle", "type": "subscription-notification", "entry": [{"resource": status}]}

    answer = send(web, "POST", "/fhir", notification)

    assert answer.status_code == 200
    assert answer.get_json(force=True)["resourceType"] == "Bundle"


def test_what_is_refused_is_kept_and_counted(web: Web) -> None:
    body = b'{"resourceType": "MedicationAdministration", "id": "d1", "status": "done"}'

    send(web, "POST", "/fhir", body)
    send(web, "POST", "/fhir", b"<xml/>", "application/fhir+xml")

    newest = web.store.quarantine.newest(5)
    assert [(kept.source, kept.media_type, kept.body) for kept in newest] == [
        ("ehr", None, b"<xml/>"),
        ("ehr", FHIR, body),
    ]
    assert web.counted('afterdose_refused_total{code="not-supported",source="ehr"} 1.0')
    assert web.counted('afterdose_refused_total{code="code-invalid",source="ehr"} 1.0')


def test_what_is_taken_is_counted(web: Web) -> None:
    for _ in range(2):
        send(web, "POST", "/fhir", dose())

    assert web.counted('afterdose_http_answers_total{status="200"} 2.0')
    assert web.counted('afterdose_events_total{interaction="upsert",repeated="no",source="ehr"} 1.0')
    assert web.counted('afterdose_events_total{interaction="upsert",repeated="yes",source="ehr"} 1.0')
    assert web.counted("afterdose_agenda_due 1.0")
