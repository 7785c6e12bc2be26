"""What follows from orders and planned doses: preparation before a course, warnings before a dose, freed windows."""

from dataclasses import replace
from datetime import timedelta

import pytest
from lifecycle import MONDAY, NOW, course_of, people_did, session_of, tasks_of, written

from afterdose.core.care import ArtifactKey, ArtifactKind, Care, Phase, PlanStatus, Snapshot, Standing
from afterdose.core.dose import DoseKey, Family, Order, PlannedDose
from afterdose.core.identity import preparation_id
from afterdose.core.plan import decide
from afterdose.core.reasons import Outcome, Reason
from builders import (
    DEPRESSION,
    EVERY_DAY,
    PSYCHOSIS,
    THEATRE,
    a_clinic,
    a_context,
    a_dose,
    a_drug,
    a_planned_dose,
    a_protocol,
    a_rules,
    a_snapshot,
    after_writing,
    local,
    verdict_of,
)

KEY = DoseKey("ehr", "MedicationRequest/order-1")


def an_order(family: Family = Family.KETAMINE, **changes: object) -> Order:
    """An order for a depression, heard of on Friday 2 January at 12:00."""
    order = Order(
        key=KEY,
        patient="pat-1",
        drug=a_drug(family),
        heard_at=local("2026-01-02 12:00"),
        context=a_context(request_reasons=(DEPRESSION,)),
    )
    return replace(order, **changes)


def planned(at: str, **changes: object) -> PlannedDose:
    return replace(a_planned_dose(at, Family.KETAMINE), order=KEY, heard_at=local("2026-01-02 12:00"), **changes)


def ordered(*at: str, order: Order | None = None, **changes: object) -> Snapshot:
    return a_snapshot(planned=tuple(planned(one) for one in at), orders=(order or an_order(),), **changes)


def warnings(care: Care) -> list[tuple[Reason, ...]]:
    return [task.reasons for task in tasks_of(care, ArtifactKind.WARNING_TASK) if not task.cancelled]


def test_a_crisis_plan_that_is_missing_is_asked_for_by_the_first_dose() -> None:
    care = decide(ordered("2026-01-07 10:00", crisis_plans=()), NOW)
    (asked,) = care.activities
    assert (asked.key.kind, asked.for_patient) == (ArtifactKind.CRISIS_PLAN, False)
    assert asked.due == local("2026-01-07 10:00")
    assert care.plans[0].activities == (asked,)


def test_an_ordered_course_gets_a_plan_and_a_preparation_visit_before_its_first_dose() -> None:
    care = decide(ordered("2026-01-07 10:00"), NOW)
    (plan,) = care.plans
    (visit,) = care.preparations
    assert (plan.phase, plan.status, plan.verdicts, plan.appointments) == (Phase.PREPARATION, PlanStatus.DRAFT, (), ())
    assert (plan.first_dose, plan.orders) == (local("2026-01-07 10:00"), (KEY,))
    assert plan.preparations == (visit,)
    assert (visit.session.start, visit.session.period_end) == (local("2026-01-02 16:00"), local("2026-01-07 09:00"))
    assert (care.appointments, care.tasks, care.verdicts) == ((), (), ())


def test_preparation_visits_are_on_days_of_their_own_and_as_many_as_the_protocol_says() -> None:
    rules = a_rules()
    three = replace(rules, practices=replace(rules.practices, preparation_sessions=(3, 3)))
    protocols = {Family.KETAMINE: a_protocol(Family.KETAMINE, (rules.earliest_plausible, three)),
                 Family.ESKETAMINE: a_protocol(Family.ESKETAMINE)}  # fmt: skip
    care = decide(ordered("2026-01-07 10:00", protocols=protocols), NOW)
    starts = [local("2026-01-02 16:00"), local("2026-01-05 09:00"), local("2026-01-06 09:00")]
    assert [one.session.start for one in care.preparations] == starts


