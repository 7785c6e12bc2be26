"""Clinic files (``mappings/clinics/*.toml``): opening hours, zone and customs of one clinic."""

import re
from collections.abc import Mapping
from datetime import time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from marshmallow import ValidationError, fields, validate, validates_schema

from afterdose.content.schemas import Day, Flag, Number, Strict, duration, load, one_of, read_toml, words
from afterdose.core.clinic import Clinic, OpenHours
from afterdose.core.errors import BadContent

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_INTERVAL = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9]) ?- ?([01][0-9]|2[0-3]):([0-5][0-9])")
_HOUR = timedelta(hours=1)


def _reference(example: str) -> validate.Regexp:
    return validate.Regexp(
        r"^[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}$", error=f'expected a reference of the EHR, such as "{example}"'
    )


class _Zone(fields.Field[ZoneInfo]):
    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> ZoneInfo:
        del attr, data, kwargs
        try:
            return ZoneInfo(value if isinstance(value, str) else "")
        except (ValueError, OSError, LookupError) as error:
            raise ValidationError('expected an IANA time zone, such as "America/New_York"') from error


class _Interval(fields.Field[OpenHours]):
    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> OpenHours:
        del attr, data, kwargs
        match = _INTERVAL.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValidationError('expected opening hours between 00:00 and 23:59, such as "09:00-17:00"')
        hour, minute, last_hour, last_minute = (int(part) for part in match.groups())
        hours = OpenHours(opens=time(hour, minute), closes=time(last_hour, last_minute))
        if hours.opens >= hours.closes:
            raise ValidationError("the clinic closes before it opens")
        return hours


class _Minutes(Strict):
    value = Number(required=True)
    unit = one_of("min", "h")


class _Week(Strict):
    """Intervals by weekday."""

    error_messages = {  # noqa: RUF012 - marshmallow's own way to set messages
        "unknown": "expected a weekday in English, such as monday",
        "type": "expected a table of weekdays",
    }
    monday = fields.List(_Interval())
    tuesday = fields.List(_Interval())
    wednesday = fields.List(_Interval())
    thursday = fields.List(_Interval())
    friday = fields.List(_Interval())
    saturday = fields.List(_Interval())
    sunday = fields.List(_Interval())


class _ClinicSchema(Strict):
    name = fields.String(
        required=True, validate=validate.Regexp(r"^[a-z0-9][a-z0-9-]*$", error="expected small letters, digits and '-'")
    )
    title = words(required=True)
    zone = _Zone(required=True)
    session_length = fields.Nested(_Minutes, required=True)
    slot_grid = fields.Nested(_Minutes, required=True)
    next_dose_buffer = fields.Nested(_Minutes, required=True)
    holidays = fields.List(Day(), load_default=list)
    hours = fields.Nested(_Week, required=True)
    extended_hours = fields.Nested(_Week, load_default=dict)
    extended_by_telehealth = Flag(load_default=False)
    early_edge = Flag(load_default=False)
    consent_required = Flag(load_default=False)
    weekly_is_enough = Flag(load_default=False)
    therapist_present = Flag(load_default=None)
    location = fields.String(load_default=None, validate=_reference("Location/123"))
    location_display = words(load_default=None)
    pool = fields.String(load_default=None, validate=_reference("CareTeam/456"))
    pool_display = words(load_default=None)
    crisis_text = words(load_default=None)
    enrolled_locations = fields.List(fields.String(validate=_reference("Location/123")), load_default=list)
    enrolled_protocols = fields.List(words(), load_default=list)

    @validates_schema(skip_on_field_errors=True)
    def _whole(self, data: dict[str, Any], **kwargs: object) -> None:
        del kwargs
        grid = duration(**data["slot_grid"])
        if not grid or _HOUR % grid:
            raise ValidationError("expected minutes that divide an hour: 5, 10, 15, 20, 30 or 60", "slot_grid")
        if not any((*data["hours"].values(), *data["extended_hours"].values())):
            raise ValidationError("expected a weekday with opening hours: no session would ever fit", "hours")
        for name in ("hours", "extended_hours"):
            for day, intervals in data[name].items():
                ordered = sorted(intervals, key=lambda hours: hours.opens)
                if any(earlier.closes > later.opens for earlier, later in pairwise(ordered)):
                    raise ValidationError("the opening hours overlap", f"{name}.{day}")


def read_clinic(path: Path, session_length: tuple[timedelta, timedelta]) -> Clinic:
    """The clinic of a file. ``session_length``: shortest and longest session that the protocols allow.

    Raises BadContent naming file and key.
    """
    data = load(_ClinicSchema(), path, read_toml(path))
    length = duration(**data["session_length"])
    shortest, longest = session_length
    if not shortest <= length <= longest:
        low, high = (int(limit.total_seconds() // 60) for limit in session_length)
        raise BadContent(f"{path}: session_length: expected {low} to {high} minutes")
    return Clinic(
        name=data["name"],
        title=data["title"],
        zone=data["zone"],
        hours=_by_weekday(data["hours"]),
        holidays=frozenset(data["holidays"]),
        slot_grid=duration(**data["slot_grid"]),
        session_length=length,
        next_dose_buffer=duration(**data["next_dose_buffer"]),
        location=data["location"],
        location_display=data["location_display"],
        pool=data["pool"],
        pool_display=data["pool_display"],
        crisis_text=data["crisis_text"],
        enrolled_locations=frozenset(data["enrolled_locations"]),
        enrolled_protocols=frozenset(data["enrolled_protocols"]),
        extended_hours=_by_weekday(data["extended_hours"]),
        extended_by_telehealth=data["extended_by_telehealth"],
        early_edge=data["early_edge"],
        consent_required=data["consent_required"],
        weekly_is_enough=data["weekly_is_enough"],
        therapist_present=data["therapist_present"],
    )


def _by_weekday(hours: Mapping[str, list[OpenHours]]) -> dict[int, tuple[OpenHours, ...]]:
    return {
        _WEEKDAYS.index(day) + 1: tuple(sorted(intervals, key=lambda interval: interval.opens))
        for day, intervals in hours.items()
        if intervals
    }
