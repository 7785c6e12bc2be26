"""Courses: the dose sessions of one patient in one episode, and the phase a course is in."""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta

from afterdose.core.care import Phase
from afterdose.core.dose import Family
from afterdose.core.protocol import Rules
from afterdose.core.session import DoseSession


def courses(sessions: Sequence[DoseSession], gap_of: Callable[[DoseSession], timedelta]) -> list[list[DoseSession]]:
    """Dose sessions by course, each course in the order in which ``sessions`` come (by start).

    A course holds one substance family. A time from the end of a dose session to the start of the
    next that is longer than the gap begins a new course. Sessions without a family or without a
    time that can be trusted are courses of their own.
    """
    found: list[list[DoseSession]] = []
    latest: dict[Family, tuple[list[DoseSession], datetime]] = {}
    for session in sessions:
        if session.family is None or session.start is None or not session.given:
            found.append([session])
            continue
        course, over = latest.get(session.family, (None, session.start))
        if course is None or session.start - over > gap_of(session):
            course = []
            found.append(course)
        course.append(session)
        latest[session.family] = (course, max(over, session.anchor or session.start))
    return found


def phase_on(day: date, dose_days: Iterable[date], rules: Rules) -> Phase:
    """The phase that the doses so far suggest on ``day`` (decision 0008).

    Counted in local calendar days, the trailing time half-open: a weekly dose on the same weekday
    stays weekly when the clocks change or when it starts some minutes earlier.
    """
    so_far = [one for one in dose_days if one <= day]
    if not so_far or day - min(so_far) < rules.active_phase:
        return Phase.ACTIVE
    trailing = sum(1 for one in so_far if one > day - rules.active_trailing)
    return Phase.ACTIVE if trailing >= rules.active_trailing_doses else Phase.MAINTENANCE
