"""What care follows from doses as they come, whatever their status, time and patient."""

from dataclasses import replace
from datetime import date, timedelta

from lifecycle import (
    MONDAY,
    NOW,
    TUESDAY,
    cancellations,
    course_of,
    people_did,
    plan_statuses,
    session_of,
    tasks_of,
    with_doses,
    written,
)

from afterdose.core.care import (
    ArtifactKey,
    ArtifactKind,
    Phase,
    PlanStatus,
    SessionClass,
    Standing,
)
from afterdose.core.dose import Coding, Effective, Family, Precision
from afterdose.core.plan import decide
from afterdose.core.reasons import Outcome, Reason
from builders import (
    DEPRESSION,
    a_context,
    a_dose,
    a_planned_dose,
    a_protocol,
    a_rules,
    a_snapshot,
    local,
    verdict_of,
)


def test_a_dose_gets_one_plan_with_one_proposed_visit() -> None:
    care = decide(a_snapshot(MONDAY), NOW)
    (plan,) = care.plans
    (appointment,) = care.appointments
    assert (plan.status, plan.phase, plan.period_start) == (PlanStatus.DRAFT, Phase.ACTIVE, MONDAY.effective.start)
    assert plan.key == ArtifactKey(ArtifactKind.CARE_PLAN, course_of("mon"))
    assert appointment.key == ArtifactKey(ArtifactKind.APPOINTMENT, session_of("mon"))
    assert appointment.course == plan.key
    assert (care.tasks, care.reviews) == ((), ())


def test_what_may_be_booked_is_what_is_left_of_the_window() -> None:
    session = verdict_of(decide(a_snapshot(replace(MONDAY, heard_at=local("2026-01-06 15:00"))), NOW), "mon").session
    assert (session.period_start, session.period_end) == (local("2026-01-06 19:00"), local("2026-01-08 10:40"))
    assert session.start == local("2026-01-07 09:00")


def test_a_site_that_accepts_at_once_gets_an_active_plan() -> None:
    assert plan_statuses(decide(a_snapshot(MONDAY, accept_auto=True), NOW)) == [PlanStatus.ACTIVE]


def test_parts_of_one_dose_are_one_session_that_ends_with_the_last() -> None:
    kit = [a_dose(f"2026-01-05 10:{minute:02}", id=f"device-{minute}", minutes=0, mg="28", family=Family.ESKETAMINE)
           for minute in (0, 5, 10)]  # fmt: skip
    care = decide(a_snapshot(*reversed(kit)), NOW)
    (verdict,) = care.verdicts
    assert [key.id for key in verdict.administrations] == ["device-0", "device-5", "device-10"]
    assert verdict.anchor == local("2026-01-05 10:10")
    assert len(care.appointments) == 1


def test_the_labels_of_all_doses_stand_on_the_plan_once() -> None:
    restricted, substance = Coding("urn:test:label", "R"), Coding("urn:test:label", "SUD")
    doses = replace(MONDAY, labels=(restricted,)), replace(TUESDAY, labels=(substance, restricted))
    (plan,) = decide(a_snapshot(*doses), NOW).plans
    assert plan.labels == (restricted, substance)


def test_a_change_of_drug_starts_a_new_course_and_still_cuts_the_window() -> None:
    other = a_dose("2026-01-07 10:00", id="wed", family=Family.ESKETAMINE)
    care = decide(a_snapshot(MONDAY, other), NOW)
    assert len(care.plans) == 2
    assert verdict_of(care, "mon").window.closes == local("2026-01-07 09:00")


def test_ninety_quiet_days_end_a_course() -> None:
    later = a_dose("2026-04-06 10:00", id="april")
    snapshot = a_snapshot(MONDAY, later)
    care = decide(snapshot, local("2026-04-07 00:00"))
    assert [(plan.key.subject, plan.status) for plan in care.plans] == [
        (course_of("mon"), PlanStatus.COMPLETED),
        (course_of("april"), PlanStatus.DRAFT),
    ]
    assert care.plans[0].period_end == MONDAY.effective.end + timedelta(days=90)


def test_a_dose_within_ninety_days_continues_the_course() -> None:
    care = decide(a_snapshot(MONDAY, a_dose("2026-04-05 10:00", id="april")), local("2026-04-07 00:00"))
    assert [plan.key.subject for plan in care.plans] == [course_of("mon")]


def test_the_next_look_is_the_next_edge_of_the_window() -> None:
    looks, now = [], MONDAY.effective.end
    for _ in range(8):
        now = decide(a_snapshot(MONDAY, accept_auto=True), now).wake_up
        looks.append((now - MONDAY.effective.end) / timedelta(hours=1))
    assert looks == [2, 20, 24, 48, 60, 72, 168, 336]


