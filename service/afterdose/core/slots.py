"""Which session to propose: the first start on the clinic's grid that the rules allow.

The ladder (decision 0008, rule 5): in the window; after the window, labelled; before the
next dose on the day of that dose, labelled. Nothing of it depends on the current time: the earliest
start is counted from when the dose was heard of.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from afterdose.core.care import Session, SessionClass, SessionState, Window, local_day
from afterdose.core.clinic import Clinic, OpenHours
from afterdose.core.protocol import Rules
from afterdose.core.reasons import Reason
from afterdose.core.window import NextDose, score, window_after

_A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """One dose session for which a follow-up session is looked for.

    ``dosing_days`` are the clinic's local days on which any dose is given or planned.
    """

    anchor: datetime
    heard_at: datetime
    window: Window
    next_dose: NextDose | None
    dosing_days: frozenset[date]

    def earliest(self, rules: Rules) -> datetime:
        """The earliest start that can still be arranged."""
        return max(self.window.opens, self.heard_at + rules.lead_time)

    def ends_by(self, clinic: Clinic) -> datetime | None:
        """When the session must be over because of the next dose; None when there is none."""
        return None if self.next_dose is None else self.next_dose.at - clinic.next_dose_buffer


def propose(occasion: Occasion, rules: Rules, clinic: Clinic) -> Session:
    """The session to propose, or why there is none; deterministic, and never a time without a label."""
    if occasion.heard_at - occasion.anchor > rules.post_window_until:
        return Session(state=SessionState.UNMET, reasons=(Reason.TOO_LATE,))
    start, pre_dose = _first_start(occasion, rules, clinic)
    if start is None:
        return Session(state=SessionState.UNMET, reasons=(_why_none(occasion, rules, clinic),))
    reasons = (Reason.PRE_DOSE,) if pre_dose else ()
    return _session(occasion, start, start + clinic.session_length, reasons, rules, clinic)


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


def fits(visit: datetime, anchor: datetime, rules: Rules) -> bool:
    """Whether a booked visit still lies where a follow-up session can lie at all after this dose."""
    return anchor + rules.opens_after <= visit < anchor + rules.post_window_until


def starts(clinic: Clinic, first: datetime, before: datetime) -> Iterator[datetime]:
    """Every start in [first, before) on the clinic's grid whose session ends within opening hours, in order.

    The grid counts minutes after the full hour in wall-clock time. A wall-clock time that the
    clocks skip gives no start; one that comes twice gives two.
    """
    day = local_day(first, clinic) - _A_DAY
    last = local_day(before, clinic)
    while day <= last:
        if day not in clinic.holidays:
            found = {start for hours in clinic.hours.get(day.isoweekday(), ()) for start in _of(day, hours, clinic)}
            yield from (start for start in sorted(found) if first <= start < before)
        day += _A_DAY


def _first_start(occasion: Occasion, rules: Rules, clinic: Clinic) -> tuple[datetime | None, bool]:
    earliest = occasion.earliest(rules)
    latest = occasion.anchor + rules.post_window_until
    ends_by = occasion.ends_by(clinic)
    if ends_by is not None:
        latest = min(latest, ends_by)
    pre_dose = None
    for start in starts(clinic, earliest, latest):
        if ends_by is not None and start + clinic.session_length > ends_by:
            break
        if local_day(start, clinic) not in occasion.dosing_days:
            return start, False
        pre_dose = pre_dose or start
    return pre_dose, pre_dose is not None


def _session(
    occasion: Occasion, start: datetime, end: datetime, labels: tuple[Reason, ...], rules: Rules, clinic: Clinic
) -> Session:
    window, elapsed, reasons = occasion.window, start - occasion.anchor, [*labels]
    if window.contains(start):
        over = end > occasion.anchor + rules.closes_after
        session_class = SessionClass.EDGE if over else SessionClass.IN_WINDOW
        period_start, period_end = min(occasion.earliest(rules), start), window.closes
    else:
        session_class = SessionClass.POST_WINDOW
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
        score=score(elapsed, rules) if session_class is not SessionClass.POST_WINDOW else 0.0,
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
        if occasion.window.opens >= occasion.window.closes or _first_start(uncut, rules, clinic)[0] is not None:
            return Reason.WINDOW_CUT
    if occasion.earliest(rules) >= occasion.anchor + rules.post_window_until:
        return Reason.TOO_LATE
    return Reason.NO_CLINIC_HOURS


def _of(day: date, hours: OpenHours, clinic: Clinic) -> Iterator[datetime]:
    closing_day = day + _A_DAY if hours.closes == time(0) else day
    closes = _instants(datetime.combine(closing_day, hours.closes), clinic)[0]
    for hour in range(hours.opens.hour, 24):
        for minute in range(0, 60, clinic.slot_grid // timedelta(minutes=1)):
            wall = time(hour, minute)
            if wall < hours.opens:
                continue
            for start in _instants(datetime.combine(day, wall), clinic):
                if _exists(start, day, wall, clinic) and start + clinic.session_length <= closes:
                    yield start


def _instants(wall: datetime, clinic: Clinic) -> list[datetime]:
    """The instants that a wall-clock time can mean, the earlier first."""
    both = {wall.replace(tzinfo=clinic.zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(both)


def _exists(start: datetime, day: date, wall: time, clinic: Clinic) -> bool:
    back = start.astimezone(clinic.zone)
    return (back.date(), back.time()) == (day, wall)
