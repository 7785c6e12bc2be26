"""One patient between a sender, afterdose and an EHR that misbehaves: everything real, only the clock is the test's.

The worker is driven by hand, so that a test decides what happens when; where a retry is due later, time jumps there.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from afterdose.bootstrap import web_app
from afterdose.sandbox import Behaviour, SandboxEHR
from afterdose.settings import load_settings
from afterdose.store.migrate import migrate
from afterdose.workshop import Workshop
from doubles.odd import OddEhr
from doubles.vendors import VendorEhr

Resource = dict[str, Any]
TOKEN = "sender-" + "5" * 57
PATIENT = "p-1"
MONDAY = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
OURS = ("CarePlan", "Appointment", "Task", "ServiceRequest", "Goal")
OPEN_PLANS = frozenset({"draft", "active", "on-hold"})
OPEN_APPOINTMENTS = frozenset({"proposed", "pending", "booked", "arrived", "waitlist"})
SETTINGS = """
data_dir = "{folder}"
[work]
lease = "60s"
[targets.ehr]
base_url = "{ehr}"
clinic = "example-7-days"
deadline = "{deadline}"
max_calls_per_second = 1000
mode = "{mode}"
ehr = "{product}"
[sources.ehr]
target = "ehr"
zone = "America/New_York"
readable = {readable}
[[sources.ehr.secrets]]
value = "{token}"
"""


class SimulatedClock:
    """Tells the time that it was set to; every look at it takes a millisecond."""

    def __init__(self, start: datetime = MONDAY) -> None:
        self._now = start
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        with self._lock:
            self._now += timedelta(milliseconds=1)
            return self._now

    def advance_to(self, moment: datetime) -> None:
        """Never back."""
        with self._lock:
            self._now = max(self._now, moment)

    def advance(self, by: timedelta) -> None:
        """Some time passes."""
        self.advance_to(self() + by)


def dose(id_: str, ended: datetime, **changes: Any) -> Resource:
    """A ketamine infusion of 40 minutes for depression."""
    return {
        "resourceType": "MedicationAdministration",
        "id": id_,
        "status": "completed",
        "medicationCodeableConcept": {
            "coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "6130"}]
        },
        "subject": {"reference": f"Patient/{PATIENT}"},
        "effectivePeriod": {"start": (ended - timedelta(minutes=40)).isoformat(), "end": ended.isoformat()},
        "reasonCode": [{"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "F33.2"}]}],
        "dosage": {
            "route": {"coding": [{"system": "http://snomed.info/sct", "code": "47625008"}]},
            "dose": {"value": 35, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"},
        },
        **changes,
    }


class Ward:
    """A store, an EHR and one worker. ``deadline``: of one call, in the settings' own spelling; ``more`` settings.

    ``front``: makes the double of a vendor's EHR (``product``) or a server of other habits, the only way for others to
    what the staff work in.
    """

    def __init__(
        self,
        folder: Path,
        *,
        behaviour: Behaviour | None = None,
        deadline: str = "5s",
        readable: bool = True,
        mode: str = "live",
        more: str = "",
        front: Callable[[SandboxEHR], VendorEhr | OddEhr] | None = None,
        product: str = "generic",
    ) -> None:
        self.clock = SimulatedClock()
        self.ehr = SandboxEHR(clock=self.clock, behaviour=behaviour)
        self.front = front(self.ehr) if front is not None else None
        config = folder / "afterdose.toml"
        text = SETTINGS.format(
            folder=folder,
            ehr=self.front.base_url if self.front else self.ehr.base_url,
            deadline=deadline,
            mode=mode,
            product=product,
            readable=str(readable).lower(),
            token=TOKEN,
        )
        config.write_text(text + more, encoding="utf-8")
        self._settings = load_settings(config, {})
        migrate(self._settings.database)
        self.reopen()
        self.ehr.put({"resourceType": "Patient", "id": PATIENT, "birthDate": "1980-02-01"})

    def reopen(self, **target: Any) -> None:
        """Start afterdose, anew where it was stopped, with other settings of the target where they are given."""
        changed = replace(self._settings.targets["ehr"], **target)
        self._settings = replace(self._settings, targets={"ehr": changed})
        self.workshop = Workshop(self._settings, clock=self.clock)
        self.store = self.workshop.store
        self._door = web_app(self._settings, self.store, clock=self.clock).test_client()
        self._worker = self.workshop.worker("w")

    def __enter__(self) -> Ward:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.workshop.close()
        if self.front is not None:
            self.front.__exit__()
        else:
            self.ehr.close()

    def send(self, resource: Resource) -> None:
        """Deliver as the sender does; the answer must say that it is kept."""
        answer = self._door.post(
            "/fhir",
            data=json.dumps(resource),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/fhir+json"},
        )
        assert answer.status_code == 200, answer.get_data(as_text=True)

    def nudge(self, body: bytes = b"", media: str | None = None) -> int:
        """Deliver that something happened, in bytes; the status of the answer."""
        headers = {"Authorization": f"Bearer {TOKEN}", **({"Content-Type": media} if media else {})}
        return self._door.post("/fhir", data=body, headers=headers).status_code

    def unsend(self, type_: str, id_: str) -> None:
        """Deliver that something was deleted."""
        answer = self._door.delete(f"/fhir/{type_}/{id_}", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200, answer.get_data(as_text=True)

    def chart(self, resource: Resource) -> Resource:
        """The staff chart a dose in the EHR, and the EHR sends it."""
        stored = self.ehr.put(resource)
        self.send(stored)
        return stored

    def step(self) -> bool:
        """Let the worker take one due patient; whether there was one."""
        return self._worker.work_once()

    def settle(self, tries: int = 30) -> None:
        """Work, and wait for whatever is tried again, until nothing is left to do but look at a later time."""
        for _ in range(tries):
            while self.step():
                pass
            row = self.store.agenda.find("ehr", PATIENT)
            assert row is not None
            if row.attempts == 0 or row.due_at is None:
                return
            self.clock.advance_to(max(row.due_at, *self.workshop.shut().values(), row.due_at))
        raise AssertionError(f"still not done after {tries} tries: {row}")

    def settle_all(self, tries: int = 30) -> None:
        """The same for every patient there is."""
        for _ in range(tries):
            while self.step():
                pass
            rows = [self.store.agenda.find(*key) for key in self.store.agenda.everybody()]
            again = [row.due_at for row in rows if row is not None and row.attempts and row.due_at is not None]
            if not again:
                return
            self.clock.advance_to(min(again))
        raise AssertionError(f"still not done after {tries} tries")

    def plans(self, *statuses: str) -> list[Resource]:
        """The patient's plans, those in ``statuses`` where given."""
        return [plan for plan in self.ehr.all("CarePlan") if not statuses or plan["status"] in statuses]

    def appointments(self, *statuses: str) -> list[Resource]:
        """The patient's Appointments, those in ``statuses`` where given."""
        found = self.ehr.all("Appointment")
        return [one for one in found if not statuses or one["status"] in statuses]

    def end_state(self) -> list[Any]:
        """What stands in the EHR without what differs from run to run: ids, versions, who was created first."""
        shown = {
            f"{type_}/{one['id']}": f"{type_}-{one.get('status')}-{one.get('requestedPeriod', '')}"
            for type_ in OURS
            for one in self.ehr.all(type_)
        }
        ours = (one for type_ in OURS for one in self.ehr.all(type_))
        return sorted((_renamed(one, shown) for one in ours), key=lambda one: json.dumps(one, sort_keys=True))

    def check(self) -> None:
        """What holds after every story, whatever went wrong in it."""
        assert self.store.agenda.parked() == []
        assert self.ehr.faults_left == 0, "the fault was never met"
        for type_ in OURS:
            names = [one["identifier"][0]["value"] for one in self.ehr.all(type_)]
            assert len(names) == len(set(names)), f"doubles of {type_}"
        assert len(self.plans(*OPEN_PLANS)) <= 1
        founded = [
            tuple(sorted(entry["reference"] for entry in one["supportingInformation"] if "reference" in entry))
            for one in self.appointments(*OPEN_APPOINTMENTS)
        ]
        assert len(founded) == len(set(founded)), "two open Appointments for one dose session"
        open_ones = {f"Appointment/{one['id']}" for one in self.appointments(*OPEN_APPOINTMENTS)}
        for plan in self.plans(*OPEN_PLANS):
            named = {entry["reference"]["reference"] for entry in plan.get("activity", [])}
            assert {one for one in named if one.startswith("Appointment/")} == open_ones
            assert all(self.ehr.get(*one.split("/")) for one in named), "the plan names what is not there"
        for row in self.store.ledger.load("ehr", PATIENT):
            assert row.attempts == 0, f"{row.key.kind} has no sure end"
            stands = self.ehr.get(row.resource_type, row.ehr_id) if row.ehr_id else None
            assert row.ehr_id is None or stands is not None


def _renamed(value: Any, shown: dict[str, str]) -> Any:
    if isinstance(value, dict):
        members = {
            name: _renamed(item, shown) for name, item in value.items() if name not in ("id", "meta", "identifier")
        }
        return {name: item for name, item in members.items() if name != "authoredOn"}
    if isinstance(value, list):
        return [_renamed(item, shown) for item in value]
    return shown.get(value, value) if isinstance(value, str) else value
