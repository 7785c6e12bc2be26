"""What should be in the EHR because of the verdicts: appointments, tasks, plans, and what goes.

Everything here follows from facts and from what people did in the EHR; the one thing that time alone
changes is that a course which has gone quiet is completed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from afterdose.core.care import (
    ArtifactKey,
    ArtifactKind,
    DesiredAppointment,
    DesiredPlan,
    DesiredTask,
    DoseVerdict,
    KnownArtifact,
    Phase,
    PlanStatus,
    ReviewItem,
    Snapshot,
)
from afterdose.core.cases import rules_at
from afterdose.core.dose import Coding, Dose, DoseKey, Family
from afterdose.core.looks import is_too_late
from afterdose.core.reasons import Outcome, Reason
from afterdose.core.slots import fits
from afterdose.core.standing import Standings, is_behind, is_theirs
from afterdose.core.verdicts import Judged

_TASKS = (ArtifactKind.REVIEW_TASK, ArtifactKind.UNMET_TASK, ArtifactKind.BOOKED_TASK)
_PLANNED = frozenset({Outcome.PLANNED, Outcome.UNMET})


@dataclass(frozen=True, slots=True)
class Desk:
    """The verdicts of one patient with what is needed to turn them into artifacts."""

    snapshot: Snapshot
    judged: Judged
    standings: Standings

    def verdict_of(self, subject: UUID) -> DoseVerdict | None:
        """The verdict that says what became of a dose session, also when its members went elsewhere."""
        wanted = self.judged.merged.get(subject, subject)
        for verdict in self.judged.verdicts:
            if verdict.session_id == wanted:
                return verdict
        former = {key for key, member in self.snapshot.known.memberships.items() if member.session_id == subject}
        return next((one for one in self.judged.verdicts if former.intersection(one.administrations)), None)

    def course_of(self, subject: UUID) -> ArtifactKey | None:
        """The key of the plan that a dose session belongs to, or belonged to when it was last seen."""
        wanted = self.judged.merged.get(subject, subject)
        found = [verdict.course_id for verdict in self.judged.verdicts if verdict.session_id == wanted]
        found += [one.course_id for one in self.snapshot.known.memberships.values() if one.session_id == subject]
        course = next((one for one in found if one is not None), None)
        return None if course is None else self.standings.key(ArtifactKind.CARE_PLAN, course)


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
                cancel_reason=_why(verdict, row, desk),
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


def tasks(desk: Desk) -> list[DesiredTask]:
    """The Tasks to have, and those whose cause is gone."""
    wanted = [task for verdict in desk.judged.verdicts for task in _tasks(verdict, desk)]
    wanted += _stranded_visits(desk)
    wanted = [
        replace(task, labels=_labels([task.verdict], desk.snapshot))
        for task in wanted
        if not desk.standings.is_tombstone(task.key.kind, task.key.subject)
    ]
    keys = {task.key for task in wanted}
    for row in desk.standings.still_open(*_TASKS):
        verdict = desk.verdict_of(row.key.subject)
        if row.key in keys or row.key.subject in desk.judged.held or verdict is None:
            continue
        labels = _labels([verdict], desk.snapshot)
        wanted.append(
            DesiredTask(
                key=row.key, verdict=verdict, reasons=verdict.reasons, due=None, cancelled=True, labels=labels
            )
        )
    return wanted


def plans(desk: Desk, wanted: Sequence[DesiredAppointment], now: datetime) -> list[DesiredPlan]:
    """One plan for each course that has something to plan, and the end of those that have nothing left."""
    by_course: dict[UUID, list[DoseVerdict]] = {}
    for verdict in desk.judged.verdicts:
        if verdict.course_id is not None:
            by_course.setdefault(verdict.course_id, []).append(verdict)
    kept = {one.key.subject: one for one in wanted if not one.cancelled}
    found = [
        plan for course, verdicts in by_course.items() if (plan := _plan(course, verdicts, kept, desk, now)) is not None
    ]
    planned = {plan.key.subject for plan in found}
    for row in desk.standings.still_open(ArtifactKind.CARE_PLAN):
        if row.key.subject not in planned and (ended := _ended(row, by_course, desk)) is not None:
            found.append(ended)
    return found


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
    there = row is not None and desk.standings.is_open(ArtifactKind.APPOINTMENT, verdict.session_id)
    theirs = desk.standings.visit(verdict.session_id) is not None
    held = there and (verdict.session_id in desk.judged.held or (verdict.outcome is Outcome.PLANNED and theirs))
    if verdict.outcome is not Outcome.PLANNED and not held:
        return None
    key = desk.standings.key(ArtifactKind.APPOINTMENT, verdict.session_id)
    return DesiredAppointment(key=key, course=course, verdict=verdict, hold=held)


def _tasks(verdict: DoseVerdict, desk: Desk) -> list[DesiredTask]:
    if verdict.session_id is None or desk.snapshot.patient is None:
        return []
    subject, found = verdict.session_id, []
    if verdict.outcome is Outcome.REVIEW:
        key = desk.standings.key(ArtifactKind.REVIEW_TASK, subject)
        due = verdict.window.opens if verdict.window else None
        found.append(DesiredTask(key=key, verdict=verdict, reasons=verdict.reasons, due=due))
    if verdict.outcome is Outcome.UNMET and verdict.session is not None and _needs_a_person(verdict, desk):
        found.append(
            DesiredTask(
                key=desk.standings.key(ArtifactKind.UNMET_TASK, subject),
                verdict=verdict,
                reasons=verdict.session.reasons,
                due=_deadline(verdict, desk.snapshot),
                course=desk.course_of(subject),
            )
        )
    visit = desk.standings.visit(subject)
    if verdict.outcome is Outcome.PLANNED and visit is not None and visit.start is not None and not is_behind(visit):
        rules = rules_at(desk.snapshot, verdict.family, verdict.anchor or visit.start)
        if verdict.anchor is not None and not fits(visit.start, verdict.anchor, rules):
            found.append(_booked_task(visit, verdict, desk))
    return found


def _needs_a_person(verdict: DoseVerdict, desk: Desk) -> bool:
    """Whether an unmet session is somebody's work: not when it came too late, nor when a proposal was declined."""
    if is_too_late(verdict) or verdict.session is None or verdict.session_id is None:
        return False
    declined = verdict.session.reasons == (Reason.CANCELLED_BY_PERSON,)
    return not declined or desk.standings.lost_visit(verdict.session_id) is not None


