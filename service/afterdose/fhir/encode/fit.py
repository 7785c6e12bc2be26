"""A resource as one EHR takes it: what it does not know is left out, what it limits is cut. Pure.

Where an EHR finds nothing by our identifier, a short reference stands in a text that people read.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from uuid import UUID

from afterdose.fhir.encode.rungs import NOTHING_SPECIAL, TypeFacts

Resource = dict[str, Any]

_ALWAYS = frozenset({"resourceType", "id"})


def fit(resource: Resource, facts: TypeFacts, identifier: UUID) -> Resource:
    """The resource without what the EHR refuses; the original stays as it is."""
    if facts is NOTHING_SPECIAL:
        return resource
    fields = facts.fields
    kept = {name: value for name, value in resource.items() if fields is None or name in fields or name in _ALWAYS}
    if len(kept) < len(resource) and "profile" in kept.get("meta", {}):
        kept["meta"] = {name: value for name, value in kept["meta"].items() if name != "profile"}
    kept |= {name: kept[name][:1] for name in facts.single if name in kept}
    kept |= facts.values
    if facts.mark is not None:
        kept = _at(kept, facts.mark.split("."), lambda text: f"{text} ({reference(identifier)})")
    for path, most in facts.longest.items():
        kept = _at(kept, path.split("."), partial(_cut, most))
    return kept


def reference(identifier: UUID) -> str:
    """How we call an artifact in a text, the same for ever."""
    return f"ref. {identifier.hex[:12]}"


def carries(resource: Mapping[str, Any], facts: TypeFacts, identifier: UUID) -> bool:
    """Whether the text of a resource that was found holds our reference."""
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return text

    if facts.mark is not None:
        _at(dict(resource), facts.mark.split("."), note)
    return any(reference(identifier) in text for text in found)


def _cut(most: int, text: str) -> str:
    """The text, shortened where it is too long; a reference at its end stays."""
    if len(text) <= most:
        return text
    head, bracket, mark = text.rpartition(" (ref. ")
    tail = bracket + mark if bracket else ""
    return (head or text)[: most - len(tail) - 3] + "..." + tail


def _at(value: Any, steps: list[str], change: Callable[[str], str]) -> Any:
    """The value with the texts at a path changed."""
    if isinstance(value, list):
        return [_at(one, steps, change) for one in value]
    if not steps:
        return change(value) if isinstance(value, str) else value
    if not isinstance(value, dict) or steps[0] not in value:
        return value
    return {**value, steps[0]: _at(value[steps[0]], steps[1:], change)}
