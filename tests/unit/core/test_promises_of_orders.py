"""What decide() promises for any mixture of orders, planned doses, dropped doses and doses given."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from afterdose.core.care import ArtifactKind, Care, SessionClass, SessionState, Snapshot
from afterdose.core.dose import Dose, DoseKey, Family, Order, PlannedDose
from afterdose.core.plan import decide
from afterdose.core.reasons import Outcome, Reason
from builders import DEPRESSION, a_clinic, a_context, a_dose, a_drug, a_snapshot, after_writing, local

FIRST = local("2026-02-20 08:00")
NOW = local("2026-02-20 12:00")
HOURS = st.integers(0, 24 * 40)


@st.composite
def courses(draw: st.DrawFn) -> Snapshot:
    """Up to three orders, their planned doses, some dropped, and doses given that may name them."""
    orders: list[Order] = []
    planned: list[PlannedDose] = []
    for number in range(draw(st.integers(0, 3))):
        family = draw(st.sampled_from(list(Family)))
        key = DoseKey("ehr", f"MedicationRequest/order-{number}")
        heard = FIRST + timedelta(hours=draw(st.integers(-100, 100)))
        orders.append(
            Order(
                key=key,
                patient=draw(st.sampled_from(["pat-1"] * 5 + ["pat-2"])),
                drug=a_drug(family),
                heard_at=heard,
                ended_at=draw(st.sampled_from([None, None, None, NOW])),
                context=a_context(request_reasons=draw(st.sampled_from([(DEPRESSION,), ()]))),
            )
        )
        for after in draw(st.lists(HOURS, max_size=3, unique=True)):
            dropped = draw(st.sampled_from([None, None, None, after - 5, after + 5]))
            planned.append(
                PlannedDose(
                    at=FIRST + timedelta(hours=after),
                    family=family,
                    heard_at=heard,
                    order=key,
                    dropped_at=None if dropped is None else FIRST + timedelta(hours=dropped),
                )
            )
    doses = tuple(_dose(draw, number, after) for number, after in enumerate(draw(st.lists(HOURS, max_size=5))))
    clinic = a_clinic(days=draw(st.sampled_from([(1, 2, 3, 4, 5), (1, 3), ()])), early_edge=draw(st.booleans()))
    return a_snapshot(*doses, orders=tuple(orders), planned=tuple(planned), clinic=clinic)


def _dose(draw: st.DrawFn, number: int, after: int) -> Dose:
    start = FIRST + timedelta(hours=after)
    return a_dose(
        start,
        id=f"dose-{number}",
        family=draw(st.sampled_from(list(Family))),
        heard=start + timedelta(hours=draw(st.sampled_from([1, 1, 30, 100]))),
        status=draw(st.sampled_from(["completed"] * 6 + ["not-done", "in-progress", "entered-in-error", "stopped"])),
        request=draw(st.sampled_from([None, "MedicationRequest/order-0"])),
    )


def _wanted(care: Care) -> list[tuple[object, ...]]:
    """What a care wants to have, without ids."""
    found: list[tuple[object, ...]] = [(plan.family, plan.phase, plan.status, plan.first_dose) for plan in care.plans]
    found += [(one.number, one.session) for one in care.preparations if not one.cancelled]
    found += [(one.key.kind, one.reasons, one.due) for one in care.tasks if not one.cancelled]
    return sorted(found, key=repr)


def _told(care: Care) -> dict[frozenset[DoseKey], tuple[object, ...]]:
    """What is said of each group of administrations, whoever founded it."""
    return {frozenset(one.administrations): (one.outcome, one.session) for one in care.verdicts}


@given(courses())
@settings(max_examples=200, deadline=None)
def test_no_dose_is_left_out_and_each_ends_in_a_proposal_a_review_or_a_reason(snapshot: Snapshot) -> None:
    care = decide(snapshot, NOW)
    told = [key for verdict in care.verdicts for key in (*verdict.administrations, *verdict.withdrawn)]
    assert sorted(told) == sorted(dose.key for dose in snapshot.doses)
    for verdict in care.verdicts:
        if verdict.outcome in (Outcome.PLANNED, Outcome.UNMET):
            assert verdict.session.state is SessionState.PROPOSED or verdict.session.reasons


@given(courses(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_orders_changes_nothing(snapshot: Snapshot, random: object) -> None:
    orders, planned, doses = list(snapshot.orders), list(snapshot.planned), list(snapshot.doses)
    for group in (orders, planned, doses):
        random.shuffle(group)
    shuffled = replace(snapshot, orders=tuple(orders), planned=tuple(planned), doses=tuple(doses))
    assert decide(shuffled, NOW) == decide(snapshot, NOW)


@given(courses(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_orders_and_doses_that_arrive_one_by_one_end_in_the_same_wishes(snapshot: Snapshot, random: object) -> None:
    once = decide(snapshot, NOW)
    arriving = [*snapshot.orders, *snapshot.doses]
    random.shuffle(arriving)
    growing = replace(snapshot, orders=(), doses=())
    for one in arriving:
        if isinstance(one, Order):
            growing = replace(growing, orders=(*growing.orders, one))
        else:
            growing = replace(growing, doses=(*growing.doses, one))
        growing = after_writing(growing, decide(growing, NOW))
    again = decide(growing, NOW)
    assert _told(again) == _told(once)
    plans = [(one.number, one.session) for one in again.preparations if not one.cancelled]
    assert sorted(plans, key=repr) == sorted(
        ((one.number, one.session) for one in once.preparations if not one.cancelled), key=repr
    )


@given(courses(), st.timedeltas(timedelta(), timedelta(days=60)))
@settings(max_examples=100, deadline=None)
def test_time_alone_changes_no_visit_and_no_task_but_the_question_about_a_record(
    snapshot: Snapshot, passed: timedelta
) -> None:
    first, later = decide(snapshot, NOW), decide(snapshot, NOW + passed)
    assert first.preparations == later.preparations
    timeless = [
        [(one.key, one.reasons, one.due) for one in care.tasks if one.key.kind is not ArtifactKind.WAITING_TASK]
        for care in (first, later)
    ]
    assert timeless[0] == timeless[1]


@given(courses())
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_wanted_again_and_nothing_is_taken_back(snapshot: Snapshot) -> None:
    care = decide(snapshot, NOW)
    again = decide(after_writing(snapshot, care), NOW)
    assert _wanted(again) == _wanted(care)
    assert [one.key for one in again.preparations] == [one.key for one in care.preparations]
    assert not [one for one in again.tasks if one.cancelled]


@given(courses())
@settings(max_examples=200, deadline=None)
def test_a_preparation_ends_before_the_first_dose_and_an_early_session_is_on_the_next_day(snapshot: Snapshot) -> None:
    care, clinic = decide(snapshot, NOW), snapshot.clinic
    for plan in care.plans:
        for visit in plan.preparations:
            assert plan.first_dose is None or visit.session.end <= plan.first_dose - clinic.next_dose_buffer
    for verdict in care.verdicts:
        session = verdict.session
        if session is not None and session.session_class is SessionClass.EARLY_EDGE:
            wall = session.start.astimezone(clinic.zone)
            assert wall.date() == verdict.anchor.astimezone(clinic.zone).date() + timedelta(days=1)
            assert wall.hour >= 6
            assert Reason.EARLY_EDGE in session.reasons
