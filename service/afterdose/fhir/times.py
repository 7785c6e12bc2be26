"""FHIR dates and times: the R4 grammar exactly, calendar included.

Grammar: http://hl7.org/fhir/R4/datatypes.html#dateTime, #date and #instant. Seconds are required with a
time, ``24:00`` is refused, ``:60`` (a leap second) counts as the first second of the next minute, as in
POSIX time. Instants leave here in UTC.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import Never

from afterdose.core.errors import BadInput, Problem

_YEAR = r"(?!0000)([0-9]{4})"
_MONTH = r"(0[1-9]|1[0-2])"
_DAY = r"(0[1-9]|[12][0-9]|3[01])"
_CLOCK = r"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)(?:\.([0-9]+))?"
_OFFSET = r"(Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_DATETIME = re.compile(f"{_YEAR}(?:-{_MONTH}(?:-{_DAY}(?:T{_CLOCK}{_OFFSET}?)?)?)?")


class Precision(StrEnum):
    """How much of a point in time is known."""

    YEAR = "year"
    MONTH = "month"
    DAY = "day"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class FhirTime:
    """What a FHIR date, dateTime or instant says.

    ``value`` is a UTC datetime (precision TIME with an offset), a naive datetime (TIME without one: a wall
    clock somewhere), a date (DAY), or ``(year, month)`` with month None for precision YEAR. Fractions of a
    second are cut to microseconds.
    """

    value: datetime | date | tuple[int, int | None]
    precision: Precision
    has_offset: bool = False


def parse_datetime(text: str, *, zoneless: bool = False, path: str = "") -> FhirTime:
    """Read a FHIR dateTime; ``zoneless`` also admits a time without an offset, which R4 forbids.

    Raises BadInput with code ``value`` at ``path``; the message never quotes ``text``.
    """
    match = _DATETIME.fullmatch(text) if text.isascii() else None
    if match is None:
        _refuse("is not a FHIR dateTime (YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz)", path)
    year, month, day, hour, _, second, _, offset = match.groups()
    if month is None:
        return FhirTime((int(year), None), Precision.YEAR)
    if day is None:
        return FhirTime((int(year), int(month)), Precision.MONTH)
    try:
        if hour is None:
            return FhirTime(date(int(year), int(month), int(day)), Precision.DAY)
        leap = second == "60"
        moment = datetime.fromisoformat(f"{text[:17]}59{text[19:]}" if leap else text)
        if leap:
            moment += timedelta(seconds=1)
        if offset is not None:
            moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        _refuse("is not a day or time of the calendar", path)
    if offset is None and not zoneless:
        _refuse("has a time but no offset from UTC", path)
    return FhirTime(moment, Precision.TIME, has_offset=offset is not None)


def parse_date(text: str, *, path: str = "") -> FhirTime:
    """Read a FHIR date: a year, a month or a day. Raises BadInput with code ``value``."""
    found = parse_datetime(text, zoneless=True, path=path)
    if found.precision is Precision.TIME:
        _refuse("is a date and may not have a time", path)
    return found


def parse_instant(text: str, *, path: str = "") -> datetime:
    """Read a FHIR instant, as a UTC datetime. Raises BadInput with code ``value``."""
    found = parse_datetime(text, path=path)
    if not isinstance(found.value, datetime):
        _refuse("is an instant and needs a time and an offset from UTC", path)
    return found.value


def format_instant(moment: datetime) -> str:
    """An aware datetime as FHIR instant in UTC: ``2026-01-05T15:10:00Z``; a fraction only where there is one.

    Raises ValueError for a naive datetime.
    """
    if moment.tzinfo is not UTC:
        if moment.utcoffset() is None:
            raise ValueError("a FHIR instant needs an aware datetime")
        moment = moment.astimezone(UTC)
    return moment.isoformat().replace("+00:00", "Z")


def format_local(moment: datetime, zone: tzinfo) -> str:
    """An instant as people at the clinic say it: ``Tue 6 Jan 2026 10:30 EST``. English in every locale.

    Raises ValueError for a naive datetime.
    """
    if moment.tzinfo is not UTC:
        if moment.utcoffset() is None:
            raise ValueError("a local time can only be made from an aware datetime")
        moment = moment.astimezone(UTC)
    return _local(moment, zone)


@lru_cache(maxsize=8192)
def _local(instant: datetime, zone: tzinfo) -> str:
    local = instant.astimezone(zone)
    name = local.tzname() or ""
    if not name.isalpha():  # zones whose offset is all their name: +11, +1030
        name = f"UTC{name[:3]}:{name[3:]}".removesuffix(":")
    return (
        f"{_DAYS[local.weekday()]} {local.day} {_MONTHS[local.month - 1]} {local.year:04d} "
        f"{local.hour:02d}:{local.minute:02d} {name}"
    )


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _refuse(text: str, path: str) -> Never:
    raise BadInput(Problem(code="value", path=path, text=text)) from None
