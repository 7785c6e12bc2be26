"""Records out of use, merged records, and deaths: what is decided for whom."""

from dataclasses import replace
from datetime import timedelta

import pytest
from lifecycle import NOW, TUESDAY, cancellations, course_of, people_did, plan_statuses, session_of, tasks_of, written

from afterdose.core.care import ArtifactKind, PlanStatus, Snapshot, Standing
from afterdose.core.person import Person
from afterdose.core.plan import decide
from afterdose.core.reasons import Eligibility, Outcome, Reason
from builders import a_dose, a_snapshot, after_writing, hours, local, verdict_of

DIED = local("2026-01-05 18:00")
DOSE = a_dose("2026-01-05 10:00", id="mon")


def dead(snapshot: Snapshot, died_by: object = DIED) -> Snapshot:
    return replace(snapshot, person=Person(died_by=died_by))


@pytest.mark.parametrize("reason", [Reason.PATIENT_INACTIVE, Reason.PATIENT_GONE, Reason.PATIENT_LINKS_UNCLEAR])
def test_nothing_is_wanted_of_a_record_that_is_held_and_a_person_is_asked(reason: Reason) -> None:
    held = replace(written(a_snapshot(DOSE)), person=Person(hold=reason))

    care = decide(held, NOW)

    assert (care.plans, care.appointments, care.tasks, care.goals, care.activities) == ((), (), (), (), ())
    assert verdict_of(care, "mon").outcome is Outcome.REVIEW
    (review,) = care.reviews
    assert reason in review.reasons
    assert care.memberships == held.known.memberships


def test_another_drug_is_nobodys_question_also_in_a_record_that_is_held() -> None:
    held = a_snapshot(a_dose(id="other", family=None), person=Person(hold=Reason.PATIENT_INACTIVE))

    care = decide(held, NOW)

    assert (verdict_of(care, "other").outcome, care.reviews) == (Outcome.UNRELATED, ())


def test_a_death_cancels_the_proposal_and_revokes_the_plan() -> None:
    care = decide(dead(written(a_snapshot(DOSE))), NOW)

    verdict = verdict_of(care, "mon")
    assert (verdict.outcome, verdict.eligibility) == (Outcome.UNMET, Eligibility.ELIGIBLE)
    assert Reason.PATIENT_DECEASED in verdict.reasons
    assert [reason for _, reason in cancellations(care)] == [Reason.PATIENT_DECEASED]
    (plan,) = care.plans
    assert (plan.status, plan.ended_because, plan.period_end) == (PlanStatus.REVOKED, Reason.PATIENT_DECEASED, DIED)
    assert [one for one in care.activities if not one.cancelled] == []
    assert [task for task in care.tasks if not task.cancelled] == []


def test_nothing_is_made_for_one_who_died_before_anything_was_written() -> None:
    care = decide(dead(a_snapshot(DOSE)), NOW)

    assert (care.plans, care.appointments, care.tasks, care.activities) == ((), (), (), ())


def test_a_booked_visit_to_come_is_asked_about() -> None:
    booked = written(a_snapshot(DOSE), booked=True, ehr_status="booked", start=local("2026-01-06 11:00"))

    care = decide(dead(booked), NOW)

    (task,) = tasks_of(care, ArtifactKind.BOOKED_TASK)
    assert task.reasons == (Reason.BOOKED_VISIT_AFFECTED, Reason.PATIENT_DECEASED)
    assert cancellations(care) == []


def test_a_visit_that_took_place_before_the_death_stays_as_it_was() -> None:
    took_place = written(a_snapshot(DOSE), booked=True, ehr_status="fulfilled", start=local("2026-01-06 11:00"))

    care = decide(dead(took_place, local("2026-01-20 09:00")), NOW)

    assert verdict_of(care, "mon").outcome is Outcome.PLANNED
    assert tasks_of(care, ArtifactKind.BOOKED_TASK) == []
    assert plan_statuses(care) == [PlanStatus.REVOKED]


