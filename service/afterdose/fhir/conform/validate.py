"""Check text that claims to be FHIR: one resource, a Bundle, or NDJSON, as ``afterdose validate`` gets it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from afterdose.core.errors import BadInput, Problem
from afterdose.fhir import strict_json
from afterdose.fhir.conform import check
from afterdose.fhir.conform.profile_rules import ProfileRules
from afterdose.fhir.resource_types import R4_TYPES
from afterdose.fhir.strict_json import Json

# A file that a person checks may be a whole export; what arrives over the network has the smaller limit.
_MOST_MEMBERS = 2_000_000
_NO_PROFILES: Mapping[str, ProfileRules] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Checked:
    """One resource that was checked.

    ``place`` is "" for the only resource of a text, ``line 3`` in NDJSON and ``Bundle.entry[0].resource`` in a
    Bundle (after the line, where both apply). ``resource_type`` is None where none of R4 could be read; a type
    that is not checked has the one problem ``not-supported``.
    """

    place: str
    resource_type: str | None
    problems: tuple[Problem, ...]


def validate_text(body: bytes, *, profiles: Mapping[str, ProfileRules] = _NO_PROFILES) -> tuple[Checked, ...]:
    """Check every resource of a text. Never raises for content; bad JSON is a problem of the place it is in."""
    lines = [(number, line) for number, line in enumerate(body.splitlines(), start=1) if line.strip()]
    if len(lines) > 1 and _is_object(lines[0][1]):
        return tuple(checked for number, line in lines for checked in _text(line, f"line {number}", profiles=profiles))
    return tuple(_text(body, "", profiles=profiles))


def _is_object(line: bytes) -> bool:
    """Whether a first line is a JSON object by itself, which makes the text NDJSON."""
    try:
        return isinstance(strict_json.loads(line, max_members=_MOST_MEMBERS), dict)
    except BadInput:
        return False


def _text(body: bytes, place: str, *, profiles: Mapping[str, ProfileRules]) -> Iterator[Checked]:
    try:
        value = strict_json.loads(body, max_members=_MOST_MEMBERS)
    except BadInput as error:
        yield Checked(place, None, error.problems)
        return
    if isinstance(value, dict) and value.get("resourceType") == "Bundle":
        yield from _bundle(value, f"{place}: Bundle" if place else "Bundle", profiles=profiles)
    else:
        yield _resource(value, place, profiles=profiles, known={})


def _bundle(bundle: Mapping[str, Json], place: str, *, profiles: Mapping[str, ProfileRules]) -> Iterator[Checked]:
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        yield Checked(place, "Bundle", (Problem("structure", "Bundle.entry", "must be an array"),))
        return
    known: dict[str, str] = {}
    for entry in entries:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        url = entry.get("fullUrl") if isinstance(entry, dict) else None
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        if isinstance(url, str) and isinstance(kind, str):
            known[url] = kind
    for index, entry in enumerate(entries):
        where = f"{place}.entry[{index}]"
        if not isinstance(entry, dict):
            yield Checked(where, None, (Problem("structure", "", "must be a JSON object"),))
        elif "resource" in entry:
            yield _resource(entry["resource"], f"{where}.resource", profiles=profiles, known=known)


def _resource(value: Json, place: str, *, profiles: Mapping[str, ProfileRules], known: Mapping[str, str]) -> Checked:
    if not isinstance(value, dict):
        return Checked(place, None, (Problem("structure", "", "must be a JSON object"),))
    kind = value.get("resourceType")
    named = kind if isinstance(kind, str) and kind in R4_TYPES else None
    return Checked(place, named, check.problems(value, profiles=profiles, known=known))
