"""The steps by which a session is found when the usual hours of the window have no room."""

from dataclasses import replace
from datetime import time, timedelta
from decimal import Decimal

from afterdose.core.care import Session, SessionClass, local_day
from afterdose.core.clinic import Clinic, OpenHours
from afterdose.core.dose import PlannedKind
from afterdose.core.reasons import Reason
from afterdose.core.slots import Occasion, fits, propose
from afterdose.core.window import NextDose, window_after
from builders import EVERY_DAY, a_clinic, a_rules, local

RULES = a_rules()
WEEKEND = {6: (OpenHours(opens=time(10), closes=time(14)),), 7: (OpenHours(opens=time(10), closes=time(14)),)}


def _proposed(end: str, clinic: Clinic, *, next_dose: str | None = None, heard: str | None = None) -> Session:
    anchor = local(end)
    coming = NextDose(local(next_dose), PlannedKind.PLANNED) if next_dose else None
    window = window_after(anchor, RULES, next_dose=coming, buffer=clinic.next_dose_buffer)
    days = frozenset({local_day(anchor, clinic)} | ({local_day(coming.at, clinic)} if coming else set()))
    occasion = Occasion(
        anchor=anchor,
        heard_at=local(heard) if heard else anchor,
        window=window,
        next_dose=coming,
        dosing_days=days,
    )
    return propose(occasion, RULES, clinic)


def test_extended_hours_take_what_usual_hours_cannot() -> None:
    session = _proposed("2026-01-09 09:40", a_clinic(extended_hours=WEEKEND), next_dose="2026-01-12 09:00")
    assert (session.start, session.reasons) == (local("2026-01-10 10:00"), (Reason.EXTENDED_HOURS,))
    assert session.session_class is SessionClass.IN_WINDOW


def test_telehealth_is_told_as_such() -> None:
    clinic = a_clinic(extended_hours=WEEKEND, extended_by_telehealth=True)
    session = _proposed("2026-01-09 09:40", clinic)
    assert (session.start, session.reasons) == (
        local("2026-01-10 10:00"),
        (Reason.EXTENDED_HOURS, Reason.TELEHEALTH),
    )


def test_usual_hours_come_before_extended_ones_in_the_same_band() -> None:
    evenings = dict.fromkeys(range(1, 8), (OpenHours(opens=time(17), closes=time(20)),))
    session = _proposed("2026-01-05 16:20", a_clinic(extended_hours=evenings))
    assert (session.start, session.reasons) == (local("2026-01-07 09:00"), ())


def test_extended_hours_are_for_the_window_alone() -> None:
    session = _proposed("2026-01-05 10:40", a_clinic(extended_hours=WEEKEND, days=(1,)), heard="2026-01-09 08:00")
    assert (session.start, session.session_class) == (local("2026-01-12 09:00"), SessionClass.POST_WINDOW)


def test_the_early_edge_is_off_unless_the_clinic_wants_it() -> None:
    thursday = "2026-01-08 16:20"
    usual, early = _proposed(thursday, a_clinic()), _proposed(thursday, a_clinic(early_edge=True))
    assert (usual.start, usual.session_class) == (local("2026-01-12 09:00"), SessionClass.POST_WINDOW)
    assert (early.start, early.session_class, early.score) == (
        local("2026-01-09 12:30"),
        SessionClass.EARLY_EDGE,
        0.7,
    )
    assert early.reasons == (Reason.EARLY_EDGE,)


def test_the_early_edge_is_ranked_by_its_score() -> None:
    clinic = a_clinic(early_edge=True)
    assert _proposed("2026-01-05 16:20", clinic).start == local("2026-01-07 09:00")
    eager = replace(RULES, early_edge=replace(RULES.early_edge, score=Decimal("0.9")))
    anchor = local("2026-01-05 16:20")
    window = window_after(anchor, eager, next_dose=None, buffer=clinic.next_dose_buffer)
    occasion = Occasion(anchor=anchor, heard_at=anchor, window=window, next_dose=None, dosing_days=frozenset())
    assert propose(occasion, eager, clinic).start == local("2026-01-06 12:30")


def test_the_early_edge_is_on_the_next_day_and_not_before_the_morning() -> None:
    clinic = a_clinic(days=EVERY_DAY, opens="00:00", closes="07:00", early_edge=True)
    late = _proposed("2026-01-05 08:00", clinic, next_dose="2026-01-06 12:00")
    assert late.session_class is not SessionClass.EARLY_EDGE
    night = _proposed("2026-01-05 06:30", clinic)
    assert night.session_class is not SessionClass.EARLY_EDGE
    assert night.start == local("2026-01-07 00:00")


def test_a_visit_that_people_booked_on_the_early_edge_fits_where_the_clinic_wants_it() -> None:
    anchor = local("2026-01-05 10:00")
    assert fits(anchor + timedelta(hours=21), anchor, RULES, a_clinic(early_edge=True))
    assert not fits(anchor + timedelta(hours=21), anchor, RULES, a_clinic())


def test_a_start_that_clears_the_expected_dose_goes_before_one_that_does_not() -> None:
    clinic = a_clinic(extended_hours=WEEKEND)
    anchor = local("2026-01-09 09:40")
    window = window_after(anchor, RULES, next_dose=None, buffer=clinic.next_dose_buffer)
    occasion = Occasion(anchor=anchor, heard_at=local("2026-01-11 08:00"), window=window, next_dose=None,
                        dosing_days=frozenset(), predicted=local("2026-01-12 10:00"))  # fmt: skip
    assert propose(occasion, RULES, clinic).start == local("2026-01-11 12:00")
    assert propose(replace(occasion, predicted=None), RULES, clinic).start == local("2026-01-12 09:00")
