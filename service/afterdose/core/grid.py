"""When a session can start at a clinic at all: the starts on its grid within its hours, on the days that it is open.

Opening hours are wall-clock time; what comes out are instants. A wall-clock time that the clocks skip gives no start;
one that comes twice gives two.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from afterdose.core.care import local_day
from afterdose.core.clinic import Clinic, OpenHours

Hours = Mapping[int, tuple[OpenHours, ...]]
"""Opening hours by day of the week, Monday being 1 (ISO 8601)."""
_A_DAY = timedelta(days=1)
_A_MINUTE = timedelta(minutes=1)
_DAY_MINUTES = _A_DAY // _A_MINUTE


def starts(clinic: Clinic, first: datetime, before: datetime, hours: Hours | None = None) -> Iterator[datetime]:
    """Every start in [first, before) on the clinic's grid whose session ends within opening hours, in order.

    ``hours``: other hours than the usual ones. The grid counts minutes after the full hour in wall-clock time.
    """
    opening = clinic.hours if hours is None else hours
    day, last = local_day(first, clinic), local_day(before, clinic)
    if _begin_of(day, clinic.zone) is None:  # part of the day before may come again
        day -= _A_DAY
    while day <= last:
        intervals = opening.get(day.isoweekday(), ())
        if intervals and day not in clinic.holidays:
            for start in _on(day, intervals, first, clinic):
                if start >= before:
                    break
                yield start
        day += _A_DAY


def _on(day: date, intervals: tuple[OpenHours, ...], first: datetime, clinic: Clinic) -> Iterator[datetime]:
    """The starts of one day from ``first`` on, in order; nothing is made before it is asked for."""
    begins = _begin_of(day, clinic.zone)
    if begins is None:
        found = {start for interval in intervals for start in _of(day, interval, clinic)}
        yield from (start for start in sorted(found) if start >= first)
        return
    length = clinic.session_length // _A_MINUTE
    spans = [(_minutes(one.opens), _minutes(one.closes) or _DAY_MINUTES) for one in intervals]
    earliest = max(min(opens for opens, _ in spans), -((begins - first) // _A_MINUTE))
    for minute in _grid(clinic.slot_grid, earliest):
        if any(opens <= minute and minute + length <= closes for opens, closes in spans):
            yield begins + minute * _A_MINUTE


@lru_cache(maxsize=4096)
def _begin_of(day: date, zone: ZoneInfo) -> datetime | None:
    """When a day begins that has 24 hours; None where the clocks change on it."""
    midnight = datetime.combine(day, time(0))
    instants = {*_instants(midnight, zone), *(one - _A_DAY for one in _instants(midnight + _A_DAY, zone))}
    return instants.pop() if len(instants) == 1 else None


def _grid(grid: timedelta, earliest: int) -> Iterator[int]:
    """The minutes of a day from ``earliest`` on at which sessions may start."""
    step = grid // _A_MINUTE
    for hour in range(earliest // 60, 24):
        for minute in range(60 * hour, 60 * hour + 60, step):
            if minute >= earliest:
                yield minute


def _minutes(wall: time) -> int:
    return 60 * wall.hour + wall.minute


def _of(day: date, hours: OpenHours, clinic: Clinic) -> Iterator[datetime]:
    closing_day = day + _A_DAY if hours.closes == time(0) else day
    closes = _instants(datetime.combine(closing_day, hours.closes), clinic.zone)[0]
    for hour in range(hours.opens.hour, 24):
        for minute in range(0, 60, clinic.slot_grid // timedelta(minutes=1)):
            wall = time(hour, minute)
            if wall < hours.opens:
                continue
            for start in _instants(datetime.combine(day, wall), clinic.zone):
                if _exists(start, day, wall, clinic) and start + clinic.session_length <= closes:
                    yield start


def _instants(wall: datetime, zone: ZoneInfo) -> list[datetime]:
    """The instants that a wall-clock time can mean, the earlier first."""
    both = {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(both)


def _exists(start: datetime, day: date, wall: time, clinic: Clinic) -> bool:
    back = start.astimezone(clinic.zone)
    return (back.date(), back.time()) == (day, wall)
