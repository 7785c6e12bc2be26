"""An EHR that was put back from a copy, and has lost what we wrote: it is held until a person has looked."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from stories import ENDED
from ward import Ward, dose

from afterdose import logs
from afterdose.core.care import Standing

pytestmark = pytest.mark.faults

PEOPLE = ("p-1", "p-2", "p-3")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    yield stream
    logs.configure("warning", "json")


def alarms(log: io.StringIO) -> list[str]:
    return [line["alarm"] for line in map(json.loads, log.getvalue().splitlines()) if "alarm" in line]


def plan_all(ward: Ward) -> None:
    for number, person in enumerate(PEOPLE):
        ward.ehr.put({"resourceType": "Patient", "id": person, "birthDate": "1980-02-01"})
        ward.chart(dose(f"d-{number}", ENDED, subject={"reference": f"Patient/{person}"}))
    ward.settle_all()
    assert len(ward.plans("draft")) == len(PEOPLE)


def look(ward: Ward) -> None:
    ward.clock.advance(timedelta(hours=24))
    while ward.step():
        pass


def standings(ward: Ward) -> list[Standing]:
    rows = [row for person in PEOPLE for row in ward.store.ledger.load("ehr", person)]
    return [row.standing for row in rows if row.resource_type == "CarePlan"]


def test_plans_of_several_patients_that_are_gone_at_once_hold_the_ehr(tmp_path: Path, log: io.StringIO) -> None:
    with Ward(tmp_path) as ward:
        plan_all(ward)
        for plan in ward.plans():
            ward.ehr.delete("CarePlan", plan["id"])

        look(ward)

        assert list(ward.store.pauses.all()) == ["ehr"]
        assert alarms(log) == ["restored"]
        assert standings(ward).count(Standing.WRITTEN) == 1
        assert ward.plans() == []

        ward.store.pauses.resume("ehr")
        ward.settle_all()
        assert ward.store.pauses.all() == {}
        assert alarms(log) == ["restored"]


def test_a_plan_that_one_person_removed_holds_nothing(tmp_path: Path, log: io.StringIO) -> None:
    with Ward(tmp_path) as ward:
        plan_all(ward)
        ward.ehr.delete("CarePlan", ward.plans()[0]["id"])

        look(ward)

        assert ward.store.pauses.all() == {}
        assert alarms(log) == []
        assert standings(ward).count(Standing.REMOVED_BY_PERSON) == 1
