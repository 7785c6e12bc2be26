"""Whether a Reference is written as R4 wants it and points at a type that may stand there.

http://hl7.org/fhir/R4/references.html. The type is known from a relative or RESTful absolute URL, from the
contained resource that ``#id`` names, from the Bundle entry that has the URL as ``fullUrl``, or from
``Reference.type``.
"""

import re
from collections.abc import Mapping

from afterdose.fhir.conform.findings import Findings
from afterdose.fhir.conform.primitives import is_absolute
from afterdose.fhir.resource_types import R4_TYPES

_TELLING = frozenset({"reference", "identifier", "display", "extension", "_reference"})
_LOCAL = r"([A-Za-z]{1,64})/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?"
_RELATIVE = re.compile(_LOCAL)
_RESTFUL = re.compile(rf"https?://[^\s/?#]+(?:/[^\s?#]*)?/{_LOCAL}")
_WEB = re.compile(r"https?://[^\s/?#]+(?:[/?#]\S*)?")


def check_reference(
    reference: Mapping[str, object],
    path: str,
    targets: frozenset[str],
    found: Findings,
    *,
    contained: Mapping[str, str | None],
    container: str,
    known: Mapping[str, str],
) -> str | None:
    """Check one Reference; answers the contained id it names ("" for the container itself), else None.

    ``targets`` empty means any type. ``contained``: id -> resource type; ``container``: type of the whole
    resource; ``known``: ``fullUrl`` -> resource type of a Bundle's entries.
    """
    literal, stated = reference.get("reference"), reference.get("type")
    if _TELLING.isdisjoint(reference):
        found.add("required", path, "a Reference needs a reference, an identifier or a display")
    kind: str | None = None
    local: str | None = None
    if isinstance(literal, str) and literal:
        if literal.startswith("#"):
            local = literal[1:]
            kind = container if local == "" else contained.get(local)
            if local and local not in contained:
                found.add("invariant", f"{path}.reference", "ref-1: names no contained resource")
        else:
            kind = _kind(literal, f"{path}.reference", known, found)
    if isinstance(stated, str) and stated:
        if stated not in R4_TYPES and not is_absolute(stated):
            found.add("value", f"{path}.type", "is no resource type of FHIR R4")
        elif stated in R4_TYPES:
            if kind is not None and kind != stated:
                found.add("value", f"{path}.type", "differs from the type of the resource that is referred to")
            kind = kind or stated
    if kind is not None and targets and kind not in targets:
        found.add("value", path, f"refers to a type that may not stand here; allowed: {', '.join(sorted(targets))}")
    return local


def _kind(literal: str, path: str, known: Mapping[str, str], found: Findings) -> str | None:
    if literal in known:
        return known[literal]
    if (match := _RELATIVE.fullmatch(literal)) is not None:
        if match[1] in R4_TYPES:
            return match[1]
        found.add("value", path, "names no resource type of FHIR R4")
        return None
    if literal.startswith(("http:", "https:")):
        if (match := _RESTFUL.fullmatch(literal)) is not None and match[1] in R4_TYPES:
            return match[1]
        if _WEB.fullmatch(literal) is None:
            found.add("value", path, "is not a URL")
        return None
    if not is_absolute(literal):
        found.add("value", path, "is neither Type/id nor an absolute URL nor #id")
    return None
