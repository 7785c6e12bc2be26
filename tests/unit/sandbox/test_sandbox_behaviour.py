"""Each switch makes the sandbox into the server that it names, and metadata says so where theirs would."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

PATIENT = {"resourceType": "Patient", "id": "p", "identifier": [{"system": "urn:s", "value": "1"}]}
EMPTY_TRANSACTION = {"resourceType": "Bundle", "type": "transaction", "entry": []}


def rest(call: Any) -> dict[str, Any]:
    found: dict[str, Any] = call("GET", "/metadata").json()["rest"][0]
    return found


def patient_row(call: Any) -> dict[str, Any]:
    return next(resource for resource in rest(call)["resource"] if resource["type"] == "Patient")


def test_the_capability_statement_says_that_this_is_no_medical_record_system(call: Any) -> None:
    statement = call("GET", "/metadata").json()
    assert statement["software"]["name"] == "Sandbox EHR of afterdose"
    assert "for demonstration and tests only, not a medical record system" in statement["description"]


def test_undeclared_transactions_are_refused(ehr: Any, call: Any) -> None:
    ehr.behaviour = replace(ehr.behaviour, transaction="undeclared")
    assert "interaction" not in rest(call)
    answer = call("POST", "/", json=EMPTY_TRANSACTION)
    assert answer.status_code == 405
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_a_server_that_does_not_roll_back_answers_200_and_keeps_what_succeeded(ehr: Any, call: Any) -> None:
    ehr.behaviour = replace(ehr.behaviour, transaction="per-entry")
    ehr.put(PATIENT)
    entries = [
        {"resource": PATIENT, "request": {"method": "PUT", "url": "Patient/p", "ifMatch": 'W/"9"'}},
        {"resource": {**PATIENT, "id": "q"}, "request": {"method": "PUT", "url": "Patient/q"}},
    ]
    answer = call("POST", "/", json={**EMPTY_TRANSACTION, "entry": entries})
    assert answer.status_code == 200
    assert [entry["response"]["status"] for entry in answer.json()["entry"]] == [
        "412 Precondition Failed",
        "201 Created",
    ]
    assert ehr.get("Patient", "q") is not None


@pytest.mark.parametrize(("switch", "declared"), [("ignored", True), ("undeclared", False)])
def test_a_server_without_conditional_create_makes_duplicates(ehr: Any, call: Any, switch: str, declared: bool) -> None:
    ehr.behaviour = replace(ehr.behaviour, if_none_exist=switch)
    assert patient_row(call)["conditionalCreate"] is declared
    for _ in range(2):
        answer = call("POST", "/Patient", json=PATIENT, headers={"If-None-Exist": "identifier=urn:s|1"})
        assert answer.status_code == 201
    assert len(ehr.all("Patient")) == 2


def test_a_lagging_index_hides_a_new_resource_from_search_but_not_from_reads(ehr: Any, call: Any, clock: Any) -> None:
    ehr.behaviour = replace(ehr.behaviour, search_lag=30)
    ehr.put(PATIENT)
    assert call("GET", "/Patient/p").status_code == 200
    assert call("GET", "/Patient?identifier=urn:s|1").json()["total"] == 0
    clock.forward(29)
    assert call("GET", "/Patient?identifier=urn:s|1").json()["total"] == 0
    clock.forward(1)
    assert call("GET", "/Patient?identifier=urn:s|1").json()["total"] == 1


def test_a_lagging_index_does_not_fool_a_conditional_create(ehr: Any, call: Any) -> None:
    ehr.behaviour = replace(ehr.behaviour, search_lag=30)
    ehr.put(PATIENT)
    answer = call("POST", "/Patient", json=PATIENT, headers={"If-None-Exist": "identifier=urn:s|1"})
    assert (answer.status_code, answer.json()["id"]) == (200, "p")


def test_without_etags_no_version_is_shown_and_if_match_is_ignored(ehr: Any, call: Any) -> None:
    ehr.behaviour = replace(ehr.behaviour, etags=False)
    created = call("PUT", "/Patient/p", json=PATIENT)
    assert "ETag" not in created.headers
    assert "_history" not in created.headers["Location"]
    assert "versionId" not in created.json()["meta"]
    assert patient_row(call)["versioning"] == "no-version"
    assert call("PUT", "/Patient/p", json=PATIENT, headers={"If-Match": 'W/"7"'}).status_code == 200


@pytest.mark.parametrize("status", [409, 412])
def test_a_stale_update_is_refused_with_the_status_of_this_server(ehr: Any, call: Any, status: int) -> None:
    ehr.behaviour = replace(ehr.behaviour, conflict_status=status)
    ehr.put(PATIENT)
    ehr.put(PATIENT)
    answer = call("PUT", "/Patient/p", json=PATIENT, headers={"If-Match": 'W/"1"'})
    assert answer.status_code == status
    assert call("PUT", "/Patient/p", json=PATIENT, headers={"If-Match": 'W/"2"'}).status_code == 200


def test_a_bearer_token_is_wanted_everywhere_but_at_metadata(ehr: Any, call: Any) -> None:
    ehr.behaviour = replace(ehr.behaviour, bearer="sesame")
    assert call("GET", "/metadata").status_code == 200
    refused = call("GET", "/Patient/p")
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert refused.json()["resourceType"] == "OperationOutcome"
    assert call("GET", "/Patient", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert call("GET", "/Patient", headers={"Authorization": "Bearer sesame"}).status_code == 200


def test_latency_delays_every_answer(ehr: Any, call: Any) -> None:
    ehr.behaviour = replace(ehr.behaviour, latency_ms=120)
    assert call("GET", "/metadata").elapsed.total_seconds() >= 0.12


def test_a_type_for_reading_only_takes_no_writes_and_declares_none(ehr: Any, call: Any) -> None:
    ehr.behaviour = replace(ehr.behaviour, read_only=frozenset({"Patient"}))
    assert {found["code"] for found in patient_row(call)["interaction"]} == {"read", "vread", "search-type"}
    assert call("POST", "/Patient", json=PATIENT).status_code == 405


def test_an_absent_type_is_neither_declared_nor_found(ehr: Any, call: Any) -> None:
    ehr.behaviour = replace(ehr.behaviour, absent=frozenset({"CarePlan"}))
    assert "CarePlan" not in {resource["type"] for resource in rest(call)["resource"]}
    assert call("GET", "/CarePlan?status=active").status_code == 404


def test_without_update_as_create_a_client_cannot_choose_an_id(ehr: Any, call: Any) -> None:
    ehr.behaviour = replace(ehr.behaviour, update_create=False)
    assert call("PUT", "/Patient/p", json=PATIENT).status_code == 405
    assert ehr.all("Patient") == []


def test_the_page_size_of_the_server_bounds_a_page_that_asks_for_no_count(ehr: Any, call: Any) -> None:
    ehr.behaviour = replace(ehr.behaviour, page_size=2)
    for _ in range(3):
        ehr.create(PATIENT)
    first = call("GET", "/Patient").json()
    assert (first["total"], len(first["entry"])) == (3, 2)