def _deadline(verdict: DoseVerdict, snapshot: Snapshot) -> datetime | None:
    """Until when a coordinator can still do something: the next dose less its buffer, else the last late session."""
    if verdict.anchor is None or verdict.window is None:
        return None
    window = verdict.window
    if window.cut_by is not None and window.opens < window.closes:
        return window.closes
    return verdict.anchor + rules_at(snapshot, verdict.family, verdict.anchor).post_window_until


def _stranded_visits(desk: Desk) -> list[DesiredTask]:
    """A Task for each visit that is people's and whose dose no longer asks for it; it is never cancelled."""
    found = []
    for row in desk.standings.still_open(ArtifactKind.APPOINTMENT):
        verdict = desk.verdict_of(row.key.subject)
        if verdict is None or not is_theirs(row) or is_behind(row) or row.key.subject in desk.judged.held:
            continue
        if verdict.session_id != row.key.subject or verdict.outcome not in _PLANNED:
            found.append(_booked_task(row, verdict, desk))
    return found


def _booked_task(row: KnownArtifact, verdict: DoseVerdict, desk: Desk) -> DesiredTask:
    cause = _why(verdict, row, desk)
    reasons = (Reason.BOOKED_VISIT_AFFECTED,) if cause is None else (Reason.BOOKED_VISIT_AFFECTED, cause)
    return DesiredTask(
        key=desk.standings.key(ArtifactKind.BOOKED_TASK, row.key.subject),
        verdict=verdict,
        reasons=reasons,
        due=row.start,
        course=desk.course_of(row.key.subject),
        focus=row.key,
    )


def _why(verdict: DoseVerdict, row: KnownArtifact, desk: Desk) -> Reason | None:
    """Why an Appointment is no longer wanted."""
    if row.key.subject in desk.judged.merged:
        return Reason.SESSIONS_MERGED
    if verdict.outcome is Outcome.UNMET and verdict.session is not None:
        return next(iter(verdict.session.reasons), None)
    if verdict.outcome is Outcome.PLANNED:
        return None
    return next(iter(verdict.reasons), None)


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
    named = [verdict for verdict in verdicts if verdict in eligible or verdict.session_id in kept]
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
        labels=_labels(named, desk.snapshot),
        replaces=_replaced(course, desk),
        therapist_present=_therapist_present(eligible[-1], desk.snapshot),
        conditions=_conditions(named, desk.snapshot),
    )


def _labels(verdicts: Sequence[DoseVerdict], snapshot: Snapshot) -> tuple[Coding, ...]:
    """The security labels of the doses, each once: copied up, never down."""
    labels = {label for dose in _doses(verdicts, snapshot) for label in dose.labels}
    return tuple(sorted(labels, key=lambda label: (label.system, label.code)))


def _conditions(verdicts: Sequence[DoseVerdict], snapshot: Snapshot) -> tuple[DoseKey, ...]:
    """The conditions that the doses name as their reasons."""
    return tuple(
        sorted({DoseKey(dose.key.source, one) for dose in _doses(verdicts, snapshot) for one in dose.conditions})
    )


def _therapist_present(verdict: DoseVerdict, snapshot: Snapshot) -> bool | None:
    """Whether a psychotherapist took part in a dose, as far as its performers say."""
    therapists = set(snapshot.codes.outbound.get("session-specialty", ()))
    present = any(therapists.intersection(dose.context.specialties) for dose in _doses([verdict], snapshot))
    return True if present else snapshot.clinic.therapist_present


def _doses(verdicts: Sequence[DoseVerdict], snapshot: Snapshot) -> list[Dose]:
    keys = {key for verdict in verdicts for key in verdict.administrations}
    return [dose for dose in snapshot.doses if dose.key in keys]


def _replaced(course: UUID, desk: Desk) -> ArtifactKey | None:
    former = [one for one, into in desk.judged.merged.items() if into == course]
    rows = [row for row in desk.standings.still_open(ArtifactKind.CARE_PLAN) if row.key.subject in former]
    return rows[0].key if rows else None


def _ended(row: KnownArtifact, by_course: Mapping[UUID, Sequence[DoseVerdict]], desk: Desk) -> DesiredPlan | None:
    """The end of a plan that has no dose left: entered in error when it was never active, else revoked.

    None while one of its dose sessions is held, or when nothing is known of its doses any more.
    """
    subject = row.key.subject
    former = {key for key, member in desk.snapshot.known.memberships.items() if member.course_id == subject}
    doses = [dose for dose in desk.snapshot.doses if dose.key in former]
    left = list(by_course.get(subject, ()))
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
