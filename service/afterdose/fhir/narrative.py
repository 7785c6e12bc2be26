"""What a coordinator reads: the narrative of a course plan, and the short staff-facing lines.

Pure. Times are absolute and in the clinic's wall-clock time, so that a text changes only when
facts change. Everything is escaped; the markup stays inside FHIR's narrative allow-list
(http://hl7.org/fhir/R4/narrative.html#xhtml).
"""

import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from afterdose.fhir.times import format_local
from afterdose.fhir.words import PHASES, Passage, PlanWords

_TO_THE_CLOSE = frozenset({SessionClass.IN_WINDOW, SessionClass.EDGE, SessionClass.EARLY_EDGE})
"""Where a session may start as long as the window is open, though it end later."""
_TO_BOOK = "to book"
_HEAD = (
    "<thead><tr><th>Dose</th><th>Ended</th><th>Window for the session</th><th>Session</th><th>State</th></tr></thead>"
)
_OF_STAFF = frozenset({Reason.TAKEN_OVER, Reason.CANCELLED_BY_PERSON, Reason.VISIT_MISSED})
"""What people have decided, or what has come of what they booked."""
_CHECKS = frozenset({ArtifactKind.OUTCOME_CHECK, ArtifactKind.LATER_OUTCOME_CHECK})


