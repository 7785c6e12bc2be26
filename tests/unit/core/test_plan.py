"""What becomes of a patient's care as doses come, are corrected and withdrawn, and people act in the EHR."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from uuid import UUID

from afterdose.core.care import (
    ArtifactKey,
    ArtifactKind,
    Care,
    DesiredTask,
    Known,
    KnownArtifact,
    Phase,
    PlanStatus,
    SessionClass,
    SessionState,
    Snapshot,
    Standing,
)
from afterdose.core.dose import Coding, Dose, DoseKey, Effective, Family, Precision
from afterdose.core.identity import course_id, dose_session_id
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

NOW = local("2026-01-05 12:00")
MONDAY, TUESDAY = a_dose("2026-01-05 10:00", id="mon"), a_dose("2026-01-06 10:00", id="tue")


def _session_of(id: str) -> UUID:
    return dose_session_id(DoseKey("ehr", id))


def _course_of(id: str) -> UUID:
    return course_id(DoseKey("ehr", id))


def _written(snapshot: Snapshot, **changes: object) -> Snapshot:
    """The snapshot after all that it asks for was written; ``changes`` are what people did to the Appointments."""
    care = decide(snapshot, NOW)
    rows = dict(snapshot.known.artifacts)
    for plan in care.plans:
        gone = plan.status in (PlanStatus.REVOKED, PlanStatus.ENTERED_IN_ERROR)
        rows[plan.key] = KnownArtifact(key=plan.key, standing=Standing.WITHDRAWN if gone else Standing.WRITTEN)
    for one in (*care.appointments, *care.tasks):
        row = KnownArtifact(key=one.key, standing=Standing.WITHDRAWN if one.cancelled else Standing.WRITTEN)
        rows[one.key] = replace(row, **changes) if one.key.kind is ArtifactKind.APPOINTMENT else row
    return replace(snapshot, known=Known(memberships=care.memberships, artifacts=rows))


def _people(snapshot: Snapshot, kind: ArtifactKind, subject: UUID, **changes: object) -> Snapshot:
    """The snapshot after people did something to one artifact."""
    rows = {
        key: replace(row, **changes) if (key.kind, key.subject) == (kind, subject) else row
        for key, row in snapshot.known.artifacts.items()
    }
    return replace(snapshot, known=replace(snapshot.known, artifacts=rows))


def _with(snapshot: Snapshot, *doses: Dose) -> Snapshot:
    """The snapshot with these doses in the place of those of the same id."""
    keys = {dose.key for dose in doses}
    return replace(snapshot, doses=(*(dose for dose in snapshot.doses if dose.key not in keys), *doses))


def _tasks(care: Care, kind: ArtifactKind) -> list[DesiredTask]:
    return [task for task in care.tasks if task.key.kind is kind]


def _cancelled(care: Care) -> list[tuple[ArtifactKey, Reason | None]]:
    return [(one.key, one.cancel_reason) for one in care.appointments if one.cancelled]


def _statuses(care: Care) -> list[PlanStatus]:
    return [plan.status for plan in care.plans]


# a dose comes


def test_a_dose_gets_one_plan_with_one_proposed_visit() -> None:
    care = decide(a_snapshot(MONDAY), NOW)
    (plan,) = care.plans
    (appointment,) = care.appointments
    assert (plan.status, plan.phase, plan.period_start) == (PlanStatus.DRAFT, Phase.ACTIVE, MONDAY.effective.start)
    assert plan.key == ArtifactKey(ArtifactKind.CARE_PLAN, _course_of("mon"))
    assert appointment.key == ArtifactKey(ArtifactKind.APPOINTMENT, _session_of("mon"))
    assert appointment.course == plan.key
    assert (care.tasks, care.reviews) == ((), ())


def test_what_may_be_booked_is_what_is_left_of_the_window() -> None:
    session = verdict_of(decide(a_snapshot(replace(MONDAY, heard_at=local("2026-01-06 15:00"))), NOW), "mon").session
    assert (session.period_start, session.period_end) == (local("2026-01-06 19:00"), local("2026-01-08 10:40"))
    assert session.start == local("2026-01-07 09:00")


def test_a_site_that_accepts_at_once_gets_an_active_plan() -> None:
    assert _statuses(decide(a_snapshot(MONDAY, accept_auto=True), NOW)) == [PlanStatus.ACTIVE]


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
        (_course_of("mon"), PlanStatus.COMPLETED),
        (_course_of("april"), PlanStatus.DRAFT),
    ]
    assert care.plans[0].period_end == MONDAY.effective.end + timedelta(days=90)


def test_a_dose_within_ninety_days_continues_the_course() -> None:
    care = decide(a_snapshot(MONDAY, a_dose("2026-04-05 10:00", id="april")), local("2026-04-07 00:00"))
    assert [plan.key.subject for plan in care.plans] == [_course_of("mon")]


def test_the_next_look_is_the_next_edge_of_the_window() -> None:
    looks, now = [], MONDAY.effective.end
    for _ in range(8):
        now = decide(a_snapshot(MONDAY), now).wake_up
        looks.append((now - MONDAY.effective.end) / timedelta(hours=1))
    assert looks == [2, 20, 24, 48, 60, 72, 168, 336]


# when it was heard of


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
    (task,) = _tasks(care, ArtifactKind.UNMET_TASK)
    assert (task.key.subject, task.reasons) == (_session_of("mon"), (Reason.WINDOW_CUT,))


def test_the_day_of_the_next_dose_is_used_only_when_no_other_is_left() -> None:
    friday, monday = a_dose("2026-01-09 09:00", id="fri"), a_dose("2026-01-12 16:00", id="next")
    session = verdict_of(decide(a_snapshot(friday, monday), NOW), "fri").session
    assert (session.start, session.reasons) == (local("2026-01-12 09:00"), (Reason.PRE_DOSE,))
    later = replace(monday, effective=Effective(start=local("2026-01-13 16:00"), end=local("2026-01-13 16:40")))
    session = verdict_of(decide(a_snapshot(friday, later), NOW), "fri").session
    assert (session.start, session.reasons) == (local("2026-01-12 09:00"), ())


# statuses


def test_a_running_part_makes_the_whole_session_wait_and_keeps_what_is_written() -> None:
    booster = a_dose("2026-01-05 11:00", id="booster", status="in-progress")
    care = decide(_with(_written(a_snapshot(MONDAY)), booster), NOW)
    verdict = verdict_of(care, "booster")
    assert (verdict.outcome, verdict.reasons) == (Outcome.WAITING, (Reason.STILL_RUNNING,))
    assert verdict.administrations == (MONDAY.key, booster.key)
    assert verdict.wake_up == NOW + timedelta(minutes=45)
    assert _cancelled(care) == []
    assert care.plans == ()


def test_a_stopped_dose_is_a_persons_decision() -> None:
    care = decide(a_snapshot(replace(MONDAY, status="stopped")), NOW)
    (task,) = care.tasks
    (item,) = care.reviews
    assert (task.key.kind, task.due) == (ArtifactKind.REVIEW_TASK, local("2026-01-06 10:40"))
    assert item.reasons[-1] is Reason.STOPPED_PARTIAL_DOSE
    assert (care.plans, care.appointments) == ((), ())


def test_a_review_that_no_longer_applies_is_taken_back() -> None:
    snapshot = _written(a_snapshot(replace(MONDAY, status="stopped")))
    (task,) = decide(_with(snapshot, MONDAY), NOW).tasks
    assert (task.key.kind, task.cancelled) == (ArtifactKind.REVIEW_TASK, True)


def test_a_review_that_a_person_closed_is_not_opened_again() -> None:
    snapshot = _written(a_snapshot(replace(MONDAY, status="stopped")))
    snapshot = _people(snapshot, ArtifactKind.REVIEW_TASK, _session_of("mon"), standing=Standing.REMOVED_BY_PERSON)
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


# corrections and withdrawals


def test_a_withdrawn_dose_takes_its_proposed_visit_and_its_draft_plan_along() -> None:
    snapshot = _with(_written(a_snapshot(MONDAY)), replace(MONDAY, status="entered-in-error"))
    care = decide(snapshot, NOW)
    assert verdict_of(care, "mon").outcome is Outcome.WITHDRAWN
    assert [reason for _, reason in _cancelled(care)] == [Reason.ENTERED_IN_ERROR]
    assert _statuses(care) == [PlanStatus.ENTERED_IN_ERROR]
    again = decide(_written(snapshot), NOW)
    assert (again.plans, again.appointments, again.tasks) == ((), (), ())


def test_a_plan_that_was_active_is_revoked_when_no_dose_is_left() -> None:
    snapshot = _people(_written(a_snapshot(MONDAY)), ArtifactKind.CARE_PLAN, _course_of("mon"), was_active=True)
    assert _statuses(decide(snapshot, NOW)) == [PlanStatus.ACTIVE]
    assert _statuses(decide(_with(snapshot, replace(MONDAY, removed=True)), NOW)) == [PlanStatus.REVOKED]


def test_a_reinstated_dose_gets_new_artifacts() -> None:
    gone = _written(_with(_written(a_snapshot(MONDAY)), replace(MONDAY, removed=True)))
    care = decide(_with(gone, MONDAY), NOW)
    assert [(plan.key.generation, plan.status) for plan in care.plans] == [(1, PlanStatus.DRAFT)]
    assert [(one.key.generation, one.cancelled) for one in care.appointments] == [(1, False)]
    assert verdict_of(care, "mon").session_id == _session_of("mon")


def test_one_withdrawn_dose_edits_its_part_of_the_course() -> None:
    thursday = a_dose("2026-01-08 10:00", id="thu")
    snapshot = _written(a_snapshot(MONDAY, thursday))
    care = decide(_with(snapshot, replace(MONDAY, removed=True)), NOW)
    (plan,) = care.plans
    assert plan.key.subject == _course_of("mon")
    assert [one.key.subject for one in plan.appointments] == [_session_of("thu")]
    assert [key.subject for key, _ in _cancelled(care)] == [_session_of("mon")]


def test_a_withdrawn_part_leaves_the_session_of_the_others() -> None:
    booster = a_dose("2026-01-05 11:00", id="booster", mg="20")
    snapshot = _written(a_snapshot(MONDAY, booster))
    (verdict,) = decide(_with(snapshot, replace(MONDAY, removed=True)), NOW).verdicts
    assert (verdict.administrations, verdict.withdrawn) == ((booster.key,), (MONDAY.key,))
    assert verdict.session_id == _session_of("mon")


def test_a_corrected_time_moves_the_proposed_visit() -> None:
    snapshot = _written(a_snapshot(MONDAY))
    corrected = a_dose("2026-01-06 13:00", id="mon")
    (appointment,) = decide(_with(snapshot, corrected), NOW).appointments
    assert (appointment.key.subject, appointment.hold) == (_session_of("mon"), False)
    assert appointment.verdict.session.start == local("2026-01-07 14:00")


def test_a_booked_visit_is_never_touched_and_a_person_is_asked() -> None:
    booked = {"booked": True, "ehr_status": "booked", "start": local("2026-01-06 11:00")}
    snapshot = _written(a_snapshot(MONDAY), **booked)
    care = decide(snapshot, NOW)
    assert [(one.hold, one.cancelled) for one in care.appointments] == [(True, False)]
    assert verdict_of(care, "mon").session.start == booked["start"]
    assert care.tasks == ()
    withdrawn = decide(_with(snapshot, replace(MONDAY, removed=True)), NOW)
    assert _cancelled(withdrawn) == []
    (task,) = _tasks(withdrawn, ArtifactKind.BOOKED_TASK)
    assert task.reasons == (Reason.BOOKED_VISIT_AFFECTED, Reason.DELETED)
    assert task.focus == ArtifactKey(ArtifactKind.APPOINTMENT, _session_of("mon"))
    moved = decide(_with(snapshot, a_dose("2026-01-06 10:00", id="mon")), NOW)
    assert [one.hold for one in moved.appointments] == [True]
    assert len(_tasks(moved, ArtifactKind.BOOKED_TASK)) == 1


def test_a_later_dose_never_cuts_what_is_booked() -> None:
    snapshot = _written(a_snapshot(MONDAY), booked=True, ehr_status="booked", start=local("2026-01-06 11:00"))
    care = decide(_with(snapshot, TUESDAY), NOW)
    assert verdict_of(care, "mon").outcome is Outcome.PLANNED
    assert [one.hold for one in care.appointments if one.key.subject == _session_of("mon")] == [True]
    assert _tasks(care, ArtifactKind.BOOKED_TASK) == []


def test_a_proposal_that_a_person_cancelled_is_not_made_again() -> None:
    snapshot = _written(a_snapshot(MONDAY), standing=Standing.REMOVED_BY_PERSON, ehr_status="cancelled")
    care = decide(snapshot, NOW)
    verdict = verdict_of(care, "mon")
    assert (verdict.session.state, verdict.session.reasons) == (SessionState.UNMET, (Reason.CANCELLED_BY_PERSON,))
    assert (care.appointments, care.tasks) == ((), ())
    assert len(care.plans) == 1


def test_a_missed_visit_asks_a_person_to_book_again() -> None:
    snapshot = _written(a_snapshot(MONDAY), booked=True, ehr_status="noshow", standing=Standing.TAKEN_OVER)
    care = decide(snapshot, NOW)
    (task,) = _tasks(care, ArtifactKind.UNMET_TASK)
    assert task.reasons == (Reason.VISIT_MISSED,)
    assert [one for one in care.appointments if not one.hold] == []


def test_a_plan_that_a_person_ended_stays_ended_and_new_doses_are_shown_to_a_person() -> None:
    snapshot = _people(
        _written(a_snapshot(MONDAY)), ArtifactKind.CARE_PLAN, _course_of("mon"), standing=Standing.REMOVED_BY_PERSON
    )
    care = decide(_with(snapshot, a_dose("2026-01-08 10:00", id="thu")), NOW)
    assert care.plans == ()
    assert _cancelled(care) == []
    assert verdict_of(care, "thu").session.reasons == (Reason.COURSE_ENDED_BY_PERSON,)
    assert [task.key.subject for task in care.tasks] == [_session_of("thu")]


# merging and splitting


def _apart() -> Snapshot:
    """Two sessions of one day, eight hours apart, both written."""
    return _written(a_snapshot(a_dose("2026-01-05 08:00", id="a"), a_dose("2026-01-05 16:00", id="b")))


def test_sessions_that_merge_keep_the_older_visit() -> None:
    between = a_dose("2026-01-05 12:00", id="between", mg="5")
    care = decide(_with(_apart(), between), NOW)
    (verdict,) = care.verdicts
    assert verdict.session_id == _session_of("a")
    assert len(verdict.administrations) == 3


def _booked(snapshot: Snapshot, ids: Iterable[str]) -> Snapshot:
    for one in ids:
        snapshot = _people(
            snapshot, ArtifactKind.APPOINTMENT, _session_of(one), booked=True, ehr_status="booked",
            start=local("2026-01-07 09:00"),
        )  # fmt: skip
    return snapshot


def _two_visits() -> Snapshot:
    """Two sessions far enough apart that both have a visit; the second was charted on the wrong day."""
    doses = a_dose("2026-01-05 10:00", id="a", mg="20"), a_dose("2026-01-08 10:00", id="b", mg="10")
    return _written(a_snapshot(*doses))


def _merge(snapshot: Snapshot) -> Care:
    return decide(_with(snapshot, a_dose("2026-01-05 11:00", id="b", mg="10", heard="2026-01-05 12:00")), NOW)


def test_a_merge_withdraws_the_other_proposal() -> None:
    care = _merge(_two_visits())
    (verdict,) = care.verdicts
    assert verdict.session_id == _session_of("a")
    assert [(key.subject, reason) for key, reason in _cancelled(care)] == [(_session_of("b"), Reason.SESSIONS_MERGED)]


def test_a_merge_keeps_what_is_booked() -> None:
    care = _merge(_booked(_two_visits(), ["b"]))
    (verdict,) = care.verdicts
    assert verdict.session_id == _session_of("b")
    assert [key.subject for key, _ in _cancelled(care)] == [_session_of("a")]


def test_two_booked_visits_of_one_dose_are_a_persons_decision() -> None:
    care = _merge(_booked(_two_visits(), ["a", "b"]))
    assert _cancelled(care) == []
    (task,) = _tasks(care, ArtifactKind.BOOKED_TASK)
    assert task.reasons == (Reason.BOOKED_VISIT_AFFECTED, Reason.SESSIONS_MERGED)


def test_on_a_split_the_founder_keeps_the_session() -> None:
    together = _written(a_snapshot(a_dose(id="a", mg="20"), a_dose("2026-01-05 11:00", id="b", mg="10")))
    care = decide(_with(together, a_dose("2026-01-15 10:00", id="b")), NOW)
    assert verdict_of(care, "a").session_id == _session_of("a")
    assert verdict_of(care, "b").session_id == _session_of("b")
    assert _cancelled(care) == []


def test_courses_that_merge_leave_one_plan() -> None:
    snapshot = _written(a_snapshot(MONDAY, a_dose("2026-06-01 10:00", id="june")))
    care = decide(_with(snapshot, a_dose("2026-03-20 10:00", id="march")), NOW)
    open_plan, ended = care.plans
    assert (open_plan.key.subject, open_plan.replaces) == (_course_of("mon"), ended.key)
    assert (ended.key.subject, ended.status) == (_course_of("june"), PlanStatus.ENTERED_IN_ERROR)
    assert _cancelled(care) == []


def test_part_of_ties_administrations_that_lie_further_apart() -> None:
    parent = a_dose("2026-01-05 08:00", id="parent", mg="20")
    child = a_dose("2026-01-05 16:00", id="child", mg="10", part_of=("MedicationAdministration/parent",))
    assert len(decide(a_snapshot(parent, child), NOW).verdicts) == 1
    assert len(decide(a_snapshot(parent, replace(child, part_of=("Procedure/parent",))), NOW).verdicts) == 2


# whose dose it is


def test_doses_of_an_unresolved_patient_go_to_review_one_by_one_without_a_task() -> None:
    care = decide(a_snapshot(MONDAY, a_dose("2026-01-05 11:00", id="b"), patient=None), NOW)
    assert [item.reasons[-1] for item in care.reviews] == [Reason.PATIENT_UNRESOLVED] * 2
    assert (care.plans, care.tasks, care.memberships) == ((), (), {})


def test_a_dose_that_changed_its_patient_is_held() -> None:
    snapshot = _with(_written(a_snapshot(MONDAY)), replace(MONDAY, patient="pat-2"))
    care = decide(snapshot, NOW)
    assert verdict_of(care, "mon").outcome is Outcome.REVIEW
    assert Reason.PATIENT_CHANGED in verdict_of(care, "mon").reasons
    assert (_cancelled(care), care.plans) == ([], ())
    assert [task.key.kind for task in care.tasks] == [ArtifactKind.REVIEW_TASK]


def test_a_source_that_cannot_be_read_withdraws_nothing() -> None:
    snapshot = _with(_written(a_snapshot(MONDAY)), replace(MONDAY, problems=(Reason.SOURCE_UNREADABLE,)))
    care = decide(snapshot, NOW)
    assert (_cancelled(care), care.plans) == ([], ())


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
