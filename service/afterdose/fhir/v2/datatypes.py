"""HL7 v2 data types as FHIR data types (HL7 v2.9 chapter 2A): CWE, CX, NM, DTM and the amounts made of them.

``None`` and ``{}`` mean that nothing is said. Nothing here raises, except for times.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from afterdose.core.errors import BadInput, Problem
from afterdose.fhir.times import format_instant, parse_datetime
from afterdose.fhir.v2.er7 import Repetition, part
from afterdose.fhir.v2.mapping import V2Mapping

Element = dict[str, Any]

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})")
_TIME = re.compile(
    r"([0-9]{4})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:\.([0-9]{1,6}))?)?)?)?)?)?"
    r"([+-][0-9]{4})?"
)
_TABLE = re.compile(r"HL7([0-9]{4})", re.IGNORECASE)
_OID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]*))+")
_PER_TIME = re.compile(r"/?\s*([A-Za-z]+)\s*([0-9]*)")


def concept(said: Repetition, mapping: V2Mapping, table: str | None = None) -> Element:
    """A CWE as a CodeableConcept: the coding, its alternate (CWE.4 to 6) and the original text (CWE.9)."""
    codings = []
    for first in (1, 4):
        code, display, system = (part(said, first + place) for place in range(3))
        if code is None:
            continue
        url = system_url(system if system is not None or first > 1 else table, mapping)
        parts = {"system": url, "code": code, "display": display}
        codings.append({name: value for name, value in parts.items() if value is not None})
    words = part(said, 9) or next((word for place in (2, 5) if (word := part(said, place)) is not None), None)
    return {**({"coding": codings} if codings else {}), **({"text": words} if words is not None else {})}


def system_url(name: str | None, mapping: V2Mapping) -> str | None:
    """The URL of a code system by its name in HL7 table 0396; a local name (``L``, ``99ZZZ``) has none."""
    if name is None:
        return None
    known = mapping.systems.get(name.casefold())
    if known is not None:
        return known
    table = _TABLE.fullmatch(name)
    if table is not None:
        return mapping.table_system.replace("{table}", table[1])
    return f"urn:oid:{name}" if _OID.fullmatch(name) else None


def number(text: str | None) -> Decimal | None:
    """An NM, digit for digit."""
    return Decimal(text) if text is not None and _NUMBER.fullmatch(text) else None


def quantity(value: Decimal, unit: Repetition, mapping: V2Mapping) -> Element:
    """An amount with the unit as it was sent; a UCUM code is marked as one."""
    code, words, system = (part(unit, place) for place in (1, 2, 3))
    made: Element = {"value": value}
    if words is not None or code is not None:
        made["unit"] = words if words is not None else code
    if code is not None:
        made["code"] = code
        if system_url(system, mapping) == mapping.ucum:
            made["system"] = mapping.ucum
    return made


def per_time(text: str | None, mapping: V2Mapping) -> Element:
    """RXA-12 (``H1``, ``M30``; also ``h``, ``/h``, ``min``) as the Quantity of time below a rate."""
    found = _PER_TIME.fullmatch(text) if text is not None else None
    if found is None:
        return {}
    unit = mapping.time_units.get(found[1].casefold())
    amount = Decimal(found[2] or 1)
    if unit is None or not amount:
        return {}
    return {"value": amount, "unit": unit, "system": mapping.ucum, "code": unit}


def identifier(said: Repetition, system: str | None, mapping: V2Mapping) -> Element:
    """An EI or CX: its value, its type (CX.5) and its system."""
    made: Element = {}
    kind = part(said, 5)
    if kind is not None:
        made["type"] = {"coding": [{"system": mapping.table_system.replace("{table}", "0203"), "code": kind}]}
    if system is not None:
        made["system"] = system
    return {**made, "value": part(said)}


def assigner_system(said: Repetition, assigners: Mapping[str, str], default: str | None) -> str | None:
    """The identifier system of a CX by its assigning authority (CX.4: namespace, universal id, its type).

    Where the site lists authorities, one that is not listed has no system: its numbers could be somebody else's.
    """
    names = [name for place in (1, 2) if (name := part(said, 4, place)) is not None]
    if assigners and names:
        return next((assigners[name] for name in names if name in assigners), None)
    if default is not None:
        return default
    universal, kind = part(said, 4, 2), part(said, 4, 3)
    if universal is None or kind is None:
        return None
    if kind.upper() == "ISO" and _OID.fullmatch(universal):
        return f"urn:oid:{universal}"
    return universal if kind.upper() == "URI" else None


def fhir_time(text: str, path: str, offset: str | None) -> str:
    """A DTM as a FHIR dateTime; ``offset`` (``-05:00``) is for a time without one, None leaves it without.

    An hour alone is no time in FHIR and becomes its day. Raises BadInput at ``path``.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise BadInput(Problem("value", path, "is not an HL7 time (YYYYMMDDHHMMSS+ZZZZ)"))
    year, month, day, hour, minute, second, fraction, own = found.groups()
    said = "-".join(each for each in (year, month, day) if each is not None)
    if minute is None and hour is not None and int(hour) > 23:
        raise BadInput(Problem("value", path, "is not a day or time of the calendar"))
    if minute is not None:
        said += f"T{hour}:{minute}:{second or '00'}{f'.{fraction}' if fraction else ''}"
        said += f"{own[:3]}:{own[3:]}" if own else offset or ""
    try:
        parse_datetime(said, zoneless=True, path=path)
    except BadInput:
        raise BadInput(Problem("value", path, "is not a day or time of the calendar")) from None
    return said


def default_offset(sent: str | None, zone: ZoneInfo | None) -> str | None:
    """The offset for times without one: that of MSH-7, unless the source's zone explains it.

    HL7 makes the offset of MSH-7 the default of the whole message. A dose charted before the clocks were changed and
    sent after it would be an hour off, so where MSH-7 is a time of the source's own zone, the zone decides.
    """
    if sent is None or (found := _TIME.fullmatch(sent)) is None or found[8] is None:
        return None
    offset = f"{found[8][:3]}:{found[8][3:]}"
    if zone is None:
        return offset
    try:
        moment = parse_datetime(fhir_time(sent, "MSH-7", None), zoneless=True).value
    except BadInput:
        return None
    if not isinstance(moment, datetime):
        return offset
    minutes = int(found[8][0] + "1") * (int(found[8][1:3]) * 60 + int(found[8][3:]))
    try:
        return None if moment.astimezone(zone).utcoffset() == timedelta(minutes=minutes) else offset
    except OverflowError:
        return offset


def instant(text: str | None, zone: ZoneInfo | None) -> str | None:
    """MSH-7 as an instant in UTC; None where it is not exact to the second or could mean two instants."""
    found = _TIME.fullmatch(text) if text is not None else None
    if text is None or found is None or found[6] is None:
        return None
    try:
        moment = parse_datetime(fhir_time(text, "MSH-7", None), zoneless=True).value
        if not isinstance(moment, datetime):
            return None
        if moment.tzinfo is None:
            if zone is None:
                return None
            both = {moment.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
            if len(both) > 1:
                return None
            moment = both.pop()
    except (BadInput, OverflowError):
        return None
    return format_instant(moment)
