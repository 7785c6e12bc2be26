"""What belongs to a course besides its sessions: wanted when, from when, until when, and given up when."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from lifecycle import MONDAY, NOW, course_of, people_did, session_of, with_doses

from afterdose.core import activities
from afterdose.core.activities import ACTIVITIES
from afterdose.core.care import (
    ArtifactKind,
    Care,
    DesiredActivity,
    Known,
    KnownArtifact,
    PlanStatus,
    Snapshot,
    Standing,
)
from afterdose.core.codes import Codes
from afterdose.core.dose import Coding
from afterdose.core.plan import decide
from afterdose.core.wishes import MODALITIES, OPTIONAL
from builders import (
    a_clinic,
    a_context,
    a_dose,
    a_planned_dose,
    a_snapshot,
    after_writing,
    codes_for_tests,
    hours,
    local,
)

END = MONDAY.effective.end
THURSDAY = a_dose("2026-01-08 10:00", id="thu")
OF_PATIENT = set(activities.OF_PATIENT)
OF_STAFF = {
    ArtifactKind.OUTCOME_CHECK,
    ArtifactKind.LATER_OUTCOME_CHECK,
    ArtifactKind.RELAPSE_PLAN,
    ArtifactKind.PSYCHOTHERAPY,
}


def made(care: Care) -> dict[ArtifactKind, DesiredActivity]:
    """What is to be in the EHR, by kind."""
    wanted = [one for one in care.activities if not one.cancelled and not one.hold and not one.waits]
    assert len({one.key.kind for one in wanted}) == len(wanted)
    return {one.key.kind: one for one in wanted}


def ended(care: Care) -> set[ArtifactKind]:
    return {one.key.kind for one in care.activities if one.cancelled}


def active(*doses: object, **changes: object) -> dict[ArtifactKind, DesiredActivity]:
    return made(decide(a_snapshot(*(doses or (MONDAY,)), accept_auto=True, **changes), NOW))


def offering(kind: ArtifactKind) -> Codes:
    """Codes in which one mark states a preference for one way of working."""
    return replace(codes_for_tests(), preferences={("urn:test:mark", "art"): kind}, modalities=frozenset(MODALITIES))


def activated(snapshot: Snapshot) -> Snapshot:
    return people_did(snapshot, ArtifactKind.CARE_PLAN, course_of("mon"), was_active=True, ehr_status="active")


def test_before_a_clinician_activates_the_plan_only_staff_are_asked() -> None:
    care = decide(a_snapshot(MONDAY), NOW)
    assert set(made(care)) == OF_STAFF
    assert {one.key.kind for one in care.activities if one.waits} == OF_PATIENT
    assert all(one.for_patient == (one.key.kind in OF_PATIENT) for one in care.activities)


def test_once_the_plan_is_active_the_patient_is_asked_too() -> None:
    snapshot = activated(after_writing(a_snapshot(MONDAY), decide(a_snapshot(MONDAY), NOW)))
    assert set(made(decide(snapshot, NOW))) == OF_STAFF | OF_PATIENT


def test_a_site_that_accepts_by_itself_asks_the_patient_at_once() -> None:
    assert set(active()) == OF_STAFF | OF_PATIENT


def test_the_journal_is_due_after_a_day_and_begins_when_monitoring_is_over() -> None:
    journal = active()[ArtifactKind.JOURNALING]
    assert (journal.starts, journal.due) == (END + hours(2), END + hours(24))


def test_mindfulness_is_practised_once_a_day_for_three_days() -> None:
    practice = active()[ArtifactKind.MINDFULNESS]
    assert (practice.starts, practice.due) == (END + hours(2), END + hours(72))
    assert practice.repeats is not None
    assert (practice.repeats.every, practice.repeats.count) == (timedelta(days=1), 3)
    assert practice.repeats.length == (timedelta(minutes=10), timedelta(minutes=20))


def test_of_a_dose_that_was_heard_of_late_no_number_of_days_is_promised() -> None:
    late = active(replace(MONDAY, heard_at=END + hours(24)))
    assert [late[kind].repeats.count for kind in (ArtifactKind.MINDFULNESS, ArtifactKind.SLEEP)] == [None, None]


def test_sleep_is_supported_for_three_nights() -> None:
    sleep = active()[ArtifactKind.SLEEP]
    assert sleep.repeats is not None
    assert (sleep.repeats.at_bedtime, sleep.repeats.count) == (True, 3)


def test_behavioural_activation_is_due_between_two_and_three_days() -> None:
    task = active()[ArtifactKind.ACTIVATION]
    assert (task.starts, task.due) == (END + hours(24), END + hours(72))


def test_nothing_of_the_patient_outlasts_the_next_dose() -> None:
    planned = a_planned_dose("2026-01-07 10:00")
    for one in active(planned=(planned,)).values():
        if one.for_patient:
            assert one.due is not None
            assert one.due <= planned.at - hours(1)
    assert active(planned=(planned,))[ArtifactKind.MINDFULNESS].repeats.count is None


def test_commitments_are_due_before_the_next_dose() -> None:
    commitments = active(planned=(a_planned_dose("2026-01-15 10:00"),))[ArtifactKind.COMMITMENTS]
    assert (commitments.due, commitments.due_assumed) == (local("2026-01-15 09:00"), False)


def test_where_the_next_dose_is_not_known_the_date_is_assumed_and_says_so() -> None:
    commitments = active()[ArtifactKind.COMMITMENTS]
    assert (commitments.due, commitments.due_assumed) == (END + timedelta(days=7), True)


def test_a_planned_dose_that_was_dropped_cuts_nothing() -> None:
    dropped = replace(a_planned_dose("2026-01-07 10:00"), dropped_at=NOW)
    assert active(planned=(dropped,))[ArtifactKind.COMMITMENTS].due_assumed


def test_the_outcome_is_checked_one_and_two_weeks_after_the_latest_dose() -> None:
    found = active(MONDAY, THURSDAY)
    assert found[ArtifactKind.OUTCOME_CHECK].due == THURSDAY.effective.end + timedelta(days=7)
    assert found[ArtifactKind.LATER_OUTCOME_CHECK].due == THURSDAY.effective.end + timedelta(days=14)


def test_a_check_that_comes_after_the_next_dose_is_left_to_that_dose() -> None:
    found = active(planned=(a_planned_dose("2026-01-15 10:00"),))
    assert ArtifactKind.OUTCOME_CHECK in found
    assert ArtifactKind.LATER_OUTCOME_CHECK not in found


def test_an_open_check_moves_on_with_the_next_dose() -> None:
    first = a_snapshot(MONDAY)
    before = made(decide(first, NOW))[ArtifactKind.OUTCOME_CHECK]
    second = with_doses(after_writing(first, decide(first, NOW)), THURSDAY)
    care = decide(second, NOW)
    assert made(care)[ArtifactKind.OUTCOME_CHECK].key == before.key
    assert made(care)[ArtifactKind.OUTCOME_CHECK].due == THURSDAY.effective.end + timedelta(days=7)
    assert ArtifactKind.OUTCOME_CHECK not in ended(care)


def done_at(moment: datetime) -> Snapshot:
    """Two doses; the check that was begun after the first and moved on to the second was ended at ``moment``."""
    first = a_snapshot(MONDAY)
    second = with_doses(after_writing(first, decide(first, NOW)), THURSDAY)
    moved = after_writing(second, decide(second, NOW))
    closed = {"standing": Standing.REMOVED_BY_PERSON, "ehr_status": "completed", "closed_at": moment}
    return people_did(moved, ArtifactKind.OUTCOME_CHECK, session_of("mon"), **closed)


def test_a_check_that_was_done_early_is_not_asked_for_again() -> None:
    early = THURSDAY.effective.end + timedelta(days=3)
    care = decide(done_at(early), NOW)
    assert ArtifactKind.OUTCOME_CHECK not in made(care)
    assert ArtifactKind.LATER_OUTCOME_CHECK in made(care)
    assert ArtifactKind.OUTCOME_CHECK in {one.key.kind for one in care.plans[0].activities if one.hold}


def test_a_check_that_was_done_before_a_dose_was_not_that_doses() -> None:
    before = THURSDAY.effective.end - timedelta(hours=1)
    check = made(decide(done_at(before), NOW))[ArtifactKind.OUTCOME_CHECK]
    assert (check.key.subject, check.due) == (session_of("thu"), THURSDAY.effective.end + timedelta(days=7))


def test_the_relapse_plan_is_due_a_week_after_the_first_dose() -> None:
    assert active(MONDAY, THURSDAY)[ArtifactKind.RELAPSE_PLAN].due == END + timedelta(days=7)


def test_the_relapse_plan_outlives_its_date() -> None:
    later = a_dose("2026-01-19 10:00", id="later")
    assert active(MONDAY, later)[ArtifactKind.RELAPSE_PLAN].due == END + timedelta(days=7)


def test_the_relapse_plan_is_due_with_the_last_planned_dose_where_that_is_earlier() -> None:
    found = active(planned=(a_planned_dose("2026-01-08 10:00"),))
    assert found[ArtifactKind.RELAPSE_PLAN].due == local("2026-01-08 10:00")


def test_a_course_that_is_heard_of_late_still_gets_its_relapse_plan() -> None:
    late = local("2026-01-20 10:00")
    doses = [replace(dose, heard_at=late) for dose in (MONDAY, a_dose("2026-01-19 10:00", id="now"))]
    assert active(*doses)[ArtifactKind.RELAPSE_PLAN].due == late + timedelta(days=7)


def test_psychotherapy_is_proposed_without_a_dose() -> None:
    found = active()[ArtifactKind.PSYCHOTHERAPY]
    assert found.dose is None
    assert found.due is None
    assert found.repeats is not None
    assert found.repeats.every == timedelta(days=7)


def test_optional_ways_of_working_are_proposed_by_stated_preference_only() -> None:
    mark = Coding("urn:test:mark", "art")
    codes = offering(ArtifactKind.ART_WORK)
    stated = replace(MONDAY, context=a_context(marks=(mark,)))
    assert not set(OPTIONAL) & set(active(codes=codes))
    assert set(OPTIONAL) & set(active(stated, codes=codes)) == {ArtifactKind.ART_WORK}


def test_what_the_patient_says_counts_as_what_stands_on_a_dose() -> None:
    codes, said = offering(ArtifactKind.ART_WORK), (Coding("urn:test:mark", "art"),)
    assert ArtifactKind.ART_WORK in active(codes=codes, preferences=said)
    assert ArtifactKind.ART_WORK not in active(codes=codes, preferences=())


def test_a_way_of_working_that_the_site_does_not_offer_is_not_proposed() -> None:
    codes = replace(offering(ArtifactKind.ART_WORK), modalities=frozenset({ArtifactKind.SOMATIC_WORK}))
    assert ArtifactKind.ART_WORK not in active(codes=codes, preferences=(Coding("urn:test:mark", "art"),))


def test_what_is_in_every_plan_anyway_comes_first_where_it_is_preferred() -> None:
    codes, said = offering(ArtifactKind.MINDFULNESS), (Coding("urn:test:mark", "art"),)
    assert next(iter(active(codes=codes, preferences=said))) is ArtifactKind.MINDFULNESS
    assert set(active(codes=codes, preferences=said)) == set(active())


def test_a_preference_that_cannot_be_read_at_present_takes_nothing_back() -> None:
    codes, said = offering(ArtifactKind.ART_WORK), (Coding("urn:test:mark", "art"),)
    snapshot = a_snapshot(MONDAY, codes=codes, preferences=said)
    there = after_writing(snapshot, decide(snapshot, NOW))
    assert ArtifactKind.ART_WORK not in ended(decide(replace(there, preferences=None), NOW))
    assert ArtifactKind.ART_WORK in ended(decide(replace(there, preferences=()), NOW))


@pytest.mark.parametrize(("on_file", "asked"), [((), True), (("DocumentReference/1",), False), (None, False)])
def test_a_crisis_plan_is_asked_for_only_where_it_is_known_to_be_missing(
    on_file: tuple[str, ...] | None, asked: bool
) -> None:
    assert (ArtifactKind.CRISIS_PLAN in active(crisis_plans=on_file)) is asked


def test_a_crisis_plan_that_is_filed_ends_the_question_and_one_that_cannot_be_looked_for_does_not() -> None:
    snapshot = a_snapshot(MONDAY, crisis_plans=())
    there = after_writing(snapshot, decide(snapshot, NOW))
    filed = decide(replace(there, crisis_plans=("DocumentReference/1",)), NOW)
    assert ArtifactKind.CRISIS_PLAN in ended(filed)
    assert filed.plans[0].crisis_plans == ("DocumentReference/1",)
    assert ArtifactKind.CRISIS_PLAN not in ended(decide(replace(there, crisis_plans=None), NOW))


def test_a_session_that_ended_without_commitments_reminds_the_therapist() -> None:
    snapshot = a_snapshot(MONDAY, accept_auto=True)
    after = after_writing(snapshot, decide(snapshot, NOW))
    visit = {"standing": Standing.TAKEN_OVER, "booked": True}
    met = people_did(after, ArtifactKind.APPOINTMENT, session_of("mon"), ehr_status="fulfilled", **visit)
    asked = people_did(met, ArtifactKind.COMMITMENTS, session_of("mon"), ehr_status="requested")
    begun = people_did(met, ArtifactKind.COMMITMENTS, session_of("mon"), ehr_status="in-progress")
    reminder = made(decide(asked, NOW))[ArtifactKind.COMMITMENTS_REMINDER]
    assert reminder.focus is not None
    assert reminder.focus.kind is ArtifactKind.APPOINTMENT
    assert not reminder.for_patient
    assert ArtifactKind.COMMITMENTS_REMINDER not in made(decide(begun, NOW))
    assert ArtifactKind.COMMITMENTS_REMINDER not in made(decide(after, NOW))


def test_a_second_dose_ends_what_followed_the_first_and_asks_once() -> None:
    snapshot = a_snapshot(MONDAY, accept_auto=True)
    second = with_doses(after_writing(snapshot, decide(snapshot, NOW)), THURSDAY)
    care = decide(second, NOW)
    assert ended(care) == OF_PATIENT
    assert {one.key.subject for one in made(care).values() if one.for_patient} == {session_of("thu")}
    again = decide(after_writing(second, care), NOW)
    assert ended(again) == set()
    assert {one.key for one in made(again).values()} == {one.key for one in made(care).values()}


def test_what_a_person_has_begun_is_left_and_still_named() -> None:
    snapshot = a_snapshot(MONDAY, accept_auto=True)
    after = after_writing(snapshot, decide(snapshot, NOW))
    begun = people_did(after, ArtifactKind.JOURNALING, session_of("mon"), ehr_status="in-progress")
    care = decide(with_doses(begun, THURSDAY), NOW)
    assert ArtifactKind.JOURNALING not in ended(care)
    assert (ArtifactKind.JOURNALING, session_of("mon")) in {
        (one.key.kind, one.key.subject) for one in care.plans[0].activities
    }


@pytest.mark.parametrize(("status", "named"), [("completed", True), ("cancelled", False)])
def test_what_a_person_has_ended_is_not_asked_again(status: str, named: bool) -> None:
    snapshot = a_snapshot(MONDAY, accept_auto=True)
    after = after_writing(snapshot, decide(snapshot, NOW))
    gone = {"standing": Standing.REMOVED_BY_PERSON, "ehr_status": status}
    care = decide(people_did(after, ArtifactKind.JOURNALING, session_of("mon"), **gone), NOW)
    assert ArtifactKind.JOURNALING not in made(care)
    assert (ArtifactKind.JOURNALING in {one.key.kind for one in care.plans[0].activities}) is named


def test_nothing_is_asked_whose_deadline_had_passed_when_the_dose_was_heard_of() -> None:
    late = replace(MONDAY, heard_at=END + hours(80))
    assert OF_PATIENT & set(active(late)) == {ArtifactKind.COMMITMENTS}


def test_what_is_wanted_does_not_change_with_time_alone() -> None:
    snapshot = a_snapshot(MONDAY, accept_auto=True)
    first = decide(snapshot, NOW)
    for passed in (hours(30), hours(100), timedelta(days=20)):
        later = decide(snapshot, NOW + passed)
        assert [replace(one, dose=None) for one in later.activities] == [
            replace(one, dose=None) for one in first.activities
        ]
        assert later.goals == first.goals


def test_a_withdrawn_dose_takes_back_all_that_followed_it() -> None:
    snapshot = a_snapshot(MONDAY, accept_auto=True)
    after = after_writing(snapshot, decide(snapshot, NOW))
    care = decide(with_doses(after, replace(MONDAY, status="entered-in-error")), NOW)
    assert made(care) == {}
    assert ended(care) == OF_PATIENT | OF_STAFF
    assert [goal.ended for goal in care.goals] == [True]


def test_a_course_that_a_person_ended_takes_its_activities_along() -> None:
    snapshot = a_snapshot(MONDAY, accept_auto=True)
    after = after_writing(snapshot, decide(snapshot, NOW))
    gone = {"standing": Standing.REMOVED_BY_PERSON, "ehr_status": "revoked"}
    care = decide(people_did(after, ArtifactKind.CARE_PLAN, course_of("mon"), **gone), NOW)
    assert made(care) == {}
    assert ended(care) == OF_PATIENT | OF_STAFF


def test_a_dose_that_cannot_be_decided_now_changes_nothing() -> None:
    snapshot = a_snapshot(MONDAY, accept_auto=True)
    after = after_writing(snapshot, decide(snapshot, NOW))
    care = decide(with_doses(after, replace(MONDAY, status="in-progress")), NOW)
    assert (made(care), ended(care)) == ({}, set())
    assert [goal for goal in care.goals if goal.ended] == []


def test_while_a_further_dose_is_running_nothing_is_begun_or_ended() -> None:
    running = a_dose("2026-01-08 10:00", id="thu", status="in-progress")
    snapshot = a_snapshot(MONDAY, accept_auto=True)
    after = after_writing(snapshot, decide(snapshot, NOW))
    care = decide(with_doses(after, running), NOW)
    assert ended(care) == set()
    assert {one.key for one in made(care).values()} <= set(after.known.artifacts)
    assert {one.key.kind for one in care.plans[0].activities} == OF_PATIENT | OF_STAFF


def test_a_reinstated_dose_gets_new_activities() -> None:
    snapshot = a_snapshot(MONDAY, accept_auto=True)
    after = after_writing(snapshot, decide(snapshot, NOW))
    gone = with_doses(after, replace(MONDAY, status="entered-in-error"))
    back = with_doses(after_writing(gone, decide(gone, NOW)), MONDAY)
    assert {one.key.generation for one in made(decide(back, NOW)).values()} == {1}


def test_a_plan_that_ends_goes_on_naming_the_goal_that_ended_before_it() -> None:
    snapshot = a_snapshot(MONDAY)
    after = after_writing(snapshot, decide(snapshot, NOW))
    gone = with_doses(after, replace(MONDAY, status="entered-in-error"))
    at_once = decide(gone, NOW)
    interrupted = people_did(gone, ArtifactKind.GOAL, course_of("mon"), standing=Standing.WITHDRAWN)
    assert decide(interrupted, NOW).plans == at_once.plans
    assert at_once.plans[0].goal in after.known.artifacts


def test_what_is_asked_about_a_plan_that_has_ended_goes_on_naming_it() -> None:
    start = END + hours(30)
    booked = {"booked": True, "ehr_status": "booked", "standing": Standing.TAKEN_OVER, "start": start}
    snapshot = a_snapshot(MONDAY)
    after = people_did(
        after_writing(snapshot, decide(snapshot, NOW)), ArtifactKind.APPOINTMENT, session_of("mon"), **booked
    )
    gone = with_doses(after, replace(MONDAY, status="entered-in-error"))
    asked = decide(gone, NOW)
    assert [task.key.kind for task in asked.tasks] == [ArtifactKind.BOOKED_TASK]
    assert decide(after_writing(gone, asked), NOW).tasks == asked.tasks


def test_the_goal_follows_its_plan() -> None:
    (proposed,) = decide(a_snapshot(MONDAY), NOW).goals
    (wanted,) = decide(a_snapshot(MONDAY, accept_auto=True), NOW).goals
    assert (proposed.status, wanted.status) == (PlanStatus.DRAFT, PlanStatus.ACTIVE)
    assert proposed.key == wanted.key


def test_labels_of_the_sources_are_copied_to_everything_of_the_course() -> None:
    label = Coding("urn:test:label", "R")
    care = decide(a_snapshot(replace(MONDAY, labels=(label,)), accept_auto=True), NOW)
    assert all(one.labels == (label,) for one in (*care.activities, *care.goals, *care.plans))
    review = decide(a_snapshot(replace(MONDAY, labels=(label,), status="stopped")), NOW)
    assert [task.labels for task in review.tasks] == [(label,)]


def test_a_plan_that_nobody_has_activated_is_looked_at_while_it_matters() -> None:
    draft, open_ = a_snapshot(MONDAY), a_snapshot(MONDAY, accept_auto=True)
    after = END + hours(5)
    assert decide(draft, after).wake_up == END + hours(8)
    assert decide(open_, after).wake_up == END + hours(20)
    assert decide(draft, END + hours(73)).wake_up == END + timedelta(days=7)


def test_who_accompanied_the_dose_comes_from_marks_then_its_performers_then_the_clinic() -> None:
    therapist, mark = Coding("urn:test:specialty", "psychotherapy"), Coding("urn:test:mark", "alone")
    outbound, accompanied = {"session-specialty": (therapist,)}, {("urn:test:mark", "alone"): False}
    codes = replace(codes_for_tests(), outbound=outbound, accompanied=accompanied)
    marked = replace(MONDAY, context=a_context(specialties=(therapist,), marks=(mark,)))
    present = replace(MONDAY, context=a_context(specialties=(therapist,)))
    monitored = a_clinic(therapist_present=False)
    told = [
        decide(a_snapshot(dose, codes=codes, clinic=clinic), NOW).plans[0].therapist_present
        for dose, clinic in ((marked, a_clinic()), (present, monitored), (MONDAY, monitored), (MONDAY, a_clinic()))
    ]
    assert told == [False, True, False, None]


def test_the_plan_names_the_conditions_of_its_doses() -> None:
    (plan,) = decide(a_snapshot(replace(MONDAY, conditions=("Condition/c1",))), NOW).plans
    assert [(one.source, one.id) for one in plan.conditions] == [("ehr", "Condition/c1")]


def test_an_artifact_of_an_earlier_generation_is_left_alone() -> None:
    snapshot = a_snapshot(MONDAY, accept_auto=True)
    after = after_writing(snapshot, decide(snapshot, NOW))
    old = {
        key._replace(generation=0): KnownArtifact(key=key, standing=Standing.WITHDRAWN)
        for key in after.known.artifacts
        if key.kind in ACTIVITIES
    }
    rows = {
        key._replace(generation=1): replace(row, key=key._replace(generation=1))
        for key, row in after.known.artifacts.items()
        if key.kind in ACTIVITIES
    }
    others = {key: row for key, row in after.known.artifacts.items() if key.kind not in ACTIVITIES}
    known = Known(memberships=after.known.memberships, artifacts={**others, **old, **rows})
    assert ended(decide(replace(after, known=known), NOW)) == set()
