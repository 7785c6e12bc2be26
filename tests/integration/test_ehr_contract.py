"""What the product relies on in an EHR, asked over real sockets: the sandbox and a real server answer alike."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import requests

SYSTEM = "urn:afterdose:contract"
Json = dict[str, Any]
Eventually = Callable[[Callable[[], Any]], Any]


class EHR(NamedTuple):
    base_url: str
    session: requests.Session

    def call(self, method: str, path: str, body: Json | None = None, **headers: str) -> requests.Response:
        sent = {"Accept": "application/fhir+json", "Cache-Control": "no-cache"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent["Content-Type"] = "application/fhir+json"
        data = None if body is None else json.dumps(body)
        return self.session.request(method, f"{self.base_url}{path}", data=data, headers=sent, timeout=60)

    def create(self, body: Json, **headers: str) -> Json:
        answer = self.call("POST", f"/{body['resourceType']}", body, **headers)
        assert answer.status_code == 201, answer.text
        created: Json = answer.json()
        return created

    def found(self, type_: str, query: str) -> list[Json]:
        answer = self.call("GET", f"/{type_}?{query}")
        assert answer.status_code == 200, answer.text
        return [entry["resource"] for entry in answer.json().get("entry", [])]


@pytest.fixture(params=["sandbox", pytest.param("hapi", marks=pytest.mark.hapi)])
def ehr(request: pytest.FixtureRequest) -> EHR:
    return EHR(request.getfixturevalue(request.param).base_url.rstrip("/"), requests.Session())


def new_identifier() -> Json:
    return {"system": SYSTEM, "value": str(uuid.uuid4())}


def token(identifier: Json) -> str:
    return f"{identifier['system']}|{identifier['value']}"


def patient() -> Json:
    return {"resourceType": "Patient", "identifier": [new_identifier()], "name": [{"family": "Contract"}]}


def plan(patient_id: str) -> Json:
    return {
        "resourceType": "CarePlan",
        "identifier": [new_identifier()],
        "status": "draft",
        "intent": "proposal",
        "title": "Integration care",
        "subject": {"reference": f"Patient/{patient_id}"},
    }


def appointment(patient_reference: str) -> Json:
    return {
        "resourceType": "Appointment",
        "identifier": [new_identifier()],
        "status": "proposed",
        "minutesDuration": 60,
        "requestedPeriod": [{"start": "2026-03-03T10:00:00Z", "end": "2026-03-05T10:00:00Z"}],
        "participant": [{"actor": {"reference": patient_reference}, "status": "needs-action"}],
    }


def dose(patient_id: str, status: str = "completed") -> Json:
    return {
        "resourceType": "MedicationAdministration",
        "identifier": [new_identifier()],
        "status": status,
        "subject": {"reference": f"Patient/{patient_id}"},
        "medicationCodeableConcept": {"text": "esketamine"},
        "effectiveDateTime": "2026-03-02T10:00:00Z",
    }


def test_metadata_declares_r4_with_transactions_and_conditional_create(ehr: EHR) -> None:
    statement = ehr.call("GET", "/metadata").json()
    rest = statement["rest"][0]
    kinds = {resource["type"]: resource for resource in rest["resource"]}
    assert statement["fhirVersion"] == "4.0.1"
    assert "transaction" in {interaction["code"] for interaction in rest["interaction"]}
    for type_ in ("CarePlan", "Appointment", "Task", "MedicationAdministration", "Subscription", "Provenance"):
        assert kinds[type_]["conditionalCreate"] is True, type_
        declared = {interaction["code"] for interaction in kinds[type_]["interaction"]}
        assert {"create", "read", "update", "search-type"} <= declared, type_


def test_what_is_created_is_read_back_with_its_version(ehr: EHR) -> None:
    answer = ehr.call("POST", "/Patient", patient())
    created = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"].endswith(f"/Patient/{created['id']}/_history/1")
    assert answer.headers["ETag"] == 'W/"1"'
    read = ehr.call("GET", f"/Patient/{created['id']}")
    assert read.status_code == 200
    assert read.headers["ETag"] == 'W/"1"'
    assert read.json()["meta"]["versionId"] == "1"
    assert read.json()["meta"]["lastUpdated"]
    assert read.json()["identifier"] == created["identifier"]


def test_an_update_that_names_the_present_version_makes_the_next_one(ehr: EHR) -> None:
    stored = ehr.create(plan(ehr.create(patient())["id"]))
    answer = ehr.call("PUT", f"/CarePlan/{stored['id']}", {**stored, "title": "Changed"}, If_Match='W/"1"')
    assert answer.status_code == 200
    assert answer.headers["ETag"] == 'W/"2"'
    assert ehr.call("GET", f"/CarePlan/{stored['id']}").json()["title"] == "Changed"
    assert ehr.call("GET", f"/CarePlan/{stored['id']}/_history/1").json()["title"] == "Integration care"


def test_an_update_that_names_an_older_version_is_refused_and_changes_nothing(ehr: EHR) -> None:
    stored = ehr.create(plan(ehr.create(patient())["id"]))
    path = f"/CarePlan/{stored['id']}"
    ehr.call("PUT", path, {**stored, "title": "By staff"}, If_Match='W/"1"')
    answer = ehr.call("PUT", path, {**stored, "title": "Stale"}, If_Match='W/"1"')
    assert answer.status_code in {409, 412}
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert ehr.call("GET", path).json()["title"] == "By staff"


def test_a_conditional_create_that_is_repeated_makes_one_resource(ehr: EHR) -> None:
    body = patient()
    condition = f"identifier={token(body['identifier'][0])}"
    first = ehr.call("POST", "/Patient", body, If_None_Exist=condition)
    second = ehr.call("POST", "/Patient", body, If_None_Exist=condition)
    assert (first.status_code, second.status_code) == (201, 200)
    assert len(ehr.found("Patient", condition)) == 1


def test_a_conditional_create_that_matches_several_is_refused(ehr: EHR) -> None:
    body = patient()
    ehr.create(body)
    ehr.create(body)
    answer = ehr.call("POST", "/Patient", body, If_None_Exist=f"identifier={token(body['identifier'][0])}")
    assert answer.status_code == 412


def test_search_by_identifier_finds_what_was_just_written_and_nothing_else(ehr: EHR) -> None:
    patient_id = ehr.create(patient())["id"]
    stored, _other = ehr.create(plan(patient_id)), ehr.create(plan(patient_id))
    assert [found["id"] for found in ehr.found("CarePlan", f"identifier={token(stored['identifier'][0])}")] == [
        stored["id"]
    ]


def test_search_by_post_finds_the_same_without_a_query_in_the_url(ehr: EHR) -> None:
    stored = ehr.create(patient())
    answer = ehr.session.post(
        f"{ehr.base_url}/Patient/_search",
        data={"identifier": token(stored["identifier"][0])},
        headers={"Accept": "application/fhir+json", "Cache-Control": "no-cache"},
        timeout=60,
    )
    assert [entry["resource"]["id"] for entry in answer.json()["entry"]] == [stored["id"]]


def test_search_by_patient_and_status_finds_the_open_appointments(ehr: EHR) -> None:
    patient_id = ehr.create(patient())["id"]
    stored = ehr.create(appointment(f"Patient/{patient_id}"))
    assert [found["id"] for found in ehr.found("Appointment", f"patient={patient_id}&status=proposed,booked")] == [
        stored["id"]
    ]
    assert ehr.found("Appointment", f"patient={patient_id}&status=cancelled") == []


def test_paging_by_next_links_reaches_everything_once(ehr: EHR) -> None:
    patient_id = ehr.create(patient())["id"]
    written = {ehr.create(dose(patient_id))["id"] for _ in range(5)}
    url: str | None = f"{ehr.base_url}/MedicationAdministration?patient={patient_id}&_count=2&_sort=_lastUpdated"
    seen: list[str] = []
    while url:
        bundle = ehr.session.get(url, headers={"Cache-Control": "no-cache"}, timeout=60).json()
        seen += [entry["resource"]["id"] for entry in bundle.get("entry", [])]
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    assert sorted(seen) == sorted(written)


def test_search_since_a_moment_finds_only_what_changed_since(ehr: EHR, eventually: Eventually) -> None:
    patient_id = ehr.create(patient())["id"]
    older = ehr.create(dose(patient_id))
    newer = eventually(lambda: _later_dose(ehr, patient_id, older))
    query = f"patient={patient_id}&_lastUpdated=ge{newer['meta']['lastUpdated'].replace('+', '%2B')}"
    assert [found["id"] for found in ehr.found("MedicationAdministration", query)] == [newer["id"]]


def _later_dose(ehr: EHR, patient_id: str, older: Json) -> Json | None:
    newer = ehr.create(dose(patient_id))
    return newer if newer["meta"]["lastUpdated"] > older["meta"]["lastUpdated"] else None


def transaction(patient_id: str) -> Json:
    visit, course = appointment(f"Patient/{patient_id}"), plan(patient_id)
    visit_url = f"urn:uuid:{uuid.uuid4()}"
    course["activity"] = [{"reference": {"reference": visit_url}}]
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": full_url,
                "resource": resource,
                "request": {
                    "method": "POST",
                    "url": resource["resourceType"],
                    "ifNoneExist": f"identifier={token(resource['identifier'][0])}",
                },
            }
            for full_url, resource in ((visit_url, visit), (f"urn:uuid:{uuid.uuid4()}", course))
        ],
    }


def test_a_transaction_resolves_its_links_and_repeated_creates_nothing(ehr: EHR) -> None:
    patient_id = ehr.create(patient())["id"]
    bundle = transaction(patient_id)
    first, second = ehr.call("POST", "/", bundle), ehr.call("POST", "/", bundle)
    assert first.json()["type"] == "transaction-response"
    assert [entry["response"]["status"][:3] for entry in first.json()["entry"]] == ["201", "201"]
    assert [entry["response"]["status"][:3] for entry in second.json()["entry"]] == ["200", "200"]
    visits = ehr.found("Appointment", f"patient={patient_id}")
    plans = ehr.found("CarePlan", f"patient={patient_id}")
    assert (len(visits), len(plans)) == (1, 1)
    assert plans[0]["activity"][0]["reference"]["reference"] == f"Appointment/{visits[0]['id']}"


def test_a_transaction_with_one_stale_update_writes_nothing(ehr: EHR) -> None:
    patient_id = ehr.create(patient())["id"]
    stored = ehr.create(plan(patient_id))
    ehr.call("PUT", f"/CarePlan/{stored['id']}", {**stored, "title": "By staff"})
    bundle = transaction(patient_id)
    bundle["entry"] = [
        bundle["entry"][0],
        {
            "resource": {**stored, "title": "Stale"},
            "request": {"method": "PUT", "url": f"CarePlan/{stored['id']}", "ifMatch": 'W/"1"'},
        },
    ]
    answer = ehr.call("POST", "/", bundle)
    assert answer.status_code in {400, 409, 412}
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert ehr.found("Appointment", f"patient={patient_id}") == []
    assert ehr.call("GET", f"/CarePlan/{stored['id']}").json()["title"] == "By staff"


def test_what_is_deleted_is_gone(ehr: EHR) -> None:
    stored = ehr.create(plan(ehr.create(patient())["id"]))
    assert ehr.call("DELETE", f"/CarePlan/{stored['id']}").status_code in {200, 204}
    assert ehr.call("GET", f"/CarePlan/{stored['id']}").status_code in {404, 410}
    assert ehr.found("CarePlan", f"identifier={token(stored['identifier'][0])}") == []


def test_a_refusal_says_why_in_an_operation_outcome(ehr: EHR) -> None:
    for answer in (
        ehr.call("GET", "/CarePlan/nobody-has-this-id"),
        ehr.call("POST", "/NoSuchType", {"resourceType": "NoSuchType"}),
        ehr.call("POST", "/CarePlan", {**plan("x"), "status": "no-such-status"}),
    ):
        assert 400 <= answer.status_code < 500
        assert answer.json()["resourceType"] == "OperationOutcome"


def test_a_rest_hook_puts_the_resource_to_the_endpoint_on_create_and_on_update(
    ehr: EHR, subscriber: Any, eventually: Eventually
) -> None:
    patient_id = ehr.create(patient())["id"]
    subscription = ehr.create(
        {
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "contract",
            "criteria": "MedicationAdministration?status=completed",
            "channel": {
                "type": "rest-hook",
                "endpoint": subscriber.url,
                "payload": "application/fhir+json",
                "header": ["Authorization: Bearer contract:secret"],
            },
        }
    )
    eventually(lambda: ehr.call("GET", f"/Subscription/{subscription['id']}").json()["status"] == "active")

    def delivered() -> list[tuple[str, str]]:
        """(id, version) of each delivery; HAPI takes up a new Subscription some time after it says `active`."""
        bodies = [json.loads(received.body) for received in subscriber.received if received.method == "PUT"]
        return [(body["id"], body["meta"]["versionId"]) for body in bodies]

    def created_and_delivered() -> Json | None:
        unheard = ehr.create(dose(patient_id, "in-progress"))
        heard = ehr.create(dose(patient_id))
        until = time.monotonic() + 2
        while time.monotonic() < until:
            if (heard["id"], "1") in delivered():
                assert unheard["id"] not in {id_ for id_, _ in delivered()}
                return heard
            time.sleep(0.02)
        return None

    try:
        stored = eventually(created_and_delivered)
        changed = {**stored, "note": [{"text": "corrected"}]}
        ehr.call("PUT", f"/MedicationAdministration/{stored['id']}", changed, If_Match='W/"1"')
        eventually(lambda: (stored["id"], "2") in delivered())
        received = next(item for item in subscriber.received if stored["id"] in item.path)
        assert received.path == f"/hook/MedicationAdministration/{stored['id']}"
        assert received.headers["authorization"] == "Bearer contract:secret"
        assert "json" in received.headers["content-type"]
    finally:
        ehr.call("DELETE", f"/Subscription/{subscription['id']}")