def test_an_order_that_names_no_time_is_prepared_within_the_protocols_time() -> None:
    (visit,) = decide(ordered(), NOW).preparations
    assert visit.session.start == local("2026-01-02 16:00")
    assert visit.session.period_end - visit.session.period_start == timedelta(days=14)


def test_a_distant_first_dose_is_not_prepared_at_once() -> None:
    (visit,) = decide(ordered("2026-03-04 10:00"), NOW).preparations
    assert visit.session.start == local("2026-02-18 10:00")


def test_an_order_that_leaves_no_time_to_prepare_is_told() -> None:
    care = decide(ordered("2026-01-02 17:00"), NOW)
    assert care.preparations == ()
    assert warnings(care) == [(Reason.NO_TIME_TO_PREPARE,)]


@pytest.mark.parametrize(
    "order",
    [
        an_order(context=a_context()),
        an_order(context=a_context(request_reasons=(DEPRESSION,), location_types=(THEATRE,))),
        an_order(context=a_context(request_reasons=(DEPRESSION,), encounter_class="EMER")),
        an_order(context=a_context(request_reasons=(DEPRESSION,), conditions=(PSYCHOSIS,))),
        an_order(ended_at=local("2026-01-03 12:00")),
        an_order(patient="pat-2"),
        an_order(drug=a_drug(None)),
    ],
    ids=["no reason", "theatre", "emergency", "a condition that asks for care", "ended", "somebody else's", "another"],
)
def test_only_a_standing_order_that_is_clearly_psychiatric_is_prepared(order: Order) -> None:
    care = decide(ordered("2026-01-07 10:00", order=order), NOW)
    assert (care.plans, care.preparations, care.tasks) == ((), (), ())


def test_nasal_esketamine_needs_no_reason_to_be_prepared() -> None:
    care = decide(ordered(order=an_order(Family.ESKETAMINE, context=a_context())), NOW)
    assert [plan.family for plan in care.plans] == [Family.ESKETAMINE]


def test_the_first_dose_continues_the_plan_and_takes_back_what_was_only_proposed() -> None:
    before = ordered("2026-01-05 10:00")
    first = decide(before, local("2026-01-02 12:00"))
    snapshot = replace(after_writing(before, first), doses=(replace(MONDAY, request=KEY.id),))
    care = decide(snapshot, NOW)
    assert [plan.key for plan in care.plans] == [first.plans[0].key]
    assert (care.plans[0].phase, len(care.plans[0].appointments)) == (Phase.ACTIVE, 1)
    assert [(one.cancelled, one.cancel_reason) for one in care.preparations] == [(True, Reason.DOSE_GIVEN)]
    assert decide(after_writing(snapshot, care), NOW).preparations == ()


def test_a_preparation_visit_that_is_booked_stays() -> None:
    before = written(ordered("2026-01-07 10:00"), booked=True, ehr_status="booked", standing=Standing.TAKEN_OVER)
    care = decide(before, NOW)
    assert [one.hold for one in care.preparations] == [True]
    after = decide(replace(before, doses=(MONDAY,)), NOW)
    assert after.preparations == ()


def test_a_preparation_visit_that_staff_declined_is_not_made_again() -> None:
    before = written(ordered("2026-01-07 10:00"))
    course = next(iter(before.known.memberships.values())).course_id
    declined = people_did(
        before, ArtifactKind.APPOINTMENT, preparation_id(course, 1), standing=Standing.REMOVED_BY_PERSON
    )
    care = decide(declined, NOW)
    assert (care.preparations, len(care.plans)) == ((), 1)


def test_an_order_that_ends_takes_its_plan_back() -> None:
    before = written(ordered("2026-01-07 10:00"))
    gone = replace(before, orders=(an_order(ended_at=NOW),), planned=(planned("2026-01-07 10:00", dropped_at=NOW),))
    care = decide(gone, NOW)
    assert [plan.status for plan in care.plans] == [PlanStatus.REVOKED]
    assert [one.cancel_reason for one in care.preparations] == [Reason.DOSE_DROPPED]


