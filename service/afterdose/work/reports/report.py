"""What became of doses, as plain JSON: for the preview, for the pages and for ``afterdose explain``. Pure.

Instants are RFC 3339 in UTC, what does not apply is null, reasons are codes of our CodeSystem.
"""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from afterdose.core.care import ArtifactKey, Care, DoseVerdict, Session, SessionState, Window
from afterdose.core.reasons import Eligibility, Outcome, Reason
from afterdose.fhir.decode.administration import TYPE
from afterdose.fhir.times import format_instant
from afterdose.store.rows import OutcomeRow

Report = dict[str, object]

_DECIMALS = 6
"""Of hours and scores: more would be noise."""
_WRITTEN_FOR_COURSE = frozenset({Outcome.PLANNED, Outcome.UNMET})
"""Outcomes that show on the plan of their course."""
_WRITTEN = _WRITTEN_FOR_COURSE | {Outcome.REVIEW}
"""Outcomes for which something is written into the EHR."""


def dose_report(verdict: DoseVerdict) -> Report:
    """What became of one dose session (or of one administration that forms none)."""
    return {
        "administrations": [f"{TYPE}/{key.id}" for key in verdict.administrations],
        "anchor": instant(verdict.anchor),
        "anchor_basis": verdict.anchor_basis.value if verdict.anchor_basis else None,
        "eligibility": _eligibility(verdict),
        "reasons": [reason.value for reason in _reasons(verdict)],
        "course": str(verdict.course_id) if verdict.course_id else None,
        "phase": verdict.phase.value if verdict.phase else None,
        "outcome": verdict.outcome.value,
        "window": _window(verdict.window) if verdict.window else None,
        "session": _session(verdict),
    }


def outcome_rows(care: Care, *, target: str, patient: str, refused: Collection[ArtifactKey]) -> list[OutcomeRow]:
    """The outcome of every administration of a patient.

    ``patient``: the agenda's key. ``refused``: artifacts that cannot be written; what they serve is parked until a
    person has looked.
    """
    subjects = {key.subject for key in refused}
    rows: list[OutcomeRow] = []
    for verdict in care.verdicts:
        outcomes = {key: _outcome(verdict, subjects, founder=key == verdict.founder) for key in verdict.administrations}
        outcomes |= dict.fromkeys(verdict.withdrawn, Outcome.WITHDRAWN)
        details = dose_report(verdict)
        rows += [
            OutcomeRow(
                target=target,
                patient=patient,
                key=key,
                outcome=outcome,
                reasons=_reasons(verdict) if key in verdict.administrations else (),
                session_id=verdict.session_id,
                course_id=verdict.course_id,
                details=details,
                next_look=verdict.wake_up,
            )
            for key, outcome in outcomes.items()
        ]
    return rows


def instant(moment: datetime | None) -> str | None:
    """An instant as JSON."""
    return format_instant(moment) if moment is not None else None


def _outcome(verdict: DoseVerdict, refused: Collection[UUID], *, founder: bool) -> Outcome:
    parked = verdict.outcome in _WRITTEN and verdict.session_id in refused
    if parked or (verdict.outcome in _WRITTEN_FOR_COURSE and verdict.course_id in refused):
        return Outcome.PARKED
    return Outcome.JOINED if verdict.outcome is Outcome.PLANNED and not founder else verdict.outcome


def _reasons(verdict: DoseVerdict) -> tuple[Reason, ...]:
    """Why it is eligible or not, then why its session is as it is, or why there is none; each once."""
    of_session = verdict.session.reasons if verdict.session is not None else ()
    return tuple(dict.fromkeys((*verdict.reasons, *of_session)))


def _eligibility(verdict: DoseVerdict) -> str | None:
    """None while the dose is not over; what was withdrawn was no dose."""
    if verdict.outcome is Outcome.WITHDRAWN:
        return Eligibility.NOT_ELIGIBLE.value
    return verdict.eligibility.value if verdict.eligibility else None


def _window(window: Window) -> Report:
    cut = window.cut_by
    return {
        "opens": format_instant(window.opens),
        "closes": format_instant(window.closes),
        "cut_by": {"kind": cut.kind.value, "at": format_instant(cut.at)} if cut else None,
    }


def _session(verdict: DoseVerdict) -> Report | None:
    session = verdict.session
    if session is None and verdict.outcome is Outcome.WAITING:
        session = Session(state=SessionState.WAITING, reasons=verdict.reasons)
    if session is None:
        return None
    return {
        "state": session.state.value,
        "start": instant(session.start),
        "end": instant(session.end),
        "hours_after": _number(session.hours_after),
        "class": session.session_class.value if session.session_class else None,
        "score": _number(session.score),
        "reason": _first(session.reasons),
    }


def _number(value: float | None) -> float | None:
    return round(value, _DECIMALS) if value is not None else None


def _first(reasons: tuple[Reason, ...]) -> str | None:
    return reasons[0].value if reasons else None
