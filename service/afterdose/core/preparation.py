"""What comes before the first dose: a plan and preparation visits, as soon as the first dose is ordered.

One to three sessions before a course; the protocol says how many (decision 0011). They end before the
first planned dose less the clinic's buffer. Everything follows from the orders and from when we heard of them.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from uuid import UUID

from afterdose.core.care import (
    ArtifactKind,
    DesiredPlan,
    DesiredPreparation,
    Phase,
    PlanStatus,
    Session,
    SessionState,
    local_day,
)
from afterdose.core.cases import Announced, rules_at
from afterdose.core.desk import Desk
from afterdose.core.dose import DoseKey, PlannedKind
from afterdose.core.grid import starts
from afterdose.core.identity import preparation_id
from afterdose.core.protocol import Rules
from afterdose.core.reasons import Reason
from afterdose.core.standing import is_theirs


def preparations(desk: Desk) -> list[DesiredPreparation]:
    """The preparation visits to have, to hold and to cancel."""
    wanted = [one for course in desk.judged.announced for one in _of_course(course, desk)]
    keys = {one.key for one in wanted}
    for course in sorted({one.course_id for one in desk.snapshot.known.memberships.values()}):
        for number, subject in _subjects(course, desk):
            row = desk.standings.latest(ArtifactKind.APPOINTMENT, subject)
            if row is None or row.key in keys or is_theirs(row):
                continue
            if desk.standings.is_open(ArtifactKind.APPOINTMENT, subject):
                wanted.append(
                    DesiredPreparation(
                        key=row.key,
                        course=desk.standings.key(ArtifactKind.CARE_PLAN, course),
                        number=number,
                        session=Session(state=SessionState.UNMET),
                        orders=(),
                        cancelled=True,
                        cancel_reason=_why_not(course, desk),
                    )
                )
    return wanted


def _why_not(course: UUID, desk: Desk) -> Reason:
    """Why preparation is over, or is not to be."""
    if any(one.course_id == course and one.session_id for one in desk.judged.verdicts):
        return Reason.DOSE_GIVEN
    if desk.snapshot.person.died_by is not None:
        return Reason.PATIENT_DECEASED
    return Reason.DOSE_DROPPED if desk.standings.ended_plan(course) is None else Reason.COURSE_ENDED_BY_PERSON


def first_dose(course: Announced, desk: Desk) -> datetime | None:
    """When the first dose of a course is planned, None where no order says."""
    coming = {one.at for one in desk.judged.doses if one.kind is PlannedKind.PLANNED}
    return min((dose.at for one in course.orders for dose in one.doses if dose.at in coming), default=None)


def has_no_time(course: Announced, desk: Desk) -> bool:
    """Whether no preparation visit fits before the first dose."""
    return not _sessions(course, desk)


def announced_plans(desk: Desk, wanted: Sequence[DesiredPreparation], now: datetime) -> list[DesiredPlan]:
    """A plan in preparation for each course that is only announced, and the end of those whose orders have ended."""
    found = []
    for course in desk.judged.announced:
        if not desk.standings.is_tombstone(ArtifactKind.CARE_PLAN, course.course_id):
            found.append(_plan(course, desk, [one for one in wanted if one.course.subject == course.course_id], now))
    announced = {one.course_id for one in desk.judged.announced}
    dosed = {one.course_id for one in desk.judged.verdicts}
    for row in desk.standings.still_open(ArtifactKind.CARE_PLAN):
        ended = [one for one in desk.snapshot.orders if _course_of(one.key, desk) == row.key.subject]
        if ended and row.key.subject not in announced | dosed:
            families = [one.drug.family for one in ended if one.drug.family is not None]
            found.append(
                DesiredPlan(
                    key=row.key,
                    family=families[0] if families else min(desk.snapshot.protocols),
                    status=PlanStatus.REVOKED,
                    verdicts=(),
                    appointments=(),
                    phase=Phase.PREPARATION,
                    period_start=min(one.heard_at for one in ended),
                    orders=tuple(sorted(one.key for one in ended)),
                )
            )
    return found


def quiet_from(course: Announced, desk: Desk) -> datetime:
    """When a course that was announced and never begun counts as over."""
    last = max([one.moment for one in course.orders] + [dose.at for one in course.orders for dose in one.doses])
    return last + _rules(course, desk).course_gap


def _plan(course: Announced, desk: Desk, visits: Sequence[DesiredPreparation], now: datetime) -> DesiredPlan:
    there = desk.standings.is_open(ArtifactKind.CARE_PLAN, course.course_id)
    row = desk.standings.latest(ArtifactKind.CARE_PLAN, course.course_id) if there else None
    active = desk.snapshot.accept_auto or (row is not None and row.was_active)
    over = now >= quiet_from(course, desk)
    status = PlanStatus.REVOKED if over else PlanStatus.ACTIVE if active else PlanStatus.DRAFT
    labels = {label for one in course.orders for label in one.order.labels}
    return DesiredPlan(
        key=desk.standings.key(ArtifactKind.CARE_PLAN, course.course_id),
        family=course.orders[0].family,
        status=status,
        verdicts=(),
        appointments=(),
        phase=Phase.PREPARATION,
        period_start=min(one.order.authored or one.order.heard_at for one in course.orders),
        labels=tuple(sorted(labels, key=lambda label: (label.system, label.code))),
        orders=tuple(one.order.key for one in course.orders),
        preparations=tuple(one for one in visits if not one.cancelled),
        first_dose=first_dose(course, desk),
    )


def _of_course(course: Announced, desk: Desk) -> Iterable[DesiredPreparation]:
    if desk.standings.is_tombstone(ArtifactKind.CARE_PLAN, course.course_id):
        return
    plan = desk.standings.key(ArtifactKind.CARE_PLAN, course.course_id)
    orders = tuple(one.order.key for one in course.orders)
    for number, session in enumerate(_sessions(course, desk), start=1):
        subject = preparation_id(course.course_id, number)
        if not desk.standings.is_tombstone(ArtifactKind.APPOINTMENT, subject):
            yield DesiredPreparation(
                key=desk.standings.key(ArtifactKind.APPOINTMENT, subject),
                course=plan,
                number=number,
                session=session,
                orders=orders,
                hold=desk.standings.visit(subject) is not None,
            )


def _sessions(course: Announced, desk: Desk) -> list[Session]:
    """The first starts that can be arranged, each on another day, on a day without a dose where there is one."""
    rules, clinic = _rules(course, desk), desk.snapshot.clinic
    earliest = min(one.order.heard_at for one in course.orders) + rules.lead_time
    first = first_dose(course, desk)
    if first is None:
        ends_by = earliest + rules.preparation_until
    else:
        ends_by = first - clinic.next_dose_buffer
        earliest = max(earliest, first - rules.preparation_until)
    dosing_days = {local_day(one.at, clinic) for one in desk.judged.doses}
    by_day: dict[date, datetime] = {}
    for start in starts(clinic, earliest, ends_by):
        if start + clinic.session_length <= ends_by:
            by_day.setdefault(local_day(start, clinic), start)
    free = [start for day, start in by_day.items() if day not in dosing_days]
    rest = [start for day, start in by_day.items() if day in dosing_days]
    number = rules.practices.preparation_sessions[0]
    return [
        Session(
            state=SessionState.PROPOSED,
            start=start,
            end=start + clinic.session_length,
            period_start=earliest,
            period_end=ends_by,
        )
        for start in sorted((*free, *rest)[:number])
    ]


def _subjects(course: UUID, desk: Desk) -> list[tuple[int, UUID]]:
    """The preparation visits that a course can ever have had."""
    most = max(
        rules.practices.preparation_sessions[1]
        for protocol in desk.snapshot.protocols.values()
        for _, rules in protocol.dated
    )
    return [(number, preparation_id(course, number)) for number in range(1, most + 1)]


def _rules(course: Announced, desk: Desk) -> Rules:
    return rules_at(desk.snapshot, course.orders[0].family, course.orders[0].moment)


def _course_of(order: DoseKey, desk: Desk) -> UUID | None:
    member = desk.snapshot.known.memberships.get(order)
    return member.course_id if member is not None else None
