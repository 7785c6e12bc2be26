"""One patient's course as rows of a drawing: what is marked when, and what is said beside it. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from afterdose.core.care import (
    AnchorBasis,
    DesiredPreparation,
    DoseVerdict,
    Session,
    SessionClass,
    SessionState,
    local_day,
)
from afterdose.core.reasons import Outcome, Reason
from afterdose.core.window import NextDose
from afterdose.fhir.decode.administration import TYPE
from afterdose.fhir.encode.sentences import Wording
from afterdose.fhir.times import format_local
from afterdose.work.reports.preview import Preview
from afterdose.work.reports.svg import Mark

_NO_FOLLOW_UP = frozenset({Outcome.NOT_ELIGIBLE, Outcome.WITHDRAWN})
_SAID_BY_CLASS = frozenset({Reason.POST_WINDOW, Reason.EARLY_EDGE})
_CLASSES = {
    SessionClass.IN_WINDOW: (Mark.IN_WINDOW, "in the window"),
    SessionClass.EDGE: (Mark.EDGE, "begins in the window and ends after it"),
    SessionClass.EARLY_EDGE: (Mark.EARLY_EDGE, "the day after the dose, before the window opens"),
    SessionClass.BEFORE_WINDOW: (Mark.EARLY_EDGE, "before the window opens"),
    SessionClass.POST_WINDOW: (Mark.POST_WINDOW, "after the window"),
}
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A window: full until ``declines``, declining until ``closes``, cut off from there until ``would_close``."""

    opens: datetime
    declines: datetime
    closes: datetime
    would_close: datetime
    hours: tuple[float, float, float]
    """Opening, decline and end of the window, in hours after the dose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is drawn for one dose, planned dose or preparation visit.

    ``marks``: the shapes by their instants; the first is what the row is about. None without a time.
    """

    name: str
    when: str
    said: str
    marks: tuple[tuple[Mark, datetime], ...]
    tip: str | None = None
    band: Band | None = None

    @property
    def first(self) -> datetime | None:
        """What the row is about."""
        return self.marks[0][1] if self.marks else None

    @property
    def stretches(self) -> list[tuple[datetime, datetime]]:
        """From when to when something is drawn."""
        marked = [(moment, moment) for _, moment in self.marks]
        return [*marked, (self.band.opens, self.band.would_close)] if self.band is not None else marked

    def within(self, start: datetime, end: datetime) -> bool:
        """Whether any of it lies in a half-open stretch of time."""
        return any(begins < end and (ends > start or begins == ends == start) for begins, ends in self.stretches)


def rows(preview: Preview, words: Wording) -> list[Row]:
    """The rows by time, those without a time last; administrations of other drugs have none."""
    doses = [one for one in preview.verdicts if one.outcome is not Outcome.UNRELATED]
    found = [_dose(number, one, words) for number, one in enumerate(doses, start=1)]
    found += [_planned(one, words) for one in preview.planned]
    found += [_preparation(one, words) for one in preview.care.preparations if not one.cancelled]
    return sorted(found, key=lambda row: (row.first is None, row.first.timestamp() if row.first else 0.0))


def _dose(number: int, verdict: DoseVerdict, words: Wording) -> Row:
    moment = verdict.anchor or verdict.start
    if Reason.TIME_IMPLAUSIBLE in verdict.reasons:
        moment = None
    mark = Mark.NO_FOLLOW_UP if verdict.outcome in _NO_FOLLOW_UP else Mark.DOSE
    marks = [] if moment is None else [(mark, _on_the_day(verdict) or moment)]
    band = _band(verdict, words)
    session = verdict.session
    if session is not None and session.start is not None and session.session_class is not None:
        marks.append((_CLASSES[session.session_class][0], session.start))
    elif session is not None and session.state is SessionState.UNMET and band is not None:
        marks.append((Mark.UNMET, band.opens + (band.would_close - band.opens) / 2))
    return Row(
        name=f"Dose {number}",
        when=_when(verdict, moment, words),
        said=_said(verdict, words),
        marks=tuple(marks),
        tip=", ".join(f"{TYPE}/{key.id}" for key in verdict.administrations),
        band=band,
    )


