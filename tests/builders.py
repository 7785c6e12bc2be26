"""Values for tests with defaults that make sense together; a test names only what it is about.

The clinic is open Monday to Friday 09-17 in New York, sessions last an hour and start every half hour.
A dose is, unless said otherwise, 0.5 mg/kg of ketamine over 40 minutes for a depression.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from afterdose.core.care import Care, DoseVerdict, Known, KnownArtifact, PlanStatus, Snapshot, Standing
from afterdose.core.clinic import Clinic, OpenHours
from afterdose.core.codes import Codes, CodeSet, Product, ProductTerm
from afterdose.core.dose import (
    Coding,
    Context,
    Dose,
    DoseKey,
    Drug,
    Effective,
    Family,
    PlannedDose,
    ProductKind,
    Quantity,
    Route,
)
from afterdose.core.protocol import DoseEnvelope, EarlyEdge, Exclusions, Plausible, Practices, Protocol, Rules

NEW_YORK = ZoneInfo("America/New_York")
WEEKDAYS = (1, 2, 3, 4, 5)
EVERY_DAY = (1, 2, 3, 4, 5, 6, 7)

DEPRESSION = Coding("urn:test:diagnosis", "depression")
PSYCHOSIS = Coding("urn:test:diagnosis", "psychosis")
FRACTURE = Coding("urn:test:diagnosis", "fracture")
PSYCHIATRY = Coding("urn:test:place", "psychiatry")
THEATRE = Coding("urn:test:place", "theatre")
PAIN_CLINIC = Coding("urn:test:place", "pain-clinic")
ANAESTHETICS = Coding("urn:test:specialty", "anaesthetics")


def local(text: str, zone: ZoneInfo = NEW_YORK) -> datetime:
    """The UTC instant of a wall-clock time such as "2026-01-05 10:00"."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def a_rules(**changes: object) -> Rules:
    rules = Rules(
        opens_after=hours(24),
        peak_after=hours(24),
        plateau_ends_after=hours(48),
        closes_after=hours(72),
        nothing_before=hours(2),
        lead_time=hours(4),
        post_window_until=timedelta(days=7),
        score_at_opens=Decimal("1.0"),
        score_at_plateau_end=Decimal("0.75"),
        score_at_closes=Decimal("0.25"),
        cluster_gap=hours(6),
        course_gap=timedelta(days=90),
        future_tolerance=timedelta(minutes=15),
        longest_administration=hours(24),
        earliest_plausible=date(2000, 1, 1),
        active_phase=timedelta(days=28),
        active_trailing=timedelta(days=7),
        active_trailing_doses=2,
        envelopes={
            Route.INTRAVENOUS: DoseEnvelope(
                mg_per_kg_min=Decimal("0.1"),
                mg_per_kg_max=Decimal("1.0"),
                total_mg_max=Decimal(100),
                duration_min=timedelta(minutes=10),
                duration_max=timedelta(minutes=120),
            ),
            Route.INTRAMUSCULAR: DoseEnvelope(mg_per_kg_max=Decimal("1.5"), total_mg_max=Decimal(100)),
            Route.NASAL: DoseEnvelope(total_mg_max=Decimal(150)),
        },
        dose_needed=True,
        exclusions=Exclusions(
            bolus_mg_per_kg=Decimal("1.0"),
            bolus_shorter_than=timedelta(minutes=10),
            intramuscular_mg_per_kg=Decimal("2.5"),
            infusion_longer_than=hours(4),
            anaesthesia_within=hours(2),
        ),
        plausible=Plausible(
            dose_mg_max=Decimal(2000),
            dose_mg_per_kg_max=Decimal(13),
            weight_kg_min=Decimal(20),
            weight_kg_max=Decimal(350),
        ),
        adult_from_years=18,
        looks_after_anchor=(hours(2), hours(20), hours(48), timedelta(days=7), timedelta(days=14)),
        look_before_close=hours(12),
        look_while_waiting=hours(1),
        stuck_after=hours(24),
        early_edge=EarlyEdge(after=hours(20), score=Decimal("0.70"), not_before=time(6)),
        salt_to_base=Decimal("0.867"),
        preparation_until=timedelta(days=14),
        look_for_activation=hours(4),
        practices=Practices(
            preparation_sessions=(1, 3),
            sessions_per_week=1,
            journal_due=hours(24),
            mindfulness_length=(timedelta(minutes=10), timedelta(minutes=20)),
            mindfulness_until=hours(72),
            activation_due=(hours(48), hours(72)),
            sleep_support=timedelta(days=3),
            commitments_due=timedelta(days=7),
            relapse_plan_due=timedelta(days=7),
            outcome_checks=(timedelta(days=7), timedelta(days=14)),
            psychotherapy_every=timedelta(days=7),
        ),
    )
    return replace(rules, **changes)  # the names are checked by replace()


def a_protocol(family: Family = Family.KETAMINE, *dated: tuple[date, Rules]) -> Protocol:
    default = a_rules() if family is Family.KETAMINE else a_rules(dose_needed=False, envelopes={})
    return Protocol(
        id=f"{family}-test",
        version="1",
        title="Follow-up",
        family=family,
        review_by=date(2030, 1, 1),
        dated=dated or ((date(2000, 1, 1), default),),
    )


