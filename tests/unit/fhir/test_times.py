"""FHIR dates and times are read by the R4 grammar and written as UTC instants."""

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterdose.core.errors import BadInput
from afterdose.fhir import times
from afterdose.fhir.times import FhirTime, Precision


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


READ = {
    "2026": FhirTime((2026, None), Precision.YEAR),
    "2026-02": FhirTime((2026, 2), Precision.MONTH),
    "2026-02-28": FhirTime(date(2026, 2, 28), Precision.DAY),
    "2024-02-29": FhirTime(date(2024, 2, 29), Precision.DAY),
    "2026-01-05T15:10:00Z": FhirTime(utc(2026, 1, 5, 15, 10), Precision.TIME, True),
    "2026-01-05T10:10:00-05:00": FhirTime(utc(2026, 1, 5, 15, 10), Precision.TIME, True),
    "2026-01-05T23:59:59+14:00": FhirTime(utc(2026, 1, 5, 9, 59, 59), Precision.TIME, True),
    "2026-01-05T15:10:00.123456789Z": FhirTime(utc(2026, 1, 5, 15, 10, 0, 123456), Precision.TIME, True),
    "2016-12-31T23:59:60Z": FhirTime(utc(2017, 1, 1), Precision.TIME, True),
    "2016-12-31T18:59:60.5-05:00": FhirTime(utc(2017, 1, 1, 0, 0, 0, 500000), Precision.TIME, True),
    "0001-01-01T00:00:00Z": FhirTime(utc(1, 1, 1), Precision.TIME, True),
}

REFUSED = [
    "",
    " 2026",
    "2026\n",
    "26",
    "0000",
    "0000-01-01",
    "2026-1-5",
    "2026-13",
    "2026-00",
    "2026-02-29",
    "2026-02-30",
    "2026-04-31",
    "20260105",
    "2026-01-05T",
    "2026-01-05T15",
    "2026-01-05T15:10",
    "2026-01-05T15:10Z",
    "2026-01-05 15:10:00Z",
    "2026-01-05t15:10:00z",
    "2026-01-05T24:00:00Z",
    "2026-01-05T15:60:00Z",
    "2026-01-05T15:10:61Z",
    "2026-01-05T15:10:00.Z",
    "2026-01-05T15:10:00+0000",
    "2026-01-05T15:10:00+14:30",
    "2026-01-05T15:10:00 Z",
    "2026-01T15:10:00Z",
    "2026-01-05T15:10:00Z[Europe/Paris]",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:60Z",
    "2026-W02-1",
    "\N{ARABIC-INDIC DIGIT TWO}026",
]


@pytest.mark.parametrize(("text", "expected"), READ.items())
def test_legal_texts_are_read_into_utc(text: str, expected: FhirTime) -> None:
    assert times.parse_datetime(text) == expected


@pytest.mark.parametrize("text", REFUSED)
def test_illegal_texts_are_refused_also_when_tolerant(text: str) -> None:
    for zoneless in (False, True):
        with pytest.raises(BadInput) as refusal:
            times.parse_datetime(text, zoneless=zoneless, path="Task.authoredOn")
        assert [(problem.code, problem.path) for problem in refusal.value.problems] == [("value", "Task.authoredOn")]


def test_a_time_without_offset_is_refused_unless_it_is_asked_for() -> None:
    text = "2026-01-05T10:10:00"

    with pytest.raises(BadInput, match="no offset"):
        times.parse_datetime(text)
    found = times.parse_datetime(text, zoneless=True)

    assert found == FhirTime(datetime(2026, 1, 5, 10, 10), Precision.TIME, False)  # noqa: DTZ001 - no offset was given


def test_a_date_may_not_have_a_time() -> None:
    assert times.parse_date("2026-01").value == (2026, 1)
    with pytest.raises(BadInput, match="may not have a time"):
        times.parse_date("2026-01-05T10:10:00Z")


def test_an_instant_needs_time_and_offset() -> None:
    assert times.parse_instant("2026-01-05T10:10:00-05:00") == utc(2026, 1, 5, 15, 10)
    for text in ("2026", "2026-01-05", "2026-01-05T10:10:00"):
        with pytest.raises(BadInput):
            times.parse_instant(text)


def test_instants_are_written_in_utc() -> None:
    eastern = timezone(timedelta(hours=-5))

    assert times.format_instant(datetime(2026, 1, 5, 10, 10, tzinfo=eastern)) == "2026-01-05T15:10:00Z"
    assert times.format_instant(utc(2026, 1, 5, 15, 10, 0, 5000)) == "2026-01-05T15:10:00.005000Z"


def test_a_naive_time_is_never_written() -> None:
    naive = datetime(2026, 1, 5, 10, 10)  # noqa: DTZ001 - that is the point
    with pytest.raises(ValueError, match="aware"):
        times.format_instant(naive)
    with pytest.raises(ValueError, match="aware"):
        times.format_local(naive, UTC)


def test_local_times_name_their_zone() -> None:
    moment = utc(2026, 1, 6, 15, 30)

    assert times.format_local(moment, ZoneInfo("America/New_York")) == "Tue 6 Jan 2026 10:30 EST"
    assert times.format_local(moment, ZoneInfo("America/Sao_Paulo")) == "Tue 6 Jan 2026 12:30 UTC-03"
    assert (
        times.format_local(utc(2026, 7, 6, 15, 30), ZoneInfo("Australia/Lord_Howe")) == "Tue 7 Jul 2026 02:00 UTC+10:30"
    )


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.timezones()))  # noqa: DTZ001
def test_every_instant_survives_writing_and_reading(moment: datetime) -> None:
    assert times.parse_instant(times.format_instant(moment)) == moment.astimezone(UTC)


@given(st.text(max_size=40) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{0,9}[Z+-]?", fullmatch=True))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(BadInput):
        assert times.parse_datetime(text, zoneless=True).precision in Precision
