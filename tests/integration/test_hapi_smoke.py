"""What a real HAPI FHIR server sends and answers, as far as afterdose relies on it."""

import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest
import requests

from servers import RunningServer

pytestmark = pytest.mark.hapi

DEADLINE_SECONDS = 30
SEND_DELETES = "http://hapifhir.io/fhir/StructureDefinition/subscription-send-delete-messages"
BEARER = "Bearer smoke-test:token"

Resource = dict[str, Any]


@dataclass(frozen=True)
class Delivery:
    verb: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes


@dataclass(frozen=True)
class Answer:
    status: int
    content_type: str = ""
    body: bytes = b""


class Hook:
    """A web hook that remembers what it is sent; it answers what was planned, and then 200 without a body."""

    def __init__(self) -> None:
        self.planned: deque[Answer] = deque()
        self._deliveries: list[Delivery] = []
        self._arrived = threading.Condition()

    def take(self, delivery: Delivery) -> None:
        with self._arrived:
            self._deliveries.append(delivery)
            self._arrived.notify_all()

    def wait_for(self, count: int) -> list[Delivery]:
        with self._arrived:
            arrived = self._arrived.wait_for(lambda: len(self._deliveries) >= count, DEADLINE_SECONDS)
            assert arrived, f"{len(self._deliveries)} of {count} deliveries came within {DEADLINE_SECONDS} s"
            return list(self._deliveries)


@contextmanager
def listening_hook() -> Iterator[tuple[Hook, str]]:
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = hook.planned.popleft() if hook.planned else Answer(200)
            self.send_response(answer.status)
            if answer.content_type:
                self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
            hook.take(Delivery(self.command, self.path, headers, body))

        do_PUT = do_POST = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            """Say nothing: pytest shows what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hook, f"http://127.0.0.1:{server.server_port}/hook"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Fhir:
    """The few FHIR calls these tests make; searches never come from HAPI's cache."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.session = requests.Session()
        self.session.headers.update({"Content-Type": "application/fhir+json", "Cache-Control": "no-cache"})

    def call(self, verb: str, path: str, body: Resource | None = None, **headers: str) -> requests.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.session.request(verb, f"{self.base_url}{path}", json=body, headers=names, timeout=DEADLINE_SECONDS)

    def create(self, resource: Resource) -> Resource:
        answer = self.call("POST", f"/{resource['resourceType']}", resource)
        assert answer.status_code == 201, answer.text
        created: Resource = answer.json()
        return created

    def search(self, query: str) -> list[Resource]:
        answer = self.call("GET", f"/{query}")
        assert answer.status_code == 200, answer.text
        return [entry["resource"] for entry in answer.json().get("entry", [])]


@pytest.fixture
def fhir(hapi: RunningServer) -> Fhir:
    return Fhir(hapi.base_url)


@pytest.fixture
def patient(fhir: Fhir) -> Resource:
    return {"reference": f"Patient/{fhir.create({'resourceType': 'Patient'})['id']}"}


@pytest.fixture
def hook(fhir: Fhir) -> Iterator[Hook]:
    """A hook with an active subscription on every MedicationAdministration, deletions too."""
    with listening_hook() as (hook, endpoint):
        subscription = fhir.create(
            {
                "resourceType": "Subscription",
                "status": "requested",
                "reason": "smoke test",
                "criteria": "MedicationAdministration?",
                "channel": {
                    "extension": [{"url": SEND_DELETES, "valueBoolean": True}],
                    "type": "rest-hook",
                    "endpoint": endpoint,
                    "payload": "application/fhir+json",
                    "header": [f"Authorization: {BEARER}"],
                },
            }
        )
        path = f"/Subscription/{subscription['id']}"
        wait_until_active(fhir, path)
        yield hook
        assert fhir.call("DELETE", path).ok


