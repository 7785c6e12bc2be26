"""Whether a resource that we write, or are asked about, is valid FHIR R4.

A walk over the resource along the tables of :mod:`~afterdose.fhir.conform.shapes`: JSON types, cardinality, formats,
required codes, unknown elements, choices, references and their targets, contained resources (dom-2 to dom-5),
the invariants of :mod:`~afterdose.fhir.conform.invariants`, the narrative, and the profiles that the resource
claims where their rules are given. Rules: http://hl7.org/fhir/R4/validation.html and json.html.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from afterdose.core.errors import Problem
from afterdose.fhir.conform.findings import Enough, Findings
from afterdose.fhir.conform.invariants import RULES, SIMPLE_QUANTITIES
from afterdose.fhir.conform.primitives import NARRATIVE, is_absolute
from afterdose.fhir.conform.profile_rules import ProfileRules, check_profile
from afterdose.fhir.conform.references import check_reference
from afterdose.fhir.conform.shapes import Field, Shape, primitive_extension, resource_shape, shape_of
from afterdose.fhir.conform.xhtml import links_within
from afterdose.fhir.resource_types import R4_TYPES, WITHOUT_SHAPE

CHECKED_TYPES = frozenset(
    {
        "Appointment",
        "CarePlan",
        "Communication",
        "DocumentReference",
        "Goal",
        "Provenance",
        "ServiceRequest",
        "Task",
    }
)

MAX_DEPTH = 64
_BASE = "http://hl7.org/fhir/StructureDefinition/"
"""What the profiles of R4's own types begin with (http://hl7.org/fhir/R4/resource.html#Meta)."""
_LONGEST_NAME = 64
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def problems(
    resource: Mapping[str, object],
    *,
    profiles: Mapping[str, ProfileRules] = _NOTHING,
    known: Mapping[str, str] = _NOTHING,
) -> tuple[Problem, ...]:
    """What is wrong with a resource of one of ``CHECKED_TYPES``; empty when nothing is.

    ``profiles``: rules by profile URL, applied to a resource that claims the URL in ``meta.profile`` and to
    extensions with that URL. ``known``: resource types by ``fullUrl``, for references inside a Bundle.
    Another type gives one problem ``not-supported``. Never raises for content; at most
    ``findings.MOST`` problems are reported.
    """
    kind = resource.get("resourceType")
    if not isinstance(kind, str):
        return (Problem(code="structure", path="", text="resourceType is missing or not a string"),)
    if kind not in CHECKED_TYPES:
        checked = ", ".join(sorted(CHECKED_TYPES))
        return (Problem(code="not-supported", path="", text=f"only these types are checked: {checked}"),)
    walk = _Walk(resource, kind, profiles, known)
    try:
        walk.element(resource, resource_shape(kind), kind, 1)
        walk.contained_are_used()
        walk.claimed_profiles()
    except Enough:
        pass
    return tuple(walk.found.problems)


