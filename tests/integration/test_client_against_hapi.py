"""The client against HAPI FHIR, which is nobody's invention of ours."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from afterdose.core.errors import EhrConflict, EhrGone, EhrRefused
from afterdose.ehr import wire
from afterdose.ehr.answers import Written
from afterdose.ehr.client import EhrClient
from afterdose.ehr.interactions import INTERACTIONS
from afterdose.ehr.wire import TransactionEntry
from ehr_targets import target
from servers import RunningServer

pytestmark = pytest.mark.hapi

SYSTEM = "https://ours.example/artifact"


@pytest.fixture
def client(hapi: RunningServer) -> Iterator[EhrClient]:
    patient = timedelta(seconds=30)
    settings = target(hapi.base_url, timeout_read=patient, deadline=patient, max_answer_bytes=5_000_000)
    with EhrClient(settings, clock=lambda: datetime.now(UTC)) as one:
        yield one


def task(value: str) -> dict[str, object]:
    identifier = [{"system": SYSTEM, "value": value}]
    return {"resourceType": "Task", "identifier": identifier, "status": "requested", "intent": "proposal"}


def test_its_capabilities_are_read(client: EhrClient) -> None:
    capabilities = client.capabilities()
    assert capabilities.fhir_version == "4.0.1"
    assert capabilities.transaction
    assert capabilities.conditional_create["CarePlan"]
    assert all(
        capabilities.allows(type_, interaction)
        for type_, interactions in INTERACTIONS.items()
        for interaction in interactions
    )


def test_what_is_created_is_read_found_and_updated(client: EhrClient) -> None:
    value = str(uuid4())
    query = wire.identifier_query(SYSTEM, value)
    written = client.create(task(value), if_none_exist=query)
    again = client.create(task(value), if_none_exist=query)
    assert (written.created, again.created, again.id) == (True, False, written.id)
    assert [one["id"] for one in client.find_by_identifier("Task", SYSTEM, value)] == [written.id]
    found = client.read("Task", written.id)
    assert found.etag == written.etag
    changed = client.update("Task", written.id, {**found.resource, "status": "cancelled"}, if_match=found.etag)
    assert changed.etag != found.etag
    with pytest.raises(EhrConflict):
        client.update("Task", written.id, {**found.resource, "status": "completed"}, if_match=found.etag)


def test_two_that_match_are_a_conflict(client: EhrClient) -> None:
    value = str(uuid4())
    client.create(task(value))
    client.create(task(value))
    with pytest.raises(EhrConflict) as raised:
        client.create(task(value), if_none_exist=wire.identifier_query(SYSTEM, value))
    assert raised.value.code == "multiple-matches"


def test_what_never_was_is_gone_and_what_is_illegal_is_refused(client: EhrClient) -> None:
    with pytest.raises(EhrGone):
        client.read("Patient", "never-was")
    with pytest.raises(EhrRefused):
        client.create({"resourceType": "Task", "status": "no such status", "intent": "proposal"})


def test_an_unknown_search_parameter_is_refused_and_not_ignored(client: EhrClient) -> None:
    with pytest.raises(EhrRefused):
        client.search("Task", {"no-such-parameter": "1"})


def test_a_search_reads_every_page(client: EhrClient) -> None:
    value = str(uuid4())
    ids = {client.create(task(value)).id for _ in range(5)}
    pages = client.search("Task", {"identifier": wire.token(SYSTEM, value), "_count": "2"})
    assert {one["id"] for one in pages} == ids
    by_post = client.search("Task", {"identifier": wire.token(SYSTEM, value), "status": "requested", "_count": "2"})
    assert {one["id"] for one in by_post} == ids


def test_a_transaction_gives_a_result_for_each_entry(client: EhrClient) -> None:
    written = client.create(task(str(uuid4())))
    stored = client.read("Task", written.id)
    new = str(uuid4())
    results = client.transaction(
        [
            TransactionEntry(
                resource=task(new),
                full_url=f"urn:uuid:{uuid4()}",
                if_none_exist=wire.identifier_query(SYSTEM, new),
            ),
            TransactionEntry(resource={**stored.resource, "status": "cancelled"}, id=written.id, if_match=stored.etag),
        ]
    )
    created, changed = results
    assert isinstance(created, Written)
    assert isinstance(changed, Written)
    assert (created.created, changed.created) == (True, False)
    assert [one["id"] for one in client.find_by_identifier("Task", SYSTEM, new)] == [created.id]
