"""An EHR that was put back from a copy, and has lost what we wrote: it is held until a person has looked."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from stories import ENDED
from ward import Ward, dose

from afterdose import logs
from afterdose.core.care import Standing
from afterdose.work.starting import write_again

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


def plan_all(ward: Ward, people: Sequence[str] = PEOPLE, ended: datetime = ENDED) -> None:
    for person in people:
        ward.ehr.put({"resourceType": "Patient", "id": person, "birthDate": "1980-02-01"})
        ward.chart(dose(f"d-{person}", ended, subject={"reference": f"Patient/{person}"}))
    ward.settle_all()
    assert len(ward.plans("draft")) == len(people)


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


def test_a_second_time_is_noticed_too(tmp_path: Path, log: io.StringIO) -> None:
    with Ward(tmp_path) as ward:
        for people in (PEOPLE, ("p-4", "p-5", "p-6")):
            plan_all(ward, people, ward.clock() - timedelta(hours=1))
            lose(ward, "CarePlan")
            look(ward)
            assert list(ward.store.pauses.all()) == ["ehr"]
            ward.store.pauses.resume("ehr")
            ward.settle_all()
            ward.clock.advance(timedelta(days=2))

        assert alarms(log) == ["restored", "restored"]


def test_a_plan_that_one_person_removed_holds_nothing(tmp_path: Path, log: io.StringIO) -> None:
    with Ward(tmp_path) as ward:
        plan_all(ward)
        ward.ehr.delete("CarePlan", ward.plans()[0]["id"])

        look(ward)

        assert ward.store.pauses.all() == {}
        assert alarms(log) == []
        assert standings(ward).count(Standing.REMOVED_BY_PERSON) == 1


def put_back(ward: Ward) -> None:
    """What `afterdose resume ehr --restored` does."""
    write_again(ward.store, "ehr", ward.clock())
    ward.store.pauses.resume("ehr")
    ward.settle_all()


def lose(ward: Ward, *types: str) -> None:
    for type_ in types:
        for one in ward.ehr.all(type_):
            ward.ehr.delete(type_, one["id"])


def test_what_the_copy_did_not_have_is_written_again_once(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        plan_all(ward)
        lose(ward, "CarePlan", "Appointment", "Goal")
        look(ward)
        assert list(ward.store.pauses.all()) == ["ehr"]

        put_back(ward)

        assert ward.store.pauses.all() == {}
        assert sorted(plan["subject"]["reference"] for plan in ward.plans("draft")) == [
            f"Patient/{one}" for one in PEOPLE
        ]
        assert len(ward.appointments("proposed")) == len(PEOPLE)
        assert set(standings(ward)) == {Standing.WRITTEN}
        look(ward)
        assert len(ward.plans("draft")) == len(PEOPLE)


def test_an_older_state_of_a_plan_is_still_ours_and_is_brought_up_to_date(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.chart(dose("first", ENDED))
        ward.settle()
        (before,) = ward.plans("draft")
        ward.clock.advance(timedelta(days=3))
        ward.chart(dose("second", ENDED + timedelta(days=3)))
        ward.settle()
        (after,) = ward.plans("draft")
        assert len(after["supportingInfo"]) == len(before["supportingInfo"]) + 1
        second = next(one for one in ward.appointments("proposed") if one["id"] not in json.dumps(before))
        ward.ehr.put(before)
        ward.ehr.delete("Appointment", second["id"])

        put_back(ward)

        (plan,) = ward.plans("draft")
        assert {key: plan[key] for key in ("supportingInfo", "period", "goal")} == {
            key: after[key] for key in ("supportingInfo", "period", "goal")
        }
        (again,) = [one for one in ward.appointments("proposed") if one["id"] not in json.dumps(before)]
        assert again["requestedPeriod"] == second["requestedPeriod"]
        assert f"Appointment/{again['id']}" in json.dumps(plan)


def test_what_people_had_ended_before_stays_ended(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        plan_all(ward)
        removed, revoked, _ = ward.plans()
        ward.ehr.delete("CarePlan", removed["id"])
        ward.ehr.put({**revoked, "status": "revoked"})
        look(ward)
        ward.clock.advance(timedelta(hours=12))

        put_back(ward)

        assert len(ward.plans("draft")) == 1
        assert len(ward.plans()) == 2


def test_another_patients_resource_under_the_id_that_ours_had_is_left_alone(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.chart(dose("first", ENDED))
        ward.settle()
        (plan,) = ward.plans()
        other = {
            "resourceType": "CarePlan",
            "id": plan["id"],
            "identifier": [{"system": "https://ward.example", "value": "17"}],
            "status": "active",
            "intent": "plan",
            "subject": {"reference": "Patient/p-2"},
        }
        ward.ehr.put(other)

        put_back(ward)

        assert ward.ehr.get("CarePlan", plan["id"])["identifier"] == other["identifier"]
        (ours,) = ward.plans("draft")
        assert ours["identifier"] == plan["identifier"]