def test_an_order_whose_administration_was_tried_is_not_prepared_again() -> None:
    tried = replace(MONDAY, status="not-done", request=KEY.id)
    assert decide(replace(ordered(), doses=(tried,)), NOW).plans == ()
    assert len(decide(replace(ordered("2026-01-07 10:00"), doses=(tried,)), NOW).plans) == 1


def test_an_order_that_was_begun_and_belongs_to_no_course_keeps_no_plan_from_ending() -> None:
    tried = a_dose("2026-01-06 10:00", id="tried", status="not-done", request=KEY.id)
    doses = (replace(MONDAY, status="entered-in-error"), tried)
    withdrawn = replace(written(a_snapshot(MONDAY)), doses=doses, orders=(an_order(),))
    assert [plan.status for plan in decide(withdrawn, NOW).plans] == [PlanStatus.ENTERED_IN_ERROR]


def test_a_course_that_is_never_begun_ends_after_its_gap() -> None:
    snapshot = ordered("2026-01-07 10:00")
    ends = local("2026-01-07 10:00") + timedelta(days=90)
    assert decide(snapshot, NOW).wake_up == ends
    assert [plan.status for plan in decide(snapshot, ends).plans] == [PlanStatus.REVOKED]


def test_orders_and_doses_give_the_same_course_in_any_order_of_arrival() -> None:
    dose, order, coming = replace(MONDAY, request=KEY.id), an_order(), (planned("2026-01-07 10:00"),)
    at_once = decide(a_snapshot(dose, orders=(order,), planned=coming), NOW)
    order_first = after_writing(ordered("2026-01-07 10:00"), decide(ordered("2026-01-07 10:00"), NOW))
    dose_first = written(a_snapshot(dose))
    for snapshot in (replace(order_first, doses=(dose,)), replace(dose_first, orders=(order,), planned=coming)):
        care = decide(snapshot, NOW)
        assert [plan.verdicts[0].session for plan in care.plans] == [at_once.plans[0].verdicts[0].session]
        assert len(care.plans) == 1


def test_a_planned_dose_that_leaves_no_window_is_told_before_its_day() -> None:
    care = decide(ordered("2026-01-16 10:00", "2026-01-19 10:00"), NOW)
    (task,) = tasks_of(care, ArtifactKind.WARNING_TASK)
    assert task.reasons == (Reason.DOSE_WITHOUT_WINDOW, Reason.WINDOW_CUT)
    assert (task.due, task.planned.at, task.verdict) == (local("2026-01-16 10:00"), local("2026-01-16 10:00"), None)
    assert warnings(decide(ordered("2026-01-14 10:00", "2026-01-19 10:00"), NOW)) == []


def test_a_warning_is_taken_back_when_its_cause_is_gone() -> None:
    before = written(ordered("2026-01-16 10:00", "2026-01-19 10:00"))
    moved = replace(before, planned=(planned("2026-01-14 10:00"), planned("2026-01-19 10:00")))
    (task,) = tasks_of(decide(moved, NOW), ArtifactKind.WARNING_TASK)
    assert task.cancelled


def test_a_planned_dose_that_moves_keeps_its_warning() -> None:
    before = written(ordered("2026-01-16 10:00", "2026-01-19 10:00"))
    moved = replace(before, planned=(planned("2026-01-16 11:00"), planned("2026-01-19 10:00")))
    first, second = (tasks_of(decide(one, NOW), ArtifactKind.WARNING_TASK)[0] for one in (before, moved))
    assert (first.key, second.cancelled) == (second.key, False)


def test_a_planned_dose_that_was_overtaken_warns_of_nothing() -> None:
    later = a_dose("2026-01-21 10:00", id="later", request=KEY.id)
    snapshot = replace(ordered("2026-01-16 10:00", "2026-01-19 10:00"), doses=(later,))
    assert warnings(decide(snapshot, NOW)) == []