def _on_the_day(verdict: DoseVerdict) -> datetime | None:
    """The middle of the day, where only the day of a dose is known."""
    if verdict.anchor_basis is not AnchorBasis.DATE_ONLY or verdict.start is None or verdict.anchor is None:
        return None
    return verdict.start + (verdict.anchor - verdict.start) / 2


def _when(verdict: DoseVerdict, moment: datetime | None, words: Wording) -> str:
    if moment is None:
        return "time unknown"
    if verdict.anchor_basis is AnchorBasis.DATE_ONLY:
        day = local_day(verdict.start or moment, words.clinic)
        return f"on {day:%a} {day.day} {day:%b %Y}, time unknown"
    return f"{'ended' if verdict.anchor else 'began'} {format_local(moment, words.clinic.zone)}"


def _band(verdict: DoseVerdict, words: Wording) -> Band | None:
    window, anchor = verdict.window, verdict.anchor
    if window is None or anchor is None or verdict.family is None:
        return None
    rules = words.protocols[verdict.family].rules_on(local_day(anchor, words.clinic))
    ends_count_from = verdict.start if verdict.anchor_basis is AnchorBasis.DATE_ONLY and verdict.start else anchor
    return Band(
        opens=window.opens,
        declines=ends_count_from + rules.plateau_ends_after,
        closes=window.closes,
        would_close=max(window.closes, ends_count_from + rules.closes_after),
        hours=(rules.opens_after / _HOUR, rules.plateau_ends_after / _HOUR, rules.closes_after / _HOUR),
    )


def _said(verdict: DoseVerdict, words: Wording) -> str:
    session = verdict.session
    if session is not None and session.state is SessionState.PROPOSED:
        return _proposed(session, words)
    reasons = session.reasons if session is not None and session.reasons else verdict.reasons
    why = "; ".join(words.reason_text(reason) for reason in reasons)
    if session is not None and session.state is SessionState.UNMET:
        return f"No session: {why}"
    return {
        Outcome.REVIEW: f"A person decides: {why}",
        Outcome.WAITING: f"Waiting until the dose is over: {why}",
        Outcome.WITHDRAWN: f"Taken back: {why}",
    }.get(verdict.outcome, f"No follow-up: {why}")


def _proposed(session: Session, words: Wording) -> str:
    said = [f"Session {_at(session, words)}"]
    if session.session_class is not None:
        said.append(_CLASSES[session.session_class][1])
    labels = [words.reason_text(reason) for reason in session.reasons if reason not in _SAID_BY_CLASS]
    said += [label[:1].lower() + label[1:] for label in labels]
    hours = f" ({session.hours_after:.1f} h after the dose)" if session.hours_after is not None else ""
    return ", ".join(said) + hours


def _at(session: Session, words: Wording) -> str:
    return format_local(session.start, words.clinic.zone) if session.start is not None else "at a time to be found"


def _planned(dose: NextDose, words: Wording) -> Row:
    when = format_local(dose.at, words.clinic.zone)
    return Row(
        name="Planned dose", when=when, said="Ordered or booked, not given yet", marks=((Mark.PLANNED_DOSE, dose.at),)
    )


def _preparation(one: DesiredPreparation, words: Wording) -> Row:
    session = one.session
    if session.start is not None:
        when, marks = _at(session, words), ((Mark.PREPARATION, session.start),)
        return Row(name=f"Preparation {one.number}", when=when, said="Visit before the first dose", marks=marks)
    why = "; ".join(words.reason_text(reason) for reason in session.reasons)
    return Row(name=f"Preparation {one.number}", when="no time found", said=f"No visit: {why}", marks=())
