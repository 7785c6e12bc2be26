"""The structure that every resource must have to be taken: checks that several resource types share.

Each function yields what is wrong; nothing raises, and no value of the resource is repeated.
"""

import re
from collections.abc import Iterator, Mapping

from afterdose.core.errors import BadInput, Problem
from afterdose.fhir.references import is_id
from afterdose.fhir.times import parse_datetime

MOST_PROBLEMS = 50
"""So many problems of one resource are told."""

_ELEMENT = re.compile("_?[a-z][A-Za-z0-9]{0,39}")
"""Names of elements; other names were invented by the sender and are not repeated."""
_TELLING = ("reference", "identifier", "extension")


def head(resource: Mapping[str, object], type_: str) -> Iterator[Problem]:
    """The id, where there is one, and what ``meta`` says of the version."""
    id_ = resource.get("id")
    if id_ is not None and not (isinstance(id_, str) and is_id(id_)):
        yield Problem("value", f"{type_}.id", "is not 1 to 64 letters, digits, '-' and '.'")
    meta = resource.get("meta")
    if meta is not None and not isinstance(meta, dict):
        yield Problem("structure", f"{type_}.meta", "is not an object")
    elif meta is not None:
        for name in ("versionId", "lastUpdated"):
            if name in meta and not isinstance(meta[name], str):
                yield Problem("value", f"{type_}.meta.{name}", "is not a string")


def code(resource: Mapping[str, object], type_: str, name: str, codes: frozenset[str]) -> Iterator[Problem]:
    """A required element with a required binding; it may be absent for a reason that its extension gives."""
    value = resource.get(name)
    if value is None:
        if f"_{name}" not in resource:
            yield Problem("required", f"{type_}.{name}", "is missing")
    elif not isinstance(value, str):
        yield Problem("value", f"{type_}.{name}", "is not a string")
    elif value not in codes:
        yield Problem("code-invalid", f"{type_}.{name}", f"is not one of {', '.join(sorted(codes))}")


def who(subject: object, path: str) -> Iterator[Problem]:
    """A required Reference to somebody, by more than a name."""
    if subject is None:
        yield Problem("required", path, "is missing")
        return
    yield from reference(subject, path)
    if isinstance(subject, dict) and subject and not any(name in subject for name in _TELLING):
        yield Problem("required", path, "has neither a reference nor an identifier")


def reference(value: object, path: str) -> Iterator[Problem]:
    """A Reference, which may be no more than a name."""
    if not isinstance(value, dict):
        yield Problem("structure", path, "is not an object")
    elif "reference" in value and not isinstance(value["reference"], str):
        yield Problem("value", f"{path}.reference", "is not a string")


def datetime_(value: object, path: str) -> Iterator[Problem]:
    """A FHIR dateTime; one without an offset, and a day alone, are legal."""
    if not isinstance(value, str):
        yield Problem("value", path, "is not a FHIR dateTime (a string)")
        return
    try:
        parse_datetime(value, zoneless=True, path=path)
    except BadInput as bad:
        yield from bad.problems


def void(resource: Mapping[str, object], path: str) -> Iterator[Problem]:
    """JSON that FHIR never has: null, empty strings, objects and arrays (https://hl7.org/fhir/R4/json.html)."""
    if _holds_void(resource):
        yield from _void(resource, path)


def _void(value: object, path: str, twin: object = None) -> Iterator[Problem]:
    """The same with its places.

    ``twin``: the array beside an array of primitives (``given`` and ``_given``), which may be padded with null.
    """
    if value is None:
        yield Problem("structure", path, "is null")
    elif value == "" and isinstance(value, str):
        yield Problem("value", path, "is an empty string")
    elif isinstance(value, dict):
        if not value:
            yield Problem("structure", path, "is an empty object")
        for name, member in value.items():
            beside = value.get(name[1:] if name.startswith("_") else f"_{name}")
            yield from _void(member, f"{path}.{name if _ELEMENT.fullmatch(name) else '(member)'}", beside)
    elif isinstance(value, list):
        if not value:
            yield Problem("structure", path, "is an empty array")
        for index, member in enumerate(value):
            if member is not None or not isinstance(twin, list):
                yield from _void(member, f"{path}[{index}]")


def _holds_void(value: object) -> bool:
    """Whether a search for the place is worth its time: almost no resource holds any."""
    pending = [value]
    for item in pending:  # which grows meanwhile
        if not item and (item is None or isinstance(item, str | dict | list)):
            return True
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return False