_MARKUP = re.compile("[&<>\"']")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What a text needs besides the plan itself. ``name_drug``: the site lets the narrative name the drug."""

    clinic: Clinic
    protocols: Mapping[Family, Protocol]
    plan: PlanWords
    reason_text: Callable[[Reason], str]
    software: str
    name_drug: bool = True


def _escaped(text: str) -> str:
    return html.escape(text) if _MARKUP.search(text) else text


def course_title(plan: DesiredPlan, clinic: Clinic) -> str:
    """A title that names the course and neither drug nor diagnosis."""
    day = plan.period_start.astimezone(clinic.zone)
    return f"Integration care plan, course from {day.day} {day:%b %Y}"


def _span(start: datetime, end: datetime, zone: ZoneInfo, joined_by: str = "to") -> str:
    return f"{format_local(start, zone)} {joined_by} {format_local(end, zone)}"


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
        about = f"Treatment week until {format_local(one.due, zone)}: " if one.due is not None else ""
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
    """Opening and closing of a window, and what cut it."""
    line = _span(window.opens, window.closes, zone)
    if window.cut_by is not None:
        kind = "next dose" if window.cut_by.kind is PlannedKind.GIVEN else "planned next dose"
        line += f" (cut by the {kind} on {format_local(window.cut_by.at, zone)})"
    return line


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


def _state(verdict: DoseVerdict) -> str:
    if verdict.session is not None and Reason.TAKEN_OVER in verdict.session.reasons:
        return "with staff"
    if verdict.outcome is Outcome.PLANNED:
        return _TO_BOOK
    return str(verdict.outcome).replace("-", " ")


def _next_step(plan: DesiredPlan, words: Wording) -> str:
    if plan.status is PlanStatus.ENTERED_IN_ERROR:
        return "This plan was made for a dose that was recorded in error. Nothing is to be done."
    if plan.ended_because is not None:
        return f"This plan no longer applies: {words.reason_text(plan.ended_because)}. Nothing is to be done."
    if plan.status is PlanStatus.REVOKED:
        return "This plan no longer applies: every dose behind it was withdrawn."
    if plan.status is PlanStatus.COMPLETED:
        return "This course is over: no further dose was heard of."
    for number, verdict in reversed(list(enumerate(plan.verdicts, start=1))):
        if verdict.session is not None:
            return f"Next, dose {number}: {session_line(verdict, words)}"
    for one in plan.preparations:
        return preparation_line(one, words)
    return "No session is proposed at present."


def plan_narrative(plan: DesiredPlan, words: Wording) -> str:
    """The whole ``text.div`` of a course plan: what is next on top, then the dose table, what to do, and why."""
    zone = words.clinic.zone
    protocol = words.protocols[plan.family]
    latest = max((verdict.start for verdict in plan.verdicts if verdict.start is not None), default=None)
    rows = "".join(_row(number, verdict, latest, words) for number, verdict in enumerate(plan.verdicts, start=1))
    warnings = [warning_line(one, words) for one in plan.warnings]
    parts = [
        f"<p><b>{_escaped(_next_step(plan, words))}</b></p>",
        *([f"<p><b>Please look at</b></p>{_list(warnings)}"] if warnings else []),
        f"<p>Course from {_escaped(format_local(plan.period_start, zone))}, {_escaped(str(plan.phase))} phase"
        + (f", {_escaped(str(plan.family))}" if words.name_drug else "")
        + f". Clinic: {_escaped(words.clinic.title)} ({_escaped(zone.key)}).</p>",
        f"<table>{_HEAD}<tbody>{rows}</tbody></table>" if rows else f"<p>{_escaped(_first_dose(plan, zone))}</p>",
        *(_to_do(plan, words) if plan.status in (PlanStatus.DRAFT, PlanStatus.ACTIVE) else ()),
        f"<p>Why: {_escaped(protocol.title if words.name_drug else 'integration protocol')}, version "
        f"{_escaped(protocol.version)}. The window is counted in real hours from the end of each dose. "
        "Sessions are proposals; staff decide and book.</p>",
    ]
    parts += [f"<p>{_escaped(sentence)}</p>" for sentence in protocol.evidence]
    on_file = "A crisis plan is on file." if plan.crisis_plans else ""
    if crisis := " ".join(filter(None, (words.clinic.crisis_text, on_file))):
        parts.append(f"<p><b>{_escaped(crisis)}</b></p>")
    parts.append(
        f"<p>Written by {_escaped(words.software)} (software, not a person). Not a clinical order. "
        "Changes that staff make are kept.</p>"
    )
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{"".join(parts)}</div>'


def _to_do(plan: DesiredPlan, words: Wording) -> Iterator[str]:
    """What to do, phase by phase: the agendas, then what is asked of staff and of the patient."""
    agendas = {
        "preparation": [words.plan.preparation.description, *words.plan.preparation.prompts],
        "experience": [words.plan.accompanied[plan.therapist_present]] if plan.verdicts else [],
        "integration": [f"{part.title}: {part.description}" for part in words.plan.agenda],
    }
    for phase in PHASES:
        passage: Passage = words.plan.phases[phase]
        points = _list(agendas[phase]) if agendas[phase] else ""
        yield f"<p><b>{_escaped(passage.title)}.</b> {_escaped(passage.description)}</p>{points}"
    staff = [_asked(one, words) for one in plan.activities if not one.for_patient and not one.hold]
    if staff:
        yield f"<p><b>For staff</b></p>{_list(staff)}"
    patient = [_asked(one, words) for one in plan.activities if one.for_patient and not one.hold]
    if patient:
        draft = plan.status is PlanStatus.DRAFT
        heading = "For the patient, once a clinician has activated this plan" if draft else "For the patient"
        yield f"<p><b>{heading}</b></p>{_list(patient)}"


def _asked(one: DesiredActivity, words: Wording) -> str:
    activity = words.plan.activities[one.key.kind]
    return " ".join((activity_line(one, words), activity.description, *activity.prompts, activity.evidence))


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{_escaped(line)}</li>' for line in lines)}</ul>"


def _first_dose(plan: DesiredPlan, zone: ZoneInfo) -> str:
    when = f" The first one is planned for {format_local(plan.first_dose, zone)}." if plan.first_dose else ""
    return f"No dose was given yet.{when}"


def _row(number: int, verdict: DoseVerdict, latest: datetime | None, words: Wording) -> str:
    """One dose. ``latest``: when the latest dose began; what had to be over before it is told as past."""
    zone, session = words.clinic.zone, verdict.session
    line, state = session_line(verdict, words), _state(verdict)
    ended = session.period_end if session is not None else None
    if state == _TO_BOOK and session is not None and session.start and ended and latest and ended <= latest:
        line, state = f"Was proposed for {format_local(session.start, zone)}{_label(session)}.", "past"
    cells = (
        str(number),
        format_local(verdict.anchor, zone) if verdict.anchor else "-",
        window_line(verdict.window, zone) if verdict.window else "-",
        line,
        state,
    )
    return "<tr>" + "".join(f"<td>{_escaped(cell)}</td>" for cell in cells) + "</tr>"
