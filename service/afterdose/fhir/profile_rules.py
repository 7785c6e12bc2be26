"""The rules of a profile as data, read from its StructureDefinition, and the check against them.

Only what our own profiles use is read from a differential: min, max, fixed[x] of strings, maxLength, the types
of a choice, required bindings of codes, extension slices by url, and the named constraints that ``_CONSTRAINTS``
knows. Everything else in a differential is documentation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from afterdose.fhir.findings import Findings


@dataclass(frozen=True, slots=True)
class Step:
    """One name on the way to an element; ``url`` picks the extensions of a slice."""

    name: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class ElementRule:
    """What a profile asks of one element, wherever its parent exists. ``fixed`` None: any value.

    ``members``: the names that a choice may have under this profile (``valueCode``), None where R4's own hold.
    ``codes``: what a code may be, None: any.
    """

    steps: tuple[Step, ...]
    label: str
    least: int = 0
    most: int | None = None
    fixed: str | None = None
    longest: int | None = None
    members: frozenset[str] | None = None
    codes: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class ProfileRules:
    """A profile: its canonical URL, the type it constrains, its element rules and its constraints (key, text)."""

    url: str
    type: str
    elements: tuple[ElementRule, ...]
    constraints: tuple[tuple[str, str], ...] = ()


def codes_of(value_set: Mapping[str, Any], code_system: Mapping[str, Any]) -> frozenset[str]:
    """The codes of a ValueSet that is the whole of a CodeSystem. Raises KeyError or ValueError where it is not."""
    if value_set["compose"] != {"include": [{"system": code_system["url"]}]}:
        raise ValueError(f"{value_set['url']}: is not the whole of {code_system['url']}")
    return frozenset(_concepts(code_system["concept"]))


def profile_rules(definition: Mapping[str, Any], codes: Mapping[str, frozenset[str]]) -> ProfileRules:
    """The rules of a StructureDefinition's differential. ``codes``: those of ValueSets, by canonical URL.

    Raises KeyError or ValueError where the definition lacks what a profile must have, is bound to a ValueSet that
    is not among ``codes``, or names a constraint of ours (``afd-``) that no code checks.
    """
    elements: Sequence[Mapping[str, Any]] = definition["differential"]["element"]
    url, kind = str(definition["url"]), str(definition["type"])
    slices = _slice_urls(elements)
    rules: list[ElementRule] = []
    constraints: list[tuple[str, str]] = []
    for element in elements:
        for constraint in element.get("constraint", ()):
            key = str(constraint["key"])
            if key.startswith("afd-") and key not in _CONSTRAINTS:
                raise ValueError(f"{url}: constraint {key} is not known")
            if key in _CONSTRAINTS:
                constraints.append((key, str(constraint["human"])))
        identity = str(element["id"])
        if "." not in identity:
            continue
        fixed = next((str(value) for name, value in element.items() if name.startswith("fixed")), None)
        most = element.get("max", "*")
        rules.append(
            ElementRule(
                steps=_steps(identity, slices),
                label=identity.partition(".")[2],
                least=int(element.get("min", 0)),
                most=None if most == "*" else int(most),
                fixed=fixed,
                longest=element.get("maxLength"),
                members=_members(identity, element),
                codes=_bound(element, codes),
            )
        )
    return ProfileRules(url=url, type=kind, elements=tuple(rules), constraints=tuple(constraints))


def check_profile(root: Mapping[str, object], path: str, rules: ProfileRules, found: Findings) -> None:
    """Check a resource, or an extension when the profile is one, against the rules of a profile."""
    parents: dict[tuple[Step, ...], list[tuple[str, Mapping[str, object]]]] = {}
    for rule in rules.elements:
        *way, last = rule.steps
        if (above := tuple(way)) not in parents:
            parents[above] = _nodes(root, path, above)
        for place, parent in parents[above]:
            values = list(_children(parent, place, last))
            at = f"{place}.{last.name}"
            if len(values) < rule.least:
                found.add("required", at, f"{rule.label}: the profile asks for {rule.least} or more")
            elif rule.most is not None and len(values) > rule.most:
                found.add("structure", at, f"{rule.label}: the profile allows {rule.most} at most")
            for where, value in values:
                if rule.fixed is not None and value != rule.fixed:
                    found.add("value", where, f"{rule.label}: must be the value that the profile fixes")
                if rule.codes is not None and isinstance(value, str) and value not in rule.codes:
                    found.add("code-invalid", where, f"{rule.label}: must be one of the codes of its ValueSet")
                if rule.members is not None and where.rpartition(".")[2] not in rule.members:
                    found.add("structure", where, f"{rule.label}: the profile allows another type")
                if rule.longest is not None and isinstance(value, str) and len(value) > rule.longest:
                    found.add("value", where, f"{rule.label}: may have {rule.longest} characters at most")
    for key, text in rules.constraints:
        if not _CONSTRAINTS[key](root):
            found.add("invariant", path, f"{key}: {text}")


def _slice_urls(elements: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Element id of each extension slice -> the url that tells its extensions apart."""
    urls: dict[str, str] = {}
    for element in elements:
        identity = str(element["id"])
        for kind in element.get("type", ()):
            if kind.get("code") == "Extension" and kind.get("profile") and ":" in identity.rpartition(".")[2]:
                urls[identity] = str(kind["profile"][0])
        if identity.endswith(".url") and "fixedUri" in element:
            urls[identity.removesuffix(".url")] = str(element["fixedUri"])
    return urls


