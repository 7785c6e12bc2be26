"""How much was given and which way: MedicationAdministration.dosage (https://hl7.org/fhir/R4/medicationadministration.html).

Amounts stay as charted, with the unit as UCUM code; a volume becomes an amount where the strength of the
medication is known, marked where that is the strength of the salt. Products are labelled and charted as base.
What is not understood is None, and whether that matters is for the rules to say.
"""

from dataclasses import replace
from decimal import Decimal, DecimalException

from afterdose.core.codes import Codes
from afterdose.core.dose import Coding, Quantity, Route
from afterdose.fhir.decode.dosage_text import told
from afterdose.fhir.decode.medication import Strength, unit_of
from afterdose.fhir.elements import JsonObject, codings, member, number, text, words

_ML_PER_LITRE = Decimal(1000)


def dose_quantity(dosage: JsonObject, strength: Strength | None, codes: Codes) -> Quantity | None:
    """The dose, else what the words of the dosage say without a doubt; None where no number was charted."""
    dose = member(dosage, "dose")
    value = number(dose, "value")
    if value is not None:
        return _by_strength(Quantity(value=value, unit=unit_of(dose, codes)), strength)
    said = told(text(dosage, "text"), codes)
    return said.amount if said is not None else None


def rate_quantity(dosage: JsonObject, strength: Strength | None, codes: Codes) -> Quantity | None:
    """The rate, from rateQuantity or rateRatio (then ``unit/unit``), else by the words where these are all there is.

    None where no number was charted.
    """
    rate = member(dosage, "rateQuantity")
    value, unit = number(rate, "value"), unit_of(rate, codes)
    if value is None:
        above, below = (
            member(member(dosage, "rateRatio"), "numerator"),
            member(member(dosage, "rateRatio"), "denominator"),
        )
        amount, per = number(above, "value"), number(below, "value")
        value = _divided(amount, per) if amount is not None and per is not None else None
        unit_above, unit_below = unit_of(above, codes), unit_of(below, codes)
        unit = f"{unit_above}/{unit_below}" if unit_above is not None and unit_below is not None else None
    if value is None:
        said = told(text(dosage, "text"), codes) if number(member(dosage, "dose"), "value") is None else None
        return said.rate if said is not None else None
    numerator, _, denominator = (unit or "").partition("/")
    converted = _by_strength(Quantity(value=value, unit=numerator or None), strength)
    if unit is None or converted.unit == numerator:
        return Quantity(value=value, unit=unit)
    return replace(converted, unit=f"{converted.unit}/{denominator}" if denominator else converted.unit)


def route(dosage: JsonObject, codes: Codes) -> Route | None:
    """The route by code, else by words; None where it is missing, unknown or said to be two things.

    A method that says "push" makes an intravenous route a push.
    """
    said = member(dosage, "route")
    coded = {codes.routes[key] for coding in codings(said) if (key := (coding.system, coding.code)) in codes.routes}
    routes = coded or _by_words(said, codes)
    if Route.INTRAVENOUS in routes and (Route.INTRAVENOUS_PUSH in _by_words(member(dosage, "method"), codes)):
        routes.add(Route.INTRAVENOUS_PUSH)
    if Route.INTRAVENOUS_PUSH in routes:
        routes.discard(Route.INTRAVENOUS)
    return routes.pop() if len(routes) == 1 else None


def was_not_given(dosage: JsonObject, codes: Codes) -> bool:
    """Whether dosage.method says that the drug was not given, whatever ``status`` says."""
    method = member(dosage, "method")
    said = (Coding(system="", code=word.casefold()) for word in words(method))
    return codes.not_given_methods.holds_any((*codings(method), *said))


def _by_words(concept: JsonObject, codes: Codes) -> set[Route]:
    said = (*words(concept), *(coding.code for coding in codings(concept)))
    keys = (" ".join(word.casefold().split()) for word in said)
    return {codes.route_words[key] for key in keys if key in codes.route_words}


def _by_strength(quantity: Quantity, strength: Strength | None) -> Quantity:
    """dose x numerator / denominator, where the strength is given per the unit of the dose."""
    if strength is None or quantity.unit is None:
        return quantity
    value, per = quantity.value, strength.per
    if quantity.unit == "L" and strength.per_unit == "mL":
        value *= _ML_PER_LITRE
    elif quantity.unit == "mL" and strength.per_unit == "L":
        per *= _ML_PER_LITRE
    elif quantity.unit != strength.per_unit:
        return quantity
    amount = _divided(value * strength.amount, per)
    return Quantity(value=amount, unit=strength.unit, of_salt=strength.of_salt) if amount is not None else quantity


def _divided(value: Decimal, by: Decimal) -> Decimal | None:
    try:
        return value / by
    except DecimalException:
        return None
