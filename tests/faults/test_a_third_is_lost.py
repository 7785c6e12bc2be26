"""Of all notifications 30 in 100 are lost, and the others come late, twice and in any order: the polls repair it.

For three hours people chart doses, correct, retract and delete them. Minute by minute: whatever changed longer ago than
the promise (15 minutes on a FHIR store, one interval where patients are asked about one by one) is known as it stands
in the EHR, and nothing stands there twice.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ward import OURS, Ward, dose

from doubles.polled import PolledEhr

pytestmark = pytest.mark.faults

MINUTE = timedelta(minutes=1)
LOST = 0.3
PATIENTS = [f"p-{number}" for number in range(1, 13)]
WRITTEN = (*OURS, "DocumentReference", "Communication", "Provenance")
STORE = '[sources.ehr.poll]\nstrategy = "last-updated"\n'
COHORT = '[sources.ehr.poll]\nstrategy = "cohort"\n[sources.ehr.poll.cohort]\nfile = "patients"\n'
PROMISE = timedelta(minutes=15)


class Shift:
    """Three hours of people charting, and of a network that loses what they chart."""

    def __init__(self, ward: Ward, seed: int) -> None:
        self.ward = ward
        self.chance = random.Random(seed)  # noqa: S311 - nothing secret depends on it
        self.sweeper = ward.workshop.sweeper("ehr")
        self.changed_at: dict[str, datetime] = {}
        self.under_way: list[dict[str, Any] | str] = []
        self.told = self.lost = 0

    def minute(self) -> None:
        """Somebody charts something, some of it arrives, the source is asked, and the worker works."""
        self.ward.clock.advance(MINUTE)
        if self.chance.random() < 0.5:
            self.change()
        self.chance.shuffle(self.under_way)
        while self.under_way and self.chance.random() < 0.6:
            self.deliver(self.under_way.pop())
        self.sweeper.sweep()
        while self.ward.step():
            pass

    def change(self) -> None:
        """A new dose, or a known one is corrected, retracted or deleted."""
        known = [id_ for id_ in self.changed_at if self.ward.ehr.get("MedicationAdministration", id_) is not None]
        kind = self.chance.choice(["new", "new", "moved", "amount", "retracted", "deleted"]) if known else "new"
        id_ = f"d-{len(self.changed_at)}" if kind == "new" else self.chance.choice(known)
        self.changed_at[id_] = self.ward.clock()
        if kind == "deleted":
            self.ward.ehr.delete("MedicationAdministration", id_)
            self.tell(id_)
            return
        before = self.ward.ehr.get("MedicationAdministration", id_)
        if before is None:
            ended = self.ward.clock() - self.chance.choice([1, 2, 20, 60]) * timedelta(hours=1)
            patient = {"reference": f"Patient/{self.chance.choice(PATIENTS)}"}
            now = dose(id_, ended, subject=patient)
        elif kind == "moved":
            end = datetime.fromisoformat(before["effectivePeriod"]["end"]) - 5 * MINUTE
            now = {**before, "effectivePeriod": dose(id_, end)["effectivePeriod"]}
        elif kind == "amount":
            more = {**before["dosage"]["dose"], "value": self.chance.randint(20, 40)}
            now = {**before, "dosage": {**before["dosage"], "dose": more}}
        else:
            now = {**before, "status": "entered-in-error"}
        self.tell(self.ward.ehr.put(now))

    def tell(self, what: dict[str, Any] | str) -> None:
        """A notification sets out, sometimes twice; 30 in 100 never arrive."""
        front = self.ward.front
        if isinstance(what, dict) and isinstance(front, PolledEhr):
            what = front._shown(what)
        for _ in range(self.chance.choice([1, 1, 1, 2])):
            self.told += 1
            if self.chance.random() < LOST:
                self.lost += 1
            else:
                self.under_way.append(what)

    def deliver(self, what: dict[str, Any] | str) -> None:
        if isinstance(what, str):
            self.ward.unsend("MedicationAdministration", what)
        else:
            self.ward.send(what)

    def unknown(self, within: timedelta) -> list[str]:
        """The doses that changed longer ago than that and are not known as they stand."""
        now = self.ward.clock()
        return [id_ for id_, changed in self.changed_at.items() if now - changed > within and not self.is_known(id_)]

    def is_known(self, id_: str) -> bool:
        stands = self.ward.ehr.get("MedicationAdministration", id_)
        latest = self.ward.store.facts.latest("ehr", id_)
        if latest is None:
            return stands is None
        if stands is None:  # a dose that was retracted before it was deleted was nobody's any more
            return latest.interaction == "delete" or json.loads(latest.raw)["status"] == "entered-in-error"
        return latest.interaction == "upsert" and _content(json.loads(latest.raw)) == _content(stands)

    def doubles(self) -> list[str]:
        """What stands in the EHR and is no artifact of the ledger, or that of two."""
        rows = [row for patient in PATIENTS for row in self.ward.store.ledger.load("ehr", patient)]
        ours = sorted(f"{row.resource_type}/{row.ehr_id}" for row in rows if row.ehr_id is not None)
        stand = sorted(f"{type_}/{one['id']}" for type_ in WRITTEN for one in self.ward.ehr.all(type_))
        return sorted(set(stand) ^ set(ours)) + [one for one in set(ours) if ours.count(one) > 1]


def _content(resource: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in resource.items() if name != "meta"}


@pytest.fixture(params=["a FHIR store", "epic", "oracle-health"])
def ward(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ward]:
    patients = tmp_path / "patients"
    patients.write_text("\n".join(PATIENTS))
    patients.chmod(0o600)
    if request.param == "a FHIR store":
        opened = Ward(tmp_path, more=STORE)
    else:
        opened = Ward(tmp_path, more=COHORT, product=request.param, front=partial(PolledEhr, request.param))
    with opened as ward:
        for patient in PATIENTS:
            ward.ehr.put({"resourceType": "Patient", "id": patient, "birthDate": "1980-02-01"})
        yield ward


@pytest.mark.parametrize("seed", [1, 2])
def test_every_dose_is_known_in_time_and_none_twice(ward: Ward, seed: int) -> None:
    shift = Shift(ward, seed)

    for _ in range(180):
        shift.minute()
        assert shift.unknown(PROMISE + MINUTE) == []

    assert shift.lost >= shift.told / 5 > 10
    assert len(shift.changed_at) > 20
    for id_ in shift.changed_at:
        versions = ward.store.facts.versions("ehr", id_)
        repeated = [
            (one.seq, other.seq)
            for one, other in pairwise(versions)
            if (one.raw, one.version, one.interaction) == (other.raw, other.version, other.interaction)
            and (one.via == other.via or other.via == "poll")
        ]
        assert repeated == []
        stands = ward.ehr.get("MedicationAdministration", id_)
        outcome = ward.store.outcomes.find("ehr", id_)
        if versions and (stands is None or stands["status"] == "entered-in-error") and shift.unknown(timedelta()) == []:
            assert outcome is not None
            assert outcome.outcome.value in ("withdrawn", "superseded")
    assert shift.doubles() == []
