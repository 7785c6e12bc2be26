"""Psychiatric use or not: the acceptance cases and the steps of its rule."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from afterdose.core.dose import Dose, Effective, Family, ProductKind, Quantity, Route
from afterdose.core.eligibility import Assessment, assess
from afterdose.core.reasons import Eligibility, Reason
from builders import (
    ANAESTHETICS,
    DEPRESSION,
    FRACTURE,
    PAIN_CLINIC,
    PSYCHIATRY,
    PSYCHOSIS,
    THEATRE,
    a_clinic,
    a_context,
    a_dose,
    a_drug,
    a_rules,
    codes_for_tests,
)

ELIGIBLE, REVIEW, NOT = Eligibility.ELIGIBLE, Eligibility.REVIEW, Eligibility.NOT_ELIGIBLE
NASAL = Family.ESKETAMINE


def _assess(*doses: Dose, **clinic: object) -> Assessment:
    rules = a_rules() if doses[0].drug.family is not NASAL else a_rules(dose_needed=False, envelopes={})
    return assess(doses, rules=rules, codes=codes_for_tests(), clinic=a_clinic(**clinic), day=date(2026, 1, 5))


def _rate(value: str, unit: str) -> Quantity:
    return Quantity(value=Decimal(value), unit=unit)


CASES = [
    ("1 nasal esketamine kit, outpatient", a_dose(family=NASAL, mg="56"), ELIGIBLE, Reason.NASAL_ESKETAMINE),
    ("3 infusion with an indication on the order", a_dose(), ELIGIBLE, Reason.PSYCHIATRIC_INDICATION),
    (
        "5 the same without a reason",
        a_dose(reasons=(), context=a_context(encounter_class=None)),
        REVIEW,
        Reason.NO_PSYCHIATRIC_EVIDENCE,
    ),
    (
        "7 inpatient psychiatry",
        a_dose(reasons=(), context=a_context(encounter_class="IMP", location_types=(PSYCHIATRY,))),
        ELIGIBLE,
        Reason.PSYCHIATRIC_SETTING,
    ),
    (
        "9 procedural sedation by push",
        a_dose(mg="105", route=Route.INTRAVENOUS_PUSH, reasons=(FRACTURE,)),
        NOT,
        Reason.ANAESTHETIC_DOSE,
    ),
    (
        "11 twelve hours in intensive care",
        a_dose(minutes=720, mg=None, rate_quantity=_rate("0.2", "mg/kg/h"), context=a_context(encounter_class="IMP")),
        NOT,
        Reason.CONTINUOUS_INFUSION,
    ),
    (
        "13 agitation in the emergency department",
        a_dose(mg="280", route=Route.INTRAMUSCULAR, context=a_context(encounter_class="EMER", conditions=(PSYCHOSIS,))),
        NOT,
        Reason.ANAESTHETIC_DOSE,
    ),
    (
        "15 anaesthetic esketamine",
        a_dose(family=NASAL, route=Route.INTRAVENOUS, drug=a_drug(NASAL, kind=ProductKind.ANAESTHETIC_ESKETAMINE)),
        NOT,
        Reason.ANAESTHETIC_PRODUCT,
    ),
    ("17 sixteen years old", a_dose(context=a_context(birth_date=date(2009, 1, 6))), REVIEW, Reason.PATIENT_MINOR),
    (
        "21 words only, psychiatry",
        a_dose(mg=None, reasons=(), drug=a_drug(by_text=True), context=a_context(location_types=(PSYCHIATRY,))),
        REVIEW,
        Reason.DRUG_BY_TEXT_ONLY,
    ),
    (
        "23 a condition that asks for care",
        a_dose(context=a_context(conditions=(PSYCHOSIS,))),
        REVIEW,
        Reason.CAUTION_CONDITION,
    ),
    ("eighteen today", a_dose(context=a_context(birth_date=date(2008, 1, 5))), ELIGIBLE, Reason.PSYCHIATRIC_INDICATION),
    ("nasal esketamine without a dose", a_dose(family=NASAL, mg=None), ELIGIBLE, Reason.NASAL_ESKETAMINE),
    ("nasal esketamine, impossible dose", a_dose(family=NASAL, mg="-5"), ELIGIBLE, Reason.NASAL_ESKETAMINE),
    ("nasal product, no route", a_dose(family=NASAL, route=None), ELIGIBLE, Reason.NASAL_ESKETAMINE),
    (
        "nasal esketamine in an emergency",
        a_dose(family=NASAL, context=a_context(encounter_class="EMER")),
        REVIEW,
        Reason.EMERGENCY,
    ),
    ("ketamine without a dose", a_dose(mg=None), REVIEW, Reason.DOSE_MISSING),
    ("ketamine in millilitres", a_dose(quantity=_rate("3.5", "mL")), REVIEW, Reason.DOSE_MISSING),
    ("ketamine of nothing", a_dose(mg="0"), REVIEW, Reason.DOSE_IMPLAUSIBLE),
    ("ketamine by the kilogram", a_dose(mg="35000"), REVIEW, Reason.DOSE_IMPLAUSIBLE),
    ("ketamine above the range", a_dose(mg="80"), REVIEW, Reason.DOSE_OUTSIDE_ENVELOPE),
    ("ketamine in five minutes", a_dose(minutes=5), REVIEW, Reason.DOSE_OUTSIDE_ENVELOPE),
    ("dose per kilogram", a_dose(quantity=_rate("0.71", "mg/kg")), ELIGIBLE, Reason.DOSE_WITHIN_ENVELOPE),
    (
        "unknown weight, small total",
        a_dose(context=a_context(weight_kg=None), mg="100"),
        ELIGIBLE,
        Reason.DOSE_WITHIN_ENVELOPE,
    ),
    (
        "impossible weight counts as unknown",
        a_dose(context=a_context(weight_kg=Decimal(3)), mg="35"),
        ELIGIBLE,
        Reason.DOSE_WITHIN_ENVELOPE,
    ),
    (
        "rate and period give the dose",
        a_dose(mg=None, rate_quantity=_rate("0.75", "mg/kg/h")),
        ELIGIBLE,
        Reason.DOSE_WITHIN_ENVELOPE,
    ),
    ("route unknown", a_dose(route=None), REVIEW, Reason.ROUTE_UNKNOWN),
    ("a cream", a_dose(route=Route.TOPICAL), NOT, Reason.EXCLUDED_ROUTE),
    ("a mixture", a_dose(drug=a_drug(kind=ProductKind.COMBINATION)), NOT, Reason.COMBINATION_PRODUCT),
    ("in theatre", a_dose(context=a_context(location_types=(THEATRE,))), NOT, Reason.EXCLUDED_SETTING),
    (
        "anaesthetist without a psychiatric order",
        a_dose(reasons=(), context=a_context(specialties=(ANAESTHETICS,))),
        NOT,
        Reason.EXCLUDED_SPECIALTY,
    ),
    (
        "anaesthetist with a psychiatric order",
        a_dose(context=a_context(specialties=(ANAESTHETICS,))),
        ELIGIBLE,
        Reason.PSYCHIATRIC_INDICATION,
    ),
    ("pain clinic", a_dose(context=a_context(location_types=(PAIN_CLINIC,))), REVIEW, Reason.PAIN_SETTING),
    (
        "a problem list is no indication",
        a_dose(reasons=(), context=a_context(encounter_class="IMP", conditions=(DEPRESSION,))),
        NOT,
        Reason.NO_PSYCHIATRIC_EVIDENCE,
    ),
    (
        "emergency without evidence",
        a_dose(reasons=(), context=a_context(encounter_class="EMER")),
        NOT,
        Reason.EMERGENCY,
    ),
    ("emergency with an indication", a_dose(context=a_context(encounter_class="EMER")), REVIEW, Reason.EMERGENCY),
    (
        "charted as inpatient",
        a_dose(reasons=(), category="inpatient", context=a_context(encounter_class=None)),
        NOT,
        Reason.NO_PSYCHIATRIC_EVIDENCE,
    ),
    ("stopped", a_dose(status="stopped"), REVIEW, Reason.STOPPED_PARTIAL_DOSE),
    ("codes that conflict", a_dose(drug=a_drug(conflicting=True)), REVIEW, Reason.DRUG_CODES_CONFLICT),
    ("a problem of decoding", a_dose(problems=(Reason.MODIFIER_UNKNOWN,)), REVIEW, Reason.MODIFIER_UNKNOWN),
    (
        "a zone was assumed",
        a_dose(effective=Effective(start=a_dose().effective.start, end=a_dose().effective.end, zone_assumed=True)),
        ELIGIBLE,
        Reason.ZONE_ASSUMED,
    ),
    (
        "intravenous esketamine with an indication",
        a_dose(family=NASAL, route=Route.INTRAVENOUS, reasons=(DEPRESSION,)),
        REVIEW,
        Reason.DOSE_OUTSIDE_ENVELOPE,
    ),
]


@pytest.mark.parametrize(("dose", "outcome", "reason"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_rule_gives(dose: Dose, outcome: Eligibility, reason: Reason) -> None:
    found = _assess(dose)
    assert (found.eligibility, reason in found.reasons) == (outcome, True), found.reasons


def test_an_enrolled_place_or_protocol_is_evidence() -> None:
    context = a_context(location_ids=("Location/7",), request_protocols=("http://example.org/order-set",))
    dose = a_dose(reasons=(), context=context)
    at_place = _assess(dose, enrolled_locations=frozenset({"Location/7"}))
    on_order = _assess(dose, enrolled_protocols=frozenset({"http://example.org/order-set"}))
    assert (at_place.eligibility, at_place.reasons[0]) == (ELIGIBLE, Reason.PSYCHIATRIC_SETTING)
    assert (on_order.eligibility, on_order.reasons[0]) == (ELIGIBLE, Reason.ENROLLED_PROTOCOL)
    assert _assess(dose).eligibility is REVIEW


def test_the_parts_of_a_session_are_judged_together() -> None:
    parts = [a_dose(id=f"part-{number}", mg="30") for number in range(3)]
    assert _assess(*parts[:2]).eligibility is ELIGIBLE
    assert Reason.DOSE_OUTSIDE_ENVELOPE in _assess(*parts).reasons


def test_rate_changes_that_run_for_hours_are_a_continuous_infusion() -> None:
    rows = [a_dose(f"2026-01-05 {hour}:00", id=f"row-{hour}", minutes=100) for hour in (10, 12, 14)]
    assert _assess(*rows).reasons == (Reason.CONTINUOUS_INFUSION,)
    assert _assess(a_dose(minutes=26 * 60)).eligibility is not NOT


def test_an_excluded_part_of_a_session_lets_a_person_decide() -> None:
    theatre = a_dose(id="b", context=a_context(location_types=(THEATRE,)))
    found = _assess(a_dose(), theatre)
    assert (found.eligibility, Reason.EXCLUDED_SETTING in found.reasons) == (REVIEW, True)


def test_the_four_hour_limit_is_the_protocols() -> None:
    dose = a_dose(minutes=100)
    limits = a_rules().exclusions
    short = a_rules(exclusions=type(limits)(infusion_longer_than=timedelta(hours=1)))
    found = assess([dose], rules=short, codes=codes_for_tests(), clinic=a_clinic(), day=None)
    assert found.reasons == (Reason.CONTINUOUS_INFUSION,)
