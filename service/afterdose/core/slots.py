"""Which session to propose: the first start on the clinic's grid that the rules allow.

The ladder (decision 0008, rule 5): in the window; after the window, labelled; before the
next dose on the day of that dose, labelled. Nothing of it depends on the current time: the earliest
start is counted from when the dose was heard of.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from afterdose.core.care import Session, SessionClass, SessionState, Window, local_day
from afterdose.core.clinic import Clinic
from afterdose.core.grid import Hours, starts
from afterdose.core.protocol import Rules
from afterdose.core.reasons import Reason
from afterdose.core.window import NextDose, score, window_after

_A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """One dose session for which a follow-up session is looked for.

    ``dosing_days`` are the clinic's local days on which any dose is given or planned. ``freed_at``: when we
    heard that a planned dose which had cut this window does not take place. ``predicted``: when the next dose
    is to be expected by the cadence so far; it ranks and cuts nothing (decision 0008, rule 11).
    """

    anchor: datetime
    heard_at: datetime
    window: Window
    next_dose: NextDose | None
    dosing_days: frozenset[date]
    freed_at: datetime | None = None
    predicted: datetime | None = None

    def known_from(self, rules: Rules) -> datetime:
        """From when on a session can still be arranged, whatever the window says."""
        return max(self.heard_at, self.freed_at or self.heard_at) + rules.lead_time

    def earliest(self, rules: Rules) -> datetime:
        """The earliest start that can still be arranged."""
        return max(self.window.opens, self.known_from(rules))

    def ends_by(self, clinic: Clinic) -> datetime | None:
        """When the session must be over because of the next dose; None when there is none."""
        return None if self.next_dose is None else self.next_dose.at - clinic.next_dose_buffer

    def has_room(self, start: datetime, clinic: Clinic) -> bool:
        """Whether a session that starts then is over in time before the next dose."""
        ends_by = self.ends_by(clinic)
        return ends_by is None or start + clinic.session_length <= ends_by

    def clears_predicted(self, start: datetime, clinic: Clinic) -> bool:
        """Whether it would also be over in time before the dose that is expected."""
        return self.predicted is None or start + clinic.session_length <= self.predicted - clinic.next_dose_buffer


@dataclass(frozen=True, slots=True)
class _Choice:
    """A start with the labels that it carries."""

    start: datetime
    labels: tuple[Reason, ...] = ()


def propose(occasion: Occasion, rules: Rules, clinic: Clinic) -> Session:
    """The session to propose, or why there is none; deterministic, and never a time without a label."""
    if occasion.heard_at - occasion.anchor > rules.post_window_until:
        return Session(state=SessionState.UNMET, reasons=(Reason.TOO_LATE,))
    choice = _choice(occasion, rules, clinic)
    if choice is None:
        return Session(state=SessionState.UNMET, reasons=(_why_none(occasion, rules, clinic),))
    return _session(occasion, choice.start, choice.start + clinic.session_length, choice.labels, rules, clinic)


def booked(occasion: Occasion, start: datetime | None, end: datetime | None, rules: Rules, clinic: Clinic) -> Session:
    """The session as people have taken it over, at their time where that is known.

    Where it is not, what would be proposed if no later dose were known: a dose that arrives later
    never cuts what is booked (decision 0008, rule 11).
    """
    free = Occasion(
        anchor=occasion.anchor,
        heard_at=occasion.heard_at,
        window=window_after(occasion.anchor, rules, next_dose=None, buffer=clinic.next_dose_buffer),
        next_dose=None,
        dosing_days=frozenset(),
    )
    if start is not None:
        return _session(free, start, end or start + clinic.session_length, (Reason.TAKEN_OVER,), rules, clinic)
    proposal = propose(occasion, rules, clinic)
    if proposal.state is not SessionState.PROPOSED:
        proposal = propose(free, rules, clinic)
    return replace(proposal, state=SessionState.PROPOSED, reasons=(Reason.TAKEN_OVER,))


def fits(visit: datetime, anchor: datetime, rules: Rules, clinic: Clinic) -> bool:
    """Whether a booked visit still lies where a follow-up session can lie at all after this dose."""
    opens = rules.early_edge.after if clinic.early_edge else rules.opens_after
    return anchor + opens <= visit < anchor + rules.post_window_until


def _choice(occasion: Occasion, rules: Rules, clinic: Clinic) -> _Choice | None:
    """The best start by the ladder: in the window, on the day after, after the window, before the next dose."""
    free = _in_window(occasion, rules, clinic)
    early = _early(occasion, rules, clinic)
    if early is not None and (free is None or _beats(free, occasion, rules)):
        return early
    return free or _after_window(occasion, rules, clinic) or _pre_dose(occasion, rules, clinic)


def _in_window(occasion: Occasion, rules: Rules, clinic: Clinic) -> _Choice | None:
    """The first start in the window, its better band first, in each the usual hours before the extended ones.

    One that would be over before the dose that is expected goes before one that would not.
    """
    extended = (Reason.EXTENDED_HOURS, Reason.TELEHEALTH) if clinic.extended_by_telehealth else (Reason.EXTENDED_HOURS,)
    kinds: list[tuple[Hours, tuple[Reason, ...]]] = [(clinic.hours, ())]
    if clinic.extended_hours:
        kinds.append((clinic.extended_hours, extended))
    earliest, window = occasion.earliest(rules), occasion.window
    plateau_ends = min(occasion.anchor + rules.plateau_ends_after, window.closes)
    found = (
        _Choice(start, labels)
        for first, before in ((earliest, plateau_ends), (max(earliest, plateau_ends), window.closes))
        for hours, labels in kinds
        if (start := _first(occasion, clinic, first, before, hours)) is not None
    )
    best = None
    for choice in found:
        if occasion.clears_predicted(choice.start, clinic):
            return choice
        best = best or choice
    return best


def _early(occasion: Occasion, rules: Rules, clinic: Clinic) -> _Choice | None:
    """A start on the day after the dose, shortly before the window opens; nobody drives before the morning."""
    if not clinic.early_edge:
        return None
    edge, next_day = rules.early_edge, local_day(occasion.anchor, clinic) + _A_DAY
    first = max(occasion.anchor + edge.after, occasion.known_from(rules))
    for start in starts(clinic, first, occasion.window.opens):
        wall = start.astimezone(clinic.zone)
        fits_day = wall.date() == next_day and wall.time() >= edge.not_before
        if fits_day and next_day not in occasion.dosing_days and occasion.has_room(start, clinic):
            return _Choice(start, (Reason.EARLY_EDGE,))
    return None


def _beats(free: _Choice, occasion: Occasion, rules: Rules) -> bool:
    """Whether the early edge is ranked above a start in the window: by the scores alone."""
    return float(rules.early_edge.score) > score(free.start - occasion.anchor, rules)


def _after_window(occasion: Occasion, rules: Rules, clinic: Clinic) -> _Choice | None:
    start = _first(occasion, clinic, occasion.earliest(rules), occasion.anchor + rules.post_window_until, clinic.hours)
    return None if start is None else _Choice(start)


def _pre_dose(occasion: Occasion, rules: Rules, clinic: Clinic) -> _Choice | None:
    """On the day of a dose, before it: the ladder's last step."""
    for start in starts(clinic, occasion.earliest(rules), occasion.anchor + rules.post_window_until):
        if not occasion.has_room(start, clinic):
            return None
        return _Choice(start, (Reason.PRE_DOSE,))
    return None


