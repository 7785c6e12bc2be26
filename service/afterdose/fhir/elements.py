"""Looking into received FHIR JSON without trusting it: whatever has another type than expected is not there."""

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation

from afterdose.core.dose import Coding

JsonObject = Mapping[str, object]


def member(parent: object, name: str) -> JsonObject:
    """The object ``parent[name]``; empty where there is none."""
    value = parent.get(name) if isinstance(parent, dict) else None
    return value if isinstance(value, dict) else {}


def members(parent: object, name: str) -> Iterator[JsonObject]:
    """The objects of ``parent[name]``, which is an array in some versions of FHIR and one object in others."""
    value = parent.get(name) if isinstance(parent, dict) else None
    for element in value if isinstance(value, list) else [value]:
        if isinstance(element, dict):
            yield element


def text(parent: object, name: str) -> str | None:
    """The string ``parent[name]``, None where there is none or only blanks."""
    value = parent.get(name) if isinstance(parent, dict) else None
    return value.strip() or None if isinstance(value, str) else None


def texts(parent: object, name: str) -> Iterator[str]:
    """The strings of the array (or the one string) ``parent[name]``."""
    value = parent.get(name) if isinstance(parent, dict) else None
    for element in value if isinstance(value, list) else [value]:
        if isinstance(element, str) and element.strip():
            yield element.strip()


def number(parent: object, name: str) -> Decimal | None:
    """The finite number ``parent[name]``, digit for digit."""
    value = parent.get(name) if isinstance(parent, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        exact = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    except InvalidOperation:
        return None
    return exact if exact.is_finite() else None


def codings(concept: object) -> tuple[Coding, ...]:
    """The codings of a CodeableConcept that have a code; system "" where the sender gave none."""
    return tuple(
        Coding(system=text(coding, "system") or "", code=code, display=text(coding, "display"))
        for coding in members(concept, "coding")
        if (code := text(coding, "code")) is not None
    )


def words(concept: object) -> tuple[str, ...]:
    """Everything that a CodeableConcept says in words: its text, then the displays."""
    said = [text(concept, "text"), *(text(coding, "display") for coding in members(concept, "coding"))]
    return tuple(dict.fromkeys(word for word in said if word is not None))


def reference(parent: object, name: str) -> str | None:
    """The literal reference of the Reference (or R5 CodeableReference) ``parent[name]``."""
    found = member(parent, name)
    return text(found, "reference") or text(member(found, "reference"), "reference")
