"""What a source only named is read, and taken in like what is sent whole; over a real socket, in the test's time."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from afterdose import logs
from afterdose.connections import connect
from afterdose.content.content import load_content
from afterdose.sandbox import SandboxEHR
from afterdose.sandbox.behaviour import Behaviour
from afterdose.sandbox.faults import status
from afterdose.settings import load_settings
from afterdose.store.migrate import migrate
from afterdose.store.store import Store, open_store
from afterdose.subscribers import follower

SETTINGS = """
data_dir = "{folder}"
insecure_dev = true
[targets.ehr]
base_url = "{ehr}"
clinic = "example"
[sources.ehr]
target = "ehr"
"""
ORDER = {
    "resourceType": "MedicationRequest",
    "id": "o1",
    "status": "active",
    "intent": "order",
    "medicationCodeableConcept": {"text": "x"},
    "subject": {"reference": "Patient/p1"},
}


class Reading:
    """A source whose named resources are read."""

    def __init__(self, folder: Path, ehr: SandboxEHR) -> None:
        self.ehr = ehr
        self.now = datetime.now(UTC)
        config = folder / "afterdose.toml"
        config.write_text(SETTINGS.format(folder=folder, ehr=ehr.base_url))
        settings = load_settings(config, {})
        migrate(settings.database)
        self.store: Store = open_store(settings.database, clock=lambda: self.now)
        self.connections = connect(settings, lambda: self.now)
        self.log = io.StringIO()
        logs.configure("warning", "json", self.log)
        connection = self.connections.sources["ehr"]
        assert connection is not None
        given = settings.sources["ehr"], settings, load_content(None), connection.client
        made = follower(*given, store=self.store, clock=lambda: self.now, stop=threading.Event())
        self.reader = made.reader

    def close(self) -> None:
        self.connections.close()
        self.store.close()

    def latest(self, type_: str, id_: str) -> Any:
        return self.store.facts.latest("ehr", id_, type_)

    def waiting(self) -> int:
        self.now += timedelta(hours=1)
        return len(self.store.unread.due("ehr", 100))


@pytest.fixture
def reading(tmp_path: Path, sandbox: SandboxEHR) -> Iterator[Reading]:
    made = Reading(tmp_path, sandbox)
    yield made
    made.close()


def test_an_order_that_was_named_is_read_and_its_patient_is_due(reading: Reading) -> None:
    reading.ehr.put({"resourceType": "Patient", "id": "p1"})
    reading.ehr.put(ORDER)
    reading.store.unread.keep("ehr", [("MedicationRequest", "o1"), ("Patient", "p1")])
    reading.reader.read()

    assert (reading.latest("MedicationRequest", "o1").patient, reading.latest("Patient", "p1").patient) == ("p1", "p1")
    assert reading.store.agenda.due_count(reading.now) == 1
    assert reading.waiting() == 0


def test_what_is_there_no_more_is_deleted_where_it_was_known(reading: Reading) -> None:
    reading.ehr.put({"resourceType": "Patient", "id": "p1"})
    reading.ehr.put(ORDER)
    for _ in range(2):
        reading.store.unread.keep("ehr", [("MedicationRequest", "o1"), ("MedicationRequest", "never")])
        reading.reader.read()
        reading.ehr.delete("MedicationRequest", "o1")

    assert reading.latest("MedicationRequest", "o1").interaction == "delete"
    assert reading.latest("MedicationRequest", "never") is None
    assert reading.waiting() == 0


def test_while_the_source_is_away_it_is_kept_and_read_later(reading: Reading) -> None:
    reading.ehr.put({"resourceType": "Patient", "id": "p1"})
    reading.ehr.put(ORDER)
    reading.store.unread.keep("ehr", [("MedicationRequest", "o1")])
    reading.ehr.behaviour = Behaviour(bearer="another")
    reading.reader.read()
    assert reading.latest("MedicationRequest", "o1") is None

    reading.ehr.behaviour = Behaviour()
    assert reading.waiting() == 1
    reading.reader.read()
    assert reading.latest("MedicationRequest", "o1") is not None


def test_what_the_source_refuses_is_alarmed_once_and_given_up(reading: Reading) -> None:
    reading.ehr.fail_next("GET", "Encounter/e1", status(403))
    reading.store.unread.keep("ehr", [("Encounter", "e1")])
    reading.reader.read()
    reading.reader.read()

    lines = [json.loads(line) for line in reading.log.getvalue().splitlines()]
    alarms = [line for line in lines if line.get("alarm") == "named"]
    assert [line["resource_type"] for line in alarms] == ["Encounter"]
    assert reading.waiting() == 0


def test_what_is_named_again_while_it_is_read_is_read_again(reading: Reading) -> None:
    reading.store.unread.keep("ehr", [("Encounter", "e1")])
    (before,) = reading.store.unread.due("ehr", 1)
    reading.now += timedelta(seconds=1)
    reading.store.unread.keep("ehr", [("Encounter", "e1")])
    reading.store.unread.done(before)

    assert reading.waiting() == 1


def test_nothing_is_read_for_a_target_that_is_paused(reading: Reading) -> None:
    reading.ehr.put({"resourceType": "Patient", "id": "p1"})
    reading.store.pauses.pause("ehr")
    reading.store.unread.keep("ehr", [("Patient", "p1")])
    reading.reader.read()

    assert reading.latest("Patient", "p1") is None
