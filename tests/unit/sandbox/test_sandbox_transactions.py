"""A transaction is all or nothing, in the order that the specification sets; a batch is neither."""

from __future__ import annotations

from typing import Any

import pytest

PATIENT = {"resourceType": "Patient", "id": "p", "identifier": [{"system": "urn:s", "value": "1"}]}
PLAN_URL, VISIT_URL = "urn:uuid:11111111-1111-1111-1111-111111111111", "urn:uuid:22222222-2222-2222-2222-222222222222"


def entry(method: str, url: str, resource: Any = None, full_url: str | None = None, **request: str) -> dict[str, Any]:
    whole = {"request": {"method": method, "url": url, **request}, "resource": resource, "fullUrl": full_url}
    return {name: value for name, value in whole.items() if value is not None}


def bundle(*entries: dict[str, Any], type_: str = "transaction") -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": type_, "entry": list(entries)}


def statuses(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [found["response"]["status"][:3] for found in answer.json()["entry"]]


def task(focus: str, id_: str | None = None, **more: Any) -> dict[str, Any]:
    body = {"resourceType": "Task", "status": "ready", "intent": "order", "focus": {"reference": focus}, **more}
    return {**body, "id": id_} if id_ else body


def test_links_are_resolved_to_entries_that_come_later_and_to_updates(ehr: Any, call: Any) -> None:
    other = "urn:uuid:33333333-3333-3333-3333-333333333333"
    answer = call(
        "POST",
        "/",
        json=bundle(
            entry("POST", "Task", task(PLAN_URL), VISIT_URL),
            entry("POST", "Task", task(other), PLAN_URL),
            entry("PUT", "Patient/p", PATIENT, other),
        ),
    )
    assert statuses(answer) == ["201", "201", "201"]
    first, second = ehr.all("Task")
    assert first["focus"]["reference"] == f"Task/{second['id']}"
    assert second["focus"]["reference"] == "Patient/p"
    assert answer.json()["entry"][0]["response"]["location"] == f"Task/{first['id']}/_history/1"
    assert answer.json()["entry"][0]["response"]["etag"] == 'W/"1"'


def test_links_in_a_narrative_are_resolved_and_identifiers_are_left_alone(ehr: Any, call: Any) -> None:
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{PLAN_URL}">plan</a></div>'
    identifier = [{"system": "urn:ietf:rfc:3986", "value": PLAN_URL}]
    body = task(PLAN_URL, text={"status": "generated", "div": div}, identifier=identifier)
    call("POST", "/", json=bundle(entry("POST", "Task", body, PLAN_URL)))
    (stored,) = ehr.all("Task")
    assert f'href="Task/{stored["id"]}"' in stored["text"]["div"]
    assert stored["identifier"] == identifier


def test_a_link_to_what_a_conditional_create_finds_names_what_is_there(ehr: Any, call: Any) -> None:
    ehr.put(PATIENT)
    answer = call(
        "POST",
        "/",
        json=bundle(
            entry("POST", "Patient", PATIENT, PLAN_URL, ifNoneExist="identifier=urn:s|1"),
            entry("POST", "Task", task(PLAN_URL), VISIT_URL),
        ),
    )
    assert statuses(answer) == ["200", "201"]
    assert ehr.all("Task")[0]["focus"]["reference"] == "Patient/p"


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (entry("PUT", "Patient/p", PATIENT, ifMatch='W/"7"'), 412),
        (entry("POST", "Task", task("urn:uuid:99999999-9999-9999-9999-999999999999")), 400),
        (entry("POST", "Task", {"resourceType": "Task", "status": "nonsense", "intent": "order"}), 422),
        (entry("GET", "Patient/nobody"), 404),
        (entry("POST", "Patient", PATIENT, ifNoneExist="identifier=twice"), 412),
        (entry("PUT", "Task/first", task("Patient/p", "first")), 400),
        (entry("PATCH", "Patient/p", {}), 400),
        (entry("DELETE", "Patient?identifier=urn:s|1"), 400),
        ({"resource": PATIENT}, 400),
    ],
)
def test_one_bad_entry_undoes_them_all(ehr: Any, call: Any, bad: dict[str, Any], status: int) -> None:
    ehr.put(PATIENT)
    for _ in range(2):
        ehr.create({"resourceType": "Patient", "identifier": [{"value": "twice"}]})
    before = len(ehr.history())
    good = [entry("PUT", "Task/first", task("Patient/p", "first")), entry("DELETE", "Patient/p", full_url=None)]
    answer = call("POST", "/", json=bundle(*good[: 1 if "Patient/p" in str(bad) else 2], bad))
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert len(ehr.history()) == before
    assert ehr.get("Patient", "p") is not None
    assert ehr.all("Task") == []


def test_deletions_come_first_and_reads_come_last(ehr: Any, call: Any) -> None:
    ehr.put(PATIENT)
    answer = call(
        "POST",
        "/",
        json=bundle(
            entry("GET", "Patient?identifier=urn:s|1"),
            entry("POST", "Patient", PATIENT, ifNoneExist="identifier=urn:s|1"),
            entry("DELETE", "Patient/p"),
        ),
    )
    assert statuses(answer) == ["200", "201", "204"]
    assert answer.json()["entry"][0]["resource"]["total"] == 1
    assert ehr.get("Patient", "p") is None


def test_resources_come_back_only_when_they_are_asked_for(call: Any) -> None:
    def posted(**headers: str) -> dict[str, Any]:
        answer = call("POST", "", json=bundle(entry("POST", "Patient", PATIENT)), headers=headers)
        found: dict[str, Any] = answer.json()["entry"][0]
        return found

    assert "resource" not in posted()
    assert posted(Prefer="return=representation")["resource"]["resourceType"] == "Patient"


def test_each_entry_of_a_batch_fails_for_itself(ehr: Any, call: Any) -> None:
    answer = call(
        "POST",
        "/",
        json=bundle(
            entry("GET", "Patient/nobody"),
            entry("PUT", "Patient/p", PATIENT),
            {"resource": PATIENT},
            type_="batch",
        ),
    )
    assert statuses(answer) == ["404", "201", "400"]
    assert answer.json()["type"] == "batch-response"
    assert answer.json()["entry"][0]["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert ehr.get("Patient", "p") is not None


@pytest.mark.parametrize("body", [PATIENT, {"resourceType": "Bundle", "type": "collection"}, []])
def test_only_a_transaction_or_a_batch_is_taken_at_the_base(call: Any, body: Any) -> None:
    assert call("POST", "/", json=body).status_code == 400
