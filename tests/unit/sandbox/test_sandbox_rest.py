"""The interactions as R4 http.html and search.html set them, where the contract with real servers does not reach."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import requests

from afterdose.sandbox import SandboxEHR

PATIENT = {"resourceType": "Patient", "id": "p", "identifier": [{"system": "urn:s", "value": "a,b"}]}
SUBJECT = {"reference": "Patient/p"}


def dose(id_: str, when: str, status: str = "completed") -> dict[str, Any]:
    return {
        "resourceType": "MedicationAdministration",
        "id": id_,
        "status": status,
        "subject": SUBJECT,
        "effectiveDateTime": when,
        "medicationCodeableConcept": {"coding": [{"system": "urn:rx", "code": "6130"}], "text": "ketamine"},
    }


def visit(**more: Any) -> dict[str, Any]:
    participants = [{"actor": SUBJECT, "status": "needs-action"}]
    return {"resourceType": "Appointment", "status": "proposed", "participant": participants, **more}


def ids(answer: requests.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [entry["resource"]["id"] for entry in answer.json().get("entry", [])]


def test_a_deleted_resource_is_410_and_comes_back_with_the_next_version(ehr: Any, call: Any) -> None:
    ehr.put(PATIENT)
    assert call("DELETE", "/Patient/p").status_code == 204
    assert call("DELETE", "/Patient/p").status_code == 204
    assert call("GET", "/Patient/p").status_code == 410
    assert call("GET", "/Patient/p/_history/1").status_code == 200
    assert call("GET", "/Patient/p/_history/2").status_code == 410
    revived = call("PUT", "/Patient/p", json=PATIENT)
    assert (revived.status_code, revived.json()["meta"]["versionId"]) == (201, "3")
    assert [version.deleted for version in ehr.history("Patient", "p")] == [False, True, False]


def test_what_never_was_is_404(call: Any) -> None:
    for path in ("/Patient/p", "/Patient/p/_history/1", "/NoSuchType/p", "/Patient/p/extra/more"):
        answer = call("GET", path)
        assert answer.status_code == 404, path
        assert answer.json()["resourceType"] == "OperationOutcome"


def test_a_minimal_answer_has_no_body_and_says_where_the_resource_is(call: Any) -> None:
    answer = call("POST", "/Patient", json=PATIENT, headers={"Prefer": "return=minimal"})
    assert (answer.status_code, answer.content) == (201, b"")
    assert "/fhir/Patient/" in answer.headers["Location"]
    assert answer.headers["ETag"] == 'W/"1"'
    assert answer.headers["Last-Modified"] == "Mon, 02 Mar 2026 10:00:00 GMT"


def test_the_server_gives_out_the_id_of_a_create_and_the_versions(call: Any) -> None:
    body = {**PATIENT, "meta": {"versionId": "99", "lastUpdated": "1999-01-01T00:00:00Z", "tag": [{"code": "kept"}]}}
    created = call("POST", "/Patient", json=body).json()
    assert created["id"] != "p"
    assert created["meta"] == {
        "versionId": "1",
        "lastUpdated": "2026-03-02T10:00:00.000Z",
        "tag": [{"code": "kept"}],
    }


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/fhir+xml"}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/json", "Accept": "application/fhir+xml"}, 406),
        ({"Content-Type": "application/json; charset=utf-8", "Accept": "application/fhir+json, */*;q=0.1"}, 201),
    ],
)
def test_only_json_goes_in_and_comes_out(call: Any, headers: dict[str, str], status: int) -> None:
    answer = call("POST", "/Patient", data=b'{"resourceType": "Patient"}', headers=headers)
    assert answer.status_code == status


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"NaN", b'{"resourceType": "Task"}', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_such_resource_is_refused(ehr: Any, call: Any, body: bytes) -> None:
    answer = call("POST", "/Patient", data=body, headers={"Content-Type": "application/fhir+json"})
    assert answer.status_code == 400
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert ehr.all("Patient") == []


@pytest.mark.parametrize(
    ("body", "diagnostics"),
    [
        (visit(status="nonsense"), "Appointment.status"),
        ({**visit(), "status": None}, "Appointment.status"),
        (visit(status="booked"), "app-3"),
        (visit(start="2026-03-03T10:00:00Z"), "app-2"),
        (visit(cancelationReason={"text": "x"}), "app-4"),
        (visit(participant=[]), "participant"),
        ({"resourceType": "CarePlan", "status": "draft", "intent": "order"}, "subject"),
        ({"resourceType": "CarePlan", "status": "planned", "intent": "plan", "subject": SUBJECT}, "CarePlan.status"),
        ({"resourceType": "Task", "status": "ready"}, "Task.intent"),
    ],
)
def test_what_r4_forbids_is_refused_with_422(call: Any, body: dict[str, Any], diagnostics: str) -> None:
    answer = call("POST", f"/{body['resourceType']}", json=body)
    assert answer.status_code == 422
    assert diagnostics in answer.json()["issue"][0]["diagnostics"]


def test_a_put_whose_body_has_another_id_is_refused(call: Any) -> None:
    assert call("PUT", "/Patient/q", json=PATIENT).status_code == 400
    assert call("PUT", "/Patient/p", json={"resourceType": "Patient"}).status_code == 400
    assert call("PUT", "/Patient/not_an_id", json={"resourceType": "Patient", "id": "not_an_id"}).status_code == 400


def test_what_is_not_supported_is_refused_and_never_taken_for_a_create(ehr: Any, call: Any) -> None:
    for method, path in (("PATCH", "/Patient/p"), ("PUT", "/Patient?identifier=1"), ("DELETE", "/Patient?active=true")):
        answer = call(method, path, json=PATIENT)
        assert answer.status_code == 405, path
        assert answer.json()["resourceType"] == "OperationOutcome"
    assert ehr.history() == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["a", "b", "c"]),
        ("_id=a,c", ["a", "c"]),
        ("patient=p", ["a", "b", "c"]),
        ("patient=Patient/p&status=completed", ["a", "c"]),
        ("subject=Patient/other", []),
        ("status=stopped,completed", ["a", "b", "c"]),
        ("status:not=completed", ["b"]),
        ("effective-time=2026-03-01", ["a"]),
        ("effective-time=ge2026-03-01&effective-time=lt2026-03-02", ["a"]),
        ("effective-time=gt2026-03-01T09:00:00Z", ["b", "c"]),
        ("effective-time=le2026-03-02T08:00:00%2B01:00", ["a"]),
        ("effective-time=ge2026-03-02T08:00:00-01:00", ["b", "c"]),
        ("effective-time=2026", ["a", "b", "c"]),
        ("effective-time:missing=true", []),
        ("code=6130", ["a", "b", "c"]),
        ("code=urn:rx|6130", ["a", "b", "c"]),
        ("code=urn:other|6130", []),
        ("_sort=-_id", ["c", "b", "a"]),
        ("unheard-of=1", ["a", "b", "c"]),
    ],
)
def test_search_finds_what_its_parameters_say(ehr: Any, call: Any, query: str, found: list[str]) -> None:
    ehr.put(dose("a", "2026-03-01T09:00:00Z"))
    ehr.put(dose("b", "2026-03-02T09:00:00Z", "stopped"))
    ehr.put(dose("c", "2026-03-03T10:00:00+01:00"))
    assert ids(call("GET", f"/MedicationAdministration?{query}")) == found


@pytest.mark.parametrize("query", ["effective-time=yesterday", "effective-time=2026-02-30", "_count=-1", "status:in=x"])
def test_a_search_that_cannot_be_understood_is_refused(call: Any, query: str) -> None:
    assert call("GET", f"/MedicationAdministration?{query}").status_code == 400


def test_an_unknown_parameter_is_refused_when_the_client_wants_strict_handling(call: Any) -> None:
    answer = call("GET", "/Patient?unheard-of=1", headers={"Prefer": "handling=strict"})
    assert answer.status_code == 400
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_a_value_with_a_comma_is_searched_with_an_escape(ehr: Any, call: Any) -> None:
    ehr.put(PATIENT)
    assert ids(call("GET", r"/Patient?identifier=urn:s|a\,b")) == ["p"]
    assert ids(call("GET", "/Patient?identifier=urn:s|a,b")) == []


def test_search_by_the_time_of_the_last_change_and_in_its_order(ehr: Any, call: Any, clock: Any) -> None:
    ehr.put(dose("a", "2026-03-01"))
    clock.forward(60)
    ehr.put(dose("b", "2026-03-01"))
    clock.forward(60)
    ehr.put(dose("a", "2026-03-01"))
    assert ids(call("GET", "/MedicationAdministration?_sort=_lastUpdated")) == ["b", "a"]
    assert ids(call("GET", "/MedicationAdministration?_lastUpdated=gt2026-03-02T10:01:00.000Z")) == ["a"]
    assert ids(call("GET", "/MedicationAdministration?_sort=_lastUpdated&_lastUpdated=ge2026-03-02T10:01:00Z")) == [
        "b",
        "a",
    ]


def test_provenance_is_found_by_its_target_and_a_reference_may_be_absolute(ehr: Any, call: Any) -> None:
    target = [{"reference": f"{ehr.base_url}/CarePlan/c/_history/3"}]
    agent = [{"who": {"display": "afterdose"}}]
    ehr.put({"resourceType": "Provenance", "id": "v", "target": target, "recorded": "2026-03-02", "agent": agent})
    assert ids(call("GET", "/Provenance?target=CarePlan/c")) == ["v"]
    assert ids(call("GET", f"/Provenance?target={ehr.base_url}/CarePlan/c")) == ["v"]
    assert ids(call("GET", "/Provenance?target=CarePlan/d")) == []


def test_the_pages_of_a_search_show_one_moment(ehr: Any, call: Any) -> None:
    for id_ in "abc":
        ehr.put(dose(id_, "2026-03-01"))
    first = call("GET", "/MedicationAdministration?_count=2").json()
    ehr.put(dose("d", "2026-03-01"))
    next_ = next(link["url"] for link in first["link"] if link["relation"] == "next")
    second = requests.get(next_, timeout=10).json()
    assert [entry["resource"]["id"] for entry in first["entry"] + second["entry"]] == ["a", "b", "c"]
    assert "next" not in {link["relation"] for link in second["link"]}


def test_a_count_alone_has_no_entries(ehr: Any, call: Any) -> None:
    ehr.put(PATIENT)
    for query in ("_summary=count", "_count=0"):
        bundle = call("GET", f"/Patient?{query}").json()
        assert bundle["total"] == 1
        assert "entry" not in bundle


def test_many_conditional_creates_at_once_make_one_resource(ehr: SandboxEHR, call: Any) -> None:
    start = threading.Barrier(8)
    answers: list[int] = []

    def create() -> None:
        start.wait()
        headers = {"If-None-Exist": r"identifier=urn:s|a\,b"}
        answers.append(call("POST", "/Patient", json=PATIENT, headers=headers).status_code)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(answers) == [200] * 7 + [201]
    assert len(ehr.all("Patient")) == 1


def test_what_a_helper_gives_out_is_a_copy(ehr: Any) -> None:
    stored = ehr.put(PATIENT)
    stored["identifier"][0]["value"] = "changed outside"
    ehr.all("Patient")[0].clear()
    assert ehr.get("Patient", "p")["identifier"][0]["value"] == "a,b"
    assert ehr.get("Patient", "nobody") is None
    assert ehr.requests == []
