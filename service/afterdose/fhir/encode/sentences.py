"""The sentences that staff read on one dose, one visit, one activity: the same wherever they stand.

Pure. Times are absolute and in the clinic's wall-clock time, so that a text changes only when facts change. Nothing is
escaped here, and no sentence names the drug.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from afterdose.core.care import (
    ArtifactKind,
    DesiredActivity,
    DesiredPlan,
    DesiredPreparation,
    DesiredTask,
    DoseVerdict,
    PlanStatus,
    Repetition,
    Session,
    SessionClass,
    SessionState,
    Window,
)
from afterdose.core.clinic import Clinic
from afterdose.core.dose import Family, PlannedKind
from afterdose.core.protocol import Protocol
from afterdose.core.reasons import Outcome, Reason
from afterdose.fhir.encode.words import PlanWords
from afterdose.fhir.times import format_local

_TO_THE_CLOSE = frozenset({SessionClass.IN_WINDOW, SessionClass.EDGE, SessionClass.EARLY_EDGE})
"""Where a session may start as long as the window is open, though it end later."""
_OF_STAFF = frozenset({Reason.TAKEN_OVER, Reason.CANCELLED_BY_PERSON, Reason.VISIT_MISSED})
"""What people have decided, or what has come of what they booked."""
_CHECKS = frozenset({ArtifactKind.OUTCOME_CHECK, ArtifactKind.LATER_OUTCOME_CHECK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What a text needs besides the plan itself. ``name_drug``: the site lets the narrative name the drug."""

    clinic: Clinic
    protocols: Mapping[Family, Protocol]
    plan: PlanWords
    reason_text: Callable[[Reason], str]
    software: str
    name_drug: bool = True


def _span(start: datetime, end: datetime, zone: ZoneInfo, joined_by: str = "to") -> str:
    return f"{format_local(start, zone)} {joined_by} {format_local(end, zone)}"


def is_past(verdict: DoseVerdict, plan: DesiredPlan) -> bool:
    """Whether a proposal that nobody took up had to be over before something that has happened: a later dose, of this
    course or another, or the end of the course."""
    session, window = verdict.session, verdict.window
    if verdict.outcome is not Outcome.PLANNED or session is None or session.start is None:
        return False
    if session.period_end is None or Reason.TAKEN_OVER in session.reasons:
        return False
    if plan.status is PlanStatus.COMPLETED:
        return True
    given = [one.start for one in plan.verdicts if one.start is not None]
    if window is not None and window.cut_by is not None and window.cut_by.kind is PlannedKind.GIVEN:
        given.append(window.cut_by.at)
    return any(session.period_end <= start for start in given)


def visit_line(verdict: DoseVerdict, plan: DesiredPlan, words: Wording) -> str:
    """One sentence on the session of a dose among the others of its plan."""
    session = verdict.session
    if session is not None and session.start is not None and is_past(verdict, plan):
        return f"Was proposed for {format_local(session.start, words.clinic.zone)}{_label(session)}."
    return session_line(verdict, words)


def session_line(verdict: DoseVerdict, words: Wording) -> str:
    """One sentence on the session of a dose: what to book and by when, or why there is none."""
    session, zone = verdict.session, words.clinic.zone
    if session is None:
        return "; ".join(words.reason_text(reason) for reason in verdict.reasons) or "No session."
    if session.state is SessionState.WAITING:
        return "Waiting: the dose is not complete yet."
    if not _OF_STAFF.isdisjoint(session.reasons):
        return _of_staff(verdict, session, words)
    if session.state is SessionState.UNMET or session.period_start is None or session.period_end is None:
        return "No session possible: " + _reasons(session, words)
    if verdict.window is not None and verdict.window.cut_by is None and session.session_class in _TO_THE_CLOSE:
        line = f"Book a session that starts between {_span(session.period_start, session.period_end, zone, 'and')}"
    else:  # what limits it limits its end
        begins, over = (format_local(one, zone) for one in (session.period_start, session.period_end))
        line = f"Book a session from {begins} on that is over by {over}"
    if session.start is not None:
        line += f"; suggested {format_local(session.start, zone)}"
    return line + _label(session) + "." + _lateness(verdict)


def _of_staff(verdict: DoseVerdict, session: Session, words: Wording) -> str:
    """One sentence on a session that people have booked, changed, declined or lost."""
    zone = words.clinic.zone
    if Reason.TAKEN_OVER not in session.reasons:
        line = f"No session: {_reasons(session, words)}."
        if Reason.VISIT_MISSED in session.reasons and verdict.window is not None:
            line += f" The window closes {format_local(verdict.window.closes, zone)}."
        return line
    known = f", {format_local(session.start, zone)} as far as is known" if session.start is not None else ""
    return f"The session is in the hands of staff{known}{_label(session)}."


