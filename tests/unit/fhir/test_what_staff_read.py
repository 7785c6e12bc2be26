"""What staff read agrees with itself, with what has happened since, and names no drug."""

import re
from dataclasses import replace
from typing import Any

import pytest
from test_encode_activities import NOW, content, head, site

from afterdose.core.artifacts import quiet_from
from afterdose.core.care import ArtifactKind, Care, DesiredTask, Snapshot, Standing
from afterdose.core.dose import Family
from afterdose.core.plan import decide
from afterdose.core.reasons import Reason
from afterdose.fhir.encode.other_rungs import plan_message, task_message
from afterdose.fhir.encode.tasks import task
from afterdose.work.reports.preview import resources
from builders import a_dose, a_drug, a_planned_dose, a_snapshot, after_writing, local

_DRUG_OR_DIAGNOSIS = re.compile("ketamin|spravato|depress", re.IGNORECASE)
MONDAY = a_dose("2026-01-05 10:00", id="mon")


def plan_of(care: Care) -> dict[str, Any]:
    """The first plan, as it is written."""
    (*_, found) = sorted(
        (one for one in resources(care, head()) if one["resourceType"] == "CarePlan"),
        key=lambda one: str(one["period"]["start"]),
        reverse=True,
    )
    return found


def visits_told(plan: dict[str, Any]) -> list[str]:
    """What the activities that are follow-up visits say."""
    told = [one["progress"][0]["text"] for one in plan["activity"]]
    return [one for one in told if one.startswith(("Book", "Was proposed", "The session"))]


def taken_over(snapshot: Snapshot, **people: Any) -> Snapshot:
    """The snapshot after writing, and after people did something to the visits."""
    after = after_writing(snapshot, decide(snapshot, NOW))
    rows = {
        key: replace(row, **people) if key.kind is ArtifactKind.APPOINTMENT else row
        for key, row in after.known.artifacts.items()
    }
    return replace(after, known=replace(after.known, artifacts=rows))


def unmet(snapshot: Snapshot) -> DesiredTask:
    (found,) = [one for one in decide(site(snapshot), NOW).tasks if one.key.kind is ArtifactKind.UNMET_TASK]
    return found


def test_no_reason_that_staff_read_names_drug_or_diagnosis() -> None:
    said = {reason: content().reason_text(reason) for reason in Reason}
    assert {reason: text for reason, text in said.items() if _DRUG_OR_DIAGNOSIS.search(text)} == {}


def test_an_activity_says_of_a_visit_what_the_table_says() -> None:
    plan = plan_of(decide(site(a_snapshot(MONDAY, a_dose("2026-01-07 10:00", id="wed"))), NOW))
    told = visits_told(plan)
    assert [one.split()[0] for one in told] == ["Was", "Book"]
    assert all(f"<td>{one}</td>" in plan["text"]["div"] for one in told)


def test_a_dose_of_another_course_makes_a_proposal_past_too() -> None:
    other = a_dose("2026-01-08 10:00", id="thu", drug=a_drug(Family.ESKETAMINE))
    plan = plan_of(decide(site(a_snapshot(MONDAY, other)), NOW))
    assert "<b>No session is proposed at present.</b>" in plan["text"]["div"]
    assert visits_told(plan) == ["Was proposed for Tue 6 Jan 2026 11:00 EST."]


def test_a_course_that_is_over_asks_nobody_to_book() -> None:
    snapshot = site(a_snapshot(MONDAY))
    over = quiet_from(decide(snapshot, NOW).verdicts, snapshot)
    assert over is not None
    plan = plan_of(decide(after_writing(snapshot, decide(snapshot, NOW)), over))
    assert plan["status"] == "completed"
    assert "<td>past</td>" in plan["text"]["div"]
    assert "Book" not in plan["text"]["div"] + "".join(visits_told(plan))


def test_a_window_of_which_nothing_is_left_says_why() -> None:
    plan = plan_of(decide(site(a_snapshot(MONDAY, planned=(a_planned_dose("2026-01-06 10:00"),))), NOW))
    row = "<td>None: the planned next dose on Tue 6 Jan 2026 10:00 EST leaves no time.</td>"
    assert row in plan["text"]["div"]


