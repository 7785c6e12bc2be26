"""Which starts a clinic's calendar gives, over holidays and changes of the clocks."""

from datetime import date, time, timedelta

from afterdose.core.care import SessionClass, SessionState
from afterdose.core.clinic import Clinic, OpenHours
from afterdose.core.dose import PlannedKind
from afterdose.core.grid import starts
from afterdose.core.reasons import Reason
from afterdose.core.slots import Occasion, booked, fits, propose
from afterdose.core.window import NextDose, score, window_after
from builders import EVERY_DAY, a_clinic, a_rules, local

RULES = a_rules()


def _starts(clinic: Clinic, first: str, before: str) -> list[str]:
    found = starts(clinic, local(first), local(before))
    return [start.astimezone(clinic.zone).strftime("%d %H:%M %Z") for start in found]


def _occasion(anchor: str, *, next_dose: str | None = None, heard: str | None = None) -> Occasion:
    coming = NextDose(local(next_dose), PlannedKind.PLANNED) if next_dose else None
    window = window_after(local(anchor), RULES, next_dose=coming, buffer=timedelta(hours=1))
    return Occasion(
        anchor=local(anchor), heard_at=local(heard or anchor), window=window, next_dose=coming, dosing_days=frozenset()
    )


def test_a_session_ends_within_opening_hours() -> None:
    clinic = a_clinic(opens="09:15", closes="11:00")
    assert _starts(clinic, "2026-01-05 00:00", "2026-01-06 00:00") == ["05 09:30 EST", "05 10:00 EST"]


def test_a_clinic_can_close_at_midnight() -> None:
    clinic = a_clinic(opens="22:00", closes="00:00")
    assert _starts(clinic, "2026-01-05 12:00", "2026-01-06 12:00")[-1] == "05 23:00 EST"


def test_the_grid_counts_after_the_full_hour() -> None:
    clinic = a_clinic(
        opens="09:00", closes="11:00", slot_grid=timedelta(minutes=45), session_length=timedelta(minutes=50)
    )
    assert _starts(clinic, "2026-01-05 00:00", "2026-01-06 00:00") == ["05 09:00 EST", "05 09:45 EST", "05 10:00 EST"]


def test_a_clinic_with_a_lunch_break_gives_no_session_over_it() -> None:
    hours = (OpenHours(opens=time(9), closes=time(10, 30)), OpenHours(opens=time(12), closes=time(13)))
    clinic = a_clinic(hours={1: hours})
    assert _starts(clinic, "2026-01-05 00:00", "2026-01-06 00:00") == ["05 09:00 EST", "05 09:30 EST", "05 12:00 EST"]


def test_a_holiday_gives_none() -> None:
    clinic = a_clinic(holidays=frozenset({date(2026, 1, 5)}))
    assert _starts(clinic, "2026-01-05 00:00", "2026-01-06 09:30") == ["06 09:00 EST"]


def test_an_hour_that_the_clocks_skip_gives_no_start() -> None:
    clinic = a_clinic(days=EVERY_DAY, opens="01:00", closes="05:00")
    found = _starts(clinic, "2026-03-08 00:00", "2026-03-09 00:00")
    assert found == ["08 01:00 EST", "08 01:30 EST", "08 03:00 EDT", "08 03:30 EDT", "08 04:00 EDT"]


def test_an_hour_that_comes_twice_gives_two_starts_in_the_order_of_time() -> None:
    clinic = a_clinic(days=EVERY_DAY, opens="01:00", closes="03:00")
    found = _starts(clinic, "2026-11-01 00:00", "2026-11-02 00:00")
    assert found == ["01 01:00 EDT", "01 01:30 EDT", "01 01:00 EST", "01 01:30 EST", "01 02:00 EST"]


def test_a_session_that_runs_past_the_window_is_an_edge() -> None:
    session = propose(_occasion("2026-01-09 09:40"), RULES, a_clinic())
    assert (session.start, session.session_class) == (local("2026-01-12 09:00"), SessionClass.EDGE)


def test_a_start_at_72_hours_is_after_the_window() -> None:
    session = propose(_occasion("2026-01-09 09:00"), RULES, a_clinic())
    assert (session.session_class, session.reasons) == (SessionClass.POST_WINDOW, (Reason.POST_WINDOW,))
    assert (session.start, session.period_end) == (local("2026-01-12 09:00"), local("2026-01-16 09:00"))


def test_a_session_after_the_window_ends_before_the_next_dose() -> None:
    occasion = _occasion("2026-01-09 09:00", next_dose="2026-01-12 10:30")
    assert propose(occasion, RULES, a_clinic()).reasons == (Reason.WINDOW_CUT,)
    occasion = _occasion("2026-01-09 09:00", next_dose="2026-01-12 11:00")
    session = propose(occasion, RULES, a_clinic())
    assert (session.end, session.period_end) == (local("2026-01-12 10:00"), local("2026-01-12 10:00"))


def test_a_clinic_that_is_never_open_says_so() -> None:
    session = propose(_occasion("2026-01-05 10:00"), RULES, a_clinic(days=()))
    assert (session.state, session.reasons) == (SessionState.UNMET, (Reason.NO_CLINIC_HOURS,))


def test_a_dose_heard_of_in_the_last_hours_of_its_week_is_too_late() -> None:
    session = propose(_occasion("2026-01-05 10:00", heard="2026-01-12 08:00"), RULES, a_clinic())
    assert session.reasons == (Reason.TOO_LATE,)


def test_a_booked_visit_keeps_its_time() -> None:
    session = booked(_occasion("2026-01-05 10:00"), local("2026-01-07 13:00"), None, RULES, a_clinic())
    assert (session.start, session.hours_after) == (local("2026-01-07 13:00"), 51.0)
    assert session.reasons == (Reason.TAKEN_OVER,)


def test_a_visit_fits_from_a_day_to_a_week_after_the_dose() -> None:
    anchor = local("2026-01-05 10:00")
    found = [fits(anchor + timedelta(hours=hours), anchor, RULES, a_clinic()) for hours in (23, 24, 72, 167, 168)]
    assert found == [False, True, True, True, False]


def test_the_score_falls_slowly_for_a_day_and_then_faster() -> None:
    found = {hours: score(timedelta(hours=hours), RULES) for hours in (23.9, 24, 36, 48, 60, 66, 72, 72.1)}
    assert found == {23.9: 0.0, 24: 1.0, 36: 0.875, 48: 0.75, 60: 0.5, 66: 0.375, 72: 0.25, 72.1: 0.0}
