"""How much was given: charted quantities in milligrams and milligrams per kilogram.

Understands UCUM mass units, per kilogram of body weight and per time (https://ucum.org). Anything
else (millilitres, sprays) is no amount: a person decides, nothing is guessed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from afterdose.core.dose import Dose, Quantity
from afterdose.core.protocol import Plausible

_MILLIGRAMS = {"g": Decimal(1000), "mg": Decimal(1), "ug": Decimal("0.001"), "ng": Decimal("0.000001")}
_PER = {"s": timedelta(seconds=1), "min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_MICROSECOND = timedelta(microseconds=1)
_AS_IT_IS = Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A dose in total milligrams and per kilogram of body weight; each None where it cannot be known."""

    mg: Decimal | None = None
    mg_per_kg: Decimal | None = None

    @property
    def known(self) -> bool:
        """Whether the dose is known in at least one of the two ways."""
        return self.mg is not None or self.mg_per_kg is not None


@dataclass(frozen=True, slots=True)
class _Measure:
    milligrams: Decimal
    per_kg: bool
    per: timedelta | None


def duration(dose: Dose) -> timedelta | None:
    """How long it ran, where the record says so: from its period, else from dose and rate."""
    effective = dose.effective
    if effective.is_period and effective.start is not None and effective.end is not None:
        return effective.end - effective.start
    return duration_by_rate(dose)


def lasted(doses: Iterable[Dose]) -> timedelta:
    """How long these ran in all, as far as the record says; time in which several ran counts once.

    Some EHRs chart a change of the rate as a further period from the same start.
    """
    whole, over = timedelta(), datetime.min.replace(tzinfo=UTC)
    spans = []
    for dose in doses:
        start, ran = dose.effective.start, duration(dose)
        if dose.effective.is_period and dose.effective.end is not None and start is not None:
            spans.append((start, dose.effective.end))
        elif ran is not None:
            whole += ran
    for start, end in sorted(spans):
        whole += max(timedelta(), end - max(start, over))
        over = max(over, end)
    return whole


def duration_by_rate(dose: Dose) -> timedelta | None:
    """How long the charted rate takes to give the charted dose; None where they do not fit together."""
    given, rate = _measure(dose.quantity), _measure(dose.rate_quantity)
    if given is None or rate is None or rate.per is None or given.per is not None or given.per_kg is not rate.per_kg:
        return None
    if rate.milligrams <= 0 or given.milligrams <= 0:
        return None
    ratio = given.milligrams / rate.milligrams * (rate.per // _MICROSECOND)
    return timedelta(microseconds=int(ratio)) if ratio < timedelta.max // _MICROSECOND else None


def amount(dose: Dose, weight_kg: Decimal | None, salt_to_base: Decimal = _AS_IT_IS) -> Amount:
    """What was given in this administration, as base; nothing known where the chart has no mass."""
    given, charted = _measure(dose.quantity), dose.quantity
    if given is None or given.per is not None:
        given, charted = _by_rate(dose), dose.rate_quantity
    if given is None:
        return Amount()
    if charted is not None and charted.of_salt:
        given = replace(given, milligrams=given.milligrams * salt_to_base)
    if given.per_kg:
        return Amount(mg_per_kg=given.milligrams, mg=given.milligrams * weight_kg if weight_kg else None)
    return Amount(mg=given.milligrams, mg_per_kg=given.milligrams / weight_kg if weight_kg else None)


def total(amounts: Iterable[Amount]) -> Amount:
    """The sum; unknown in the way in which one part is unknown."""
    parts = list(amounts)
    if len(parts) == 1:
        return parts[0]
    return Amount(mg=_sum(part.mg for part in parts), mg_per_kg=_sum(part.mg_per_kg for part in parts))


def weight(doses: Iterable[Dose], plausible: Plausible) -> Decimal | None:
    """The first body weight in kilograms that can be true; None where there is none."""
    low, high = plausible.weight_kg_min, plausible.weight_kg_max
    for dose in doses:
        kilograms = dose.context.weight_kg
        if kilograms is None or kilograms <= 0:
            continue
        if (low is None or kilograms >= low) and (high is None or kilograms <= high):
            return kilograms
    return None


def can_be(given: Amount, plausible: Plausible) -> bool:
    """Whether a person can have been given this much at all."""
    bounds = ((given.mg, plausible.dose_mg_max), (given.mg_per_kg, plausible.dose_mg_per_kg_max))
    return all(value is None or (value > 0 and (top is None or value <= top)) for value, top in bounds)


def _by_rate(dose: Dose) -> _Measure | None:
    rate, lasted = _measure(dose.rate_quantity), duration(dose)
    if rate is None or rate.per is None or lasted is None:
        return None
    share = Decimal(lasted // _MICROSECOND) / Decimal(rate.per // _MICROSECOND)
    return _Measure(rate.milligrams * share, rate.per_kg, None)


def _measure(quantity: Quantity | None) -> _Measure | None:
    if quantity is None or quantity.unit is None or (one := _one_of(quantity.unit)) is None:
        return None
    return _Measure(quantity.value * one.milligrams, one.per_kg, one.per)


@lru_cache
def _one_of(unit: str) -> _Measure | None:
    """What one of a unit measures."""
    mass, *others = unit.split("/")
    per_kg = others[:1] == ["kg"]
    times = others[1:] if per_kg else others
    if mass not in _MILLIGRAMS or len(times) > 1 or any(time not in _PER for time in times):
        return None
    return _Measure(_MILLIGRAMS[mass], per_kg, _PER[times[0]] if times else None)


def _sum(values: Iterable[Decimal | None]) -> Decimal | None:
    result = Decimal(0)
    for value in values:
        if value is None:
            return None
        result += value
    return result
