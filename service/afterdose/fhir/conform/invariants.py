"""The invariants of R4 for the types that we write and the data types in them.

One function a type, called with an object that has the shape of its type but may have bad values: each rule
looks only at values of the right JSON type. Names and wording are those of the R4 definitions
(http://hl7.org/fhir/R4/careplan.html#invs and its neighbours).
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha1

from afterdose.core.errors import BadInput
from afterdose.fhir.conform.findings import Findings
from afterdose.fhir.conform.primitives import is_absolute
from afterdose.fhir.times import FhirTime, parse_datetime

Element = Mapping[str, object]
Rule = Callable[[Element, str, Findings], None]

_UCUM = "http://unitsofmeasure.org"
_URI_SYSTEM = "urn:ietf:rfc3986"
_MEALS = frozenset({"C", "CM", "CD", "CV"})
_WITHOUT_START = ("proposed", "cancelled", "waitlist")
# R4's expression for app-4 says 'no-show', which is no code of the value set; its text means this one.
_WITH_CANCELATION = ("cancelled", "noshow")


def _has(element: Element, name: str) -> bool:
    return name in element or f"_{name}" in element


def is_in_order(first: object, second: object) -> bool:
    """Whether ``first`` is certainly not after ``second``, compared as FHIRPath does it.

    Both in UTC and as precisely as both are said; where they are equal so far and one says more, nobody can tell,
    which R4's invariants count as a breach (http://hl7.org/fhirpath/N1/#comparison). True when one cannot be read:
    that is told elsewhere.
    """
    if not (isinstance(first, str) and isinstance(second, str)):
        return True
    try:
        one, other = _parts(parse_datetime(first)), _parts(parse_datetime(second))
    except BadInput:
        return True
    for left, right in zip(one, other, strict=False):
        if left != right:
            return left < right
    return len(one) == len(other)


def _parts(moment: FhirTime) -> tuple[float, ...]:
    """Year, month, day, seconds of the day, as far as they are said."""
    value = moment.value
    if isinstance(value, datetime):
        seconds = (value - value.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
        return (value.year, value.month, value.day, seconds)
    if isinstance(value, date):
        return (value.year, value.month, value.day)
    return tuple(part for part in value if part is not None)


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = Decimal(str(value))
    return number if number.is_finite() else None


def _period(element: Element, path: str, found: Findings) -> None:
    if not is_in_order(element.get("start"), element.get("end")):
        found.add("invariant", path, "per-1: start must not be after end, and both as precise where they meet")


def _quantity(element: Element, path: str, found: Findings) -> None:
    if _has(element, "code") and not _has(element, "system"):
        found.add("invariant", path, "qty-3: a code for the unit needs its system")
    _absolute_system(element, path, found)


def _ucum_quantity(rule: str) -> Rule:
    def check(element: Element, path: str, found: Findings) -> None:
        _quantity(element, path, found)
        if _has(element, "value") and not _has(element, "code") and rule != "drt-1":
            found.add("invariant", path, f"{rule}: a value needs the code of its unit")
        if "system" in element and element["system"] != _UCUM:
            found.add("invariant", path, f"{rule}: the system must be UCUM")
        value = _number(element.get("value"))
        if rule == "drt-1" and _has(element, "code") and not _has(element, "value"):
            found.add("invariant", path, "drt-1: a code needs a value")
        if rule == "age-1" and value is not None and value <= 0:
            found.add("invariant", path, "age-1: the value must be positive")
        if rule == "cnt-3" and ((value is not None and value % 1 != 0) or element.get("code", "1") != "1"):
            found.add("invariant", path, "cnt-3: must be a whole number with the code '1'")

    return check


def _range(element: Element, path: str, found: Findings) -> None:
    low, high = element.get("low"), element.get("high")
    if not (isinstance(low, dict) and isinstance(high, dict)):
        return
    least, most = _number(low.get("value")), _number(high.get("value"))
    same_unit = all(low.get(name) == high.get(name) for name in ("unit", "system", "code"))
    # FHIRPath converts between UCUM units; without its codes two units cannot be compared, which R4 counts as a breach.
    convertible = all(one.get("system") == _UCUM and _has(one, "code") for one in (low, high))
    if least is None or most is None or not (same_unit or convertible):
        found.add("invariant", path, "rng-2: low and high must have values in units that can be compared")
    elif same_unit and least > most:
        found.add("invariant", path, "rng-2: low must not be above high")


def _ratio(element: Element, path: str, found: Findings) -> None:
    if ("numerator" in element) != ("denominator" in element):
        found.add("invariant", path, "rat-1: numerator and denominator must both be present, or both absent")
    elif "numerator" not in element and "extension" not in element:
        found.add("invariant", path, "rat-1: a ratio without numbers needs an extension")


def _timing_repeat(element: Element, path: str, found: Findings) -> None:
    for rule, name, needed in (
        ("tim-1", "duration", "durationUnit"),
        ("tim-2", "period", "periodUnit"),
        ("tim-6", "periodMax", "period"),
        ("tim-7", "durationMax", "duration"),
        ("tim-8", "countMax", "count"),
    ):
        if _has(element, name) and not _has(element, needed):
            found.add("invariant", path, f"{rule}: {name} needs {needed}")
    for rule, name in (("tim-4", "duration"), ("tim-5", "period")):
        number = _number(element.get(name))
        if number is not None and number < 0:
            found.add("invariant", path, f"{rule}: {name} must not be negative")
    when = element.get("when")
    moments = {item for item in when if isinstance(item, str)} if isinstance(when, list) else set()
    if _has(element, "offset") and (not _has(element, "when") or not moments.isdisjoint(_MEALS)):
        found.add("invariant", path, "tim-9: offset needs a when that is not C, CM, CD or CV")
    if _has(element, "timeOfDay") and _has(element, "when"):
        found.add("invariant", path, "tim-10: timeOfDay and when exclude each other")


def _needs(rule: str, name: str, needed: str) -> Rule:
    def check(element: Element, path: str, found: Findings) -> None:
        if _has(element, name) and not _has(element, needed):
            found.add("invariant", path, f"{rule}: {name} needs {needed}")

    return check


def _identifier(element: Element, path: str, found: Findings) -> None:
    _absolute_system(element, path, found)
    value = element.get("value")
    if element.get("system") == _URI_SYSTEM and isinstance(value, str) and not is_absolute(value):
        found.add("value", f"{path}.value", "must be an absolute URI, because the system says that it is one")


def _absolute_system(element: Element, path: str, found: Findings) -> None:
    system = element.get("system")
    if isinstance(system, str) and system and not is_absolute(system):
        found.add("value", f"{path}.system", "must be an absolute URI")


def _extension(element: Element, path: str, found: Findings) -> None:
    has_value = any(name.startswith(("value", "_value")) for name in element)
    if has_value == ("extension" in element):
        found.add("invariant", path, "ext-1: must have either extensions or a value, not both and not neither")


def _expression(element: Element, path: str, found: Findings) -> None:
    if not (_has(element, "expression") or _has(element, "reference")):
        found.add("invariant", path, "exp-1: an expression or a reference must be provided")


def _activity(element: Element, path: str, found: Findings) -> None:
    if "detail" in element and "reference" in element:
        found.add("invariant", path, "cpl-3: provide a reference or detail, not both")


def _participant(element: Element, path: str, found: Findings) -> None:
    if "type" not in element and "actor" not in element:
        found.add("invariant", path, "app-1: a participant needs a type or an actor")


def _appointment(element: Element, path: str, found: Findings) -> None:
    starts, ends, status = _has(element, "start"), _has(element, "end"), element.get("status")
    if starts != ends:
        found.add("invariant", path, "app-2: either start and end are specified, or neither")
    elif not starts and status not in _WITHOUT_START:
        found.add("invariant", path, "app-3: only proposed, cancelled or waitlist appointments can do without a start")
    if "cancelationReason" in element and status not in _WITH_CANCELATION:
        found.add("invariant", path, "app-4: a cancelation reason needs the status cancelled or noshow")
    instants = [text for name in ("start", "end") if isinstance(text := element.get(name), str) and "T" in text]
    if len(instants) == 2 and not is_in_order(*instants):
        found.add("business-rule", path, "start must not be after end")


def _task(element: Element, path: str, found: Findings) -> None:
    if not is_in_order(element.get("authoredOn"), element.get("lastModified")):
        found.add("invariant", path, "inv-1: lastModified must not be before authoredOn")


def _goal_target(element: Element, path: str, found: Findings) -> None:
    detail = any(name.startswith(("detail", "_detail")) for name in element)
    if detail and "measure" not in element:
        found.add("invariant", path, "gol-1: a target with a detail needs its measure")


def _attachment(element: Element, path: str, found: Findings) -> None:
    data, said_hash = element.get("data"), element.get("hash")
    if _has(element, "data") and not _has(element, "contentType"):
        found.add("invariant", path, "att-1: data needs contentType")
    if isinstance(said_hash, str) and any(sign.isspace() for sign in said_hash):
        found.add("value", f"{path}.hash", "is not base64 in one piece")
    try:
        held = b64decode("".join(data.split()), validate=True) if isinstance(data, str) else None
    except ValueError:
        return
    if held is None:
        return
    size = element.get("size")
    if isinstance(size, int) and size != len(held):
        found.add("value", f"{path}.size", "is not the size of the data")
    if isinstance(said_hash, str) and said_hash != b64encode(sha1(held, usedforsecurity=False).digest()).decode():
        found.add("value", f"{path}.hash", "is not the hash of the data")


def _money(element: Element, path: str, found: Findings) -> None:
    currency = element.get("currency")
    if isinstance(currency, str) and not (len(currency) == 3 and currency.isascii() and currency.isupper()):
        found.add("code-invalid", f"{path}.currency", "is not the three letters of a currency (ISO 4217)")


def _filter(rule: str) -> Rule:
    def check(element: Element, path: str, found: Findings) -> None:
        if _has(element, "path") == _has(element, "searchParam"):
            found.add("invariant", path, f"{rule}: either a path or a searchParam must be provided, not both")

    return check


def _trigger(element: Element, path: str, found: Findings) -> None:
    timing = any(name.startswith(("timing", "_timing")) for name in element)
    kind = str(element.get("type"))
    if timing and "data" in element:
        found.add("invariant", path, "trd-1: timing and data exclude each other")
    if "condition" in element and "data" not in element:
        found.add("invariant", path, "trd-2: a condition needs data")
    needed = {"named-event": _has(element, "name"), "periodic": timing}
    if not needed.get(kind, "data" in element or not kind.startswith("data-")):
        found.add("invariant", path, "trd-3: a named event needs a name, a periodic one timing, others their data")


RULES: Mapping[str, Rule] = {
    "Age": _ucum_quantity("age-1"),
    "Appointment": _appointment,
    "AppointmentParticipant": _participant,
    "Attachment": _attachment,
    "CarePlanActivity": _activity,
    "Coding": _absolute_system,
    "ContactPoint": _needs("cpt-2", "value", "system"),
    "Count": _ucum_quantity("cnt-3"),
    "DataRequirementCodeFilter": _filter("drq-1"),
    "DataRequirementDateFilter": _filter("drq-2"),
    "Distance": _ucum_quantity("dis-1"),
    "Duration": _ucum_quantity("drt-1"),
    "Expression": _expression,
    "Extension": _extension,
    "GoalTarget": _goal_target,
    "Identifier": _identifier,
    "Money": _money,
    "Period": _period,
    "Quantity": _quantity,
    "Range": _range,
    "Ratio": _ratio,
    "ServiceRequest": _needs("prr-1", "orderDetail", "code"),
    "Task": _task,
    "TimingRepeat": _timing_repeat,
    "TriggerDefinition": _trigger,
}
"""Model name -> its invariants."""

# Quantities that R4 constrains to SimpleQuantity (sqty-1), as ``model.element``.
SIMPLE_QUANTITIES = frozenset(
    {
        "CarePlanActivityDetail.dailyAmount",
        "CarePlanActivityDetail.quantity",
        "Dosage.maxDosePerAdministration",
        "Dosage.maxDosePerLifetime",
        "DosageDoseAndRate.doseQuantity",
        "DosageDoseAndRate.rateQuantity",
        "Range.high",
        "Range.low",
        "SampledData.origin",
    }
)
