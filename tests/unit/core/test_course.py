"""A course over its weeks: its phase, at least one session a week, what is expected next, what was forgotten."""

from dataclasses import replace
from datetime import timedelta

import pytest
from lifecycle import MONDAY, NOW, TUESDAY, course_of, people_did, session_of, tasks_of, written

from afterdose.core.cadence import predicted_next
from afterdose.core.care import ArtifactKey, ArtifactKind, Care, Phase, PlanStatus, Standing
from afterdose.core.codes import CodeSet
from afterdose.core.dose import Coding, Dose, Family
from afterdose.core.plan import decide
from afterdose.core.reasons import Outcome, Reason
from builders import (
    a_clinic,
    a_context,
    a_dose,
    a_snapshot,
    after_writing,
    codes_for_tests,
    local,
    verdict_of,
)

MAINTENANCE, ACTIVE, WEEKLY = (Coding("urn:test:mark", code) for code in ("maintenance", "active", "weekly"))
CODES = replace(
    codes_for_tests(),
    phases={("urn:test:mark", "maintenance"): Phase.MAINTENANCE, ("urn:test:mark", "active"): Phase.ACTIVE,
            ("urn:test:mark", "preparation"): Phase.PREPARATION, ("", "maintenance phase"): Phase.MAINTENANCE},
    weekly_marks=CodeSet(codes=frozenset({("urn:test:mark", "weekly")})),
)  # fmt: skip


def weekdays(*days: str, start: str = "10:00", **changes: object) -> tuple[Dose, ...]:
    return tuple(a_dose(f"2026-{day} {start}", id=f"dose-{day}", **changes) for day in days)


def guarantees(care: Care) -> list[tuple[object, ...]]:
    return [
        (task.key.subject, task.reasons, task.due)
        for task in tasks_of(care, ArtifactKind.GUARANTEE_TASK)
        if not task.cancelled
    ]


@pytest.mark.parametrize(
    ("marks", "phase"),
    [
        ((), Phase.ACTIVE),
        ((MAINTENANCE,), Phase.MAINTENANCE),
        ((Coding("", "maintenance phase"),), Phase.MAINTENANCE),
        ((MAINTENANCE, ACTIVE), Phase.ACTIVE),
        ((Coding("urn:test:mark", "preparation"),), Phase.ACTIVE),
    ],
    ids=["nothing said", "a tag", "words", "two phases", "preparation of a dose that was given"],
)
def test_an_explicit_phase_wins_over_the_inferred_one(marks: tuple[Coding, ...], phase: Phase) -> None:
    dose = replace(MONDAY, context=a_context(marks=marks))
    assert verdict_of(decide(a_snapshot(dose, codes=CODES), NOW), "mon").phase is phase


def test_a1_the_labels_own_phase_begins_maintenance_in_the_fifth_week() -> None:
    acute = ["01-05", "01-08", "01-12", "01-15", "01-19", "01-22", "01-26", "01-29"]
    weekly = ["02-02", "02-09", "02-16", "02-23"]
    said = a_context(marks=(MAINTENANCE,))
    doses = [*weekdays(*acute, family=Family.ESKETAMINE), *weekdays(*weekly, family=Family.ESKETAMINE, context=said)]
    care = decide(a_snapshot(*doses, codes=CODES), NOW)
    assert [verdict.phase for verdict in care.verdicts] == [Phase.ACTIVE] * 8 + [Phase.MAINTENANCE] * 4
    assert care.plans[0].phase is Phase.MAINTENANCE


def test_a_week_of_daily_doses_owes_a_session() -> None:
    daily = weekdays("01-05", "01-06", "01-07", "01-08", "01-09")
    (found,) = guarantees(decide(a_snapshot(*daily), NOW))
    assert found == (
        session_of("dose-01-05"),
        (Reason.WEEK_WITHOUT_SESSION, Reason.WINDOW_CUT),
        local("2026-01-12 00:00"),
    )


def test_a_week_with_one_session_owes_none() -> None:
    care = decide(a_snapshot(*weekdays("01-05", "01-07", "01-09", "01-12", start="09:00")), NOW)
    assert verdict_of(care, "dose-01-09").outcome is Outcome.UNMET
    assert guarantees(care) == []


def test_a_later_dose_of_the_week_that_is_only_planned_counts_when_it_will_have_a_session() -> None:
    alone = a_snapshot(MONDAY, planned=())
    cut = decide(replace(alone, doses=(MONDAY, TUESDAY)), NOW)
    assert (verdict_of(cut, "mon").outcome, guarantees(cut)) == (Outcome.UNMET, [])


def test_the_question_for_a_week_is_taken_back_when_it_has_a_session() -> None:
    daily = weekdays("01-05", "01-06", "01-07", "01-08", "01-09")
    before = written(a_snapshot(*daily))
    assert tasks_of(decide(before, NOW), ArtifactKind.GUARANTEE_TASK)
    fewer = replace(before, doses=tuple(replace(one, removed="01-08" in one.key.id) for one in daily))
    (task,) = tasks_of(decide(fewer, NOW), ArtifactKind.GUARANTEE_TASK)
    assert task.cancelled


def test_a_week_of_maintenance_is_not_owed_a_session_by_the_week() -> None:
    said = a_context(marks=(MAINTENANCE,))
    daily = weekdays("01-05", "01-06", "01-07", "01-08", "01-09", context=said)
    assert guarantees(decide(a_snapshot(*daily, codes=CODES), NOW)) == []