def test_a_dose_heard_of_after_its_window_gets_a_labelled_visit() -> None:
    session = verdict_of(decide(a_snapshot(replace(MONDAY, heard_at=local("2026-01-09 09:00"))), NOW), "mon").session
    assert session.session_class is SessionClass.POST_WINDOW
    assert session.reasons == (Reason.POST_WINDOW, Reason.LATE_CHARTED)
    assert (session.start, session.period_end) == (local("2026-01-09 13:00"), local("2026-01-12 10:40"))


def test_a_dose_heard_of_after_a_week_is_history() -> None:
    care = decide(a_snapshot(replace(MONDAY, heard_at=local("2026-01-12 10:41"))), NOW)
    verdict = verdict_of(care, "mon")
    assert (verdict.outcome, verdict.session.reasons) == (Outcome.UNMET, (Reason.TOO_LATE,))
    assert (care.plans, care.appointments, care.tasks, care.wake_up) == ((), (), (), None)


def test_history_stands_in_a_plan_that_there_is_anyway() -> None:
    old = a_dose("2025-12-01 10:00", id="old", heard=MONDAY.heard_at)
    (plan,) = decide(a_snapshot(old, MONDAY), NOW).plans
    assert [verdict.founder.id for verdict in plan.verdicts] == ["old", "mon"]
    assert len(plan.appointments) == 1


def test_an_announced_dose_cuts_the_window() -> None:
    verdict = verdict_of(decide(a_snapshot(MONDAY, planned=(a_planned_dose("2026-01-07 09:00"),)), NOW), "mon")
    assert verdict.window.closes == local("2026-01-07 08:00")


def test_the_announcement_of_the_dose_itself_cuts_nothing() -> None:
    verdict = verdict_of(decide(a_snapshot(MONDAY, planned=(a_planned_dose("2026-01-05 11:30"),)), NOW), "mon")
    assert verdict.window.cut_by is None


def test_daily_doses_leave_no_window_and_a_coordinator_is_told() -> None:
    care = decide(a_snapshot(MONDAY, TUESDAY), NOW)
    assert verdict_of(care, "mon").session.reasons == (Reason.WINDOW_CUT,)
    (task,) = tasks_of(care, ArtifactKind.UNMET_TASK)
    assert (task.key.subject, task.reasons) == (session_of("mon"), (Reason.WINDOW_CUT,))


def test_the_day_of_the_next_dose_is_used_only_when_no_other_is_left() -> None:
    friday, monday = a_dose("2026-01-09 09:00", id="fri"), a_dose("2026-01-12 16:00", id="next")
    session = verdict_of(decide(a_snapshot(friday, monday), NOW), "fri").session
    assert (session.start, session.reasons) == (local("2026-01-12 09:00"), (Reason.PRE_DOSE,))
    later = replace(monday, effective=Effective(start=local("2026-01-13 16:00"), end=local("2026-01-13 16:40")))
    session = verdict_of(decide(a_snapshot(friday, later), NOW), "fri").session
    assert (session.start, session.reasons) == (local("2026-01-12 09:00"), ())


def test_a_running_part_makes_the_whole_session_wait_and_keeps_what_is_written() -> None:
    booster = a_dose("2026-01-05 11:00", id="booster", status="in-progress")
    care = decide(with_doses(written(a_snapshot(MONDAY)), booster), NOW)
    verdict = verdict_of(care, "booster")
    assert (verdict.outcome, verdict.reasons) == (Outcome.WAITING, (Reason.STILL_RUNNING,))
    assert verdict.administrations == (MONDAY.key, booster.key)
    assert verdict.wake_up == NOW + timedelta(minutes=45)
    assert cancellations(care) == []
    assert care.plans == ()


def test_a_stopped_dose_is_a_persons_decision() -> None:
    care = decide(a_snapshot(replace(MONDAY, status="stopped")), NOW)
    (task,) = care.tasks
    (item,) = care.reviews
    assert (task.key.kind, task.due) == (ArtifactKind.REVIEW_TASK, local("2026-01-06 10:40"))
    assert item.reasons[-1] is Reason.STOPPED_PARTIAL_DOSE
    assert (care.plans, care.appointments) == ((), ())


def test_a_review_that_no_longer_applies_is_taken_back() -> None:
    snapshot = written(a_snapshot(replace(MONDAY, status="stopped")))
    (task,) = decide(with_doses(snapshot, MONDAY), NOW).tasks
    assert (task.key.kind, task.cancelled) == (ArtifactKind.REVIEW_TASK, True)


def test_a_review_that_a_person_closed_is_not_opened_again() -> None:
    snapshot = written(a_snapshot(replace(MONDAY, status="stopped")))
    snapshot = people_did(snapshot, ArtifactKind.REVIEW_TASK, session_of("mon"), standing=Standing.REMOVED_BY_PERSON)
    care = decide(snapshot, NOW)
    assert (care.reviews, care.tasks) == ((), ())