def wait_until_active(fhir: Fhir, path: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (status := fhir.call("GET", path).json()["status"]) != "active":
        assert time.monotonic() < deadline, f"the subscription is still {status!r}"
        time.sleep(0.05)


def dose(patient: Resource) -> Resource:
    return {
        "resourceType": "MedicationAdministration",
        "status": "in-progress",
        "medicationCodeableConcept": {"text": "esketamine 84 mg nasal spray"},
        "subject": patient,
        "effectiveDateTime": "2026-03-02T10:00:00+01:00",
    }


def plan(patient: Resource, key: str) -> Resource:
    return {
        "resourceType": "CarePlan",
        "identifier": [{"system": "urn:smoke", "value": key}],
        "status": "active",
        "intent": "plan",
        "subject": patient,
    }


def visit_with_provenance(patient: Resource, key: str) -> Resource:
    visit = f"urn:uuid:{uuid4()}"
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": visit,
                "resource": {
                    "resourceType": "Appointment",
                    "identifier": [{"system": "urn:smoke", "value": key}],
                    "status": "proposed",
                    "participant": [{"actor": patient, "status": "needs-action"}],
                },
                "request": {"method": "POST", "url": "Appointment", "ifNoneExist": f"identifier=urn:smoke|{key}"},
            },
            {
                "fullUrl": f"urn:uuid:{uuid4()}",
                "resource": {
                    "resourceType": "Provenance",
                    "target": [{"reference": visit}],
                    "recorded": "2026-03-02T10:00:00Z",
                    "agent": [{"who": {"display": "smoke test"}}],
                },
                "request": {"method": "POST", "url": "Provenance"},
            },
        ],
    }


def test_hapi_delivers_a_created_dose_as_put(fhir: Fhir, patient: Resource, hook: Hook) -> None:
    created = fhir.create(dose(patient))
    [delivery] = hook.wait_for(1)
    assert (delivery.verb, delivery.path) == ("PUT", f"/hook/MedicationAdministration/{created['id']}")
    assert delivery.headers["authorization"] == BEARER
    assert delivery.headers["content-type"].replace(" ", "").lower() == "application/fhir+json;charset=utf-8"
    assert delivery.headers["if-match"] == 'W/"1"'
    assert json.loads(delivery.body) == created


def test_hapi_delivers_an_updated_dose_as_put_with_its_new_version(fhir: Fhir, patient: Resource, hook: Hook) -> None:
    created = fhir.create(dose(patient))
    hook.wait_for(1)
    path = f"/MedicationAdministration/{created['id']}"
    assert fhir.call("PUT", path, {**created, "status": "completed"}).status_code == 200
    delivery = hook.wait_for(2)[1]
    assert (delivery.verb, delivery.path) == ("PUT", f"/hook{path}")
    assert delivery.headers["if-match"] == 'W/"2"'
    delivered = json.loads(delivery.body)
    assert (delivered["status"], delivered["meta"]["versionId"]) == ("completed", "2")


def test_hapi_delivers_a_deleted_dose_as_delete_without_a_body(fhir: Fhir, patient: Resource, hook: Hook) -> None:
    created = fhir.create(dose(patient))
    hook.wait_for(1)
    path = f"/MedicationAdministration/{created['id']}"
    assert fhir.call("DELETE", path).status_code == 200
    delivery = hook.wait_for(2)[1]
    assert (delivery.verb, delivery.path, delivery.body) == ("DELETE", f"/hook{path}", b"")
    assert delivery.headers["authorization"] == BEARER
    assert "if-match" not in delivery.headers
    assert "content-type" not in delivery.headers


@pytest.mark.parametrize(
    "refusal",
    [Answer(500), Answer(404), Answer(200, "application/json", b'{"accepted": true}')],
    ids=["500", "404", "200 with JSON that is not FHIR"],
)
def test_hapi_repeats_a_delivery_that_it_takes_for_failed(
    fhir: Fhir, patient: Resource, hook: Hook, refusal: Answer
) -> None:
    hook.planned.extend([refusal, refusal])
    fhir.create(dose(patient))
    deliveries = hook.wait_for(3)
    assert len({(delivery.verb, delivery.path, delivery.body) for delivery in deliveries}) == 1


@pytest.mark.parametrize(
    "acceptance",
    [
        Answer(200),
        Answer(202),
        Answer(204),
        Answer(200, "application/fhir+json", b'{"resourceType":"OperationOutcome"}'),
    ],
    ids=["200", "202", "204", "200 with an OperationOutcome"],
)
def test_hapi_goes_on_after_a_delivery_that_was_accepted(
    fhir: Fhir, patient: Resource, hook: Hook, acceptance: Answer
) -> None:
    hook.planned.append(acceptance)
    first = fhir.create(dose(patient))
    hook.wait_for(1)
    second = fhir.create(dose(patient))
    paths = [delivery.path for delivery in hook.wait_for(2)]
    assert paths == [f"/hook/MedicationAdministration/{created['id']}" for created in (first, second)]


