"""What has to be known to judge a dose, so that nothing is asked for that would change nothing."""

from datetime import datetime

from afterdose.core.amounts import amount
from afterdose.core.dose import Dose, Drug, Route
from afterdose.core.eligibility import is_nasal_esketamine
from afterdose.core.protocol import Rules
from afterdose.core.session import begins, ends, time_problems

_NOTHING_GIVEN = frozenset({"entered-in-error", "not-done"})


def needs_context(drug: Drug, status: str | None) -> bool:
    """Whether what hangs on a dose can matter: it was given, and may be ketamine or esketamine."""
    return may_be_ours(drug) and status not in _NOTHING_GIVEN


def may_be_ours(drug: Drug) -> bool:
    """Whether a drug is, or cannot be told not to be, ketamine or esketamine."""
    return drug.family is not None or drug.unresolved or drug.conflicting


def needs_weight(dose: Dose, rules: Rules) -> bool:
    """Whether the body weight can matter: the dose is charted as a mass, and its route has bounds by weight."""
    if is_nasal_esketamine(dose) or amount(dose, None).mg is None or dose.route is None:
        return False
    envelope, limits = rules.envelopes.get(dose.route), rules.exclusions
    bounds = [envelope.mg_per_kg_min, envelope.mg_per_kg_max] if envelope is not None else []
    if dose.route in (Route.INTRAVENOUS, Route.INTRAVENOUS_PUSH):
        bounds.append(limits.bolus_mg_per_kg)
    if dose.route is Route.INTRAMUSCULAR:
        bounds.append(limits.intramuscular_mg_per_kg)
    return any(bound is not None for bound in bounds)


def anaesthesia_span(dose: Dose, rules: Rules) -> tuple[datetime, datetime] | None:
    """When a drug of anaesthesia would exclude the dose; None where none could, or where its time is not sure."""
    within, start, end = rules.exclusions.anaesthesia_within, begins(dose), ends(dose)
    if within is None or start is None or time_problems(dose, rules) or is_nasal_esketamine(dose):
        return None
    return start - within, max(start, end[0] if end is not None else start) + within