def a_clinic(
    *, days: Iterable[int] = WEEKDAYS, opens: str = "09:00", closes: str = "17:00", **changes: object
) -> Clinic:
    hours_of_day = (OpenHours(opens=time.fromisoformat(opens), closes=time.fromisoformat(closes)),)
    clinic = Clinic(
        name="test",
        title="Test clinic",
        zone=NEW_YORK,
        hours=dict.fromkeys(days, hours_of_day),
        slot_grid=timedelta(minutes=30),
        session_length=timedelta(minutes=60),
        next_dose_buffer=timedelta(minutes=60),
    )
    return replace(clinic, **changes)


def codes_for_tests() -> Codes:
    """A small code world: the systems are made up, so no test leans on a real code."""
    return Codes(
        products={
            ("urn:test:drug", "ketamine"): Product(family=Family.KETAMINE, kind=ProductKind.SINGLE_INGREDIENT),
            ("urn:test:drug", "nasal"): Product(family=Family.ESKETAMINE, kind=ProductKind.NASAL_ESKETAMINE),
        },
        product_terms=(
            ProductTerm(
                pattern=re.compile("ketamine", re.IGNORECASE),
                product=Product(family=Family.KETAMINE, kind=ProductKind.SINGLE_INGREDIENT),
            ),
        ),
        routes={},
        route_words={},
        units={},
        psychiatric_indications=_set(DEPRESSION),
        psychiatric_places=_set(PSYCHIATRY),
        psychiatric_specialties=_set(),
        excluded_places=_set(THEATRE),
        excluded_specialties=_set(ANAESTHETICS),
        outpatient_classes=frozenset({"AMB", "VR", "HH"}),
        emergency_classes=frozenset({"EMER"}),
        not_given_methods=_set(),
        caution_conditions=_set(PSYCHOSIS),
        pain_settings=_set(PAIN_CLINIC),
        outbound={},
    )


def a_drug(family: Family | None = Family.KETAMINE, **changes: object) -> Drug:
    kind = ProductKind.NASAL_ESKETAMINE if family is Family.ESKETAMINE else ProductKind.SINGLE_INGREDIENT
    return replace(Drug(family=family, kind=kind if family else None), **changes)


def a_context(**changes: object) -> Context:
    return replace(Context(encounter_class="AMB", weight_kg=Decimal(70), birth_date=date(1980, 5, 1)), **changes)


def a_dose(
    start: str | datetime = "2026-01-05 10:00",
    end: str | datetime | None = None,
    *,
    id: str = "dose-1",
    source: str = "ehr",
    minutes: float = 40,
    heard: str | datetime | None = None,
    family: Family | None = Family.KETAMINE,
    mg: str | None = "35",
    **changes: object,
) -> Dose:
    """A completed dose; ``start`` and ``end`` are wall-clock times in New York or instants."""
    began = local(start) if isinstance(start, str) else start
    over = local(end) if isinstance(end, str) else end or began + timedelta(minutes=minutes)
    known = local(heard) if isinstance(heard, str) else heard or over + timedelta(minutes=5)
    nasal = family is Family.ESKETAMINE
    dose = Dose(
        key=DoseKey(source, id),
        version="1",
        status="completed",
        patient="pat-1",
        drug=a_drug(family),
        effective=Effective(start=began, end=over, is_period=True),
        heard_at=known,
        route=Route.NASAL if nasal else Route.INTRAVENOUS,
        quantity=Quantity(value=Decimal(mg), unit="mg") if mg is not None else None,
        reasons=() if nasal else (DEPRESSION,),
        context=a_context(),
    )
    return replace(dose, **changes)


def a_planned_dose(at: str | datetime, family: Family | None = None) -> PlannedDose:
    return PlannedDose(at=local(at) if isinstance(at, str) else at, family=family)


def a_snapshot(*doses: Dose, **changes: object) -> Snapshot:
    snapshot = Snapshot(
        patient="pat-1",
        doses=doses,
        protocols={family: a_protocol(family) for family in Family},
        clinic=a_clinic(),
        codes=codes_for_tests(),
    )
    return replace(snapshot, **changes)


def after_writing(snapshot: Snapshot, care: Care) -> Snapshot:
    """The snapshot as it is when all that was desired has been written, nothing more."""
    rows = dict(snapshot.known.artifacts)
    ended = (PlanStatus.REVOKED, PlanStatus.ENTERED_IN_ERROR)
    writes = [(plan.key, plan.status in ended) for plan in care.plans]
    writes += [(one.key, one.cancelled) for one in (*care.appointments, *care.preparations) if not one.hold]
    writes += [(one.key, one.cancelled) for one in care.tasks]
    writes += [(one.key, one.ended) for one in care.goals]
    writes += [(one.key, one.cancelled) for one in care.activities if not one.hold and not one.waits]
    for key, gone in writes:
        standing = Standing.WITHDRAWN if gone else Standing.WRITTEN
        rows[key] = replace(rows.get(key, KnownArtifact(key=key, standing=standing)), standing=standing)
    for plan in care.plans:
        if plan.status in ended:
            rows[plan.key] = replace(rows[plan.key], ehr_status=str(plan.status))
    return replace(snapshot, known=Known(memberships=care.memberships, artifacts=rows))


def verdict_of(care: Care, id: str) -> DoseVerdict:
    """The one verdict that holds this administration, withdrawn or not."""
    found = [one for one in care.verdicts if id in {key.id for key in (*one.administrations, *one.withdrawn)}]
    if len(found) != 1:
        raise AssertionError(f"{len(found)} verdicts hold {id}")
    return found[0]


def _set(*codings: Coding) -> CodeSet:
    return CodeSet(codes=frozenset((coding.system, coding.code) for coding in codings))
