"""Courses: the dose sessions of one patient in one episode, and the phase a course is in."""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta

from afterdose.core.care import Snapshot
from afterdose.core.codes import Codes
from afterdose.core.dose import Family, Phase
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


def explicit_phase(session: DoseSession, codes: Codes) -> Phase | None:
    """The phase that the requests, the episode or the tags of a dose name; None where they name none, or two.

    Of a dose that was given, preparation is no phase.
    """
    marks = [mark for dose in session.members for mark in dose.context.marks]
    named = {codes.phases[mark.system, mark.code] for mark in marks if (mark.system, mark.code) in codes.phases}
    named.discard(Phase.PREPARATION)
    return named.pop() if len(named) == 1 else None


def weekly_is_enough(session: DoseSession, snapshot: Snapshot) -> bool:
    """Whether a session between all doses is not asked for: the clinic's custom, or a clinician's mark."""
    marks = (mark for dose in session.members for mark in dose.context.marks)
    return snapshot.clinic.weekly_is_enough or snapshot.codes.weekly_marks.holds_any(marks)


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