def test_a_course_that_was_over_by_then_is_completed_as_any() -> None:
    late = NOW + timedelta(days=200)

    care = decide(dead(written(a_snapshot(DOSE)), late - timedelta(days=1)), late)

    assert plan_statuses(care) == [PlanStatus.COMPLETED]
    assert Reason.PATIENT_DECEASED not in verdict_of(care, "mon").reasons


def test_a_dose_after_the_death_is_a_persons_question() -> None:
    care = decide(dead(a_snapshot(TUESDAY)), NOW + hours(24))

    assert verdict_of(care, "tue").outcome is Outcome.REVIEW
    assert Reason.PATIENT_DECEASED in verdict_of(care, "tue").reasons


def test_a_dose_that_a_person_had_to_decide_on_is_decided_by_a_death() -> None:
    care = decide(dead(a_snapshot(a_dose(id="mon", mg=None))), NOW)

    assert verdict_of(care, "mon").outcome is Outcome.NOT_ELIGIBLE
    assert verdict_of(care, "mon").reasons[0] is Reason.PATIENT_DECEASED
    assert care.reviews == ()


def test_a_death_that_is_taken_back_makes_the_next_generation() -> None:
    snapshot = written(a_snapshot(DOSE))
    gone = after_writing(dead(snapshot), decide(dead(snapshot), NOW))

    care = decide(replace(gone, person=Person()), NOW)

    (visit,) = [one for one in care.appointments if not one.cancelled]
    (plan,) = care.plans
    assert (visit.key.generation, plan.key.generation, plan.status) == (1, 1, PlanStatus.DRAFT)


def under_former_record(snapshot: Snapshot) -> Snapshot:
    """Everything that is written names a record that has gone up in this one."""
    rows = {key: replace(row, named="pat-0") for key, row in written(snapshot).known.artifacts.items()}
    return replace(snapshot, known=replace(written(snapshot).known, artifacts=rows))


def test_what_stands_under_a_former_record_is_asked_about_once_a_course() -> None:
    care = decide(under_former_record(a_snapshot(DOSE)), NOW)

    (task,) = tasks_of(care, ArtifactKind.MERGED_TASK)
    assert (task.key.subject, task.former, task.reasons) == (course_of("mon"), "pat-0", (Reason.PATIENT_MERGED,))
    assert task.focus is not None
    assert task.focus.kind is ArtifactKind.CARE_PLAN
    assert Reason.PATIENT_MERGED in verdict_of(care, "mon").reasons


def test_the_question_ends_with_its_cause_and_is_not_put_again_once_answered() -> None:
    asked = under_former_record(a_snapshot(DOSE))
    after = after_writing(asked, decide(asked, NOW))
    home = {key: replace(row, named=None) for key, row in after.known.artifacts.items()}
    care = decide(replace(after, known=replace(after.known, artifacts=home)), NOW)
    assert [task.cancelled for task in tasks_of(care, ArtifactKind.MERGED_TASK)] == [True]

    answered = people_did(
        after, ArtifactKind.MERGED_TASK, course_of("mon"), standing=Standing.REMOVED_BY_PERSON, ehr_status="completed"
    )
    assert tasks_of(decide(answered, NOW), ArtifactKind.MERGED_TASK) == []


def test_a_plan_of_the_present_record_goes_on_where_two_courses_meet() -> None:
    former, own = written(a_snapshot(DOSE)), written(a_snapshot(TUESDAY))
    rows = {key: replace(row, named="pat-0") for key, row in former.known.artifacts.items()} | dict(own.known.artifacts)
    members = {**former.known.memberships, **own.known.memberships}
    both = a_snapshot(DOSE, TUESDAY)

    care = decide(replace(both, known=replace(both.known, artifacts=rows, memberships=members)), NOW)

    open_plans = [plan.key.subject for plan in care.plans if plan.status is PlanStatus.DRAFT]
    assert open_plans == [course_of("tue")]
    assert session_of("mon") in {verdict.session_id for verdict in care.verdicts}