FRIDAY = a_dose("2026-01-09 09:00", id="fri")
CUT = planned("2026-01-12 09:00")


def _friday(*coming: PlannedDose, **changes: object) -> tuple[Outcome, object]:
    verdict = verdict_of(decide(a_snapshot(FRIDAY, planned=coming, **changes), NOW), "fri")
    return verdict.outcome, verdict.session.start


def test_a_cancelled_dose_frees_the_window_from_when_we_hear_of_it() -> None:
    assert _friday(CUT) == (Outcome.UNMET, None)
    early = replace(CUT, dropped_at=local("2026-01-11 12:00"))
    late = replace(CUT, dropped_at=local("2026-01-12 08:30"))
    assert _friday(early) == (Outcome.PLANNED, local("2026-01-12 09:00"))
    assert _friday(late) == (Outcome.PLANNED, local("2026-01-12 12:30"))


def test_a_session_before_a_cancelled_dose_stays_where_it_was() -> None:
    coming = planned("2026-01-07 09:00")
    dropped = replace(coming, dropped_at=local("2026-01-06 15:00"))
    found = [verdict_of(decide(a_snapshot(MONDAY, planned=(one,)), NOW), "mon") for one in (coming, dropped)]
    assert found[0].session.start == found[1].session.start == local("2026-01-06 11:00")
    assert (found[0].window.cut_by is None, found[1].window.cut_by is None) == (False, True)


def test_a_dose_charted_as_not_done_is_no_next_dose() -> None:
    not_done = a_dose("2026-01-12 09:00", id="not-done", status="not-done", heard="2026-01-12 09:30")
    verdict = verdict_of(decide(a_snapshot(FRIDAY, not_done, planned=(CUT,)), NOW), "fri")
    assert (verdict.window.cut_by, verdict.session.start) == (None, local("2026-01-12 13:30"))


def test_an_order_that_is_over_after_its_hour_still_cuts_until_its_dose_is_charted() -> None:
    over = a_snapshot(FRIDAY, planned=(CUT,), orders=(an_order(ended_at=local("2026-01-12 10:00")),))
    assert verdict_of(decide(over, NOW), "fri").session.reasons == (Reason.WINDOW_CUT,)


def test_plans_of_people_are_not_touched_by_orders_of_courses_they_ended() -> None:
    before = written(ordered("2026-01-07 10:00"))
    key = next(key for key in before.known.artifacts if key.kind is ArtifactKind.CARE_PLAN)
    ended = people_did(before, ArtifactKind.CARE_PLAN, key.subject, standing=Standing.REMOVED_BY_PERSON)
    care = decide(ended, NOW)
    assert (care.plans, [one.cancelled for one in care.preparations]) == ((), [True])


def test_the_course_of_a_dose_that_names_no_order_takes_the_order_in() -> None:
    snapshot = a_snapshot(MONDAY, orders=(an_order(),), planned=(planned("2026-01-08 10:00"),))
    care = decide(snapshot, NOW)
    assert [plan.key for plan in care.plans] == [ArtifactKey(ArtifactKind.CARE_PLAN, course_of("mon"))]
    assert care.memberships[KEY].course_id == course_of("mon")
    assert care.memberships[MONDAY.key].session_id == session_of("mon")


def test_a_clinic_without_hours_warns_of_every_dose_and_of_the_missing_preparation() -> None:
    care = decide(ordered("2026-01-07 10:00", clinic=a_clinic(days=())), NOW)
    assert warnings(care) == [
        (Reason.DOSE_WITHOUT_WINDOW, Reason.NO_CLINIC_HOURS, Reason.NO_TIME_TO_PREPARE),
    ]
    assert warnings(decide(ordered("2026-01-07 10:00", clinic=a_clinic(days=EVERY_DAY)), NOW)) == []
