"""Psychiatric use, or anaesthesia, sedation, analgesia? Decision 0008, rules 2 to 4.

Ordered steps, every one leaves its reason: what the product is, hard exclusions, positive evidence,
the dose, then what lets a person decide. Three outcomes; a plan needs the first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum, auto

from afterdose.core.amounts import Amount, amount, can_be, duration, lasted, total, weight
from afterdose.core.clinic import Clinic
from afterdose.core.codes import Codes
from afterdose.core.dose import Dose, Family, ProductKind, Route
from afterdose.core.exclusions import exclusions, is_kind, reasons_of
from afterdose.core.protocol import DoseEnvelope, Rules
from afterdose.core.reasons import Eligibility, Reason

_INPATIENT_CATEGORY = "inpatient"  # http://terminology.hl7.org/CodeSystem/medication-admin-category
_NOTES = frozenset({Reason.ZONE_ASSUMED, Reason.NOT_GIVEN_METHOD})


class Setting(Enum):
    """Where it was given, as far as the encounter and the administration say."""

    OUTPATIENT = auto()
    EMERGENCY = auto()
    INPATIENT = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Assessment:
    """Outcome of the rule for one dose session, with the reasons in the order of the steps."""

    eligibility: Eligibility
    reasons: tuple[Reason, ...]


def assess(
    doses: Sequence[Dose],
    *,
    rules: Rules,
    codes: Codes,
    clinic: Clinic,
    day: date | None,
    more: Iterable[Reason] = (),
    beside: Sequence[Dose] = (),
) -> Assessment:
    """Judge the administrations of one dose session together.

    ``day`` is the clinic's local day of the dose, None where it is not known. ``more`` are findings
    from outside (times that cannot be worked with) that let a person decide. ``beside``: what else
    the patient was given.
    """
    excluded = [exclusions(dose, doses, beside, rules, codes, clinic) for dose in doses]
    if all(excluded):
        return Assessment(Eligibility.NOT_ELIGIBLE, _once(reason for found in excluded for reason in found))
    evidence = _evidence(doses, codes, clinic)
    base = _base(doses, evidence, rules, codes)
    if base.eligibility is Eligibility.NOT_ELIGIBLE:
        return base
    cautions = [reason for found in excluded for reason in found]
    cautions += _cautions(doses, rules, codes, clinic, day)
    cautions += more
    notes = [Reason.ZONE_ASSUMED] if any(dose.effective.zone_assumed for dose in doses) else []
    outcome = Eligibility.REVIEW if cautions else base.eligibility
    return Assessment(outcome, _once([*base.reasons, *cautions, *notes]))


def setting(doses: Iterable[Dose], codes: Codes) -> Setting:
    """The setting of a session; emergency beats inpatient beats outpatient where members differ."""
    found = {_setting(dose, codes) for dose in doses}
    order = (Setting.EMERGENCY, Setting.INPATIENT, Setting.OUTPATIENT)
    return next((one for one in order if one in found), Setting.UNKNOWN)


def judge_dose(doses: Sequence[Dose], rules: Rules) -> Reason:
    """How the dose stands to the envelope (step D), each route of the session for itself."""
    verdicts = [_judge_route(route, [dose for dose in doses if dose.route is route], rules) for route in _routes(doses)]
    order = (Reason.DOSE_IMPLAUSIBLE, Reason.ROUTE_UNKNOWN, Reason.DOSE_OUTSIDE_ENVELOPE, Reason.DOSE_MISSING)
    return next((reason for reason in order if reason in verdicts), Reason.DOSE_WITHIN_ENVELOPE)


def is_nasal_esketamine(dose: Dose) -> bool:
    """Whether it is esketamine by the nasal route, said by the product or by the route."""
    if dose.drug.family is not Family.ESKETAMINE:
        return False
    return dose.route is Route.NASAL or (dose.route is None and is_kind(dose, ProductKind.NASAL_ESKETAMINE))


def _base(doses: Sequence[Dose], evidence: tuple[Reason, ...], rules: Rules, codes: Codes) -> Assessment:
    """Steps P and D. Without its dose a record passes only by routes for which the protocol has a range."""
    if all(is_nasal_esketamine(dose) for dose in doses):
        return Assessment(Eligibility.ELIGIBLE, (Reason.NASAL_ESKETAMINE, *evidence))
    judged = judge_dose(doses, rules)
    if evidence:
        waived = not rules.dose_needed and all(dose.route in rules.envelopes for dose in doses)
        good = judged is Reason.DOSE_WITHIN_ENVELOPE or (
            waived and judged in (Reason.DOSE_MISSING, Reason.DOSE_IMPLAUSIBLE)
        )
        return Assessment(Eligibility.ELIGIBLE if good else Eligibility.REVIEW, (*evidence, judged))
    where = setting(doses, codes)
    if where is Setting.EMERGENCY:
        return Assessment(Eligibility.NOT_ELIGIBLE, (Reason.EMERGENCY, Reason.NO_PSYCHIATRIC_EVIDENCE))
    if where is Setting.INPATIENT:
        return Assessment(Eligibility.NOT_ELIGIBLE, (Reason.NO_PSYCHIATRIC_EVIDENCE,))
    return Assessment(Eligibility.REVIEW, (Reason.NO_PSYCHIATRIC_EVIDENCE, judged))


def _evidence(doses: Sequence[Dose], codes: Codes, clinic: Clinic) -> tuple[Reason, ...]:
    """Positive evidence (steps P2 to P4). A problem list is none: most patients of an ICU have one too."""
    contexts = [dose.context for dose in doses]
    enrolled = any(clinic.enrolled_protocols.intersection(one.request_protocols) for one in contexts)
    psychiatric = any(
        clinic.enrolled_locations.intersection(one.location_ids)
        or codes.psychiatric_places.holds_any(one.location_types)
        or codes.psychiatric_specialties.holds_any(one.specialties)
        for one in contexts
    )
    checks = (
        (Reason.ENROLLED_PROTOCOL, enrolled),
        (Reason.PSYCHIATRIC_INDICATION, _psychiatric_reasons(doses, codes)),
        (Reason.PSYCHIATRIC_SETTING, psychiatric),
    )
    return tuple(reason for reason, holds in checks if holds)


def _cautions(doses: Sequence[Dose], rules: Rules, codes: Codes, clinic: Clinic, day: date | None) -> list[Reason]:
    """What lets a person decide although the use is psychiatric (step S, and what decoding found)."""
    contexts = [dose.context for dose in doses]
    told = [coding for dose in doses for coding in (*reasons_of(dose), *dose.context.conditions)]
    places = [coding for one in contexts for coding in (*one.location_types, *one.specialties)]
    marks = [coding for dose in doses for coding in (*dose.labels, *dose.context.marks)]
    checks = (
        (Reason.DRUG_CODES_CONFLICT, any(dose.drug.conflicting for dose in doses)),
        (Reason.MEDICATION_UNRESOLVED, any(dose.drug.unresolved for dose in doses)),
        (Reason.DRUG_BY_TEXT_ONLY, any(dose.drug.by_text for dose in doses)),
        (Reason.STOPPED_PARTIAL_DOSE, any(dose.status == "stopped" for dose in doses)),
        (Reason.EMERGENCY, setting(doses, codes) is Setting.EMERGENCY),
        (Reason.PAIN_SETTING, codes.pain_settings.holds_any(places)),
        (Reason.PATIENT_MINOR, any(_is_minor(one.birth_date, day, rules) for one in contexts)),
        (Reason.CAUTION_CONDITION, codes.caution_conditions.holds_any(told)),
        (Reason.RESEARCH_BLINDED, codes.blinded_marks.holds_any(marks)),
        (Reason.CONSENT_MISSING, clinic.consent_required and not any(one.consent for one in contexts)),
    )
    found = [reason for reason, holds in checks if holds]
    return found + [reason for dose in doses for reason in dose.problems if reason not in _NOTES]


def _judge_route(route: Route | None, doses: Sequence[Dose], rules: Rules) -> Reason:
    kilograms = weight(doses, rules.plausible)
    amounts = [amount(dose, kilograms, rules.salt_to_base) for dose in doses]
    given = total(amounts)
    if not all(can_be(one, rules.plausible) for one in (*amounts, given)):
        return Reason.DOSE_IMPLAUSIBLE
    if route is None:
        return Reason.ROUTE_UNKNOWN
    if not given.known:
        return Reason.DOSE_MISSING
    envelope = rules.envelopes.get(route)
    if envelope is None or not _lasts(doses, envelope):
        return Reason.DOSE_OUTSIDE_ENVELOPE
    return _compare(given, envelope)


def _compare(given: Amount, envelope: DoseEnvelope) -> Reason:
    """By body weight where that is known and bounded, else by the total."""
    low, high = envelope.mg_per_kg_min, envelope.mg_per_kg_max
    if given.mg_per_kg is not None and (low is not None or high is not None):
        inside = (low is None or given.mg_per_kg >= low) and (high is None or given.mg_per_kg <= high)
    elif given.mg is not None:
        inside = envelope.total_mg_max is not None and given.mg <= envelope.total_mg_max
    else:
        return Reason.DOSE_MISSING
    return Reason.DOSE_WITHIN_ENVELOPE if inside else Reason.DOSE_OUTSIDE_ENVELOPE


def _lasts(doses: Sequence[Dose], envelope: DoseEnvelope) -> bool:
    """Whether it ran as long as the envelope says; a duration that nobody charted is no objection."""
    if any(duration(dose) is None for dose in doses):
        return True
    ran = lasted(doses)
    low, high = envelope.duration_min, envelope.duration_max
    return (low is None or ran >= low) and (high is None or ran <= high)


def _psychiatric_reasons(doses: Iterable[Dose], codes: Codes) -> bool:
    return any(codes.psychiatric_indications.holds_any(reasons_of(dose)) for dose in doses)


def _setting(dose: Dose, codes: Codes) -> Setting:
    known = dose.context.encounter_class
    if known in codes.emergency_classes or codes.emergency_places.holds_any(dose.context.location_types):
        return Setting.EMERGENCY
    if known in codes.outpatient_classes:
        return Setting.OUTPATIENT
    if known is not None or dose.category == _INPATIENT_CATEGORY:
        return Setting.INPATIENT
    return Setting.UNKNOWN if dose.category is None else Setting.OUTPATIENT


def _routes(doses: Iterable[Dose]) -> list[Route | None]:
    return list(dict.fromkeys(dose.route for dose in doses))


def _is_minor(born: date | None, day: date | None, rules: Rules) -> bool:
    if born is None or day is None:
        return False
    age = day.year - born.year - ((day.month, day.day) < (born.month, born.day))
    return age < rules.adult_from_years


def _once(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    return tuple(dict.fromkeys(reasons))
