"""What should be in the EHR because of the verdicts: appointments, tasks, plans, and what goes.

Everything here follows from facts and from what people did in the EHR; the one thing that time alone
changes is that a course which has gone quiet is completed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from afterdose.core.care import (
    ArtifactKey,
    ArtifactKind,
    DesiredAppointment,
    DesiredPlan,
    DoseVerdict,
    KnownArtifact,
    Phase,
    PlanStatus,
    ReviewItem,
    Snapshot,
    Standing,
)
from afterdose.core.cases import rules_at
from afterdose.core.desk import Desk, doses_of, labels_of, why_not
from afterdose.core.dose import DoseKey, Family
from afterdose.core.looks import is_too_late
from afterdose.core.reasons import Outcome
from afterdose.core.standing import is_open, is_theirs

_PLANNED = frozenset({Outcome.PLANNED, Outcome.UNMET})
_PLAN_OVER = frozenset({"completed", "revoked"})
_UNDECIDED = frozenset({Outcome.REVIEW, Outcome.WAITING})


def appointments(desk: Desk) -> list[DesiredAppointment]:
    """The Appointments to have, to hold and to cancel."""
    wanted = [found for verdict in desk.judged.verdicts if (found := _appointment(verdict, desk)) is not None]
    subjects = {one.key.subject for one in wanted}
    for row in desk.standings.still_open(ArtifactKind.APPOINTMENT):
        verdict, course = desk.verdict_of(row.key.subject), desk.course_of(row.key.subject)
        if row.key.subject in subjects or verdict is None or course is None or is_theirs(row):
            continue
        wanted.append(
            DesiredAppointment(
                key=row.key,
                course=course,
                verdict=verdict,
                cancelled=True,
                cancel_reason=why_not(verdict, row, desk),
            )
        )
    return wanted


def reviews(desk: Desk) -> list[ReviewItem]:
    """What a person has to decide, unless a person closed the Task that asked it."""
    return [
        ReviewItem(
            founder=verdict.founder,
            administrations=verdict.administrations,
            reasons=verdict.reasons,
            due=verdict.window.opens if verdict.window else None,
        )
        for verdict in desk.judged.verdicts
        if verdict.outcome is Outcome.REVIEW and not _is_decided(verdict, desk)
    ]


def plans(
    desk: Desk, wanted: Sequence[DesiredAppointment], before: Sequence[DesiredPlan], now: datetime
) -> list[DesiredPlan]:
    """One plan for each course that has something to plan, and the end of those that have nothing left.

    ``before``: the plans of courses that have not begun; a plan after a gap replaces the one before the gap.
    """
    by_course: dict[UUID, list[DoseVerdict]] = {}
    for verdict in desk.judged.verdicts:
        if verdict.course_id is not None:
            by_course.setdefault(verdict.course_id, []).append(verdict)
    kept = {one.key.subject: one for one in wanted if not one.cancelled}
    found = [
        plan for course, verdicts in by_course.items() if (plan := _plan(course, verdicts, kept, desk, now)) is not None
    ]
    found = [_after_gap(plan, found, desk) for plan in found]
    planned = {plan.key.subject for plan in (*found, *before)}
    for row in desk.standings.still_open(ArtifactKind.CARE_PLAN):
        if row.key.subject not in planned and (ended := _ended(row, by_course, desk)) is not None:
            found.append(ended)
    return [*found, *before]


def quiet_from(verdicts: Sequence[DoseVerdict], snapshot: Snapshot) -> datetime | None:
    """When a course counts as over: its last dose and the protocol's gap."""
    ends = [(one.anchor or one.start, one) for one in verdicts if one.outcome is not Outcome.WITHDRAWN]
    known = [(end, one) for end, one in ends if end is not None]
    if not known:
        return None
    last, verdict = max(known, key=lambda pair: pair[0])
    return last + rules_at(snapshot, verdict.family, last).course_gap


def _appointment(verdict: DoseVerdict, desk: Desk) -> DesiredAppointment | None:
    """The Appointment of a verdict: proposed, or held because it is people's or nothing can be decided."""
    course = desk.course_of(verdict.session_id) if verdict.session_id is not None else None
    if verdict.session_id is None or course is None:
        return None
    row = desk.standings.latest(ArtifactKind.APPOINTMENT, verdict.session_id)
    there = row is not None and is_open(row)
    theirs = desk.standings.visit(verdict.session_id) is not None
    held = there and (verdict.session_id in desk.judged.held or (verdict.outcome is Outcome.PLANNED and theirs))
    if verdict.outcome is not Outcome.PLANNED and not held:
        return None
    key = desk.standings.key(ArtifactKind.APPOINTMENT, verdict.session_id)
    return DesiredAppointment(key=key, course=course, verdict=verdict, hold=held)


def _is_decided(verdict: DoseVerdict, desk: Desk) -> bool:
    return verdict.session_id is not None and desk.standings.is_tombstone(ArtifactKind.REVIEW_TASK, verdict.session_id)


