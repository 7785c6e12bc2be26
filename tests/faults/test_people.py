"""People work in the EHR at the same moment: between our read and our write they edit, book, cancel or delete."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from stories import ENDED, begin, book
from ward import OPEN_PLANS, Ward

from afterdose.sandbox import Behaviour
from afterdose.sandbox.faults import Answer, Fault, Pause, Serve

pytestmark = pytest.mark.faults

SINGLE = Behaviour(transaction="undeclared")
HABITS = {
    "transactions": (Behaviour(), "POST", "/fhir$"),
    "each entry for itself": (Behaviour(transaction="per-entry"), "POST", "/fhir$"),
    "single writes": (SINGLE, "PUT", "/fhir/(CarePlan|Appointment)/"),
    "single writes, 409": (
        Behaviour(transaction="undeclared", conflict_status=409),
        "PUT",
        "/fhir/(CarePlan|Appointment)/",
    ),
}


def meanwhile(act: Callable[[], object]) -> Fault:
    """A person is a moment faster than the request that has just come in."""

    def fault(serve: Serve, _pause: Pause) -> Answer:
        act()
        return serve()

    return fault


def edit_plan(ward: Ward) -> None:
    plan = ward.plans()[0]
    ward.ehr.put({**plan, "title": "Plan of the team", "description": "call first"})


def cancel(ward: Ward) -> None:
    ward.ehr.put({**ward.appointments()[0], "status": "cancelled"})


def revoke(ward: Ward) -> None:
    ward.ehr.put({**ward.plans()[0], "status": "revoked"})


@pytest.fixture(params=HABITS)
def habit(request: pytest.FixtureRequest) -> tuple[Behaviour, str, str]:
    return HABITS[request.param]


def told(ward: Ward, story: str, act: Callable[[Ward], object], method: str, path: str) -> None:
    """A story in whose last step a person acts just before our first write."""
    last = begin(ward, story)
    ward.ehr.fail_next(method, path, meanwhile(lambda: act(ward)))
    last(ward)
    ward.settle()
    assert ward.ehr.faults_left == 0
    assert ward.store.agenda.parked() == []


def test_an_edit_of_the_plan_is_kept_and_the_dose_joins_it(habit: tuple[Behaviour, str, str], tmp_path: Path) -> None:
    behaviour, method, path = habit
    with Ward(tmp_path, behaviour=behaviour) as ward:
        told(ward, "second dose", edit_plan, method, path)

        (plan,) = ward.plans(*OPEN_PLANS)
        assert (plan["title"], plan["description"]) == ("Plan of the team", "call first")
        assert len(plan["supportingInfo"]) == 2
        ward.check()


def test_a_visit_booked_at_that_moment_stays_as_it_was_booked(
    habit: tuple[Behaviour, str, str], tmp_path: Path
) -> None:
    behaviour, method, path = habit
    with Ward(tmp_path, behaviour=behaviour) as ward:
        told(ward, "withdrawn", book, method, path)

        (visit,) = ward.appointments()
        assert visit["status"] == "booked"
        assert visit["start"] == (ENDED + timedelta(hours=30)).isoformat()
        focused = [task["focus"]["reference"] for task in ward.ehr.all("Task") if "focus" in task]
        assert focused.count(f"Appointment/{visit['id']}") == 1


def test_a_proposal_cancelled_at_that_moment_stays_cancelled(habit: tuple[Behaviour, str, str], tmp_path: Path) -> None:
    behaviour, method, path = habit
    with Ward(tmp_path, behaviour=behaviour) as ward:
        told(ward, "corrected", cancel, method, path)

        assert [one["status"] for one in ward.appointments()] == ["cancelled"]


def test_a_plan_revoked_at_that_moment_stays_revoked(habit: tuple[Behaviour, str, str], tmp_path: Path) -> None:
    behaviour, method, path = habit
    with Ward(tmp_path, behaviour=behaviour) as ward:
        told(ward, "second dose", revoke, method, path)

        assert [one["status"] for one in ward.plans()] == ["revoked"]


def test_a_plan_deleted_at_that_moment_is_not_made_again(tmp_path: Path) -> None:
    with Ward(tmp_path, behaviour=SINGLE) as ward:
        told(
            ward,
            "second dose",
            lambda ward: ward.ehr.delete("CarePlan", ward.plans()[0]["id"]),
            "PUT",
            "/fhir/CarePlan/",
        )

        assert ward.plans() == []


def test_who_keeps_editing_is_left_alone_for_a_while(tmp_path: Path) -> None:
    edits = iter(range(1000))

    def edit(ward: Ward) -> None:
        ward.ehr.put({**ward.plans()[0], "description": f"edit {next(edits)}"})

    with Ward(tmp_path, behaviour=SINGLE) as ward:
        last = begin(ward, "second dose")
        ward.ehr.fail_next("PUT", "/fhir/CarePlan/", meanwhile(lambda: edit(ward)), times=6)
        last(ward)

        ward.step()
        row = ward.store.agenda.find("ehr", "p-1")
        sent = [one for one in ward.ehr.requests if one.method == "PUT" and "/CarePlan/" in one.path]
        assert 1 < len(sent) < 6
        assert row is not None
        assert row.attempts == 1
        assert not ward.step()

        ward.settle()
        ward.check()
        (plan,) = ward.plans(*OPEN_PLANS)
        assert plan["description"] == "edit 5"
        assert len(plan["supportingInfo"]) == 2


def test_a_visit_cancelled_while_a_withdrawal_has_no_answer_is_still_the_persons(tmp_path: Path) -> None:
    with Ward(tmp_path, behaviour=SINGLE) as ward:
        last = begin(ward, "withdrawn")
        ward.ehr.fail_next("PUT", "/fhir/Appointment/", lambda _serve, _pause: None)
        last(ward)
        ward.step()
        cancel(ward)
        ward.settle()

        ward.check()
        assert [one["status"] for one in ward.appointments()] == ["cancelled"]
