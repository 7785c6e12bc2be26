"""When a dose was given, from whatever the sender could say about it.

The policy: a time with an offset is an instant. A time without one is read in the source's zone and marked;
without a configured zone nobody knows when it was. A day alone, or less, is a person's business. All three
spellings of the element are read (R4 ``effective[x]``, R5 ``occurence[x]``, R6 ``occurrence[x]``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from afterdose.core.dose import Effective
from afterdose.core.dose import Precision as Exactness
from afterdose.core.errors import BadInput
from afterdose.core.reasons import Reason
from afterdose.fhir.elements import JsonObject, member, text, texts
from afterdose.fhir.times import Precision, parse_datetime

_SPELLINGS = ("effective", "occurence", "occurrence")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    """One dateTime: the first and the last instant that it may mean (equal unless it is a day)."""

    first: datetime | None = None
    last: datetime | None = None
    exactness: Exactness = Exactness.INSTANT
    assumed: bool = False
    problems: tuple[Reason, ...] = ()


def effective(administration: JsonObject, zone: ZoneInfo | None) -> tuple[Effective, tuple[Reason, ...]]:
    """The time of an administration, and what about it a person has to decide. Never raises."""
    for spelling in _SPELLINGS:
        moment = text(administration, f"{spelling}DateTime")
        if moment is not None:
            return _single(_point(moment, zone))
        period = member(administration, f"{spelling}Period")
        if period:
            return _period(period, zone)
        timing = member(administration, f"{spelling}Timing")
        if timing:
            return _timing(tuple(texts(timing, "event")), zone)
    return Effective(start=None, end=None), (Reason.TIME_MISSING,)


def _single(point: _Point) -> tuple[Effective, tuple[Reason, ...]]:
    return (
        Effective(start=point.first, end=point.last, precision=point.exactness, zone_assumed=point.assumed),
        point.problems,
    )


def _period(period: JsonObject, zone: ZoneInfo | None) -> tuple[Effective, tuple[Reason, ...]]:
    said = {name: _point(value, zone) for name in ("start", "end") if (value := text(period, name)) is not None}
    start, end = said.get("start", _Point()), said.get("end", _Point())
    problems = [*start.problems, *end.problems]
    if not said:
        problems.append(Reason.TIME_MISSING)
    if start.first is not None and end.last is not None and start.first > end.last:
        problems.append(Reason.PERIOD_REVERSED)
    exactness = {start.exactness, end.exactness}
    return (
        Effective(
            start=start.first,
            end=end.last,
            precision=next((p for p in (Exactness.COARSE, Exactness.DATE) if p in exactness), Exactness.INSTANT),
            is_period=True,
            zone_assumed=start.assumed or end.assumed,
        ),
        tuple(dict.fromkeys(problems)),
    )


def _timing(events: Sequence[str], zone: ZoneInfo | None) -> tuple[Effective, tuple[Reason, ...]]:
    """A Timing with one event is that event; anything else is a plan of several doses, not the time of one."""
    if len(events) == 1:
        return _single(_point(events[0], zone))
    return Effective(start=None, end=None, precision=Exactness.COARSE), (Reason.TIME_TOO_COARSE,)


def _point(value: str, zone: ZoneInfo | None) -> _Point:
    try:
        said = parse_datetime(value, zoneless=True)
        if isinstance(said.value, date) and not MINYEAR < said.value.year < MAXYEAR:
            return _Point(problems=(Reason.TIME_IMPLAUSIBLE,))  # the calendar has no days around it to count in
        if isinstance(said.value, datetime):
            return _instant(said.value, said.has_offset, zone)
        if isinstance(said.value, date):
            return _day(said.value, zone)
    except BadInput:
        return _Point(problems=(Reason.TIME_MISSING,))
    except OverflowError:
        return _Point(problems=(Reason.TIME_IMPLAUSIBLE,))
    coarse = said.precision in (Precision.YEAR, Precision.MONTH)
    return _Point(exactness=Exactness.COARSE, problems=(Reason.TIME_TOO_COARSE,) if coarse else ())


def _instant(value: datetime, has_offset: bool, zone: ZoneInfo | None) -> _Point:
    if has_offset:
        return _Point(first=value, last=value)
    if zone is None:
        return _Point(problems=(Reason.ZONE_UNKNOWN,))
    instant = _utc(value, zone)
    return _Point(first=instant, last=instant, assumed=True)


def _day(day: date, zone: ZoneInfo | None) -> _Point:
    problems = (Reason.DATE_ONLY,) if zone is not None else (Reason.DATE_ONLY, Reason.ZONE_UNKNOWN)
    if zone is None:
        return _Point(exactness=Exactness.DATE, problems=problems)
    first, last = (_utc(datetime.combine(d, time()), zone) for d in (day, day + timedelta(days=1)))
    return _Point(first=first, last=last, exactness=Exactness.DATE, assumed=True, problems=problems)


def _utc(wall_clock: datetime, zone: ZoneInfo) -> datetime:
    """The instant of a wall-clock time; the later one where the clocks were changed, so that nothing opens early."""
    return max(wall_clock.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
