"""What a coordinator is told although no single dose asks for it.

A planned dose after which no session fits, or before which no preparation fits; a treatment week of the active
phase without a session; a dose whose record was begun and never ended. Only the last one
comes with time alone: nobody sends anything when a record is forgotten.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from afterdose.core.care import (
    ArtifactKey,
    ArtifactKind,
    DesiredTask,
    DoseVerdict,
    Phase,
    Session,
    SessionClass,
    SessionState,
    local_day,
)
from afterdose.core.cases import rules_at
from afterdose.core.desk import Desk, labels_of
from afterdose.core.dose import Family, PlannedDose, PlannedKind
from afterdose.core.identity import planned_dose_id
from afterdose.core.orders import Upcoming
from afterdose.core.preparation import first_dose, has_no_time
from afterdose.core.reasons import Outcome, Reason
from afterdose.core.slots import Occasion, propose
from afterdose.core.window import NextDose, next_after, window_after

_ALARMS = (ArtifactKind.WARNING_TASK, ArtifactKind.GUARANTEE_TASK, ArtifactKind.WAITING_TASK)
_PLANNED = frozenset({Outcome.PLANNED, Outcome.UNMET})
_NOBODYS_CHOICE = frozenset({Reason.WINDOW_CUT, Reason.NO_CLINIC_HOURS})
_WITHOUT = frozenset({SessionClass.BEFORE_WINDOW, SessionClass.POST_WINDOW, None})
_A_WEEK = timedelta(weeks=1)


def alarms(desk: Desk, now: datetime) -> list[DesiredTask]:
    """The Tasks to have, and those whose cause is gone."""
    if desk.snapshot.patient is None:
        return []
    living = desk.snapshot.person.died_by is None
    wanted = [*_warnings(desk), *_weeks(desk), *_stuck(desk, now)] if living else []
    wanted = [one for one in wanted if not desk.standings.is_tombstone(one.key.kind, one.key.subject)]
    keys = {one.key for one in wanted}
    for row in desk.standings.still_open(*_ALARMS):
        if row.key in keys or row.key.subject in desk.judged.held:
            continue
        verdict = desk.verdict_of(row.key.subject)
        cause = Reason.DOSE_WITHOUT_WINDOW if verdict is None else verdict.reasons[0]
        wanted.append(DesiredTask(key=row.key, verdict=verdict, reasons=(cause,), due=None, cancelled=True))
    return wanted


def look_for_stuck(verdict: DoseVerdict, desk: Desk) -> datetime | None:
    """When a dose that is not over has been so for too long."""
    if verdict.outcome is not Outcome.WAITING or verdict.heard_at is None or verdict.session_id is None:
        return None
    began = verdict.start or verdict.heard_at
    return max(began, verdict.heard_at) + rules_at(desk.snapshot, verdict.family, began).stuck_after


def _stuck(desk: Desk, now: datetime) -> Iterator[DesiredTask]:
    for verdict in desk.judged.verdicts:
        since = look_for_stuck(verdict, desk)
        if since is not None and now >= since and verdict.session_id is not None:
            yield DesiredTask(
                key=desk.standings.key(ArtifactKind.WAITING_TASK, verdict.session_id),
                verdict=verdict,
                reasons=(Reason.STUCK, *verdict.reasons),
                due=None,
                labels=labels_of([verdict], desk.snapshot),
            )


def _warnings(desk: Desk) -> Iterator[DesiredTask]:
    """One for each planned dose that leaves no session in its window, or no preparation before it."""
    unprepared = {first_dose(course, desk) for course in desk.judged.announced if has_no_time(course, desk)}
    for one, planned in _to_come(desk):
        session = prospect(planned, one.family, desk)
        reasons: list[Reason] = []
        if session.session_class in _WITHOUT:
            reasons += [Reason.DOSE_WITHOUT_WINDOW, *session.reasons]
        if planned.at in unprepared:
            reasons.append(Reason.NO_TIME_TO_PREPARE)
        if reasons:
            yield DesiredTask(
                key=desk.standings.key(
                    ArtifactKind.WARNING_TASK, planned_dose_id(one.order.key, _number(planned, desk))
                ),
                verdict=None,
                planned=planned,
                reasons=tuple(dict.fromkeys(reasons)),
                due=planned.at,
                course=_plan_of(one, desk),
                labels=one.order.labels,
            )


def prospect(planned: PlannedDose, family: Family, desk: Desk) -> Session:
    """The session that would be proposed after a planned dose, were it given as planned and heard of at once."""
    snapshot, clinic = desk.snapshot, desk.snapshot.clinic
    anchor = planned.at + (planned.duration or timedelta())
    rules = rules_at(snapshot, family, anchor)
    coming = next_after(anchor, desk.judged.doses)
    occasion = Occasion(
        anchor=anchor,
        heard_at=anchor,
        window=window_after(anchor, rules, next_dose=coming, buffer=clinic.next_dose_buffer),
        next_dose=coming,
        dosing_days=frozenset(local_day(one.at, clinic) for one in desk.judged.doses),
    )
    return propose(occasion, rules, clinic)


def _to_come(desk: Desk) -> Iterator[tuple[Upcoming, PlannedDose]]:
    """Planned doses of psychiatric orders that were not given and that no later dose has overtaken, each once."""
    given: dict[Family | None, datetime] = {}
    for verdict in desk.judged.verdicts:
        if verdict.outcome in _PLANNED and verdict.start is not None:
            given[verdict.family] = max(given.get(verdict.family, verdict.start), verdict.start)
    seen = set()
    for one in desk.judged.orders:
        for planned in one.doses:
            standing = NextDose(planned.at, PlannedKind.PLANNED) in desk.judged.doses
            overtaken = one.family in given and planned.at <= given[one.family]
            if standing and not overtaken and (one.family, planned.at) not in seen:
                seen.add((one.family, planned.at))
                yield one, planned


def _weeks(desk: Desk) -> Iterator[DesiredTask]:
    """One for each treatment week of the active phase in which a dose stays without a session and none is held.

    Weeks count in the clinic's days from the first dose of the course. A dose that is still to come in the week
    and will have a session counts.
    """
    for course in sorted({one.course_id for one in desk.judged.verdicts if one.course_id is not None}):
        doses = [one for one in desk.judged.verdicts if one.course_id == course and one.outcome in _PLANNED]
        begun = [one.start for one in doses if one.start is not None]
        if not begun:
            continue
        first = local_day(min(begun), desk.snapshot.clinic)
        weeks: dict[int, list[DoseVerdict]] = {}
        for verdict in doses:
            if verdict.start is not None and verdict.phase is Phase.ACTIVE:
                day = local_day(verdict.start, desk.snapshot.clinic)
                weeks.setdefault((day - first) // _A_WEEK, []).append(verdict)
        held = [(day - first) // _A_WEEK for day in _session_days(course, doses, desk)]
        for week, members in sorted(weeks.items()):
            unmet = [one for one in members if _is_left_out(one)]
            least = rules_at(desk.snapshot, members[0].family, members[0].start or begun[0]).practices.sessions_per_week
            subject = members[0].session_id
            if unmet and held.count(week) < least and subject is not None:
                ends = datetime.combine(first + (week + 1) * _A_WEEK, time(), desk.snapshot.clinic.zone)
                yield DesiredTask(
                    key=desk.standings.key(ArtifactKind.GUARANTEE_TASK, subject),
                    verdict=unmet[-1],
                    reasons=(Reason.WEEK_WITHOUT_SESSION, *(unmet[-1].session.reasons if unmet[-1].session else ())),
                    due=ends.astimezone(UTC),
                    course=desk.course_of(subject),
                    labels=labels_of(members, desk.snapshot),
                )


def _is_left_out(verdict: DoseVerdict) -> bool:
    """Whether a dose has no session because none fits; what people declined or missed is asked about elsewhere."""
    session = verdict.session
    if session is None or session.state is not SessionState.UNMET:
        return False
    return not _NOBODYS_CHOICE.isdisjoint(session.reasons)


def _session_days(course: UUID, doses: Sequence[DoseVerdict], desk: Desk) -> Iterator[date]:
    """The days on which sessions of a course are, or will be, after doses given and to come."""
    clinic = desk.snapshot.clinic
    for verdict in doses:
        if verdict.session is not None and verdict.session.start is not None:
            yield local_day(verdict.session.start, clinic)
    for one, planned in _to_come(desk):
        session = prospect(planned, one.family, desk)
        member = desk.judged.memberships.get(one.order.key)
        if member is not None and member.course_id == course and session.start is not None:
            yield local_day(session.start, clinic)


def _number(planned: PlannedDose, desk: Desk) -> int:
    """The place of a planned dose among those that its order ever announced."""
    times = sorted(one.at for one in desk.snapshot.planned if one.order == planned.order)
    return times.index(planned.at)


def _plan_of(one: Upcoming, desk: Desk) -> ArtifactKey | None:
    member = desk.judged.memberships.get(one.order.key)
    return desk.plan_of(member.course_id) if member is not None else None
