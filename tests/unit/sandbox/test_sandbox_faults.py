"""Each fault happens on the real socket, once, to the request it was scripted for; what was committed stays."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import requests

from afterdose.sandbox import SandboxEHR, faults

PATIENT = {"resourceType": "Patient", "id": "p", "name": [{"family": "Fault" * 200}]}


def stored(ehr: SandboxEHR) -> int:
    return len(ehr.all("Patient"))


def test_a_gateway_status_stands_in_for_a_server_that_was_never_reached(ehr: SandboxEHR, call: Any) -> None:
    ehr.fail_next("POST", "/Patient", faults.status(502))
    assert call("POST", "/Patient", json=PATIENT).status_code == 502
    assert stored(ehr) == 0
    assert call("POST", "/Patient", json=PATIENT).status_code == 201


def test_a_commit_that_is_dropped_is_stored_and_never_answered(ehr: SandboxEHR, call: Any) -> None:
    ehr.fail_next("POST", "/Patient", faults.commit_then_drop())
    with pytest.raises(requests.ConnectionError):
        call("POST", "/Patient", json=PATIENT)
    assert stored(ehr) == 1
    assert ehr.requests[-1].status is None


def test_a_drop_before_the_commit_leaves_nothing(ehr: SandboxEHR, call: Any) -> None:
    ehr.fail_next("POST", "/Patient", faults.drop())
    with pytest.raises(requests.ConnectionError):
        call("POST", "/Patient", json=PATIENT)
    assert stored(ehr) == 0


def test_a_commit_may_be_answered_by_a_gateway_that_knows_nothing_of_it(ehr: SandboxEHR, call: Any) -> None:
    ehr.fail_next("POST", "/Patient", faults.commit_then_status(504))
    assert call("POST", "/Patient", json=PATIENT).status_code == 504
    assert stored(ehr) == 1


def test_a_truncated_body_breaks_off_in_the_middle(ehr: SandboxEHR, call: Any) -> None:
    ehr.fail_next("POST", "/Patient", faults.truncate_body())
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        call("POST", "/Patient", json=PATIENT)
    assert stored(ehr) == 1


def test_a_login_page_comes_with_200_and_stores_nothing(ehr: SandboxEHR, call: Any) -> None:
    ehr.fail_next("POST", "/Patient", faults.html_200())
    answer = call("POST", "/Patient", json=PATIENT)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert stored(ehr) == 0


def test_a_timeout_lets_the_client_give_up_on_what_was_stored(ehr: SandboxEHR, call: Any) -> None:
    ehr.fail_next("POST", "/Patient", faults.timeout(30))
    with pytest.raises(requests.Timeout):
        call("POST", "/Patient", json=PATIENT, timeout=0.3)
    assert stored(ehr) == 1


def test_a_server_that_asks_for_patience_says_for_how_long(ehr: SandboxEHR, call: Any) -> None:
    ehr.fail_next("*", "/Patient", faults.retry_after(7), times=2)
    ehr.fail_next("*", "/Patient", faults.retry_after("Wed, 21 Oct 2026 07:28:00 GMT", code=503))
    answers = [call("GET", "/Patient") for _ in range(4)]
    assert [(answer.status_code, answer.headers.get("Retry-After")) for answer in answers] == [
        (429, "7"),
        (429, "7"),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT"),
        (200, None),
    ]


def test_a_fault_meets_only_the_method_and_the_path_it_was_scripted_for(ehr: SandboxEHR, call: Any) -> None:
    ehr.fail_next("POST", r"/CarePlan$", faults.status(500))
    assert call("GET", "/CarePlan").status_code == 200
    assert call("POST", "/Patient", json=PATIENT).status_code == 201
    assert call("POST", "/CarePlan", json={}).status_code == 500


def test_a_fault_can_be_told_apart_by_the_query(ehr: SandboxEHR, call: Any) -> None:
    ehr.fail_next("GET", r"status=active", faults.status(503))
    assert call("GET", "/CarePlan?status=draft").status_code == 200
    assert call("GET", "/CarePlan?status=active").status_code == 503


def test_faults_that_nobody_met_can_be_cleared(ehr: SandboxEHR, call: Any) -> None:
    ehr.fail_next("*", ".", faults.status(503), times=100)
    ehr.clear_faults()
    assert call("GET", "/Patient").status_code == 200


def test_faults_can_be_scripted_before_the_server_starts() -> None:
    with SandboxEHR(faults=[faults.Scripted("GET", "metadata", faults.status(503))]) as ehr:
        assert requests.get(f"{ehr.base_url}/metadata", timeout=10).status_code == 503
        assert requests.get(f"{ehr.base_url}/metadata", timeout=10).status_code == 200


def test_the_pages_for_people_meet_no_fault(ehr: SandboxEHR) -> None:
    ehr.fail_next("*", ".", faults.status(503))
    assert requests.get(ehr.page_url, timeout=10).status_code == 200


def test_every_request_is_logged_without_its_credentials(ehr: SandboxEHR, call: Any) -> None:
    ehr.put(PATIENT)
    call("GET", "/Patient?_id=p", headers={"Authorization": "Bearer secret", "Cache-Control": "no-cache"})
    (logged,) = ehr.requests
    assert (logged.method, logged.path, logged.query, logged.status) == ("GET", "/fhir/Patient", "_id=p", 200)
    assert logged.headers["Cache-Control"] == "no-cache"
    assert "secret" not in str(logged)


def test_closing_the_server_once_or_twice_ends_its_pauses_and_its_socket() -> None:
    ehr = SandboxEHR()
    ehr.fail_next("*", ".", faults.timeout(600))
    ended = threading.Event()

    def wait_for_an_answer() -> None:
        try:
            requests.get(f"{ehr.base_url}/metadata", timeout=60)
        finally:
            ended.set()

    threading.Thread(target=wait_for_an_answer, daemon=True).start()
    until = time.monotonic() + 10
    while ehr.faults_left and time.monotonic() < until:
        time.sleep(0.01)
    ehr.close()
    ehr.close()
    assert ended.wait(10)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{ehr.base_url}/metadata", timeout=5)
