"""What the EHR has on file about a patient besides doses: crisis plans and preferences, and EHRs that cannot tell."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ward import MONDAY, PATIENT, Resource, Ward, dose

from afterdose.sandbox import Behaviour, faults

pytestmark = pytest.mark.faults

ENDED = MONDAY - timedelta(hours=1)
SUBJECT = {"reference": f"Patient/{PATIENT}"}
SNOMED = "http://snomed.info/sct"
CRISIS = {"coding": [{"system": SNOMED, "code": "736253002"}]}
ANOTHER_LOOK = timedelta(days=2)


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    with Ward(tmp_path) as opened:
        yield opened


def crisis_plan(**changes: Any) -> Resource:
    return {
        "resourceType": "DocumentReference",
        "id": "crisis-1",
        "status": "current",
        "type": CRISIS,
        "subject": SUBJECT,
        "content": [{"attachment": {"contentType": "application/pdf"}}],
        **changes,
    }


def preference(id_: str, code: str, **changes: Any) -> Resource:
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "75773-2"}]},
        "subject": SUBJECT,
        "effectiveDateTime": "2026-01-02T10:00:00-05:00",
        "valueCodeableConcept": {"coding": [{"system": SNOMED, "code": code}]},
        **changes,
    }


def given(ward: Ward) -> None:
    ward.chart(dose("d1", ENDED))
    ward.settle()


def asked_for_a_crisis_plan(ward: Ward) -> list[str]:
    tasks = ward.ehr.all("Task")
    return [one["status"] for one in tasks if one["code"]["coding"][0]["code"] == "crisis-pointer"]


def proposed(ward: Ward) -> set[str]:
    orders = [one for one in ward.ehr.all("ServiceRequest") if one["status"] != "revoked"]
    return {one["code"]["coding"][0]["code"] for one in orders}


def test_a_plan_without_a_crisis_plan_on_file_asks_for_one_and_the_plan_says_so(ward: Ward) -> None:
    given(ward)

    assert asked_for_a_crisis_plan(ward) == ["requested"]
    assert "on file" in ward.plans()[0]["text"]["div"]


@pytest.mark.parametrize("place", ["type", "category"])
def test_a_crisis_plan_on_file_is_named_by_the_plan(ward: Ward, place: str) -> None:
    elsewhere = {"type": {"text": "Plan"}, place: CRISIS if place == "type" else [CRISIS]}
    ward.ehr.put(crisis_plan(**elsewhere))
    given(ward)

    assert asked_for_a_crisis_plan(ward) == []
    (plan,) = ward.plans()
    assert {"reference": "DocumentReference/crisis-1"} in plan["supportingInfo"]
    assert "A crisis plan is on file." in plan["text"]["div"]


def test_a_crisis_plan_that_is_filed_later_ends_the_question(ward: Ward) -> None:
    given(ward)
    ward.ehr.put(crisis_plan())

    ward.clock.advance(ANOTHER_LOOK)
    ward.settle()

    assert asked_for_a_crisis_plan(ward) == ["cancelled"]


@pytest.mark.parametrize(("code", "times"), [(403, 1), (500, 3)])
def test_an_ehr_that_does_not_tell_is_not_taken_to_have_none(ward: Ward, code: int, times: int) -> None:
    ward.ehr.fail_next("POST", "DocumentReference/_search", faults.status(code), times=times)
    given(ward)

    assert ward.plans("draft")
    assert asked_for_a_crisis_plan(ward) == []

    ward.clock.advance(ANOTHER_LOOK)
    ward.settle()

    assert asked_for_a_crisis_plan(ward) == ["requested"]


def test_an_answer_that_is_lost_is_asked_for_again_before_anything_is_written(ward: Ward) -> None:
    ward.ehr.fail_next("POST", "DocumentReference/_search", faults.drop())
    given(ward)

    assert ward.ehr.faults_left == 0
    assert asked_for_a_crisis_plan(ward) == ["requested"]
    assert [plan["meta"]["versionId"] for plan in ward.plans()] == ["1"]


def test_an_ehr_that_stops_telling_takes_nothing_back(ward: Ward) -> None:
    given(ward)
    ward.clock.advance(ANOTHER_LOOK)
    ward.ehr.fail_next("POST", "DocumentReference/_search", faults.status(403), times=2)
    ward.settle()

    assert ward.ehr.faults_left == 0
    assert asked_for_a_crisis_plan(ward) == ["requested"]


def test_an_ehr_without_documents_is_not_asked_for_any(tmp_path: Path) -> None:
    with Ward(tmp_path, behaviour=Behaviour(absent=frozenset({"DocumentReference", "Observation"}))) as ward:
        given(ward)

        assert ward.plans("draft")
        assert asked_for_a_crisis_plan(ward) == []
        assert not any("DocumentReference" in one.path for one in ward.ehr.requests)


def test_the_crisis_plan_of_somebody_else_is_none_of_this_patient(ward: Ward) -> None:
    ward.ehr.put(crisis_plan(subject={"reference": "Patient/p-2"}))
    given(ward)

    assert asked_for_a_crisis_plan(ward) == ["requested"]


def test_what_the_patient_prefers_is_proposed_and_what_was_corrected_is_not(ward: Ward) -> None:
    ward.ehr.put(preference("o1", "65153003"))
    ward.ehr.put(preference("o2", "228557008", status="entered-in-error"))
    given(ward)

    assert proposed(ward) == {"ongoing-psychotherapy", "art-work"}

    ward.ehr.put(preference("o1", "65153003", status="entered-in-error"))
    ward.clock.advance(ANOTHER_LOOK)
    ward.settle()

    assert proposed(ward) == {"ongoing-psychotherapy"}
