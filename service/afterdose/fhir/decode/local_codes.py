"""A source's own codes: beside each stands what it means in a system that everybody knows.

What a ConceptMap of the source says is added to every ``coding`` before a resource is read, so that nothing else has to
know that there are local codes. What was sent is kept as it was.
"""

from collections.abc import Mapping
from typing import Any

from afterdose.core.dose import Coding

LocalCodes = Mapping[tuple[str, str], tuple[Coding, ...]]
"""(system, code) of the source -> its meanings; under the empty system codes without one and texts, in lower case."""


def with_meanings(resource: Mapping[str, Any], local: LocalCodes) -> dict[str, Any]:
    """A copy of the resource with the meanings of its local codes; where they stand already they are not added."""
    return {name: _known(name, value, local) for name, value in resource.items()}


def _known(name: str, value: Any, local: LocalCodes) -> Any:
    if isinstance(value, list):
        return [_known(name, one, local) for one in value]
    if not isinstance(value, dict):
        return value
    read = with_meanings(value, local)
    if isinstance(value.get("coding"), list) or isinstance(value.get("text"), str):
        return _of_concept(read, local)
    # Encounter.class is one Coding in R4, and there is no room beside it.
    meant = _meanings(value, local) if name == "class" else ()
    return _coding(meant[0]) if meant else read


def _of_concept(concept: dict[str, Any], local: LocalCodes) -> dict[str, Any]:
    listed = concept.get("coding")
    listed = listed if isinstance(listed, list) else []
    given = [one for one in listed if isinstance(one, dict)]
    meant = [one for coding in given for one in _meanings(coding, local)]
    if isinstance(concept.get("text"), str):
        meant += local.get(("", concept["text"].strip().casefold()), ())
    there = [(one.get("system"), one.get("code")) for one in given]
    more = [one for one in dict.fromkeys(meant) if (one.system, one.code) not in there]
    return {**concept, "coding": [*listed, *map(_coding, more)]} if more else concept


def _meanings(coding: Mapping[str, Any], local: LocalCodes) -> tuple[Coding, ...]:
    system, code = coding.get("system", ""), coding.get("code")
    if not isinstance(system, str) or not isinstance(code, str):
        return ()
    return local.get((system, code if system else code.strip().casefold()), ())


def _coding(coding: Coding) -> dict[str, Any]:
    shown = {"system": coding.system, "code": coding.code, "display": coding.display}
    return {name: value for name, value in shown.items() if value is not None}