def test_another_drug_and_a_dose_not_given_lead_to_nothing() -> None:
    care = decide(a_snapshot(a_dose(id="saline", family=None), replace(TUESDAY, status="not-done")), NOW)
    saline, tuesday = verdict_of(care, "saline"), verdict_of(care, "tue")
    assert (saline.outcome, saline.reasons) == (Outcome.UNRELATED, (Reason.NOT_KETAMINE,))
    assert (tuesday.outcome, tuesday.reasons) == (Outcome.NOT_ELIGIBLE, (Reason.NOT_DONE,))
    assert (care.plans, care.tasks, care.memberships) == ((), (), {})


def test_times_that_cannot_be_true_go_to_review() -> None:
    def reasons(**effective: object) -> tuple[Reason, ...]:
        times = Effective(
            **{"start": MONDAY.effective.start, "end": MONDAY.effective.end, "is_period": True} | effective
        )
        verdict = verdict_of(decide(a_snapshot(replace(MONDAY, effective=times)), NOW), "mon")
        assert verdict.outcome is Outcome.REVIEW
        return verdict.reasons

    assert Reason.TIME_MISSING in reasons(start=None, end=None)
    assert Reason.PERIOD_REVERSED in reasons(end=local("2026-01-05 09:00"))
    assert Reason.TIME_IN_FUTURE in reasons(end=local("2026-01-05 11:30"))
    assert Reason.TIME_IMPLAUSIBLE in reasons(start=local("1970-01-01 00:00"), end=local("1970-01-01 00:40"))
    assert Reason.PERIOD_TOO_LONG in reasons(start=local("2026-01-04 09:00"))
    assert Reason.TIME_TOO_COARSE in reasons(precision=Precision.COARSE)


def test_a_dose_known_to_the_day_shows_the_hours_that_are_right_for_the_whole_day() -> None:
    day = Effective(start=local("2026-01-05 00:00"), end=local("2026-01-06 00:00"), precision=Precision.DATE)
    care = decide(a_snapshot(replace(MONDAY, effective=day, heard_at=local("2026-01-06 08:00"))), NOW)
    verdict = verdict_of(care, "mon")
    assert (verdict.outcome, Reason.DATE_ONLY in verdict.reasons) == (Outcome.REVIEW, True)
    assert (verdict.window.opens, verdict.window.closes) == (local("2026-01-07 00:00"), local("2026-01-08 00:00"))


def test_doses_of_an_unresolved_patient_go_to_review_one_by_one_without_a_task() -> None:
    care = decide(a_snapshot(MONDAY, a_dose("2026-01-05 11:00", id="b"), patient=None), NOW)
    assert [item.reasons[-1] for item in care.reviews] == [Reason.PATIENT_UNRESOLVED] * 2
    assert (care.plans, care.tasks, care.memberships) == ((), (), {})


def test_a_dose_that_changed_its_patient_is_held() -> None:
    snapshot = with_doses(written(a_snapshot(MONDAY)), replace(MONDAY, patient="pat-2"))
    care = decide(snapshot, NOW)
    assert verdict_of(care, "mon").outcome is Outcome.REVIEW
    assert Reason.PATIENT_CHANGED in verdict_of(care, "mon").reasons
    assert (cancellations(care), care.plans) == ([], ())
    assert [task.key.kind for task in care.tasks] == [ArtifactKind.REVIEW_TASK]


def test_a_source_that_cannot_be_read_withdraws_nothing() -> None:
    snapshot = with_doses(written(a_snapshot(MONDAY)), replace(MONDAY, problems=(Reason.SOURCE_UNREADABLE,)))
    care = decide(snapshot, NOW)
    assert (cancellations(care), care.plans) == ([], ())


def test_a_dose_without_evidence_is_shown_and_plans_nothing() -> None:
    dose = replace(MONDAY, reasons=(), context=a_context(encounter_class=None, conditions=(DEPRESSION,)))
    care = decide(a_snapshot(dose), NOW)
    assert verdict_of(care, "mon").outcome is Outcome.REVIEW
    assert (care.plans, care.appointments) == ((), ())


def test_the_numbers_in_force_on_the_day_of_the_dose_apply() -> None:
    changed = a_protocol(
        Family.KETAMINE,
        (date(2000, 1, 1), a_rules()),
        (date(2026, 1, 6), a_rules(closes_after=timedelta(hours=60))),
    )
    protocols = {Family.KETAMINE: changed, Family.ESKETAMINE: a_protocol(Family.ESKETAMINE)}
    care = decide(a_snapshot(MONDAY, a_dose("2026-02-02 10:00", id="feb"), protocols=protocols), NOW)
    lengths = [verdict.window.closes - verdict.window.opens for verdict in care.verdicts]
    assert lengths == [timedelta(hours=48), timedelta(hours=36)]