def _members(identity: str, element: Mapping[str, Any]) -> frozenset[str] | None:
    name = identity.rpartition(".")[2]
    kinds = [str(kind["code"]) for kind in element.get("type", ())]
    if not name.endswith("[x]") or not kinds:
        return None
    return frozenset(f"{name.removesuffix('[x]')}{kind[0].upper()}{kind[1:]}" for kind in kinds)


def _bound(element: Mapping[str, Any], codes: Mapping[str, frozenset[str]]) -> frozenset[str] | None:
    binding: Mapping[str, Any] = element.get("binding", {})
    return codes[str(binding["valueSet"])] if binding.get("strength") == "required" else None


def _concepts(concepts: Sequence[Mapping[str, Any]]) -> list[str]:
    nested = [code for one in concepts for code in _concepts(one.get("concept", ()))]
    return [*(str(one["code"]) for one in concepts), *nested]


def _steps(identity: str, slices: Mapping[str, str]) -> tuple[Step, ...]:
    names = identity.split(".")
    steps: list[Step] = []
    for index, name in enumerate(names[1:], start=1):
        plain, _, slice_name = name.partition(":")
        url = slices[".".join(names[: index + 1])] if slice_name else None
        steps.append(Step(plain, url))
    return tuple(steps)


def _nodes(root: Mapping[str, object], path: str, steps: Sequence[Step]) -> list[tuple[str, Mapping[str, object]]]:
    nodes = [(path, root)]
    for step in steps:
        nodes = [
            (where, child)
            for place, parent in nodes
            for where, child in _children(parent, place, step)
            if isinstance(child, dict)
        ]
    return nodes


def _children(parent: Mapping[str, object], path: str, step: Step) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    choice = step.name.removesuffix("[x]")
    if choice == step.name and step.name not in parent:
        return found
    names = [step.name] if choice == step.name else [name for name in parent if name.startswith(choice)]
    for name in names:
        value = parent.get(name)
        if isinstance(value, list):
            found.extend((f"{path}.{name}[{index}]", item) for index, item in enumerate(value))
        elif value is not None:
            found.append((f"{path}.{name}", value))
    if step.url is None:
        return found
    return [(where, item) for where, item in found if isinstance(item, dict) and item.get("url") == step.url]


def _one_requested_period(appointment: Mapping[str, object]) -> bool:
    periods = appointment.get("requestedPeriod")
    return appointment.get("status") != "proposed" or (isinstance(periods, list) and len(periods) == 1)


def _nobody_has_answered(appointment: Mapping[str, object]) -> bool:
    participants = appointment.get("participant")
    if appointment.get("status") != "proposed" or not isinstance(participants, list):
        return True
    return all(isinstance(item, dict) and item.get("status") == "needs-action" for item in participants)


_CONSTRAINTS: Mapping[str, Callable[[Mapping[str, object]], bool]] = {
    "afd-1": _one_requested_period,
    "afd-2": _nobody_has_answered,
}
"""The constraints of our own profiles, by key."""