def warning_line(one: DesiredTask, words: Wording) -> str:
    """One sentence on what a coordinator is asked beside the doses that were given."""
    zone = words.clinic.zone
    if one.planned is not None:
        about = f"Dose planned for {format_local(one.planned.at, zone)}: "
    else:
        until = one.due - timedelta(minutes=1) if one.due is not None else None  # the last day, not the next midnight
        about = f"Treatment week until {format_local(until, zone)}: " if until is not None else ""
    return about + "; ".join(words.reason_text(reason) for reason in one.reasons) + "."


def preparation_line(one: DesiredPreparation, words: Wording) -> str:
    """One sentence on a preparation visit: what to book and by when."""
    session, zone = one.session, words.clinic.zone
    if session.period_start is None or session.period_end is None or session.start is None:
        return "No preparation session possible: " + _reasons(session, words)
    when = _span(session.period_start, session.period_end, zone, "and")
    return (
        f"Book preparation session {one.number} between {when}, before the first treatment; "
        f"suggested {format_local(session.start, zone)}."
    )


def _lateness(verdict: DoseVerdict) -> str:
    """How much of the window had gone when the dose was heard of; nothing where that is less than an hour."""
    hours = verdict.window_gone // timedelta(hours=1) if verdict.window_gone is not None else 0
    return f" {hours} h of the window have gone." if hours else ""


def _reasons(session: Session, words: Wording) -> str:
    return "; ".join(words.reason_text(reason) for reason in session.reasons)


def _label(session: Session) -> str:
    labels = []
    if session.session_class is SessionClass.BEFORE_WINDOW:
        labels.append("before the window opens")
    if session.session_class is SessionClass.POST_WINDOW:
        labels.append("after the window: may still help as psychotherapy")
    if session.session_class is SessionClass.EDGE:
        labels.append("ends after the window closes")
    if session.session_class is SessionClass.EARLY_EDGE:
        labels.append("the day after the dose, shortly before the window opens")
    if Reason.TELEHEALTH in session.reasons:
        labels.append("by telehealth")
    elif Reason.EXTENDED_HOURS in session.reasons:
        labels.append("in extended hours")
    if Reason.PRE_DOSE in session.reasons:
        labels.append("on the day of the next dose, before it")
    return f" ({'; '.join(labels)})" if labels else ""


def window_line(window: Window, zone: ZoneInfo) -> str:
    """Opening and closing of a window, and what cut it or left nothing of it."""
    line = _span(window.opens, window.closes, zone)
    if window.cut_by is None:
        return line
    kind = "next dose" if window.cut_by.kind is PlannedKind.GIVEN else "planned next dose"
    cut = f"the {kind} on {format_local(window.cut_by.at, zone)}"
    return f"{line} (cut by {cut})" if window.opens < window.closes else f"None: {cut} leaves no time."


def activity_title(one: DesiredActivity, words: Wording) -> str:
    """What an activity is called; of a check also which it is, by the days since the dose that it follows."""
    title = words.plan.activities[one.key.kind].title
    if one.key.kind not in _CHECKS or one.dose is None or one.dose.anchor is None or one.due is None:
        return title
    return f"{title}, day {(one.due - one.dose.anchor) // timedelta(days=1)}"


def activity_line(one: DesiredActivity, words: Wording) -> str:
    """What belongs to a plan besides its sessions: what it is, how often, from when, until when."""
    title, zone = activity_title(one, words), words.clinic.zone
    said = [] if one.repeats is None else [_how_often(one.repeats)]
    if one.starts is not None and one.due is not None:
        said.append(f"from {_span(one.starts, one.due, zone)}")
    elif one.due is not None:
        said.append(f"by {format_local(one.due, zone)}")
    elif one.starts is not None:
        said.append(f"from {format_local(one.starts, zone)}")
    if one.due_assumed:
        said.append("the date is assumed, because no next treatment is known")
    if one.hold:
        said.append("as it stands in the record")
    return f"{title}: {', '.join(said)}." if said else f"{title}."


def _how_often(how: Repetition) -> str:
    days = how.every // timedelta(days=1)
    said = "once a day" if days == 1 else f"every {days} days"
    if how.at_bedtime:
        said += " at bedtime"
    if how.count is not None:
        said += f", {how.count} times"
    if how.length is not None:
        least, most = (one // timedelta(minutes=1) for one in how.length)
        said += f", {least} to {most} minutes"
    return said
