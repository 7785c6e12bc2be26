"""The client against a FHIR server on a real socket that behaves well, and then badly."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from afterdose.core.errors import EhrAmbiguous, EhrConflict, EhrGone, EhrRefused, EhrUnavailable
from afterdose.ehr import wire
from afterdose.ehr.answers import Written
from afterdose.ehr.client import EhrClient
from afterdose.ehr.wire import TransactionEntry
from afterdose.sandbox import faults
from afterdose.sandbox.server import SandboxEHR
from ehr_targets import target

SYSTEM = "https://ours.example/artifact"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ehr() -> Iterator[SandboxEHR]:
    with SandboxEHR() as sandbox:
        yield sandbox


@pytest.fixture
def calls() -> list[tuple[str, str, int | None]]:
    return []


@pytest.fixture
def client(ehr: SandboxEHR, clock: Clock, calls: list[tuple[str, str, int | None]]) -> Iterator[EhrClient]:
    def on_call(method: str, template: str, status: int | None, duration: timedelta) -> None:
        assert duration > timedelta(0)
        calls.append((method, template, status))

    settings = target(ehr.base_url, timeout_read=timedelta(seconds=0.5))
    with EhrClient(settings, clock=clock, on_call=on_call) as one:
        yield one


def task(patient: str, value: str | None = None) -> dict[str, object]:
    return {
        "resourceType": "Task",
        "identifier": [{"system": SYSTEM, "value": value or str(uuid4())}],
        "status": "requested",
        "intent": "proposal",
        "for": {"reference": f"Patient/{patient}"},
    }


@pytest.fixture
def patient(ehr: SandboxEHR) -> str:
    return str(ehr.create({"resourceType": "Patient"})["id"])


def test_what_is_created_is_read_found_and_updated(client: EhrClient, patient: str) -> None:
    value = str(uuid4())
    written = client.create(task(patient, value))
    assert written.created
    found = client.read("Task", written.id)
    assert found.etag == written.etag
    assert [one["id"] for one in client.find_by_identifier("Task", SYSTEM, value)] == [written.id]
    assert [one["id"] for one in client.search("Task", {"patient": patient})] == [written.id]
    changed = client.update("Task", written.id, {**found.resource, "status": "cancelled"}, if_match=found.etag)
    assert changed.etag != written.etag
    with pytest.raises(EhrConflict):
        client.update("Task", written.id, {**found.resource, "status": "completed"}, if_match=found.etag)


def test_a_conditional_create_makes_one(client: EhrClient, ehr: SandboxEHR, patient: str) -> None:
    value = str(uuid4())
    query = wire.identifier_query(SYSTEM, value)
    first = client.create(task(patient, value), if_none_exist=query)
    again = client.create(task(patient, value), if_none_exist=query)
    assert (first.created, again.created, again.id) == (True, False, first.id)
    assert len(ehr.all("Task")) == 1


def test_an_ehr_that_finds_two_says_so(client: EhrClient, patient: str) -> None:
    value = str(uuid4())
    client.create(task(patient, value))
    client.create(task(patient, value))
    with pytest.raises(EhrConflict) as raised:
        client.create(task(patient, value), if_none_exist=wire.identifier_query(SYSTEM, value))
    assert raised.value.code == "multiple-matches"


def test_what_was_deleted_is_gone(client: EhrClient, ehr: SandboxEHR, patient: str) -> None:
    written = client.create(task(patient))
    ehr.delete("Task", written.id)
    for id_ in (written.id, "never-was"):
        with pytest.raises(EhrGone):
            client.read("Task", id_)


def test_a_search_reads_every_page(client: EhrClient, ehr: SandboxEHR, patient: str) -> None:
    ehr.behaviour = replace(ehr.behaviour, page_size=2)
    ids = {client.create(task(patient)).id for _ in range(7)}
    assert {one["id"] for one in client.search("Task", {"patient": patient})} == ids


def test_a_transaction_gives_a_result_for_each_entry(client: EhrClient, patient: str) -> None:
    written = client.create(task(patient))
    stored = client.read("Task", written.id)
    results = client.transaction(
        [
            TransactionEntry(resource=task(patient), full_url=f"urn:uuid:{uuid4()}"),
            TransactionEntry(resource=stored.resource, id=written.id, if_match=stored.etag),
        ]
    )
    assert all(isinstance(result, Written) for result in results)


def test_a_transaction_that_is_none_says_which_entry_failed(client: EhrClient, ehr: SandboxEHR, patient: str) -> None:
    ehr.behaviour = replace(ehr.behaviour, transaction="per-entry")
    results = client.transaction(
        [TransactionEntry(resource=task(patient)), TransactionEntry(resource={"resourceType": "Appointment"})]
    )
    assert [type(result) for result in results] == [Written, EhrRefused]


def test_capabilities_are_asked_for_once_a_day(client: EhrClient, ehr: SandboxEHR, clock: Clock) -> None:
    assert client.capabilities().allows("CarePlan", "create")
    ehr.behaviour = replace(ehr.behaviour, absent=frozenset({"CarePlan"}), transaction="undeclared")
    assert client.capabilities().transaction
    clock.now += timedelta(hours=24)
    assert not client.capabilities().allows("CarePlan", "create")
    assert not client.capabilities().transaction


def test_a_write_whose_answer_is_lost_is_ambiguous_and_is_found_again(
    client: EhrClient, ehr: SandboxEHR, patient: str
) -> None:
    for fault in (
        faults.commit_then_drop(),
        faults.commit_then_status(502),
        faults.truncate_body(),
        faults.html_200(),
        faults.timeout(1),
    ):
        ehr.fail_next("POST", "Task$", fault)
        value = str(uuid4())
        with pytest.raises(EhrAmbiguous):
            client.create(task(patient, value))
        assert len(client.find_by_identifier("Task", SYSTEM, value)) <= 1


def test_a_throttled_write_was_not_done(client: EhrClient, ehr: SandboxEHR, patient: str) -> None:
    ehr.fail_next("POST", "Task$", faults.retry_after(7))
    with pytest.raises(EhrUnavailable) as raised:
        client.create(task(patient))
    assert type(raised.value) is EhrUnavailable
    assert raised.value.retry_after == timedelta(seconds=7)
    assert ehr.all("Task") == []


def test_the_hook_hears_of_every_call_and_never_of_a_person(
    client: EhrClient, ehr: SandboxEHR, patient: str, calls: list[tuple[str, str, int | None]]
) -> None:
    client.read("Patient", patient)
    client.search("Task", {"patient": patient})
    ehr.fail_next("POST", "Task$", faults.drop())
    with pytest.raises(EhrAmbiguous):
        client.create(task(patient))
    assert calls == [("GET", "Patient/{id}", 200), ("POST", "Task/_search", 200), ("POST", "Task", None)]


def test_no_url_holds_a_search_value_of_a_person(client: EhrClient, ehr: SandboxEHR, patient: str) -> None:
    client.search("Task", {"patient": patient})
    client.search("Task", {"identifier": "urn:mrn|MRN-4711"})
    assert [(request.path.rpartition("/")[2], request.query) for request in ehr.requests] == [("_search", "")] * 2
