"""Real processes, killed, stopped and frozen at work: what was acknowledged is decided, and stands in the EHR once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from ward import OPEN_APPOINTMENTS, OPEN_PLANS, OURS, dose

from afterdose.sandbox import Behaviour, SandboxEHR
from afterdose.sandbox.faults import Answer, Fault, Pause, Serve
from afterdose.store.rows import Arrival
from afterdose.store.store import Store, open_store
from running_service import TOKEN, RunningService

Resource = dict[str, Any]
pytestmark = pytest.mark.kill

KILLS = 40
PATIENTS = 60
SEED = int(os.environ.get("FAULTS_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is put off is tried again after seconds."""
    monkeypatch.setenv("AFTERDOSE_WORK__RETRY_CAP", "3s")


@pytest.fixture
def ehr() -> Iterator[SandboxEHR]:
    with SandboxEHR(behaviour=Behaviour(latency_ms=30)) as running:
        yield running


def seeded() -> random.Random:
    """Chance that can be had again: set FAULTS_SEED to what a failure printed."""
    return random.Random(SEED)  # noqa: S311 - nothing secret depends on it


class Patient:
    """One patient and what is charted, in order; every dose as it stands in the end."""

    def __init__(self, number: int) -> None:
        self.id = f"p-{number}"
        ended = NOW - timedelta(hours=2)
        first = self._dose(f"d-{number}", ended)
        corrected = self._dose(f"d-{number}", ended + timedelta(minutes=20))
        stories = (
            [first],
            [first, first],
            [first, corrected],
            [first, corrected, {**corrected, "status": "entered-in-error"}],
            [self._dose(f"d-{number}-before", ended - timedelta(hours=50)), first],
        )
        self.charted: list[Resource] = stories[number % len(stories)]
        self.doses = {one["id"]: one for one in self.charted if one["status"] == "completed"}
        for one in self.charted:
            if one["status"] != "completed":
                del self.doses[one["id"]]

    def _dose(self, id_: str, ended: datetime) -> Resource:
        return dose(id_, ended, subject={"reference": f"Patient/{self.id}"})


class Sender(threading.Thread):
    """Charts and delivers in a random order, some of it twice, and repeats what is not acknowledged."""

    def __init__(self, ehr: SandboxEHR, url: str, patients: list[Patient], chance: random.Random, pause: float) -> None:
        super().__init__(daemon=True)
        self.acknowledged: set[str] = set()
        self._ehr, self._url, self._chance, self._pause = ehr, url, chance, pause
        self._queues = {patient.id: list(patient.charted) for patient in patients}
        self.ended = threading.Event()

    def run(self) -> None:
        while waiting := [queue for queue in self._queues.values() if queue]:
            resource = self._ehr.put(self._chance.choice(waiting).pop(0))
            for _ in range(self._chance.choice((1, 1, 2))):
                self._deliver(resource)
            time.sleep(self._chance.uniform(0, self._pause))
        self.ended.set()

    def _deliver(self, resource: Resource) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/fhir+json"}
        while True:
            try:
                if requests.post(self._url, data=json.dumps(resource), headers=headers, timeout=5).ok:
                    self.acknowledged.add(resource["id"])
                    return
            except requests.RequestException:
                pass
            time.sleep(0.05)


def eventually(condition: Callable[[], Any], deadline: float) -> Any:
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.2)
    return condition()


