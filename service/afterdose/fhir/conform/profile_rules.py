"""The rules of a profile as data, read from its StructureDefinition, and the check against them.

Only what our own profiles use is read from a differential: min, max, fixed[x] of strings, maxLength, the types
of a choice, required bindings of codes, extension slices by url, and the named constraints that ``_CONSTRAINTS``
knows. Everything else in a differential is documentation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from afterdose.fhir.conform.findings import Findings


class Step(NamedTuple):
    """One name on the way to an element; ``url`` picks the extensions of a slice, ``choice`` begins the names."""

    name: str
    url: str | None = None
    choice: str | None = None


@dataclass(frozen=True, slots=True)
class ElementRule:
    """What a profile asks of one element, wherever its parent exists. ``fixed`` None: any value.

    ``above``: the way to its parent. ``members``: the names that a choice may have under this profile
    (``valueCode``), None where R4's own hold. ``codes``: what a code may be, None: any.
    """

    above: tuple[Step, ...]
    step: Step
    label: str
    least: int = 0
    most: int | None = None
    fixed: str | None = None
    longest: int | None = None
    members: frozenset[str] | None = None
    codes: frozenset[str] | None = None

    of_values: bool = field(init=False)
    """Whether it asks more than how many there are."""

    def __post_init__(self) -> None:
        """Find out once what is asked at all."""
        asked = (self.fixed, self.longest, self.members, self.codes)
        object.__setattr__(self, "of_values", any(one is not None for one in asked))

    @property
    def asks(self) -> bool:
        """Whether it asks anything: most of what a differential says of an element is documentation."""
        return self.least > 0 or self.most is not None or self.of_values


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
        *above, step = _steps(identity, slices)
        rule = ElementRule(
            above=tuple(above),
            step=step,
            label=identity.partition(".")[2],
            least=int(element.get("min", 0)),
            most=None if most == "*" else int(most),
            fixed=fixed,
            longest=element.get("maxLength"),
            members=_members(identity, element),
            codes=_bound(element, codes),
        )
        if rule.asks:
            rules.append(rule)
    return ProfileRules(url=url, type=kind, elements=tuple(rules), constraints=tuple(constraints))


def check_profile(root: Mapping[str, object], path: str, rules: ProfileRules, found: Findings) -> None:
    """Check a resource, or an extension when the profile is one, against the rules of a profile."""
    parents: dict[tuple[Step, ...], list[tuple[str, Mapping[str, object]]]] = {(): [(path, root)]}
    for rule in rules.elements:
        if rule.above not in parents:
            parents[rule.above] = _nodes(root, path, rule.above)
        for place, parent in parents[rule.above]:
            values = _children(parent, rule.step)
            if len(values) < rule.least:
                told = f"{rule.label}: the profile asks for {rule.least} or more"
                found.add("required", _where(place, rule.step.name, None), told)
            elif rule.most is not None and len(values) > rule.most:
                told = f"{rule.label}: the profile allows {rule.most} at most"
                found.add("structure", _where(place, rule.step.name, None), told)
            for name, index, value in values if rule.of_values else ():
                for code, text in _faults(rule, name if index is None else f"{name}[{index}]", value):
                    found.add(code, _where(place, name, index), f"{rule.label}: {text}")
    for key, text in rules.constraints:
        if not _CONSTRAINTS[key](root):
            found.add("invariant", path, f"{key}: {text}")


def _faults(rule: ElementRule, name: str, value: object) -> list[tuple[str, str]]:
    """What is wrong with one value of an element that stands under ``name``: issue codes and texts."""
    faults = []
    if rule.fixed is not None and value != rule.fixed:
        faults.append(("value", "must be the value that the profile fixes"))
    if rule.codes is not None and isinstance(value, str) and value not in rule.codes:
        faults.append(("code-invalid", "must be one of the codes of its ValueSet"))
    if rule.members is not None and name not in rule.members:
        faults.append(("structure", "the profile allows another type"))
    if rule.longest is not None and isinstance(value, str) and len(value) > rule.longest:
        faults.append(("value", f"may have {rule.longest} characters at most"))
    return faults


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
        choice = plain.removesuffix("[x]") if plain.endswith("[x]") else None
        steps.append(Step(plain, url, choice))
    return tuple(steps)


def _nodes(root: Mapping[str, object], path: str, steps: Sequence[Step]) -> list[tuple[str, Mapping[str, object]]]:
    nodes = [(path, root)]
    for step in steps:
        nodes = [
            (_where(place, name, index), child)
            for place, parent in nodes
            for name, index, child in _children(parent, step)
            if isinstance(child, dict)
        ]
    return nodes


def _children(parent: Mapping[str, object], step: Step) -> list[tuple[str, int | None, object]]:
    """What stands at a step: its member name, its index in an array, and its value."""
    found: list[tuple[str, int | None, object]] = []
    for name in (step.name,) if step.choice is None else [one for one in parent if one.startswith(step.choice)]:
        value = parent.get(name)
        if isinstance(value, list):
            found.extend((name, index, item) for index, item in enumerate(value))
        elif value is not None:
            found.append((name, None, value))
    if step.url is None:
        return found
    return [one for one in found if isinstance(one[2], dict) and one[2].get("url") == step.url]


def _where(place: str, name: str, index: int | None) -> str:
    return f"{place}.{name}" if index is None else f"{place}.{name}[{index}]"


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
