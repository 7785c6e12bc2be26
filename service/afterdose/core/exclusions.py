"""What says that ketamine was given for anaesthesia, sedation or analgesia, whatever else is known (step X).

Products, places, specialties, routes, amounts and durations, and what was given or done at
about the same time.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from afterdose.core.amounts import Amount, amount, can_be, duration, lasted, weight
from afterdose.core.clinic import Clinic
from afterdose.core.codes import Codes
from afterdose.core.dose import Coding, Context, Dose, Happening, ProductKind, Route
from afterdose.core.protocol import Rules
from afterdose.core.reasons import Reason
from afterdose.core.session import begins, ends

_EXCLUDED_ROUTES = frozenset({Route.TOPICAL, Route.EPIDURAL, Route.OTHER})
_VENOUS = frozenset({Route.INTRAVENOUS, Route.INTRAVENOUS_PUSH})


def exclusions(
    dose: Dose, session: Sequence[Dose], beside: Iterable[Dose], rules: Rules, codes: Codes, clinic: Clinic
) -> tuple[Reason, ...]:
    """The hard exclusions (step X, and the products of step G0) that hold for one administration.

    ``session``: all administrations of its dose session. ``beside``: what else the patient was given.
    """
    context, limits = dose.context, rules.exclusions
    given = amount(dose, weight(session, rules.plausible), rules.salt_to_base)
    plausible = can_be(given, rules.plausible)
    checks = (
        (Reason.ANAESTHETIC_PRODUCT, is_kind(dose, ProductKind.ANAESTHETIC_ESKETAMINE)),
        (Reason.COMBINATION_PRODUCT, is_kind(dose, ProductKind.COMBINATION)),
        (Reason.EXCLUDED_SETTING, codes.excluded_places.holds_any(context.location_types)),
        (
            Reason.EXCLUDED_SPECIALTY,
            codes.excluded_specialties.holds_any(context.specialties)
            and not _ordered_for_psychiatry(dose, codes, clinic),
        ),
        (Reason.EXCLUDED_ROUTE, dose.route in _EXCLUDED_ROUTES and not is_kind(dose, ProductKind.NASAL_ESKETAMINE)),
        (
            Reason.ANAESTHETIC_DOSE,
            plausible
            and (
                (_is_bolus(dose, limits.bolus_shorter_than) and _reaches(given, limits.bolus_mg_per_kg))
                or (dose.route is Route.INTRAMUSCULAR and _reaches(given, limits.intramuscular_mg_per_kg))
            ),
        ),
        (Reason.CONTINUOUS_INFUSION, _is_continuous(session, rules)),
        (
            Reason.ANAESTHESIA_DRUG_BESIDE,
            any(_is_near(dose, span, limits.anaesthesia_within) for span in _anaesthetics(beside, context)),
        ),
        (
            Reason.ANAESTHESIA_OR_ECT,
            any(
                _is_near(dose, _of(one), limits.anaesthesia_within)
                for one in context.procedures
                if codes.anaesthesia_procedures.holds_any(one.codings)
            ),
        ),
    )
    return tuple(reason for reason, holds in checks if holds)


def was_given_for_it(other: Dose) -> bool:
    """Whether it is a drug of anaesthesia that was given, or is being given."""
    return other.drug.anaesthetic and not other.removed and other.status in ("completed", "in-progress", "stopped")


def _anaesthetics(beside: Iterable[Dose], context: Context) -> list[tuple[datetime, datetime] | None]:
    """When drugs of anaesthesia were given, as far as we were sent them or found them."""
    return [_span(other) for other in beside if was_given_for_it(other)] + [_of(one) for one in context.anaesthetics]


def reasons_of(dose: Dose) -> tuple[Coding, ...]:
    """The reasons that the administration and its request give."""
    return (*dose.reasons, *dose.context.request_reasons)


def is_kind(dose: Dose, kind: ProductKind) -> bool:
    """Whether the product is of a kind, and nothing contradicts that."""
    return dose.drug.kind is kind and not dose.drug.conflicting


def _ordered_for_psychiatry(dose: Dose, codes: Codes, clinic: Clinic) -> bool:
    """Whether the order is a psychiatric one: by its reason, by what it follows, or by its specialty."""
    context = dose.context
    return (
        codes.psychiatric_indications.holds_any(reasons_of(dose))
        or bool(clinic.enrolled_protocols.intersection(context.request_protocols))
        or codes.psychiatric_specialties.holds_any(context.specialties)
    )


def _span(dose: Dose) -> tuple[datetime, datetime] | None:
    start, end = begins(dose), ends(dose)
    if start is None:
        return None
    return start, max(start, end[0]) if end is not None else start


def _of(one: Happening) -> tuple[datetime, datetime] | None:
    start, end = one.start or one.end, one.end or one.start
    return (start, end) if start is not None and end is not None else None


def _is_near(dose: Dose, other: tuple[datetime, datetime] | None, within: timedelta | None) -> bool:
    own = _span(dose)
    if own is None or other is None or within is None:
        return False
    return other[0] - own[1] <= within and own[0] - other[1] <= within


def _is_bolus(dose: Dose, shorter_than: timedelta | None) -> bool:
    if dose.route is Route.INTRAVENOUS_PUSH:
        return True
    ran = duration(dose)
    if dose.route is not Route.INTRAVENOUS or ran is None or shorter_than is None:
        return False
    return timedelta() < ran < shorter_than


def _is_continuous(session: Sequence[Dose], rules: Rules) -> bool:
    """Whether the infusions of a session together run longer than a psychiatric one ever does.

    A single period that is too long to be true at all says nothing: a person looks at it.
    """
    limit = rules.exclusions.infusion_longer_than
    infusions = [dose for dose in session if _may_infuse(dose)]
    if limit is None or any((duration(dose) or timedelta()) > rules.longest_administration for dose in infusions):
        return False
    return lasted(infusions) > limit


def _may_infuse(dose: Dose) -> bool:
    return dose.route in (*_VENOUS, Route.SUBCUTANEOUS, None) and not is_kind(dose, ProductKind.NASAL_ESKETAMINE)


def _reaches(given: Amount, limit: Decimal | None) -> bool:
    return limit is not None and given.mg_per_kg is not None and given.mg_per_kg >= limit