@contextmanager
def store_of(folder: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{folder / 'afterdose.db'}", clock=lambda: datetime.now(UTC))
    try:
        yield store
    finally:
        store.close()


def is_idle(store: Store, patients: list[Patient]) -> bool:
    rows = [store.agenda.find("ehr", patient.id) for patient in patients]
    return all(row is not None and row.attempts == 0 and row.lease_owner is None for row in rows) and (
        store.agenda.due_count(datetime.now(UTC)) == 0
    )


def wrongs(ehr: SandboxEHR, store: Store, patients: list[Patient], acknowledged: set[str]) -> list[str]:
    """Every promise that is broken, one line each."""
    found = [
        f"{id_} was acknowledged and is not known" for id_ in acknowledged if store.facts.latest("ehr", id_) is None
    ]
    found += [f"{id_} has no outcome" for id_ in acknowledged if store.outcomes.find("ehr", id_) is None]
    found += [f"{row.patient} is parked: {row.parked}" for row in store.agenda.parked()]
    for type_ in OURS:
        names = Counter(one["identifier"][0]["value"] for one in ehr.all(type_))
        found += [f"{count} of {type_} {name}" for name, count in names.items() if count > 1]
    for patient in patients:
        plans = [one for one in _of(ehr, "CarePlan", patient) if one["status"] in OPEN_PLANS]
        if len(plans) != bool(patient.doses):
            found.append(f"{patient.id} has {len(plans)} open plans")
        opens = sorted(
            datetime.fromisoformat(one["requestedPeriod"][0]["start"])
            for one in _of(ehr, "Appointment", patient)
            if one["status"] in OPEN_APPOINTMENTS
        )
        ends = sorted(datetime.fromisoformat(one["effectivePeriod"]["end"]) for one in patient.doses.values())
        if opens != [end + timedelta(hours=24) for end in ends[-1:]]:  # the dose that follows closes a window
            found.append(f"{patient.id} has visits from {opens} for doses that ended {ends}")
    return found


def _of(ehr: SandboxEHR, type_: str, patient: Patient) -> list[Resource]:
    return [one for one in ehr.all(type_) if f'Patient/{patient.id}"' in json.dumps(one)]


def admitted(ehr: SandboxEHR) -> list[Patient]:
    patients = [Patient(number) for number in range(PATIENTS)]
    for patient in patients:
        ehr.put({"resourceType": "Patient", "id": patient.id, "birthDate": "1980-02-01"})
    return patients


def test_killed_at_any_moment_the_service_loses_nothing_and_doubles_nothing(ehr: SandboxEHR, tmp_path: Path) -> None:
    chance, patients = seeded(), admitted(ehr)
    service = RunningService(tmp_path, ehr.base_url, lease="2s", deadline="1s", threads=4)
    sender = Sender(ehr, service.fhir, patients, seeded(), pause=2.0)
    kills = 0
    service.start()
    sender.start()
    try:
        while kills < KILLS or not sender.ended.is_set():
            time.sleep(chance.uniform(0.1, 1.5))
            if kills < KILLS:
                service.kill()
                kills += 1
                service.start()
        with store_of(tmp_path) as store:
            eventually(lambda: is_idle(store, patients), 150)
            assert wrongs(ehr, store, patients, sender.acknowledged) == [], f"FAULTS_SEED={SEED}"
    finally:
        service.kill()


def test_stopped_under_load_the_service_ends_in_time_and_loses_nothing(ehr: SandboxEHR, tmp_path: Path) -> None:
    patients = admitted(ehr)
    service = RunningService(tmp_path, ehr.base_url, threads=4, processes=2)
    sender = Sender(ehr, service.fhir, patients, seeded(), pause=0.05)
    service.start()
    sender.start()
    try:
        for _ in range(3):
            time.sleep(1.0)
            began = time.monotonic()
            assert service.stop() == 0
            assert time.monotonic() - began < 30
            service.start()
        assert sender.ended.wait(60)
        with store_of(tmp_path) as store:
            eventually(lambda: is_idle(store, patients), 60)
            assert wrongs(ehr, store, patients, sender.acknowledged) == [], f"FAULTS_SEED={SEED}"
    finally:
        service.kill()


class Workers:
    """`afterdose work`: workers without the web."""

    def __init__(self, config: Path, log: Path) -> None:
        self.log = log
        with log.open("wb") as out:
            command = [sys.executable, "-m", "afterdose", "work", "--config", str(config)]
            self.process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)

    def end(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


@pytest.mark.parametrize(
    "moment", [("GET", "/MedicationAdministration/"), ("POST", "/fhir$"), ("POST", "/Provenance$")]
)
def test_a_worker_that_was_frozen_longer_than_its_lease_writes_nothing_more(
    moment: tuple[str, str], ehr: SandboxEHR, tmp_path: Path
) -> None:
    patient = admitted(ehr)[0]
    service = RunningService(tmp_path, ehr.base_url, lease="2s", deadline="1200ms", threads=1)
    subprocess.run(
        [sys.executable, "-m", "afterdose", "migrate", "--config", str(service.config)], check=True, capture_output=True
    )
    with store_of(tmp_path) as store:
        zombie = Workers(service.config, tmp_path / "zombie.log")
        ehr.fail_next(*moment, _freezing(zombie.process.pid))
        (charted,) = patient.charted
        ehr.put(charted)
        store.committer.submit([_arrival(charted, patient)])
        eventually(lambda: ehr.faults_left == 0, 20)
        heir = Workers(service.config, tmp_path / "heir.log")
        try:
            assert eventually(lambda: is_idle(store, [patient]), 30)
            before = _seq(store, patient)
            zombie.process.send_signal(signal.SIGCONT)
            assert eventually(lambda: "lease_lost" in zombie.log.read_text(encoding="utf-8"), 20)
            # all that it does is to have the patient looked at again: what it sent may stand there twice
            assert eventually(lambda: _seq(store, patient) == before + 1, 20)
            assert eventually(lambda: is_idle(store, [patient]), 30)
            assert wrongs(ehr, store, [patient], {charted["id"]}) == []
            assert _seq(store, patient) == before + 1
            assert len(ehr.all("Provenance")) == 1
        finally:
            heir.end()
            zombie.end()


def _freezing(pid: int) -> Fault:
    def fault(serve: Serve, _pause: Pause) -> Answer:
        os.kill(pid, signal.SIGSTOP)
        return serve()

    return fault


def _seq(store: Store, patient: Patient) -> int:
    row = store.agenda.find("ehr", patient.id)
    assert row is not None
    return row.seq


def _arrival(resource: Resource, patient: Patient) -> Arrival:
    return Arrival(
        source="ehr",
        resource_id=resource["id"],
        target="ehr",
        patient=patient.id,
        raw=json.dumps(resource).encode(),
    )
