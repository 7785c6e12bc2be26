"""What people do to our own resources is heard of by a notification or found by a poll, and looked at at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from ward import MONDAY, PATIENT, Resource, Ward, dose

pytestmark = pytest.mark.faults

FOR_PATIENT = {"behavioural-activation", "commitments", "journaling"}
POLL = """
[sources.ehr.poll]
strategy = "last-updated"
"""


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    with Ward(tmp_path) as opened:
        planned(opened)
        yield opened


def planned(ward: Ward) -> None:
    ward.chart(dose("d-1", MONDAY - timedelta(minutes=5)))
    ward.settle()


def activated(ward: Ward) -> Resource:
    return ward.ehr.put({**ward.plans()[0], "status": "active", "intent": "plan"})


def asked_of_the_patient(ward: Ward) -> set[str]:
    tasks = [one for one in ward.ehr.all("Task") if one.get("owner", {}).get("reference") == f"Patient/{PATIENT}"]
    return {one["code"]["coding"][0]["code"] for one in tasks}


def naming(ward: Ward, resource: Resource) -> None:
    focus = {"reference": f"{resource['resourceType']}/{resource['id']}"}
    event = {"eventNumber": "1", "focus": focus}
    cover = {"resourceType": "SubscriptionStatus", "type": "event-notification", "notificationEvent": [event]}
    ward.send({"resourceType": "Bundle", "type": "history", "entry": [{"resource": cover}]})


def whole(ward: Ward, resource: Resource) -> None:
    ward.send(resource)


@pytest.mark.parametrize("notify", [whole, naming])
def test_the_activation_of_a_plan_is_noticed_at_once(ward: Ward, notify: Callable[[Ward, Resource], None]) -> None:
    before = ward.clock()
    assert asked_of_the_patient(ward) == set()

    notify(ward, activated(ward))
    ward.settle()

    assert asked_of_the_patient(ward) == FOR_PATIENT
    assert ward.clock() - before < timedelta(minutes=1)
    ward.check()


@pytest.mark.parametrize("notify", [whole, naming])
@pytest.mark.parametrize(("type_", "status"), [("Appointment", "cancelled"), ("Task", "completed")])
def test_what_staff_do_to_a_visit_or_a_task_is_noticed_at_once(
    ward: Ward, notify: Callable[[Ward, Resource], None], type_: str, status: str
) -> None:
    (first, *_) = ward.ehr.all(type_)

    notify(ward, ward.ehr.put({**first, "status": status}))
    ward.settle()

    (row,) = [one for one in ward.store.ledger.load("ehr", PATIENT) if one.ehr_id == first["id"]]
    assert (row.standing.value, row.ehr_status) == ("removed-by-person", status)
    assert row.closed_at == datetime.fromisoformat(ward.ehr.get(type_, first["id"])["meta"]["lastUpdated"])


def test_a_task_of_ours_that_is_deleted_is_noticed_at_once(ward: Ward) -> None:
    (first, *_) = ward.ehr.all("Task")
    ward.ehr.delete("Task", first["id"])

    ward.unsend("Task", first["id"])
    ward.settle()

    (row,) = [one for one in ward.store.ledger.load("ehr", PATIENT) if one.ehr_id == first["id"]]
    assert row.standing.value == "removed-by-person"


def test_nothing_of_what_is_not_ours_is_kept(ward: Ward) -> None:
    before = ward.store.facts.count()
    theirs = {"resourceType": "CarePlan", "id": "theirs", "status": "active", "intent": "plan"}
    theirs["subject"] = {"reference": f"Patient/{PATIENT}"}

    ward.send(theirs)
    naming(ward, {"resourceType": "Task", "id": "theirs"})
    naming(ward, {"resourceType": "Appointment", "id": "theirs"})

    assert ward.store.facts.count() == before
    assert ward.step() is False


def test_the_content_of_our_plan_is_not_kept_when_it_comes_back(ward: Ward) -> None:
    ward.send(activated(ward))

    kept = [fact for fact in ward.store.facts.others("ehr", PATIENT) if fact.resource_type == "CarePlan"]
    assert [(fact.interaction, fact.raw) for fact in kept] == [("hint", b"")]


def test_our_own_writes_that_come_back_have_nothing_looked_at(ward: Ward) -> None:
    for one in (*ward.plans(), *ward.ehr.all("Task")):
        ward.send(one)
    requests, writes = len(ward.ehr.requests), len(ward.ehr.history())

    ward.settle()

    assert [one.path for one in ward.ehr.requests[requests:]] == []
    assert len(ward.ehr.history()) == writes


def test_a_poll_finds_an_activation_and_asks_for_our_own_only(tmp_path: Path) -> None:
    with Ward(tmp_path, more=POLL) as ward:
        planned(ward)
        subject = {"reference": f"Patient/{PATIENT}"}
        activated(ward)
        ward.ehr.put({"resourceType": "CarePlan", "id": "x", "status": "active", "intent": "plan", "subject": subject})
        sweeper = ward.workshop.sweeper("ehr")
        sweeper.sweep()
        ward.settle()

        assert asked_of_the_patient(ward) == FOR_PATIENT
        assert "x" not in {fact.resource_id for fact in ward.store.facts.others("ehr", PATIENT)}

        for _ in range(2):
            ward.clock.advance(timedelta(minutes=6))
            sweeper.sweep()
            ward.settle()
        known = ward.store.facts.count()
        ward.clock.advance(timedelta(minutes=6))
        sweeper.sweep()

        assert ward.store.facts.count() == known, "what has not changed is no news"
