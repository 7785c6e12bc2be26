"""An order that repeats names its moments only where it leaves nothing open."""

from datetime import UTC
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from afterdose.fhir.decode.repeats import moments

NEW_YORK = ZoneInfo("America/New_York")
TWO_WEEKS = {"start": "2026-03-02", "end": "2026-03-15"}
AT_TEN = {"timeOfDay": ["10:00:00"]}
WEEKLY = {"period": 1, "periodUnit": "wk"}


def told(**repeat: Any) -> list[str]:
    found = moments({"repeat": repeat}, NEW_YORK)
    assert all(moment.tzinfo is UTC for moment in found)
    return [f"{moment.astimezone(NEW_YORK):%a %d %H:%M}" for moment in found]


SAID: dict[str, tuple[dict[str, Any], list[str]]] = {
    "weekdays, over a change of the clocks": (
        {"boundsPeriod": TWO_WEEKS, "dayOfWeek": ["mon", "thu"], **AT_TEN, **WEEKLY, "frequency": 2},
        ["Mon 02 10:00", "Thu 05 10:00", "Mon 09 10:00", "Thu 12 10:00"],
    ),
    "weekdays without a period": (
        {"boundsPeriod": TWO_WEEKS, "dayOfWeek": ["fri"], **AT_TEN},
        ["Fri 06 10:00", "Fri 13 10:00"],
    ),
    "every second week": (
        {"boundsPeriod": {"start": "2026-03-04"}, "count": 2, "dayOfWeek": ["mon"], **AT_TEN, "period": 2}
        | {"periodUnit": "wk"},
        ["Mon 16 10:00", "Mon 30 10:00"],
    ),
    "a number of times from a moment on": (
        {"boundsPeriod": {"start": "2026-03-02T09:30:00-05:00"}, "count": 3, **WEEKLY},
        ["Mon 02 09:30", "Mon 09 09:30", "Mon 16 09:30"],
    ),
    "every third day": (
        {"boundsPeriod": {"start": "2026-03-02", "end": "2026-03-09"}, **AT_TEN, "period": 3, "periodUnit": "d"},
        ["Mon 02 10:00", "Thu 05 10:00", "Sun 08 10:00"],
    ),
    "up to a moment": (
        {"boundsPeriod": {"start": "2026-03-02", "end": "2026-03-09T09:00:00-04:00"}, **AT_TEN, **WEEKLY},
        ["Mon 02 10:00"],
    ),
}
OPEN: dict[str, dict[str, Any]] = {
    "no end": {"boundsPeriod": {"start": "2026-03-02"}, "dayOfWeek": ["mon"], **AT_TEN},
    "no start": {"boundsPeriod": {"end": "2026-03-15"}, "dayOfWeek": ["mon"], **AT_TEN},
    "no time of day": {"boundsPeriod": TWO_WEEKS, "dayOfWeek": ["mon"]},
    "no days": {"boundsPeriod": TWO_WEEKS, **AT_TEN},
    "twice a week": {"boundsPeriod": TWO_WEEKS, **AT_TEN, **WEEKLY, "frequency": 2},
    "every half day": {"boundsPeriod": TWO_WEEKS, **AT_TEN, "period": 0.5, "periodUnit": "d"},
    "every month": {"boundsPeriod": TWO_WEEKS, **AT_TEN, "period": 1, "periodUnit": "mo"},
    "a time that is none": {"boundsPeriod": TWO_WEEKS, "dayOfWeek": ["mon"], "timeOfDay": ["ten"]},
    "a start that is none": {"boundsPeriod": {"start": "March", "end": "2026-03-15"}, "dayOfWeek": ["mon"], **AT_TEN},
    "too long a period": {"boundsPeriod": TWO_WEEKS, **AT_TEN, "period": 10**12, "periodUnit": "d"},
    "a period beyond reckoning": {"boundsPeriod": TWO_WEEKS, **AT_TEN, "period": Decimal("1e308"), "periodUnit": "d"},
    "beyond the calendar": {"boundsPeriod": {"start": "9999-12-31"}, "count": 1, "timeOfDay": ["22:00:00"], **WEEKLY},
    "fewer than none": {"boundsPeriod": {"start": "2026-03-02"}, "count": -1, **AT_TEN, **WEEKLY},
    "the end of the calendar": {"boundsPeriod": {"start": "9999-12-31"}, "count": 0, **AT_TEN, **WEEKLY},
}


@pytest.mark.parametrize(("repeat", "expected"), SAID.values(), ids=SAID)
def test_what_is_said_is_read(repeat: dict[str, Any], expected: list[str]) -> None:
    assert told(**repeat) == expected


@pytest.mark.parametrize("repeat", OPEN.values(), ids=OPEN)
def test_what_is_left_open_is_not_guessed(repeat: dict[str, Any]) -> None:
    assert told(**repeat) == []


def test_an_order_announces_a_bounded_number_of_moments() -> None:
    daily = {"boundsPeriod": {"start": "2026-03-02", "end": "2036-03-02"}, **AT_TEN, "period": 1, "periodUnit": "d"}
    assert len(told(**daily)) == 60


def test_the_calendar_ends_without_an_error() -> None:
    assert told(boundsPeriod={"start": "9999-12-20"}, count=9, **AT_TEN, **WEEKLY) == ["Mon 20 10:00", "Mon 27 10:00"]


def test_without_a_zone_a_time_of_day_is_no_moment() -> None:
    assert moments({"repeat": {"boundsPeriod": TWO_WEEKS, "dayOfWeek": ["mon"], **AT_TEN}}, None) == ()
