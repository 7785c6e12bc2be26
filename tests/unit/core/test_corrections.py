"""What becomes of care that is written when doses are corrected or withdrawn and people act in the EHR."""

from dataclasses import replace

import pytest
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
    PlanStatus,
    SessionClass,
    SessionState,
    Standing,
)
from afterdose.core.dose import Family, ProductKind
from afterdose.core.plan import decide
from afterdose.core.reasons import Outcome, Reason
from builders import (
    a_dose,
    a_drug,
    a_snapshot,
    local,
    verdict_of,
)


def test_a_withdrawn_dose_takes_its_proposed_visit_and_its_draft_plan_along() -> None:
    snapshot = with_doses(written(a_snapshot(MONDAY)), replace(MONDAY, status="entered-in-error"))
    care = decide(snapshot, NOW)
    assert verdict_of(care, "mon").outcome is Outcome.WITHDRAWN
    assert [reason for _, reason in cancellations(care)] == [Reason.ENTERED_IN_ERROR]
    assert plan_statuses(care) == [PlanStatus.ENTERED_IN_ERROR]
    again = decide(written(snapshot), NOW)
    assert (again.plans, again.appointments, again.tasks) == ((), (), ())


def test_a_plan_that_was_active_is_revoked_when_no_dose_is_left() -> None:
    snapshot = people_did(written(a_snapshot(MONDAY)), ArtifactKind.CARE_PLAN, course_of("mon"), was_active=True)
    assert plan_statuses(decide(snapshot, NOW)) == [PlanStatus.ACTIVE]
    assert plan_statuses(decide(with_doses(snapshot, replace(MONDAY, removed=True)), NOW)) == [PlanStatus.REVOKED]


def test_a_reinstated_dose_gets_new_artifacts() -> None:
    gone = written(with_doses(written(a_snapshot(MONDAY)), replace(MONDAY, removed=True)))
    care = decide(with_doses(gone, MONDAY), NOW)
    assert [(plan.key.generation, plan.status) for plan in care.plans] == [(1, PlanStatus.DRAFT)]
    assert [(one.key.generation, one.cancelled) for one in care.appointments] == [(1, False)]
    assert verdict_of(care, "mon").session_id == session_of("mon")


def test_one_withdrawn_dose_edits_its_part_of_the_course() -> None:
    thursday = a_dose("2026-01-08 10:00", id="thu")
    snapshot = written(a_snapshot(MONDAY, thursday))
    care = decide(with_doses(snapshot, replace(MONDAY, removed=True)), NOW)
    (plan,) = care.plans
    assert plan.key.subject == course_of("mon")
    assert [one.key.subject for one in plan.appointments] == [session_of("thu")]
    assert [key.subject for key, _ in cancellations(care)] == [session_of("mon")]


def test_a_withdrawn_part_leaves_the_session_of_the_others() -> None:
    booster = a_dose("2026-01-05 11:00", id="booster", mg="20")
    snapshot = written(a_snapshot(MONDAY, booster))
    (verdict,) = decide(with_doses(snapshot, replace(MONDAY, removed=True)), NOW).verdicts
    assert (verdict.administrations, verdict.withdrawn) == ((booster.key,), (MONDAY.key,))
    assert verdict.session_id == session_of("mon")


def test_a_corrected_time_moves_the_proposed_visit() -> None:
    snapshot = written(a_snapshot(MONDAY))
    corrected = a_dose("2026-01-06 13:00", id="mon")
    (appointment,) = decide(with_doses(snapshot, corrected), NOW).appointments
    assert (appointment.key.subject, appointment.hold) == (session_of("mon"), False)
    assert appointment.verdict.session.start == local("2026-01-07 14:00")


def test_a_booked_visit_is_never_touched_and_a_person_is_asked() -> None:
    booked = {"booked": True, "ehr_status": "booked", "start": local("2026-01-06 11:00")}
    snapshot = written(a_snapshot(MONDAY), **booked)
    care = decide(snapshot, NOW)
    assert [(one.hold, one.cancelled) for one in care.appointments] == [(True, False)]
    assert verdict_of(care, "mon").session.start == booked["start"]
    assert care.tasks == ()
    withdrawn = decide(with_doses(snapshot, replace(MONDAY, removed=True)), NOW)
    assert cancellations(withdrawn) == []
    (task,) = tasks_of(withdrawn, ArtifactKind.BOOKED_TASK)
    assert task.reasons == (Reason.BOOKED_VISIT_AFFECTED, Reason.DELETED)
    assert task.focus == ArtifactKey(ArtifactKind.APPOINTMENT, session_of("mon"))
    moved = decide(with_doses(snapshot, a_dose("2026-01-06 10:00", id="mon")), NOW)
    assert [one.hold for one in moved.appointments] == [True]
    assert len(tasks_of(moved, ArtifactKind.BOOKED_TASK)) == 1


def test_a_later_dose_never_cuts_what_is_booked() -> None:
    snapshot = written(a_snapshot(MONDAY), booked=True, ehr_status="booked", start=local("2026-01-06 11:00"))
    care = decide(with_doses(snapshot, TUESDAY), NOW)
    assert verdict_of(care, "mon").outcome is Outcome.PLANNED
    assert [one.hold for one in care.appointments if one.key.subject == session_of("mon")] == [True]
    assert tasks_of(care, ArtifactKind.BOOKED_TASK) == []


