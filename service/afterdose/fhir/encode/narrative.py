"""What a coordinator reads: the narrative of a course plan, made of the sentences of ``sentences``.

Pure. Times are absolute and in the clinic's wall-clock time, so that a text changes only when
facts change. Everything is escaped; the markup stays inside FHIR's narrative allow-list
(http://hl7.org/fhir/R4/narrative.html#xhtml).
"""

import html
import re
from collections.abc import Iterable, Iterator
from zoneinfo import ZoneInfo

from afterdose.core.care import DesiredActivity, DesiredPlan, DoseVerdict, PlanStatus
from afterdose.core.clinic import Clinic
from afterdose.core.reasons import Outcome, Reason
from afterdose.fhir.encode.sentences import (
    Wording,
    activity_line,
    is_past,
    preparation_line,
    session_line,
    visit_line,
    warning_line,
    window_line,
)
from afterdose.fhir.encode.words import PHASES, Passage
from afterdose.fhir.times import format_local

_HEAD = (
    "<thead><tr><th>Dose</th><th>Ended</th><th>Window for the session</th><th>Session</th><th>State</th></tr></thead>"
)

_MARKUP = re.compile("[&<>\"']")


def _escaped(text: str) -> str:
    return html.escape(text) if _MARKUP.search(text) else text


def course_title(plan: DesiredPlan, clinic: Clinic) -> str:
    """A title that names the course and neither drug nor diagnosis."""
    day = plan.period_start.astimezone(clinic.zone)
    return f"Integration care plan, course from {day.day} {day:%b %Y}"


def _state(verdict: DoseVerdict, plan: DesiredPlan) -> str:
    if is_past(verdict, plan):
        return "past"
    if verdict.session is not None and Reason.TAKEN_OVER in verdict.session.reasons:
        return "with staff"
    if verdict.outcome is Outcome.PLANNED:
        return "to book"
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
        if verdict.session is not None and not is_past(verdict, plan):
            return f"Next, dose {number}: {session_line(verdict, words)}"
    for one in plan.preparations:
        return preparation_line(one, words)
    return "No session is proposed at present."


def plan_narrative(plan: DesiredPlan, words: Wording) -> str:
    """The whole ``text.div`` of a course plan: what is next on top, then the dose table, what to do, and why."""
    zone = words.clinic.zone
    protocol = words.protocols[plan.family]
    rows = "".join(_row(number, verdict, plan, words) for number, verdict in enumerate(plan.verdicts, start=1))
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


def _row(number: int, verdict: DoseVerdict, plan: DesiredPlan, words: Wording) -> str:
    zone = words.clinic.zone
    cells = (
        str(number),
        format_local(verdict.anchor, zone) if verdict.anchor else "-",
        window_line(verdict.window, zone) if verdict.window else "-",
        visit_line(verdict, plan, words),
        _state(verdict, plan),
    )
    return "<tr>" + "".join(f"<td>{_escaped(cell)}</td>" for cell in cells) + "</tr>"
