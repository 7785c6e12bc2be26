"""What a person is asked to do about a dose: decide, arrange another way, check a booked visit."""

from dataclasses import replace
from datetime import datetime

from afterdose.core.care import ArtifactKind, DesiredTask, DoseVerdict, KnownArtifact, Snapshot
from afterdose.core.cases import rules_at
from afterdose.core.desk import Desk, labels_of, why_not
from afterdose.core.looks import is_too_late
from afterdose.core.reasons import Outcome, Reason
from afterdose.core.slots import fits
from afterdose.core.standing import is_behind, is_theirs

_TASKS = (ArtifactKind.REVIEW_TASK, ArtifactKind.UNMET_TASK, ArtifactKind.BOOKED_TASK)
_PLANNED = frozenset({Outcome.PLANNED, Outcome.UNMET})
_NOBODYS_WORK = frozenset({Reason.WEEKLY_IS_ENOUGH, Reason.PATIENT_DECEASED})


def tasks(desk: Desk) -> list[DesiredTask]:
    """The Tasks to have, and those whose cause is gone."""
    wanted = [task for verdict in desk.judged.verdicts for task in _tasks(verdict, desk)]
    wanted += _stranded_visits(desk)
    wanted = [
        replace(task, labels=labels_of([task.verdict] if task.verdict else [], desk.snapshot))
        for task in wanted
        if not desk.standings.is_tombstone(task.key.kind, task.key.subject)
    ]
    keys = {task.key for task in wanted}
    for row in desk.standings.still_open(*_TASKS):
        verdict = desk.verdict_of(row.key.subject)
        if row.key in keys or row.key.subject in desk.judged.held or verdict is None:
            continue
        labels = labels_of([verdict], desk.snapshot)
        wanted.append(
            DesiredTask(key=row.key, verdict=verdict, reasons=verdict.reasons, due=None, cancelled=True, labels=labels)
        )
    return wanted


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
        if verdict.anchor is not None and not fits(visit.start, verdict.anchor, rules, desk.snapshot.clinic):
            found.append(_booked_task(visit, verdict, desk))
    return found


def _needs_a_person(verdict: DoseVerdict, desk: Desk) -> bool:
    """Whether an unmet session is somebody's work: not when it came too late, nor when a proposal was declined, nor
    when the dose was known to who ended the plan."""
    if is_too_late(verdict) or verdict.session is None:
        return False
    if not _NOBODYS_WORK.isdisjoint(verdict.session.reasons):
        return False
    if verdict.session.reasons == (Reason.COURSE_ENDED_BY_PERSON,) and verdict.course_id and verdict.heard_at:
        ended = desk.standings.ended_plan(verdict.course_id)
        return ended is None or ended.closed_at is None or ended.closed_at < verdict.heard_at
    return verdict.session.reasons != (Reason.CANCELLED_BY_PERSON,)


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
        if not is_theirs(row) or is_behind(row) or row.key.subject in desk.judged.held:
            continue
        if verdict is None:
            died_by = desk.snapshot.person.died_by
            if died_by is not None and row.start is not None and row.start > died_by:
                found.append(_booked_task(row, None, desk))
        elif verdict.session_id != row.key.subject or _asks_for_none(verdict):
            found.append(_booked_task(row, verdict, desk))
    return found


def _asks_for_none(verdict: DoseVerdict) -> bool:
    """Whether no session is to follow, so that a visit that stands has to be looked at."""
    session = verdict.session
    return verdict.outcome not in _PLANNED or (session is not None and Reason.PATIENT_DECEASED in session.reasons)


def _booked_task(row: KnownArtifact, verdict: DoseVerdict | None, desk: Desk) -> DesiredTask:
    cause = why_not(verdict, row, desk) if verdict is not None else Reason.PATIENT_DECEASED
    reasons = (Reason.BOOKED_VISIT_AFFECTED,) if cause is None else (Reason.BOOKED_VISIT_AFFECTED, cause)
    return DesiredTask(
        key=desk.standings.key(ArtifactKind.BOOKED_TASK, row.key.subject),
        verdict=verdict,
        reasons=reasons,
        due=row.start,
        course=desk.course_of(row.key.subject),
        focus=row.key,
    )