def _plan(
    course: UUID,
    verdicts: Sequence[DoseVerdict],
    kept: Mapping[UUID, DesiredAppointment],
    desk: Desk,
    now: datetime,
) -> DesiredPlan | None:
    eligible = [verdict for verdict in verdicts if verdict.outcome in _PLANNED]
    if not eligible or desk.standings.is_tombstone(ArtifactKind.CARE_PLAN, course):
        return None
    there = desk.standings.is_open(ArtifactKind.CARE_PLAN, course)
    if not there and all(is_too_late(verdict) for verdict in eligible):
        return None
    named = [verdict for verdict in verdicts if verdict.outcome in _PLANNED or verdict.session_id in kept]
    ends, family, start = quiet_from(verdicts, desk.snapshot), eligible[0].family, eligible[0].start
    if family is None or start is None:
        raise ValueError("an eligible dose session has a family and a time")
    over = ends is not None and now >= ends
    row = desk.standings.latest(ArtifactKind.CARE_PLAN, course) if there else None
    active = desk.snapshot.accept_auto or (row is not None and row.was_active)
    status = PlanStatus.COMPLETED if over else PlanStatus.ACTIVE if active else PlanStatus.DRAFT
    return DesiredPlan(
        key=desk.standings.key(ArtifactKind.CARE_PLAN, course),
        family=family,
        status=status,
        verdicts=tuple(named),
        appointments=tuple(kept[one.session_id] for one in named if one.session_id and one.session_id in kept),
        phase=eligible[-1].phase or Phase.ACTIVE,
        period_start=start,
        period_end=ends if over else None,
        labels=labels_of(named, desk.snapshot),
        replaces=_replaced(course, desk),
        therapist_present=_therapist_present(eligible[-1], desk.snapshot),
        conditions=_conditions(named, desk.snapshot),
    )


def _conditions(verdicts: Sequence[DoseVerdict], snapshot: Snapshot) -> tuple[DoseKey, ...]:
    """The conditions that the doses name as their reasons."""
    return tuple(
        sorted({DoseKey(dose.key.source, one) for dose in doses_of(verdicts, snapshot) for one in dose.conditions})
    )


def _therapist_present(verdict: DoseVerdict, snapshot: Snapshot) -> bool | None:
    """Whether a psychotherapist took part in a dose, as far as marks, its performers or the clinic say."""
    codes, contexts = snapshot.codes, [dose.context for dose in doses_of([verdict], snapshot)]
    for mark in (mark for context in contexts for mark in context.marks):
        if (said := codes.accompanied.get((mark.system, mark.code))) is not None:
            return said
    therapists = set(codes.outbound.get("session-specialty", ()))
    present = any(therapists.intersection(context.specialties) for context in contexts)
    return True if present else snapshot.clinic.therapist_present


def _after_gap(plan: DesiredPlan, others: Sequence[DesiredPlan], desk: Desk) -> DesiredPlan:
    """The plan, said to replace the plan of the course of the same family before it, if there is one."""
    if plan.replaces is not None:
        return plan
    earlier = [one for one in others if one.family is plan.family and one.period_start < plan.period_start]
    if earlier:
        return replace(plan, replaces=max(earlier, key=lambda one: (one.period_start, one.key)).key)
    starts = {one.course_id: one.start for one in desk.judged.verdicts if one.start and one.family is plan.family}
    ended = [
        row.key
        for row in desk.snapshot.known.artifacts.values()
        if row.key.kind is ArtifactKind.CARE_PLAN
        and row.standing is Standing.REMOVED_BY_PERSON
        and row.reference is not None
        and row.ehr_status in _PLAN_OVER
        and row.key.subject in starts
        and starts[row.key.subject] < plan.period_start
    ]
    return replace(plan, replaces=max(ended, key=lambda key: (starts[key.subject], key))) if ended else plan


def _replaced(course: UUID, desk: Desk) -> ArtifactKey | None:
    former = [one for one, into in desk.judged.merged.items() if into == course]
    rows = [row for row in desk.standings.still_open(ArtifactKind.CARE_PLAN) if row.key.subject in former]
    return rows[0].key if rows else None


def _ended(row: KnownArtifact, by_course: Mapping[UUID, Sequence[DoseVerdict]], desk: Desk) -> DesiredPlan | None:
    """The end of a plan that has no dose left: entered in error when it was never active, else revoked.

    None while one of its dose sessions is held, while the first dose of an ordered course is not decided, or when
    nothing is known of its doses any more.
    """
    subject = row.key.subject
    former = {key for key, member in desk.snapshot.known.memberships.items() if member.course_id == subject}
    doses = [dose for dose in desk.snapshot.doses if dose.key in former]
    left = list(by_course.get(subject, ()))
    places = [desk.judged.memberships.get(one.order.key) for one in desk.judged.orders]
    ordered = any(place is not None and place.course_id == subject for place in places)
    if ordered and any(verdict.outcome in _UNDECIDED for verdict in left):
        return None
    if not doses or any(verdict.session_id in desk.judged.held for verdict in left):
        return None
    family = next((dose.drug.family for dose in doses if dose.drug.family), min(desk.snapshot.protocols))
    return DesiredPlan(
        key=row.key,
        family=Family(family),
        status=PlanStatus.REVOKED if row.was_active else PlanStatus.ENTERED_IN_ERROR,
        verdicts=tuple(left),
        appointments=(),
        phase=Phase.ACTIVE,
        period_start=min(dose.effective.start or dose.heard_at for dose in doses),
    )