def test_a_deleted_dose_is_gone(fhir: Fhir, patient: Resource) -> None:
    path = f"/MedicationAdministration/{fhir.create(dose(patient))['id']}"
    assert fhir.call("DELETE", path).status_code == 200
    assert fhir.call("GET", path).status_code == 410


def test_a_stale_if_match_is_answered_409(fhir: Fhir, patient: Resource) -> None:
    created = fhir.create(plan(patient, uuid4().hex))
    path = f"/CarePlan/{created['id']}"
    assert fhir.call("PUT", path, {**created, "title": "second"}, If_Match='W/"1"').headers["ETag"] == 'W/"2"'
    refused = fhir.call("PUT", path, {**created, "title": "third"}, If_Match='W/"1"')
    assert refused.status_code == 409
    assert refused.json()["resourceType"] == "OperationOutcome"
    assert fhir.call("GET", path).json()["title"] == "second"


def test_a_stale_if_match_undoes_its_whole_transaction(fhir: Fhir, patient: Resource) -> None:
    created = fhir.create(plan(patient, uuid4().hex))
    path = f"/CarePlan/{created['id']}"
    assert fhir.call("PUT", path, {**created, "title": "second"}).status_code == 200
    key = uuid4().hex
    bundle = visit_with_provenance(patient, key)
    request = {"method": "PUT", "url": path[1:], "ifMatch": 'W/"1"'}
    bundle["entry"].append({"resource": {**created, "title": "third"}, "request": request})
    assert fhir.call("POST", "", bundle).status_code == 409
    assert fhir.search(f"Appointment?identifier=urn:smoke|{key}") == []


def test_a_conditional_create_happens_once(fhir: Fhir, patient: Resource) -> None:
    key = uuid4().hex
    condition = f"identifier=urn:smoke|{key}"
    answers = [fhir.call("POST", "/CarePlan", plan(patient, key), If_None_Exist=condition) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].headers["Location"] == answers[1].headers["Location"]
    assert answers[0].headers["ETag"] == answers[1].headers["ETag"] == 'W/"1"'
    assert len(fhir.search(f"CarePlan?{condition}")) == 1


def test_a_repeated_transaction_finds_what_if_none_exist_names(fhir: Fhir, patient: Resource) -> None:
    key = uuid4().hex
    answers = [fhir.call("POST", "", visit_with_provenance(patient, key)) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    entries = [[entry["response"] for entry in answer.json()["entry"]] for answer in answers]
    statuses = [[response["status"] for response in responses] for responses in entries]
    assert statuses == [["201 Created", "201 Created"], ["200 OK", "201 Created"]]
    visits = {responses[0]["location"].partition("/_history")[0] for responses in entries}
    assert len(visits) == 1
    [visit] = visits
    assert len(fhir.search(f"Appointment?identifier=urn:smoke|{key}")) == 1
    assert len(fhir.search(f"Provenance?target={visit}")) == 2


def test_a_search_with_no_cache_sees_what_was_just_written(fhir: Fhir) -> None:
    key = uuid4().hex
    query = f"Task?identifier=urn:smoke|{key}"
    task = {"resourceType": "Task", "status": "requested", "intent": "order"}
    task["identifier"] = [{"system": "urn:smoke", "value": key}]
    assert fhir.search(query) == []
    fhir.create(task)
    assert len(fhir.search(query)) == 1


def test_a_search_without_no_cache_may_miss_what_was_just_written(fhir: Fhir) -> None:
    key = uuid4().hex
    query = f"Task?identifier=urn:smoke|{key}"
    task = {"resourceType": "Task", "status": "requested", "intent": "order"}
    task["identifier"] = [{"system": "urn:smoke", "value": key}]
    del fhir.session.headers["Cache-Control"]
    assert fhir.search(query) == []
    fhir.create(task)
    assert fhir.search(query) == []


def test_a_reference_to_nobody_is_refused(fhir: Fhir) -> None:
    assert fhir.call("POST", "/CarePlan", plan({"reference": "Patient/nobody"}, uuid4().hex)).status_code == 400


def test_the_server_says_that_it_is_hapi_for_r4(fhir: Fhir) -> None:
    statement = fhir.call("GET", "/metadata").json()
    assert statement["fhirVersion"] == "4.0.1"
    assert statement["software"]["name"] == "HAPI FHIR Server"