class _Walk:
    """One check of one resource."""

    def __init__(
        self,
        resource: Mapping[str, object],
        kind: str,
        profiles: Mapping[str, ProfileRules],
        known: Mapping[str, str],
    ) -> None:
        self.found = Findings()
        self.resource = resource
        self.kind = kind
        self.profiles = profiles
        self.known = known
        self.contained: dict[str, str | None] = {}
        self.used: set[str] = set()
        self.inside: str | None = None
        contained = resource.get("contained")
        for item in contained if isinstance(contained, list) else ():
            if isinstance(item, dict) and isinstance(name := item.get("id"), str):
                stated = item.get("resourceType")
                self.contained[name] = stated if isinstance(stated, str) else None

    def element(self, value: object, shape: Shape, path: str, depth: int) -> None:
        """Check an object against the shape of its type."""
        if not isinstance(value, dict):
            self.found.add("structure", path, "must be a JSON object")
            return
        if depth > MAX_DEPTH:
            self.found.add("too-costly", path, f"is nested more than {MAX_DEPTH} levels deep")
            return
        if not value:
            self.found.add("structure", path, "must not be an empty object")
            return
        fields = shape.fields
        for name, item in value.items():
            field = fields.get(name)
            if field is None:
                self.other_member(value, name, item, shape, path, depth)
            elif not field.many:
                if field.check is not None and field.is_plain(item):
                    continue
                if isinstance(item, list):
                    self.found.add("structure", f"{path}.{name}", "must not be an array: at most one is allowed")
                else:
                    self.one(item, field, shape, f"{path}.{name}", depth)
            elif not isinstance(item, list):
                self.found.add("structure", f"{path}.{name}", "must be an array")
            elif not item:
                self.found.add("structure", f"{path}.{name}", "must not be an empty array")
            else:
                for index, part in enumerate(item):
                    if part is None and field.check is not None and _extended(value, name, index):
                        self.needs_code(field, f"{path}.{name}[{index}]")
                        continue
                    self.one(part, field, shape, f"{path}.{name}[{index}]", depth)
        if shape.required or shape.choices or len(value) == 1:
            self.presence(value, shape, path)
        rule = RULES.get(shape.name)
        if rule is not None:
            rule(value, path, self.found)

    def presence(self, value: Mapping[str, object], shape: Shape, path: str) -> None:
        """Required elements, choices and ele-1."""
        for name in shape.required:
            if name not in value and f"_{name}" not in value:
                self.found.add("required", f"{path}.{name}", "is required")
        for choice, names in shape.choices.items():
            count = len({name.removeprefix("_") for name in names.intersection(value)})
            if count > 1:
                self.found.add("structure", f"{path}.{choice}[x]", "must be given in one type only")
            elif not count and choice in shape.required_choices:
                self.found.add("required", f"{path}.{choice}[x]", "is required")
        if len(value) == 1 and "id" in value and not shape.is_resource:
            self.found.add("invariant", path, "ele-1: must have a value or children")

    def one(self, item: object, field: Field, shape: Shape, path: str, depth: int) -> None:
        """Check one occurrence of an element."""
        if item is None:
            self.found.add("structure", path, "must not be null")
        elif field.check is not None:
            fault = field.check(item)
            if fault is not None:
                self.found.add(fault[0], path, fault[1])
            elif field.check is NARRATIVE:
                self.links(str(item), path)
            elif field.codes is not None and item not in field.codes:
                self.found.add("code-invalid", path, f"must be one of: {', '.join(sorted(field.codes))}")
            elif isinstance(item, str) and item.startswith("#"):
                self.used.add(item[1:])
        elif field.model is None:
            self.inner_resource(item, field.name, path, depth)
        else:
            inner = shape_of(field.model)
            self.element(item, inner, path, depth + 1)
            if isinstance(item, dict):
                self.by_place(item, field, shape, inner, path)

    def links(self, div: str, path: str) -> None:
        """What a narrative links to within its resource: a name in the text, or a contained resource."""
        looked_for = links_within(div)
        self.used |= looked_for
        if looked_for - self.contained.keys():
            self.found.add("value", path, "a link leads to nothing in the text and to no contained resource")

    def needs_code(self, field: Field, path: str) -> None:
        """No extension stands in the place of a code that R4 binds to a value set (terminologies.html#required)."""
        if field.codes is not None:
            self.found.add("code-invalid", path, "needs a code: an extension cannot stand in its place")

    def by_place(self, item: Mapping[str, object], field: Field, shape: Shape, inner: Shape, path: str) -> None:
        """What depends on where a data type stands."""
        if field.targets is not None:
            local = check_reference(
                item,
                path,
                field.targets,
                self.found,
                contained=self.contained,
                container=self.kind,
                known=self.known,
            )
            if local == "" and self.inside is not None:
                self.used.add(self.inside)
            elif local == "":
                self.found.add("invariant", f"{path}.reference", "ref-1: '#' may stand in a contained resource only")
            elif local is not None:
                self.used.add(local)
        elif inner.name == "Extension":
            url = item.get("url")
            if isinstance(url, str):
                if shape.name != "Extension" and url and not is_absolute(url):
                    self.found.add("value", f"{path}.url", "must be an absolute URL")
                if (rules := self.profiles.get(url)) is not None and rules.type == "Extension":
                    check_profile(item, path, rules, self.found)
        elif "comparator" in item and f"{shape.name}.{field.name}" in SIMPLE_QUANTITIES:
            self.found.add("invariant", path, "sqty-1: may not have a comparator")

    def other_member(
        self, value: Mapping[str, object], name: str, item: object, shape: Shape, path: str, depth: int
    ) -> None:
        """A member that is no element: ``resourceType``, ``_name`` beside a primitive, or unknown."""
        if name == "resourceType" and shape.is_resource:
            return
        field = shape.fields.get(name[1:]) if name.startswith("_") else None
        if field is None or field.check is None or (field.name == "id" and shape.is_resource):
            near = get_close_matches(name, shape.fields, n=1) if len(name) <= _LONGEST_NAME else []
            hint = f"; did you mean '{near[0]}'?" if near else ""
            self.found.add("structure", path, f"has a member that R4 does not define here{hint}")
        elif field.check is NARRATIVE:
            self.found.add("structure", f"{path}.{field.name}", "a narrative has neither id nor extensions")
        elif not field.many:
            self.element(item, primitive_extension(), f"{path}.{field.name}", depth + 1)
            if field.name not in value:
                self.needs_code(field, f"{path}.{field.name}")
        elif not isinstance(item, list):
            self.found.add("structure", f"{path}.{field.name}", "extensions of an array must be an array")
        else:
            values = value.get(field.name)
            if isinstance(values, list) and len(values) != len(item):
                self.found.add(
                    "structure", f"{path}.{field.name}", "values and extensions must be arrays of one length"
                )
            if all(part is None for part in item):
                self.found.add("structure", f"{path}.{field.name}", "an array of extensions must hold one")
            for index, part in enumerate(item):
                if part is not None:
                    self.element(part, primitive_extension(), f"{path}.{field.name}[{index}]", depth + 1)
                elif not isinstance(values, list):
                    self.found.add("structure", f"{path}.{field.name}[{index}]", "must not be null")

    def inner_resource(self, item: object, name: str, path: str, depth: int) -> None:
        """A resource inside the resource, mostly contained (http://hl7.org/fhir/R4/references.html#contained)."""
        kind = item.get("resourceType") if isinstance(item, dict) else None
        if not isinstance(item, dict) or not isinstance(kind, str):
            self.found.add("structure", path, "must be a JSON object with a resourceType")
            return
        if kind not in R4_TYPES:
            self.found.add("structure", path, "has a resourceType that is not of FHIR R4")
            return
        if name == "contained":
            self.contained_rules(item, path)
            identity = item.get("id")
            self.inside = identity if isinstance(identity, str) else None
        if kind not in WITHOUT_SHAPE:
            self.element(item, resource_shape(kind), path, depth + 1)
        if name == "contained":
            self.inside = None

    def contained_rules(self, item: Mapping[str, object], path: str) -> None:
        """dom-2, dom-4, dom-5, and the id that dom-3 presupposes."""
        if "contained" in item:
            self.found.add("invariant", path, "dom-2: a contained resource must not contain resources")
        if "id" not in item:
            self.found.add("required", f"{path}.id", "a contained resource needs an id to be referred to")
        meta = item.get("meta")
        if isinstance(meta, dict):
            if "versionId" in meta or "lastUpdated" in meta:
                self.found.add("invariant", path, "dom-4: a contained resource must not have a version or lastUpdated")
            if "security" in meta:
                self.found.add("invariant", path, "dom-5: a contained resource must not have security labels")

    def contained_are_used(self) -> None:
        """dom-3, and that every contained id is there once."""
        contained = self.resource.get("contained")
        seen: set[str] = set()
        for index, item in enumerate(contained if isinstance(contained, list) else ()):
            name = item.get("id") if isinstance(item, dict) else None
            if not isinstance(name, str):
                continue
            path = f"{self.kind}.contained[{index}]"
            if name in seen:
                self.found.add("structure", f"{path}.id", "two contained resources have the same id")
            elif name not in self.used:
                self.found.add("invariant", path, "dom-3: a contained resource must be referred to")
            seen.add(name)

    def claimed_profiles(self) -> None:
        """The rules of every profile in ``meta.profile`` that we were given."""
        meta = self.resource.get("meta")
        claimed = meta.get("profile") if isinstance(meta, dict) else None
        for canonical in claimed if isinstance(claimed, list) else ():
            url = canonical.partition("|")[0] if isinstance(canonical, str) else ""
            rules = self.profiles.get(url)
            base = url.removeprefix(_BASE) if url.startswith(_BASE) else ""
            if base == self.kind or (rules is None and base not in R4_TYPES):
                continue
            if rules is None or rules.type != self.kind:
                self.found.add("value", f"{self.kind}.meta.profile", "claims a profile of another resource type")
            else:
                check_profile(self.resource, self.kind, rules, self.found)


def _extended(value: Mapping[str, object], name: str, index: int) -> bool:
    """Whether a null in an array of primitives has its extension beside it (json.html#primitive)."""
    beside = value.get(f"_{name}")
    return isinstance(beside, list) and index < len(beside) and beside[index] is not None