def test_a_proposal_that_a_person_cancelled_is_not_made_again() -> None:
    snapshot = written(a_snapshot(MONDAY), standing=Standing.REMOVED_BY_PERSON, ehr_status="cancelled")
    care = decide(snapshot, NOW)
    verdict = verdict_of(care, "mon")
    assert (verdict.session.state, verdict.session.reasons) == (SessionState.UNMET, (Reason.CANCELLED_BY_PERSON,))
    assert (care.appointments, care.tasks) == ((), ())
    assert len(care.plans) == 1


def test_a_booked_visit_that_a_correction_left_before_the_window_is_not_called_late() -> None:
    snapshot = written(a_snapshot(MONDAY), booked=True, ehr_status="booked", start=local("2026-01-06 11:00"))
    moved = decide(with_doses(snapshot, a_dose("2026-01-05 15:00", id="mon")), NOW)
    session = verdict_of(moved, "mon").session
    assert (session.session_class, session.reasons) == (SessionClass.BEFORE_WINDOW, (Reason.TAKEN_OVER,))
    assert len(tasks_of(moved, ArtifactKind.BOOKED_TASK)) == 1


@pytest.mark.parametrize(
    ("status", "standing"), [("noshow", Standing.TAKEN_OVER), ("cancelled", Standing.REMOVED_BY_PERSON)]
)
def test_a_missed_or_cancelled_visit_asks_a_person_to_book_again(status: str, standing: Standing) -> None:
    snapshot = written(a_snapshot(MONDAY), booked=True, ehr_status=status, standing=standing)
    care = decide(snapshot, NOW)
    (task,) = tasks_of(care, ArtifactKind.UNMET_TASK)
    assert task.reasons == (Reason.VISIT_MISSED,)
    assert [one for one in care.appointments if not one.hold] == []


def test_a_plan_that_a_person_ended_stays_ended_and_new_doses_are_shown_to_a_person() -> None:
    snapshot = people_did(
        written(a_snapshot(MONDAY)), ArtifactKind.CARE_PLAN, course_of("mon"), standing=Standing.REMOVED_BY_PERSON
    )
    care = decide(with_doses(snapshot, a_dose("2026-01-08 10:00", id="thu")), NOW)
    assert care.plans == ()
    assert cancellations(care) == []
    assert verdict_of(care, "thu").session.reasons == (Reason.COURSE_ENDED_BY_PERSON,)
    assert [task.key.subject for task in care.tasks] == [session_of("thu")]


@pytest.mark.parametrize(("status", "taken_back"), [("revoked", 1), ("entered-in-error", 1), ("completed", 0)])
def test_with_a_plan_that_a_person_revoked_go_its_proposals_and_nobody_is_asked(status: str, taken_back: int) -> None:
    ended = {"standing": Standing.REMOVED_BY_PERSON, "ehr_status": status, "closed_at": local("2026-01-05 13:00")}
    snapshot = people_did(written(a_snapshot(MONDAY)), ArtifactKind.CARE_PLAN, course_of("mon"), **ended)
    care = decide(snapshot, NOW)
    assert [reason for _, reason in cancellations(care)] == [Reason.COURSE_ENDED_BY_PERSON] * taken_back
    assert care.tasks == ()


def test_a_booked_visit_outlives_its_plan() -> None:
    snapshot = written(a_snapshot(MONDAY), booked=True, ehr_status="booked", start=local("2026-01-06 11:00"))
    ended = {"standing": Standing.REMOVED_BY_PERSON, "ehr_status": "revoked"}
    care = decide(people_did(snapshot, ArtifactKind.CARE_PLAN, course_of("mon"), **ended), NOW)
    assert [one.hold for one in care.appointments] == [True]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "not-done"}, Reason.NOT_DONE),
        ({"drug": a_drug(None)}, Reason.NOT_KETAMINE),
        ({"drug": a_drug(kind=ProductKind.COMBINATION)}, Reason.COMBINATION_PRODUCT),
        ({"status": "stopped"}, Reason.PSYCHIATRIC_INDICATION),
    ],
)
def test_a_correction_that_ends_eligibility_takes_everything_back(change: dict[str, object], reason: Reason) -> None:
    care = decide(with_doses(written(a_snapshot(MONDAY)), replace(MONDAY, **change)), NOW)
    assert cancellations(care) == [(ArtifactKey(ArtifactKind.APPOINTMENT, session_of("mon")), reason)]
    assert plan_statuses(care) == [PlanStatus.ENTERED_IN_ERROR]
    back = decide(with_doses(written(with_doses(written(a_snapshot(MONDAY)), replace(MONDAY, **change))), MONDAY), NOW)
    assert [one.key.generation for one in back.plans] == [1]


def test_a_dose_that_turns_out_to_be_of_the_other_drug_takes_its_course_along() -> None:
    other = a_dose("2026-01-05 10:00", id="mon", family=Family.ESKETAMINE)
    care = decide(with_doses(written(a_snapshot(MONDAY)), other), NOW)
    assert [(plan.key.subject, plan.family) for plan in care.plans] == [(course_of("mon"), Family.ESKETAMINE)]
    assert cancellations(care) == []


def test_a_review_stays_open_while_its_dose_waits() -> None:
    snapshot = written(a_snapshot(replace(MONDAY, status="stopped")))
    care = decide(with_doses(snapshot, replace(MONDAY, status="in-progress")), NOW)
    assert (verdict_of(care, "mon").outcome, care.tasks, care.reviews) == (Outcome.WAITING, (), ())
