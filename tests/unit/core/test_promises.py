"""What decide() promises for any stream of doses, drawn at random."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from afterdose.core.care import (
    ArtifactKind,
    Care,
    SessionState,
    Snapshot,
    Standing,
    local_day,
)
from afterdose.core.dose import Coding, Dose, Effective, Family, PlannedDose, Precision
from afterdose.core.plan import decide
from afterdose.core.reasons import Outcome, Reason
from builders import a_clinic, a_context, a_dose, a_planned_dose, a_snapshot, after_writing, local

FIRST = local("2026-02-20 08:00")
NOW = local("2026-02-20 12:00")
STATUSES = ["completed"] * 8 + [
    "in-progress", "on-hold", "unknown", "stopped", "not-done", "entered-in-error", "preparation",
]  # fmt: skip


@st.composite
def any_dose(draw: st.DrawFn, number: int) -> Dose:
    """A dose that may be anything: another drug, withdrawn, running, wrongly timed, of somebody else."""
    start = FIRST + timedelta(minutes=draw(st.integers(0, 60 * 24 * 60)))
    minutes = draw(st.sampled_from([0, 10, 40, 40, 40, 100, 300, 60 * 26, -20]))
    dose = a_dose(
        start,
        id=f"dose-{number}",
        source="pumps" if number == 2 else "ehr",
        minutes=minutes,
        heard=start + timedelta(minutes=draw(st.sampled_from([-60, 5, 45, 60 * 80, 60 * 24 * 9]))),
        family=draw(st.sampled_from([Family.KETAMINE, Family.KETAMINE, Family.ESKETAMINE, None])),
        mg=draw(st.sampled_from(["35", "35", "500", "-1", None])),
        status=draw(st.sampled_from(STATUSES)),
        patient=draw(st.sampled_from(["pat-1"] * 9 + ["pat-2", None])),
        removed=draw(st.sampled_from([False] * 9 + [True])),
        context=a_context(encounter_class=draw(st.sampled_from(["AMB", "IMP", "EMER", None]))),
        problems=draw(st.sampled_from([()] * 6 + [(Reason.MODIFIER_UNKNOWN,), (Reason.SOURCE_UNREADABLE,)])),
    )
    effective = draw(
        st.sampled_from(
            [
                dose.effective,
                dose.effective,
                dose.effective,
                Effective(start=start, end=start),
                Effective(start=None, end=None),
                Effective(start=start, end=None, is_period=True),
                Effective(start=start, end=start + timedelta(days=1), precision=Precision.DATE),
                Effective(start=None, end=None, precision=Precision.COARSE),
            ]
        )
    )
    parents = draw(st.sampled_from([()] * 4 + [("MedicationAdministration/dose-0",)]))
    return replace(dose, effective=effective, part_of=parents, labels=(Coding("urn:test:label", "R"),))


@st.composite
def streams(draw: st.DrawFn) -> Snapshot:
    doses = tuple(draw(any_dose(number)) for number in range(draw(st.integers(0, 7))))
    planned: tuple[PlannedDose, ...] = tuple(
        a_planned_dose(FIRST + timedelta(hours=after)) for after in draw(st.lists(st.integers(0, 24 * 60), max_size=3))
    )
    patient = draw(st.sampled_from(["pat-1"] * 9 + [None]))
    return a_snapshot(*doses, planned=planned, patient=patient)


@st.composite
def plain_streams(draw: st.DrawFn) -> tuple[Dose, ...]:
    """Only doses that are eligible, a day or more apart or close together."""
    count = draw(st.integers(1, 7))
    starts = draw(st.lists(st.integers(0, 60 * 24 * 40), min_size=count, max_size=count, unique=True))
    return tuple(
        a_dose(FIRST + timedelta(minutes=after), id=f"dose-{number}", heard=FIRST + timedelta(days=41))
        for number, after in enumerate(starts)
    )


def _essence(care: Care) -> set[tuple[object, ...]]:
    """What a care says, without ids and without what was withdrawn."""
    return {
        (
            frozenset(verdict.administrations),
            verdict.outcome,
            verdict.eligibility,
            verdict.reasons,
            verdict.anchor,
            verdict.window,
            verdict.session,
            verdict.phase,
        )
        for verdict in care.verdicts
    }


@given(streams())
@settings(max_examples=200, deadline=None)
def test_every_administration_is_in_exactly_one_verdict(snapshot: Snapshot) -> None:
    care = decide(snapshot, NOW)
    told = [key for verdict in care.verdicts for key in (*verdict.administrations, *verdict.withdrawn)]
    assert sorted(told) == sorted(dose.key for dose in snapshot.doses)
    for verdict in care.verdicts:
        assert verdict.reasons
        assert verdict.founder in verdict.administrations
        if verdict.outcome is Outcome.WAITING:
            assert verdict.wake_up is not None
        if verdict.outcome is Outcome.PLANNED:
            assert verdict.session is not None
            assert any(verdict in plan.verdicts for plan in care.plans)
        if verdict.outcome is Outcome.UNMET:
            assert verdict.session is not None
            assert verdict.session.reasons
        if verdict.outcome is Outcome.REVIEW:
            assert any(item.founder == verdict.founder for item in care.reviews)


@given(streams())
@settings(max_examples=150, deadline=None)
def test_each_dose_session_and_each_course_has_one_open_artifact_of_a_kind(snapshot: Snapshot) -> None:
    care = decide(snapshot, NOW)
    keys = [one.key for one in (*care.plans, *care.appointments, *care.tasks)]
    assert len({(key.kind, key.subject) for key in keys}) == len(keys)
    assert sorted(one.key for one in care.appointments if not one.cancelled) == sorted(
        one.key for plan in care.plans for one in plan.appointments
    )


@given(streams(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_the_doses_changes_nothing(snapshot: Snapshot, random: object) -> None:
    doses = list(snapshot.doses)
    random.shuffle(doses)
    assert decide(replace(snapshot, doses=tuple(doses)), NOW) == decide(snapshot, NOW)


@given(plain_streams(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_doses_that_arrive_one_by_one_in_any_order_end_in_the_same_care(
    doses: tuple[Dose, ...], random: object
) -> None:
    once = decide(a_snapshot(*doses, accept_auto=True), NOW)
    arriving = list(doses)
    random.shuffle(arriving)
    snapshot = a_snapshot(accept_auto=True)
    for dose in arriving:
        snapshot = replace(snapshot, doses=(*snapshot.doses, dose))
        snapshot = after_writing(snapshot, decide(snapshot, NOW))
    assert _essence(decide(snapshot, NOW)) == _essence(once)
    open_now = [key.kind for key, row in snapshot.known.artifacts.items() if row.standing is Standing.WRITTEN]
    wanted = [one.key.kind for one in (*once.plans, *once.goals, *once.appointments, *once.tasks)]
    wanted += [one.key.kind for one in once.activities if not one.waits]
    assert sorted(open_now) == sorted(wanted)


@given(streams(), st.timedeltas(timedelta(), timedelta(days=60)))
@settings(max_examples=100, deadline=None)
def test_what_is_desired_does_not_change_with_time_alone(snapshot: Snapshot, passed: timedelta) -> None:
    first, later = decide(snapshot, NOW), decide(snapshot, NOW + passed)

    def timeless(care: Care) -> object:
        wake = {"wake_up": None}
        return (
            [replace(one, **wake) for one in care.verdicts],
            [replace(one, verdict=replace(one.verdict, **wake)) for one in care.appointments],
            [
                replace(one, verdict=replace(one.verdict, **wake) if one.verdict else None)
                for one in care.tasks
                if one.key.kind is not ArtifactKind.WAITING_TASK
            ],
            care.reviews,
            care.memberships,
        )

    assert timeless(first) == timeless(later)


@given(streams())
@settings(max_examples=100, deadline=None)
def test_once_everything_is_written_nothing_more_is_withdrawn_or_renewed(snapshot: Snapshot) -> None:
    care = decide(snapshot, NOW)
    again = decide(after_writing(snapshot, care), NOW)
    assert _essence(again) == _essence(care)
    assert again.memberships == care.memberships
    assert [one.key for one in again.plans] == [one.key for one in care.plans]
    assert [one.key for one in again.appointments] == [one.key for one in care.appointments]
    assert [one.key for one in again.tasks] == [one.key for one in care.tasks]


@given(streams())
@settings(max_examples=200, deadline=None)
def test_a_session_is_never_in_the_past_out_of_hours_on_another_dose_or_without_its_label(snapshot: Snapshot) -> None:
    care, clinic = decide(snapshot, NOW), snapshot.clinic
    starts = [one.start for one in care.verdicts if one.anchor and one.start and one.outcome is Outcome.PLANNED]
    for verdict in care.verdicts:
        session = verdict.session
        if session is None or session.state is not SessionState.PROPOSED:
            continue
        begins, ends = session.start.astimezone(clinic.zone), session.end.astimezone(clinic.zone)
        assert session.start >= verdict.heard_at + timedelta(hours=4)
        assert session.start >= verdict.anchor + timedelta(hours=24)
        assert begins.isoweekday() <= 5
        assert (begins.hour, begins.minute % 30) >= (9, 0)
        assert ends <= begins.replace(hour=17, minute=0)
        assert session.period_start <= session.start < session.period_end
        later = [start for start in starts if start > verdict.anchor]
        assert all(session.end <= start - timedelta(minutes=60) for start in later)
        if any(local_day(start, clinic) == begins.date() for start in starts):
            assert Reason.PRE_DOSE in session.reasons
        assert (Reason.POST_WINDOW in session.reasons) is (session.start >= verdict.anchor + timedelta(hours=72))


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.sampled_from([(1, 2, 3, 4, 5), (1, 2, 3, 4, 5, 6, 7), (1, 3, 5), ()]),
)
@settings(max_examples=100, deadline=None)
def test_the_window_is_48_elapsed_hours_all_year_round(start: datetime, days: tuple[int, ...]) -> None:
    snapshot = a_snapshot(a_dose(start), clinic=a_clinic(days=days, holidays=frozenset({date(2026, 12, 25)})))
    (verdict,) = decide(snapshot, start).verdicts
    assert verdict.window.opens - verdict.anchor == timedelta(hours=24)
    assert verdict.window.closes - verdict.anchor == timedelta(hours=72)
    assert (verdict.outcome is Outcome.PLANNED) is bool(days)


@given(streams())
@settings(max_examples=100, deadline=None)
def test_nothing_but_a_review_is_written_for_what_is_not_eligible(snapshot: Snapshot) -> None:
    care = decide(snapshot, NOW)
    kinds = {one.key.subject: one.key.kind for one in (*care.appointments, *care.tasks)}
    for verdict in care.verdicts:
        if verdict.outcome is Outcome.REVIEW and snapshot.patient:
            assert kinds.get(verdict.session_id) is ArtifactKind.REVIEW_TASK
        if verdict.outcome in (Outcome.NOT_ELIGIBLE, Outcome.UNRELATED, Outcome.WAITING):
            assert verdict.session_id not in kinds
