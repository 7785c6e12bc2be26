"""The clinical numbers as the rules use them; they are written in ``mappings/protocols/`` and nowhere else."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from operator import itemgetter

from afterdose.core.dose import Family, Route


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseEnvelope:
    """The dose range of psychiatric use for one route; outside it a person decides.

    mg per kg of body weight where the weight is known, else total mg. None = not bounded.
    """

    mg_per_kg_min: Decimal | None = None
    mg_per_kg_max: Decimal | None = None
    total_mg_max: Decimal | None = None
    duration_min: timedelta | None = None
    duration_max: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusions:
    """Amounts and durations that speak for anaesthesia, sedation or analgesia, whatever else is known.

    Amounts are mg per kg of body weight in one administration; None = not applied. An intravenous
    push, or an intravenous period shorter than ``bolus_shorter_than``, is a bolus.
    """

    bolus_mg_per_kg: Decimal | None = None
    bolus_shorter_than: timedelta | None = None
    intramuscular_mg_per_kg: Decimal | None = None
    infusion_longer_than: timedelta | None = None
    anaesthesia_within: timedelta | None = None
    """A drug or procedure of anaesthesia, or an ECT, this close before or after the dose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyEdge:
    """A start shortly before the window opens, on the day after the dose; only where the clinic wants it.

    ``not_before``: the driving floor, in the clinic's wall-clock time (the next day after a restful sleep).
    """

    after: timedelta
    score: Decimal
    not_before: time


@dataclass(frozen=True, slots=True, kw_only=True)
class Plausible:
    """What a charted number can be at all; outside it a person looks. None = not bounded."""

    dose_mg_max: Decimal | None = None
    dose_mg_per_kg_max: Decimal | None = None
    weight_kg_min: Decimal | None = None
    weight_kg_max: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Practices:
    """The numbers of what belongs to a course besides its integration sessions.

    Durations are elapsed time from the anchor unless said otherwise; pairs are the least and the most.
    """

    preparation_sessions: tuple[int, int]
    """Before the first dose of a course."""
    sessions_per_week: int
    """At least so many integration sessions a week in the active phase."""
    journal_due: timedelta
    mindfulness_length: tuple[timedelta, timedelta]
    """Of one practice; once a day."""
    mindfulness_until: timedelta
    activation_due: tuple[timedelta, timedelta]
    """Between these a planned activity is to be done."""
    sleep_support: timedelta
    commitments_due: timedelta
    """Where the next dose is not known; else it is the deadline."""
    relapse_plan_due: timedelta
    """From the first dose of the course; earlier where the active phase ends before."""
    outcome_checks: tuple[timedelta, ...]
    """From the latest dose of the course."""
    psychotherapy_every: timedelta
    """How often psychotherapy that does not depend on doses is proposed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The numbers in force on one day. All durations are elapsed time, counted from the anchor
    (the end of the dose session) unless said otherwise."""

    opens_after: timedelta
    peak_after: timedelta
    plateau_ends_after: timedelta
    closes_after: timedelta
    nothing_before: timedelta
    lead_time: timedelta
    """From hearing of a dose to the earliest session that can still be arranged."""
    post_window_until: timedelta
    """A dose first heard of later than this, or a session later than this, is too late."""
    score_at_opens: Decimal
    score_at_plateau_end: Decimal
    score_at_closes: Decimal
    cluster_gap: timedelta
    """Administrations with no larger gap between them are one dose session."""
    course_gap: timedelta
    future_tolerance: timedelta
    longest_administration: timedelta
    earliest_plausible: date
    active_phase: timedelta
    """A course is in its active phase at least this long after its first dose."""
    active_trailing: timedelta
    active_trailing_doses: int
    """At least this many dose sessions in the trailing time keep a course active."""
    envelopes: Mapping[Route, DoseEnvelope]
    dose_needed: bool
    """Whether a missing or implausible dose goes to review; by a route without an envelope every dose does."""
    exclusions: Exclusions
    plausible: Plausible
    adult_from_years: int
    """A patient younger than this on the day of the dose goes to review."""
    looks_after_anchor: tuple[timedelta, ...]
    """When the care after a dose is looked at again, besides the edges of its window."""
    look_before_close: timedelta
    """How long before its window closes the care after a dose is looked at again."""
    look_while_waiting: timedelta
    """How often a dose that is not over yet is looked at again."""
    stuck_after: timedelta
    """A dose that is not over this long after its start, or after we heard of it, is asked about."""
    early_edge: EarlyEdge
    salt_to_base: Decimal
    """Milligrams of base in one milligram of salt."""
    preparation_until: timedelta
    """Preparation sessions are proposed this long before the first dose at the earliest."""
    look_for_activation: timedelta
    """How often a plan that no clinician has activated is looked at, while activities of its patient wait for that."""
    practices: Practices


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A protocol file: dated sets of rules for one substance family. Instances are immutable.

    ``dated`` holds (first day in force, rules), oldest first. The protocol in force on the day of
    the anchor applies to a dose, also when the dose is looked at later.
    """

    id: str
    version: str
    title: str
    family: Family
    review_by: date
    dated: tuple[tuple[date, Rules], ...]
    evidence: tuple[str, ...] = ()
    """The limits of the evidence, in sentences that stand on every plan."""

    def rules_on(self, day: date) -> Rules:
        """The rules in force on ``day``; the oldest set for days before it."""
        place = bisect_right(self.dated, day, key=itemgetter(0)) - 1
        return self.dated[max(place, 0)][1]