def test_what_people_declined_is_not_owed() -> None:
    snapshot = written(a_snapshot(MONDAY), standing=Standing.REMOVED_BY_PERSON, ehr_status="cancelled")
    assert decide(snapshot, NOW).tasks == ()


@pytest.mark.parametrize("how", ["the clinic's custom", "a clinician's mark"])
def test_sessions_between_doses_can_be_relaxed(how: str) -> None:
    clinic = a_clinic(weekly_is_enough=how == "the clinic's custom")
    context = a_context(marks=(WEEKLY,) if how == "a clinician's mark" else ())
    doses = weekdays("01-05", "01-07", "01-09", "01-12", start="09:00", context=context)
    care = decide(a_snapshot(*doses, clinic=clinic, codes=CODES), NOW)
    session = verdict_of(care, "dose-01-09").session
    assert session.reasons == (Reason.WINDOW_CUT, Reason.WEEKLY_IS_ENOUGH)
    assert tasks_of(care, ArtifactKind.UNMET_TASK) == []
    daily = weekdays("01-05", "01-06", "01-07", "01-08", "01-09", context=context)
    assert guarantees(decide(a_snapshot(*daily, clinic=clinic, codes=CODES), NOW))


def test_a_record_that_is_never_ended_is_asked_about_once_a_day_has_passed() -> None:
    running = replace(MONDAY, status="in-progress")
    since = running.heard_at + timedelta(hours=24)
    early, late = decide(a_snapshot(running), since - timedelta(minutes=1)), decide(a_snapshot(running), since)
    assert (early.tasks, early.wake_up) == ((), since)
    (task,) = late.tasks
    assert (task.key.kind, task.reasons) == (ArtifactKind.WAITING_TASK, (Reason.STUCK, Reason.STILL_RUNNING))
    assert verdict_of(late, "mon").outcome is Outcome.WAITING


def test_the_question_about_a_record_is_taken_back_when_it_is_ended() -> None:
    running = replace(MONDAY, status="in-progress")
    later = running.heard_at + timedelta(hours=30)
    asked = a_snapshot(running)
    asked = after_writing(asked, decide(asked, later))
    care = decide(replace(asked, doses=(MONDAY,)), later)
    assert [(task.key.kind, task.cancelled) for task in care.tasks] == [(ArtifactKind.WAITING_TASK, True)]


def test_a_plan_after_a_gap_replaces_the_one_before() -> None:
    april = a_dose("2026-04-06 10:00", id="april")
    first, second = decide(a_snapshot(MONDAY, april), local("2026-04-07 00:00")).plans
    assert (first.status, first.replaces) == (PlanStatus.COMPLETED, None)
    assert second.replaces == first.key == ArtifactKey(ArtifactKind.CARE_PLAN, course_of("mon"))


def test_a_plan_after_a_gap_replaces_one_that_a_clinician_has_completed() -> None:
    before = people_did(
        written(a_snapshot(MONDAY)),
        ArtifactKind.CARE_PLAN,
        course_of("mon"),
        standing=Standing.REMOVED_BY_PERSON,
        ehr_status="completed",
        reference="CarePlan/1",
    )
    april = a_dose("2026-04-06 10:00", id="april")
    plans = decide(replace(before, doses=(MONDAY, april)), local("2026-04-07 00:00")).plans
    assert [plan.replaces for plan in plans] == [ArtifactKey(ArtifactKind.CARE_PLAN, course_of("mon"))]


def test_a_switch_of_the_drug_replaces_nothing() -> None:
    other = a_dose("2026-04-06 10:00", id="april", family=Family.ESKETAMINE)
    assert {plan.replaces for plan in decide(a_snapshot(MONDAY, other), NOW).plans} == {None}


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (["01-05"], None),
        (["01-05", "01-08"], None),
        (["01-05", "01-08", "01-12"], "2026-01-15 10:00"),
        (["01-05", "01-07", "01-09", "01-12", "01-14", "01-16"], "2026-01-19 10:00"),
        (["02-23", "03-02"], "2026-03-09 10:00"),
        (["01-05", "01-19"], None),
        (["01-05", "01-19", "02-02"], "2026-02-16 10:00"),
        (["01-05", "01-19", "02-16"], None),
    ],
)
def test_the_next_dose_is_expected_by_the_cadence(days: list[str], expected: str | None) -> None:
    starts = [local(f"2026-{day} 10:00") for day in days]
    assert predicted_next(starts, a_clinic()) == (local(expected) if expected else None)


def test_an_expected_dose_cuts_nothing_and_is_told() -> None:
    doses = weekdays("01-05", "01-07", "01-09", "01-12", "01-14", "01-16", start="09:00")
    last = verdict_of(decide(a_snapshot(*doses), NOW), "dose-01-16")
    assert last.predicted_next == local("2026-01-19 09:00")
    assert last.window.cut_by is None
    assert last.session.start == local("2026-01-19 09:00")
    assert verdict_of(decide(a_snapshot(*doses), NOW), "dose-01-14").predicted_next is None


def test_how_much_of_the_window_has_gone_is_told_of_a_dose_charted_late() -> None:
    late = replace(MONDAY, heard_at=local("2026-01-07 05:40"))
    assert verdict_of(decide(a_snapshot(late), NOW), "mon").window_gone == timedelta(hours=19)
    assert verdict_of(decide(a_snapshot(MONDAY), NOW), "mon").window_gone is None
