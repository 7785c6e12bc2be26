"""What a plan holds besides its sessions, in an EHR: who is asked when, and once; what it cannot take is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ward import MONDAY, PATIENT, Ward, dose

from afterdose.sandbox import Behaviour

pytestmark = pytest.mark.faults

Resource = dict[str, Any]
FOR_PATIENT = ["Behavioural activation", "Commitments", "Journaling", "Mindfulness practice", "Sleep support"]
FOR_STAFF = ["Crisis plan", "Ongoing psychotherapy", "Outcome check", "Outcome check", "Relapse prevention plan"]
ENDED = ("cancelled", "revoked")


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    with Ward(tmp_path) as opened:
        yield opened


def first_dose(ward: Ward) -> Resource:
    charted = ward.chart(dose("d-1", MONDAY - timedelta(minutes=5)))
    ward.settle()
    return charted


def second_dose(ward: Ward) -> None:
    ward.clock.advance_to(MONDAY + timedelta(days=3, minutes=5))
    ward.chart(dose("d-2", MONDAY + timedelta(days=3)))
    ward.settle()


def activate(ward: Ward) -> None:
    ward.ehr.put({**ward.plans()[0], "status": "active", "intent": "plan"})


def look_again(ward: Ward) -> None:
    """Time passes until the service looks at the patient of its own accord."""
    due_at = ward.store.agenda.find("ehr", PATIENT).due_at
    ward.clock.advance_to(due_at)
    ward.settle()


def besides(ward: Ward) -> list[Resource]:
    return [*ward.ehr.all("Task"), *ward.ehr.all("ServiceRequest")]


def asked(ward: Ward) -> list[str]:
    """What is open, by its name."""
    names = [one["code"].get("text") for one in besides(ward) if one["status"] not in ENDED]
    return sorted(name for name in names if name is not None)


def status_of(ward: Ward, name: str) -> list[str]:
    return [one["status"] for one in besides(ward) if one["code"].get("text") == name]


def test_a_first_dose_asks_only_staff_in_one_transaction(ward: Ward) -> None:
    first_dose(ward)
    assert asked(ward) == FOR_STAFF
    writes = [one for one in ward.ehr.requests if one.method in ("POST", "PUT") and not one.path.endswith("_search")]
    assert Counter(one.path for one in writes) == {"/fhir": 1, "/fhir/Provenance": 1}


def test_activation_brings_what_the_patient_is_asked_to_do(ward: Ward) -> None:
    first_dose(ward)
    activate(ward)
    look_again(ward)
    assert asked(ward) == sorted([*FOR_PATIENT, *FOR_STAFF])
    (plan,) = ward.plans("active")
    named = {entry["reference"]["reference"] for entry in plan["activity"]}
    assert {f"{one['resourceType']}/{one['id']}" for one in besides(ward)} < named
    assert [goal["lifecycleStatus"] for goal in ward.ehr.all("Goal")] == ["active"]


def test_a_second_dose_does_not_double_what_the_patient_is_asked(ward: Ward) -> None:
    first_dose(ward)
    activate(ward)
    look_again(ward)
    second_dose(ward)
    assert asked(ward) == sorted([*FOR_PATIENT, *FOR_STAFF])
    assert sorted(status_of(ward, "Journaling")) == ["cancelled", "requested"]
    assert len(status_of(ward, "Relapse prevention plan")) == 1
    assert len(status_of(ward, "Outcome check")) == 2


def test_looking_again_writes_nothing(ward: Ward) -> None:
    first_dose(ward)
    activate(ward)
    look_again(ward)
    before = len(ward.ehr.history())
    for _ in range(5):
        look_again(ward)
    assert len(ward.ehr.history()) == before


def test_what_the_patient_has_done_stays_done_and_is_named_on_the_plan(ward: Ward) -> None:
    first_dose(ward)
    activate(ward)
    look_again(ward)
    (journal,) = [one for one in besides(ward) if one["code"].get("text") == "Journaling"]
    ward.ehr.put({**journal, "status": "completed"})
    look_again(ward)
    second_dose(ward)
    assert sorted(status_of(ward, "Journaling")) == ["completed", "requested"]
    named = [entry["reference"]["reference"] for entry in ward.plans()[0]["activity"]]
    assert f"Task/{journal['id']}" in named


def test_a_session_without_commitments_reminds_the_therapist(ward: Ward) -> None:
    first_dose(ward)
    activate(ward)
    look_again(ward)
    (visit,) = ward.appointments("proposed")
    start = MONDAY + timedelta(hours=26)
    times = {"start": start.isoformat(), "end": (start + timedelta(hours=1)).isoformat()}
    ward.ehr.put({**visit, "status": "fulfilled", **times})
    look_again(ward)
    assert status_of(ward, "Commitments are missing") == ["requested"]
    (commitments,) = [one for one in besides(ward) if one["code"].get("text") == "Commitments"]
    ward.ehr.put({**commitments, "status": "in-progress"})
    look_again(ward)
    assert status_of(ward, "Commitments are missing") == ["cancelled"]


def test_a_plan_that_is_activated_too_late_asks_only_what_can_still_be_done(ward: Ward) -> None:
    first_dose(ward)
    ward.clock.advance_to(MONDAY + timedelta(hours=30))
    activate(ward)
    look_again(ward)
    assert "Journaling" not in asked(ward)
    assert "Behavioural activation" in asked(ward)


@pytest.mark.parametrize("missing", ["Goal", "Task", "ServiceRequest"])
def test_what_an_ehr_does_not_take_is_left_out_and_told_in_the_narrative(tmp_path: Path, missing: str) -> None:
    with Ward(tmp_path, behaviour=Behaviour(read_only=frozenset({missing}))) as ward:
        first_dose(ward)
        (plan,) = ward.plans("draft")
        assert ward.ehr.all(missing) == []
        assert not ward.store.reviews.open(10)
        for name in ("Relapse prevention plan", "Ongoing psychotherapy", "Journaling"):
            assert name in plan["text"]["div"]


def test_a_withdrawn_dose_leaves_nothing_to_do(ward: Ward) -> None:
    charted = first_dose(ward)
    ward.chart({**charted, "status": "entered-in-error"})
    ward.settle()
    assert asked(ward) == []
    assert [goal["lifecycleStatus"] for goal in ward.ehr.all("Goal")] == ["entered-in-error"]


@pytest.mark.parametrize("together", [True, False])
def test_an_activated_plan_whose_only_dose_is_withdrawn_is_revoked(together: bool, tmp_path: Path) -> None:
    with Ward(tmp_path, behaviour=Behaviour() if together else Behaviour(transaction="undeclared")) as ward:
        charted = first_dose(ward)
        activate(ward)
        ward.chart({**charted, "status": "entered-in-error"})
        ward.settle()
        assert [(plan["status"], plan["intent"]) for plan in ward.plans()] == [("revoked", "plan")]
        assert [one["status"] for one in ward.appointments()] == ["cancelled"]


def test_an_activated_plan_whose_course_went_quiet_is_completed(ward: Ward) -> None:
    first_dose(ward)
    activate(ward)
    ward.clock.advance(timedelta(days=91))
    ward.settle()
    assert [plan["status"] for plan in ward.plans()] == ["completed"]
