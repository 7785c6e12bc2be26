"""When and where sessions can take place: one clinic's hours, zone and customs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenHours:
    """One opening interval of a weekday, half-open, in the clinic's wall-clock time."""

    opens: time
    closes: time


@dataclass(frozen=True, slots=True, kw_only=True)
class Clinic:
    """A clinic file of ``mappings/clinics/``. Durations are elapsed time; hours are wall-clock in ``zone``.

    ``hours`` maps ISO weekday (1 = Monday) to opening intervals. ``slot_grid``: sessions start on
    multiples of it after the full hour. ``location``: the FHIR reference of the place in the target
    EHR (``Location/...``), None where the EHR needs none. ``pool``: reference of the care
    coordinators who own Tasks. ``crisis_text``: what to do in a crisis, shown on every plan.
    ``extended_hours``: further hours in which sessions are held when the usual hours leave none, by
    telehealth where ``extended_by_telehealth``. ``early_edge``: sessions may start on the day after a dose
    shortly before the window opens. ``consent_required``: without a consent a person decides.
    ``weekly_is_enough``: a dose without a session is nobody's work as long as its week has one.
    ``therapist_present``: whether a therapist accompanies doses here (else there is medical monitoring only);
    None where that differs from dose to dose.
    """

    name: str
    title: str
    zone: ZoneInfo
    hours: Mapping[int, tuple[OpenHours, ...]]
    holidays: frozenset[date] = frozenset()
    slot_grid: timedelta
    session_length: timedelta
    next_dose_buffer: timedelta
    location: str | None = None
    location_display: str | None = None
    pool: str | None = None
    pool_display: str | None = None
    crisis_text: str | None = None
    enrolled_locations: frozenset[str] = field(default_factory=frozenset)
    enrolled_protocols: frozenset[str] = field(default_factory=frozenset)
    extended_hours: Mapping[int, tuple[OpenHours, ...]] = field(default_factory=dict)
    extended_by_telehealth: bool = False
    early_edge: bool = False
    consent_required: bool = False
    weekly_is_enough: bool = False
    therapist_present: bool | None = None