def _first(occasion: Occasion, clinic: Clinic, first: datetime, before: datetime, hours: Hours) -> datetime | None:
    """The first start in [first, before) on a day without a dose that leaves room before the next dose."""
    for start in starts(clinic, first, before, hours):
        if not occasion.has_room(start, clinic):
            return None
        if local_day(start, clinic) not in occasion.dosing_days:
            return start
    return None


def _session(
    occasion: Occasion, start: datetime, end: datetime, labels: tuple[Reason, ...], rules: Rules, clinic: Clinic
) -> Session:
    window, elapsed, reasons = occasion.window, start - occasion.anchor, [*labels]
    ranked = score(elapsed, rules)
    if window.contains(start):
        over = end > occasion.anchor + rules.closes_after
        session_class = SessionClass.EDGE if over else SessionClass.IN_WINDOW
        period_start, period_end = min(occasion.earliest(rules), start), window.closes
    elif clinic.early_edge and occasion.anchor + rules.early_edge.after <= start < window.opens:
        session_class, ranked = SessionClass.EARLY_EDGE, float(rules.early_edge.score)
        period_start, period_end = start, max(window.closes, end)
    elif start < window.opens:
        session_class, ranked = SessionClass.BEFORE_WINDOW, 0.0
        period_start, period_end = start, window.closes
    else:
        session_class, ranked = SessionClass.POST_WINDOW, 0.0
        reasons.append(Reason.POST_WINDOW)
        if occasion.heard_at - occasion.anchor > rules.closes_after:
            reasons.append(Reason.LATE_CHARTED)
        limits = (occasion.anchor + rules.post_window_until, occasion.ends_by(clinic))
        period_start, period_end = start, min(limit for limit in limits if limit is not None)
    return Session(
        state=SessionState.PROPOSED,
        start=start,
        end=end,
        period_start=period_start,
        period_end=period_end,
        hours_after=elapsed / timedelta(hours=1),
        session_class=session_class,
        score=ranked,
        reasons=tuple(reasons),
    )


def _why_none(occasion: Occasion, rules: Rules, clinic: Clinic) -> Reason:
    """The first cause that explains it: the next dose, having heard too late, the clinic's hours."""
    if occasion.next_dose is not None:
        uncut = Occasion(
            anchor=occasion.anchor,
            heard_at=occasion.heard_at,
            window=window_after(occasion.anchor, rules, next_dose=None, buffer=clinic.next_dose_buffer),
            next_dose=None,
            dosing_days=frozenset(),
        )
        if occasion.window.opens >= occasion.window.closes or _choice(uncut, rules, clinic) is not None:
            return Reason.WINDOW_CUT
    if occasion.earliest(rules) >= occasion.anchor + rules.post_window_until:
        return Reason.TOO_LATE
    return Reason.NO_CLINIC_HOURS
