"""The moments of an order that says how it repeats (http://hl7.org/fhir/R4/datatypes.html#Timing). Pure.

Only what leaves nothing open: from a first day, up to an end or a number of times, on named weekdays or every so many
days, at times of day that are said. An order without an end, "twice a week" or "at bedtime" name no moments.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from afterdose.core.errors import BadInput
from afterdose.fhir.elements import JsonObject, member, number, text, texts
from afterdose.fhir.times import parse_datetime

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAYS = {"d": 1, "wk": 7}
_A_DAY = timedelta(days=1)
_A_WEEK = timedelta(weeks=1)
_MOST = 60
"""Moments that one order is taken to announce at most."""


def moments(timing: JsonObject, zone: ZoneInfo | None) -> tuple[datetime, ...]:
    """The moments in UTC, in order; none where they are not all said. ``zone``: that of times of day."""
    repeat = member(timing, "repeat")
    bounds = member(repeat, "boundsPeriod")
    first, clock = _day(text(bounds, "start"), zone)
    last, over = _day(text(bounds, "end"), zone)
    clocks = sorted(_clocks(repeat)) or ([clock] if clock is not None else [])
    count = number(repeat, "count")
    if zone is None or first is None or not clocks or (last is None and count is None):
        return ()
    end = datetime.combine(last, over or time.max, zone) if last is not None else None
    begin = datetime.combine(first, clock or time(), zone)
    found = (
        moment
        for day in islice(_pattern(repeat, first), 0, _MOST * 7)
        for at in clocks
        if (moment := datetime.combine(day, at, zone)) >= begin and (end is None or moment <= end)
    )
    most = _MOST if count is None else max(0, min(_MOST, int(count)))
    try:
        return tuple(moment.astimezone(UTC) for moment in islice(found, most))
    except OverflowError:  # beyond the end of the calendar
        return ()


def _pattern(repeat: JsonObject, first: date) -> Iterator[date]:
    """The days, without end; none where they are not said."""
    every, unit = number(repeat, "period"), _DAYS.get(text(repeat, "periodUnit") or "")
    named = {_WEEKDAYS.index(day) for day in texts(repeat, "dayOfWeek") if day in _WEEKDAYS}
    whole = every is not None and every >= 1 and every == int(every)
    step = timedelta(days=unit * int(every)) if every is not None and whole and unit is not None else None
    if named and every is None:
        step = _A_WEEK
    if named and step is not None and (step % _A_WEEK == timedelta() or step == _A_DAY):
        yield from _weekly(first, named, max(1, step // _A_WEEK))
    elif not named and step is not None and number(repeat, "frequency") in (None, 1):
        yield from _steps(first, step)


def _weekly(first: date, named: set[int], every: int) -> Iterator[date]:
    monday = first - first.weekday() * _A_DAY
    for day in _steps(first, _A_DAY):
        if day.weekday() in named and ((day - monday) // _A_WEEK) % every == 0:
            yield day


def _steps(first: date, step: timedelta) -> Iterator[date]:
    day = first
    while True:
        yield day
        if day > date.max - step:
            return
        day += step


def _clocks(repeat: JsonObject) -> Iterator[time]:
    for said in texts(repeat, "timeOfDay"):
        try:
            yield time.fromisoformat(said)
        except ValueError:
            continue


def _day(said: str | None, zone: ZoneInfo | None) -> tuple[date | None, time | None]:
    """The day at the clinic that a text names, and its time of day where it has one."""
    try:
        value = parse_datetime(said, zoneless=True).value if said is not None else None
    except BadInput:
        return None, None
    if isinstance(value, datetime):
        local = value.astimezone(zone) if value.tzinfo is not None and zone is not None else value
        return local.date(), local.time()
    return (value, None) if isinstance(value, date) else (None, None)
