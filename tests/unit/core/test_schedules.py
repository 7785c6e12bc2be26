"""Published dose schedules, and what they must lead to."""

from dataclasses import replace
from datetime import timedelta

import pytest

from afterdose.core.care import Phase, SessionClass, SessionState, Snapshot
from afterdose.core.dose import Dose, Family
from afterdose.core.plan import decide
from afterdose.core.reasons import Outcome, Reason
from builders import EVERY_DAY, a_clinic, a_dose, a_snapshot, local


def _series(days: list[str], start: str, minutes: float, family: Family = Family.KETAMINE) -> tuple[Dose, ...]:
    return tuple(
        a_dose(f"2026-{day} {start}", id=f"dose-{day}", minutes=minutes, family=family, mg="56" if family else "35")
        for day in days
    )


def _sessions(snapshot: Snapshot) -> dict[str, tuple[str, float, float] | str]:
    """By dose: the clinic's wall-clock start, hours and score, or the reason why there is none."""
    found: dict[str, tuple[str, float, float] | str] = {}
    for verdict in decide(snapshot, local("2026-12-01 00:00")).verdicts:
        session = verdict.session
        assert session is not None
        if session.start is None or session.hours_after is None or session.score is None:
            found[verdict.founder.id[5:]] = session.reasons[0]
            continue
        begins = session.start.astimezone(snapshot.clinic.zone).strftime("%a %m-%d %H:%M")
        found[verdict.founder.id[5:]] = (begins, round(session.hours_after, 2), round(session.score, 3))
    return found


MONDAYS_AND_THURSDAYS = ["01-05", "01-08", "01-12", "01-15", "01-19", "01-22", "01-26", "01-29"]
LATER_MONDAYS = ["02-02", "02-09", "02-16", "02-23", "03-02", "03-16"]


def test_a1_every_dose_of_the_esketamine_label_gets_the_next_morning() -> None:
    snapshot = a_snapshot(*_series(MONDAYS_AND_THURSDAYS + LATER_MONDAYS, "10:00", 10, Family.ESKETAMINE))
    found = _sessions(snapshot)
    assert len(found) == 14
    assert {(begins[:3], begins[-5:], hours, score) for begins, hours, score in found.values()} == {
        ("Tue", "10:30", 24.33, 0.997),
        ("Fri", "10:30", 24.33, 0.997),
    }


def test_a1_the_thursday_dose_closes_the_window_of_the_monday_dose_an_hour_before() -> None:
    snapshot = a_snapshot(*_series(MONDAYS_AND_THURSDAYS + LATER_MONDAYS, "10:00", 10, Family.ESKETAMINE))
    for verdict in decide(snapshot, local("2026-12-01 00:00")).verdicts[:8:2]:
        assert verdict.window is not None
        assert verdict.anchor is not None
        assert verdict.window.closes == verdict.anchor - timedelta(minutes=10) + timedelta(days=3, hours=-1)
        assert verdict.window.cut_by is not None


def test_a1_the_course_is_active_until_weekly_doses_have_lasted_a_week() -> None:
    snapshot = a_snapshot(*_series(MONDAYS_AND_THURSDAYS + LATER_MONDAYS, "10:00", 10, Family.ESKETAMINE))
    phases = [verdict.phase for verdict in decide(snapshot, local("2026-12-01 00:00")).verdicts]
    assert phases == [Phase.ACTIVE] * 9 + [Phase.MAINTENANCE] * 5


def test_a3_three_infusions_a_week_lose_the_friday_dose_before_a_monday_dose() -> None:
    snapshot = a_snapshot(*_series(["01-05", "01-07", "01-09", "01-12", "01-14", "01-16"], "09:00", 40))
    assert _sessions(snapshot) == {
        "01-05": ("Tue 01-06 10:00", 24.33, 0.997),
        "01-07": ("Thu 01-08 10:00", 24.33, 0.997),
        "01-09": Reason.WINDOW_CUT,
        "01-12": ("Tue 01-13 10:00", 24.33, 0.997),
        "01-14": ("Thu 01-15 10:00", 24.33, 0.997),
        "01-16": ("Mon 01-19 09:00", 71.33, 0.264),
    }
    care = decide(snapshot, local("2026-01-20 00:00"))
    unmet, last = care.verdicts[2], care.verdicts[5]
    assert (unmet.outcome, unmet.session.state) == (Outcome.UNMET, SessionState.UNMET)
    assert (unmet.window.opens, unmet.window.closes) == (local("2026-01-10 09:40"), local("2026-01-12 08:00"))
    assert last.session.session_class is SessionClass.EDGE


def test_a3_a_clinic_that_is_open_at_weekends_loses_nothing() -> None:
    doses = _series(["01-05", "01-07", "01-09", "01-12", "01-14", "01-16"], "09:00", 40)
    found = _sessions(a_snapshot(*doses, clinic=a_clinic(days=EVERY_DAY)))
    assert found["01-09"] == ("Sat 01-10 10:00", 24.33, 0.997)
    assert found["01-16"] == ("Sat 01-17 10:00", 24.33, 0.997)


def test_a7_ninety_minute_sessions_follow_a_day_after_each_infusion() -> None:
    snapshot = a_snapshot(
        *_series(["01-06", "01-13", "01-20"], "10:00", 40), clinic=a_clinic(session_length=timedelta(minutes=90))
    )
    assert _sessions(snapshot) == {
        day: (f"Wed {session} 11:00", 24.33, 0.997)
        for day, session in {"01-06": "01-07", "01-13": "01-14", "01-20": "01-21"}.items()
    }
    for verdict in decide(snapshot, local("2026-02-01 00:00")).verdicts:
        assert verdict.session.end - verdict.session.start == timedelta(minutes=90)


def test_a10_time_counts_from_the_end_of_the_infusion() -> None:
    snapshot = a_snapshot(a_dose("2026-01-14 10:00", id="dose-01-14", minutes=52, mg="49.7"))
    assert _sessions(snapshot) == {"01-14": ("Thu 01-15 11:00", 24.13, 0.999)}


@pytest.mark.parametrize(
    ("start", "opens", "closes", "session"),
    [
        ("2026-03-07 10:00", "2026-03-08 11:40", "2026-03-10 11:40", "2026-03-08 12:00"),
        ("2026-10-31 10:00", "2026-11-01 09:40", "2026-11-03 09:40", "2026-11-01 10:00"),
    ],
    ids=["t1-the-clocks-go-forward", "t2-the-clocks-go-back"],
)
def test_a_day_of_the_window_is_24_elapsed_hours(start: str, opens: str, closes: str, session: str) -> None:
    care = decide(a_snapshot(a_dose(start), clinic=a_clinic(days=EVERY_DAY)), local(start))
    (verdict,) = care.verdicts
    assert (verdict.window.opens, verdict.window.closes) == (local(opens), local(closes))
    assert verdict.session.start == local(session)


def test_a_weekly_course_stays_in_maintenance_when_the_clocks_change() -> None:
    days = ["01-12", "01-19", "01-26", "02-02", "02-09", "02-16", "02-23", "03-02", "03-09"]
    care = decide(a_snapshot(*_series(days, "10:00", 40)), local("2026-03-10 10:00"))
    assert care.verdicts[-1].phase is Phase.MAINTENANCE


def test_a_dose_without_a_later_one_has_its_whole_window() -> None:
    dose = a_dose("2026-01-05 10:00")
    (verdict,) = decide(a_snapshot(replace(dose)), local("2026-01-05 12:00")).verdicts
    assert verdict.window.cut_by is None
    assert verdict.window.closes == local("2026-01-08 10:40")
