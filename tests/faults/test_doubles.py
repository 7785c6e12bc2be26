"""Doubles that no answer tells of: repeated by a proxy, arrived late, sent by a worker that was overtaken, or made by
a store that was put back. In the end one counts, the others are ended, and what people did is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from stories import DOSE, ENDED, WITHDRAWN, begin
from ward import OPEN_APPOINTMENTS, OPEN_PLANS, OURS, PATIENT, Ward

from afterdose.sandbox import Behaviour, faults
from afterdose.sandbox.faults import Answer, Fault, Pause, Serve
from afterdose.store import copies

pytestmark = pytest.mark.faults

LAG = 30.0
CONDITIONS = ("honoured", "raced", "ignored", "undeclared")
ENDS = frozenset({"cancelled", "revoked", "entered-in-error", "completed"})
WRITES = {"a transaction": ("atomic", "/fhir$"), "a visit": ("undeclared", "/fhir/Appointment$")}
WRITES |= {"a plan": ("undeclared", "/fhir/CarePlan$"), "a task": ("undeclared", "/fhir/Task$")}


@pytest.fixture(params=CONDITIONS)
def condition(request: pytest.FixtureRequest) -> Any:
    return request.param


def a_ward(folder: Path, condition: Any, transaction: Any = "undeclared") -> Ward:
    return Ward(folder, behaviour=Behaviour(transaction=transaction, if_none_exist=condition, search_lag=LAG))


def one_of_each(ward: Ward) -> None:
    """Of everything that carries one identifier at most one is open; the plan names those."""
    for type_ in OURS:
        standing = [one for one in ward.ehr.all(type_) if _status(one) not in ENDS]
        names = [one["identifier"][0]["value"] for one in standing]
        assert len(names) == len(set(names)), f"open doubles of {type_}"
    (plan,) = ward.plans(*OPEN_PLANS)
    for entry in plan["activity"]:
        type_, id_ = entry["reference"]["reference"].split("/")
        named = ward.ehr.get(type_, id_)
        assert named is not None
        assert _status(named) not in ENDS


def _status(resource: dict[str, Any]) -> object:
    return resource.get("status", resource.get("lifecycleStatus"))


def wait(ward: Ward, *, days: int = 0) -> None:
    """Let the time come at which what was created is searched for."""
    for _ in range(3):
        ward.clock.advance(timedelta(minutes=2))
        ward.settle()
    if days:
        ward.clock.advance(timedelta(days=days))
        ward.settle()


@pytest.mark.parametrize("name", WRITES)
def test_a_request_that_arrives_after_it_was_sent_again_leaves_one(name: str, condition: Any, tmp_path: Path) -> None:
    transaction, path = WRITES[name]
    arrivals: list[Serve] = []
    with a_ward(tmp_path, condition, transaction) as ward:
        last = begin(ward, "first dose")
        ward.ehr.fail_next("POST", path, faults.late(arrivals))
        last(ward)
        ward.settle()
        for arrive in arrivals:
            arrive()
        wait(ward)

        one_of_each(ward)
        assert len(ward.appointments(*OPEN_APPOINTMENTS)) == 1
        assert not ward.store.reviews.open(10)


@pytest.mark.parametrize("name", WRITES)
def test_a_request_that_a_proxy_repeats_leaves_one(name: str, condition: Any, tmp_path: Path) -> None:
    transaction, path = WRITES[name]
    with a_ward(tmp_path, condition, transaction) as ward:
        last = begin(ward, "first dose")
        ward.ehr.fail_next("POST", path, faults.twice())
        last(ward)
        ward.settle()
        wait(ward)

        one_of_each(ward)
        assert len(ward.appointments(*OPEN_APPOINTMENTS)) == 1


@pytest.mark.parametrize("name", WRITES)
def test_a_worker_that_was_overtaken_while_it_sent_leaves_one(name: str, condition: Any, tmp_path: Path) -> None:
    transaction, path = WRITES[name]
    with a_ward(tmp_path, condition, transaction) as ward:
        last = begin(ward, "first dose")

        def frozen(serve: Serve, _pause: Pause) -> Answer:
            ward.clock.advance(timedelta(minutes=3))
            overtakes = ward.workshop.worker("another")
            while overtakes.work_once():
                pass
            return serve()

        ward.ehr.fail_next("POST", path, frozen)
        last(ward)
        ward.settle()
        wait(ward)

        one_of_each(ward)
        assert len(ward.appointments(*OPEN_APPOINTMENTS)) == 1


def test_a_double_that_comes_a_day_late_is_found_too(tmp_path: Path) -> None:
    arrivals: list[Serve] = []
    with a_ward(tmp_path, "ignored") as ward:
        last = begin(ward, "first dose")
        ward.ehr.fail_next("POST", "/fhir/Appointment$", faults.late(arrivals))
        last(ward)
        ward.settle()
        wait(ward)
        arrivals[0]()
        assert len(ward.appointments("proposed")) == 2
        wait(ward, days=1)

        one_of_each(ward)


def test_a_double_of_what_was_withdrawn_is_ended_too(tmp_path: Path) -> None:
    arrivals: list[Serve] = []
    with a_ward(tmp_path, "ignored") as ward:
        last = begin(ward, "first dose")
        ward.ehr.fail_next("POST", "/fhir/Appointment$", faults.late(arrivals))
        last(ward)
        ward.settle()
        ward.chart(WITHDRAWN)
        ward.settle()
        arrivals[0]()
        wait(ward)

        assert {one["status"] for one in ward.appointments()} == {"cancelled"}


def booked(one: dict[str, Any], hours: int) -> dict[str, Any]:
    start = ENDED + timedelta(hours=hours)
    return {**one, "status": "booked", "start": start.isoformat(), "end": (start + timedelta(hours=1)).isoformat()}


def test_the_double_that_a_person_booked_is_the_one_that_counts(tmp_path: Path) -> None:
    with a_ward(tmp_path, "ignored") as ward:
        last = begin(ward, "first dose")
        ward.ehr.fail_next("POST", "/fhir/Appointment$", faults.twice())
        last(ward)
        ward.settle()
        (row,) = [row for row in ward.store.ledger.load("ehr", "p-1") if row.resource_type == "Appointment"]
        (other,) = [one for one in ward.appointments() if one["id"] != row.ehr_id]
        ward.ehr.put(booked(other, 30))
        wait(ward)

        assert {one["id"]: one["status"] for one in ward.appointments()} == {
            other["id"]: "booked",
            row.ehr_id: "cancelled",
        }
        one_of_each(ward)


def test_two_that_people_booked_are_left_and_a_person_is_asked(tmp_path: Path) -> None:
    with a_ward(tmp_path, "ignored") as ward:
        last = begin(ward, "first dose")
        ward.ehr.fail_next("POST", "/fhir/Appointment$", faults.twice())
        last(ward)
        ward.settle()
        for hours, one in enumerate(ward.appointments(), start=30):
            ward.ehr.put(booked(one, hours))
        wait(ward)
        asked = [review.reasons for review in ward.store.reviews.open(10)]
        wait(ward, days=1)

        assert [one["status"] for one in ward.appointments()] == ["booked", "booked"]
        assert [[str(reason) for reason in reasons] for reasons in asked] == [["double-in-ehr"]]
        assert [review.reasons for review in ward.store.reviews.open(10)] == asked


def put_back(ward: Ward, copy: Path) -> None:
    """Stop afterdose, put the copy in place of its store, and start again."""
    ward.workshop.close()
    copies.restore(ward.workshop.settings.database, copy, clock=ward.clock)
    ward.reopen()


@pytest.mark.parametrize("transaction", ["atomic", "undeclared"])
@pytest.mark.parametrize("cancelled", [False, True])
def test_a_store_that_was_put_back_makes_nothing_twice(
    transaction: Any, cancelled: bool, condition: Any, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    with a_ward(tmp_path, condition, transaction) as ward:
        copies.backup(ward.workshop.settings.database, copy)
        begin(ward, "first dose")(ward)
        ward.settle()
        (visit,) = ward.appointments()
        if cancelled:
            ward.ehr.put({**visit, "status": "cancelled"})
        ward.clock.advance(timedelta(hours=4))
        put_back(ward, copy)
        ward.send(DOSE)
        ward.settle()

        assert [one["status"] for one in ward.appointments()] == ["cancelled" if cancelled else "proposed"]
        assert len(ward.plans()) == 1


def tries(ward: Ward) -> int:
    """How often the patient was put off until everything was done."""
    put_off = 0
    while True:
        while ward.step():
            pass
        row = ward.store.agenda.find("ehr", PATIENT)
        assert row is not None
        if row.attempts == 0:
            return put_off
        assert row.due_at is not None
        put_off += 1
        ward.clock.advance_to(max(row.due_at, *ward.workshop.shut().values(), row.due_at))


@pytest.mark.parametrize("transaction", ["atomic", "undeclared"])
def test_a_store_that_knows_nothing_finds_everything_at_one_go(transaction: Any, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with a_ward(tmp_path, "honoured", transaction) as ward:
        copies.backup(ward.workshop.settings.database, copy)
        begin(ward, "second dose")(ward)
        ward.settle()
        visits = ward.appointments()
        ward.clock.advance(timedelta(hours=4))
        put_back(ward, copy)
        for one in ward.ehr.all("MedicationAdministration"):
            ward.send(one)

        assert tries(ward) == 0
        assert [one["id"] for one in ward.appointments()] == [one["id"] for one in visits]
        one_of_each(ward)


def test_what_a_transaction_without_an_answer_has_made_is_found_at_one_go(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        last = begin(ward, "first dose")
        ward.ehr.fail_next("POST", "/fhir$", faults.commit_then_drop())
        last(ward)

        assert tries(ward) == 1


def meanwhile(act: Callable[[], object], times: int) -> Fault:
    """A person acts just before the ``times``-th of the requests that meet this is carried out."""
    left = [times]

    def fault(serve: Serve, _pause: Pause) -> Answer:
        left[0] -= 1
        if left[0] == 0:
            act()
        return serve()

    return fault


@pytest.mark.parametrize("transaction", ["atomic", "undeclared"])
def test_without_etags_a_person_who_books_before_the_last_read_is_not_overwritten(
    transaction: Any, tmp_path: Path
) -> None:
    with Ward(tmp_path, behaviour=Behaviour(transaction=transaction, etags=False)) as ward:
        last = begin(ward, "corrected")
        (proposal,) = ward.appointments("proposed")
        act = meanwhile(lambda: ward.ehr.put(booked(proposal, 30)), 2)
        ward.ehr.fail_next("GET", f"/fhir/Appointment/{proposal['id']}", act, times=2)
        last(ward)
        ward.settle()

        (visit,) = ward.appointments()
        assert visit["status"] == "booked"
        assert visit["start"] == booked(proposal, 30)["start"]


def test_nothing_is_searched_for_for_ever(tmp_path: Path) -> None:
    with a_ward(tmp_path, "honoured", "atomic") as ward:
        begin(ward, "first dose")(ward)
        ward.settle()
        wait(ward, days=2)
        searched = [one for one in ward.ehr.requests if "identifier=" in one.query]

        assert len(searched) == 2 * len(
            [row for row in ward.store.ledger.load("ehr", "p-1") if row.resource_type in OURS]
        )


def test_what_is_refused_before_a_transaction_is_not_referred_to_in_it(tmp_path: Path) -> None:
    with Ward(tmp_path, behaviour=Behaviour(if_none_exist="undeclared")) as ward:
        last = begin(ward, "first dose")
        ward.ehr.fail_next("GET", "/fhir/Appointment", faults.status(403))
        last(ward)
        ward.settle()

        (plan,) = ward.plans()
        named = {entry["reference"]["reference"].partition("/")[0] for entry in plan["activity"]}
        assert "Appointment" not in named
        assert ward.appointments() == []
        assert [one.status for one in ward.ehr.requests if (one.method, one.path) == ("POST", "/fhir")] == [200]