def test_a_visit_before_the_window_is_told_as_such() -> None:
    booked = taken_over(site(a_snapshot(MONDAY)), booked=True, ehr_status="booked", start=local("2026-01-06 09:00"))
    told = plan_of(decide(booked, NOW))["text"]["div"]
    assert "Tue 6 Jan 2026 09:00 EST as far as is known (before the window opens)." in told


@pytest.mark.parametrize(
    ("people", "begins"),
    [
        ({"booked": True, "ehr_status": "noshow"}, "A booked follow-up session was missed or cancelled: "),
        (
            {"booked": True, "ehr_status": "cancelled", "standing": Standing.REMOVED_BY_PERSON},
            "A booked follow-up session was missed or cancelled: ",
        ),
        ({}, "No follow-up session fits before the window closes: "),
    ],
)
def test_what_is_asked_when_there_is_no_session_is_what_has_happened(people: dict[str, Any], begins: str) -> None:
    next_dose = (a_planned_dose("2026-01-06 10:00"),) if not people else ()
    snapshot = taken_over(site(a_snapshot(MONDAY, planned=next_dose)), **people)
    assert task(unmet(snapshot), head())["description"].startswith(begins)


def test_a_dose_after_the_end_of_its_plan_asks_whether_a_session_is_wanted() -> None:
    snapshot = taken_over(site(a_snapshot(MONDAY)))
    rows = {
        key: replace(row, standing=Standing.REMOVED_BY_PERSON) if key.kind is ArtifactKind.CARE_PLAN else row
        for key, row in snapshot.known.artifacts.items()
    }
    known = replace(snapshot.known, artifacts=rows)
    thursday = a_dose("2026-01-08 10:00", id="thu")
    asked = task(unmet(replace(snapshot, known=known, doses=(MONDAY, thursday))), head())["description"]
    assert "after the plan of its course was ended" in asked


def test_a_message_gives_its_deadline_in_the_clinics_time() -> None:
    missed = unmet(taken_over(site(a_snapshot(MONDAY)), booked=True, ehr_status="noshow"))
    (said,) = task_message(task(missed, head()), missed.key, head())["payload"]
    assert "By Mon 12 Jan 2026 10:40 EST." in said["contentString"]


def test_a_treatment_week_ends_on_its_last_day() -> None:
    doses = [a_dose(f"2026-01-{day:02d} 10:00", id=f"d{day}") for day in range(5, 10)]
    told = plan_of(decide(site(a_snapshot(*doses)), NOW))["text"]["div"]
    assert "Treatment week until Sun 11 Jan 2026 23:59 EST: " in told


def test_a_task_names_its_treatment_by_its_time_where_that_is_sure() -> None:
    missed = unmet(taken_over(site(a_snapshot(MONDAY)), booked=True, ehr_status="noshow"))
    assert task(missed, head())["description"].endswith(" Treatment: Mon 5 Jan 2026 10:40 EST.")
    assert missed.verdict is not None
    unsure = replace(missed, verdict=replace(missed.verdict, reasons=(Reason.DATE_ONLY,)))
    assert "Treatment" not in task(unsure, head())["description"]
    planned = a_planned_dose("2026-01-07 10:00")
    ahead = replace(missed, verdict=None, planned=planned)
    assert task(ahead, head())["description"].endswith(" Planned treatment: Wed 7 Jan 2026 10:00 EST.")


def test_what_is_to_be_decided_is_said_first() -> None:
    care = decide(site(a_snapshot(a_dose("2026-01-05 10:00", id="mon", status="stopped"))), NOW)
    (asked,) = [one for one in care.tasks if one.key.kind is ArtifactKind.REVIEW_TASK]
    assert len(asked.reasons) > 1
    assert task(asked, head())["reasonCode"]["text"].startswith("Stopped or partial dose; ")


def test_a_message_about_a_plan_says_which_of_several_counts() -> None:
    (plan,) = decide(site(a_snapshot(MONDAY)), NOW).plans
    (said,) = plan_message(plan, head())["payload"]
    assert "the newest counts" in said["contentString"].split("\n")[1]
