"""What R4 allows in each type: elements, cardinality, formats, required codes, allowed references.

The facts come from the metadata of the ``fhir.resources`` R4B models. For CarePlan, Appointment, Task, Goal,
Provenance and the data types they reach, that metadata was compared with the R4 definitions
(http://hl7.org/fhir/R4/definitions.json.zip, profiles-resources and profiles-types): it differs only in what
``_CORRECTIONS`` and the tables beside it set right. Tables are built once, at the first use of a type.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias, get_args, get_origin

from fhir.resources.R4B import get_fhir_model_class

from afterdose.fhir.conform.primitives import CHECKS, NARRATIVE, Check

Model: TypeAlias = Any
"""A model class of ``fhir.resources.R4B``."""

ANY_TYPE: frozenset[str] = frozenset()
"""Targets of a Reference that may point at every resource type."""

# The models spell primitive types as Python classes.
_PRIMITIVES: Mapping[str, str] = {
    "Base64Binary": "base64Binary",
    "Canonical": "canonical",
    "Code": "code",
    "Date": "date",
    "DateTime": "dateTime",
    "Decimal": "decimal",
    "Id": "id",
    "Instant": "instant",
    "Integer": "integer",
    "Markdown": "markdown",
    "Oid": "oid",
    "PositiveInt": "positiveInt",
    "String": "string",
    "Time": "time",
    "UnsignedInt": "unsignedInt",
    "Uri": "uri",
    "Url": "url",
    "UuidVersion": "uuid",
    "Xhtml": "xhtml",
}

# Required bindings that the metadata lacks or cuts short (http://hl7.org/fhir/R4/terminologies.html#required).
_MOMENTS = (
    "MORN MORN.early MORN.late NOON AFT AFT.early AFT.late EVE EVE.early EVE.late NIGHT PHS HS WAKE "
    "C CM CD CV AC ACM ACD ACV PC PCM PCD PCV"
)
_COMPARATORS = ("<", "<=", ">=", ">")
_CORRECTIONS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("Age", "comparator"): _COMPARATORS,
    ("Count", "comparator"): _COMPARATORS,
    ("Distance", "comparator"): _COMPARATORS,
    ("Duration", "comparator"): _COMPARATORS,
    ("Quantity", "comparator"): _COMPARATORS,
    ("Task", "status"): (
        "draft",
        "requested",
        "received",
        "accepted",
        "rejected",
        "ready",
        "cancelled",
        "in-progress",
        "on-hold",
        "failed",
        "completed",
        "entered-in-error",
    ),
    ("TimingRepeat", "when"): tuple(_MOMENTS.split()),
}
# In the metadata these mark a list of codes that goes on.
_CUT_SHORT = frozenset({"+", "etc."})
# Elements of R4B that R4 does not have.
_NOT_IN_R4 = frozenset({"subjectCanonical", "valueCodeableReference", "valueRatioRange"})


@dataclass(frozen=True, slots=True)
class Field:
    """One element of a type. ``check`` is set for primitives, ``model`` for data types; neither: any resource."""

    name: str
    many: bool
    required: bool
    check: Check | None = None
    codes: frozenset[str] | None = None
    model: Model | None = None
    targets: frozenset[str] | None = None
    choice: str | None = None
    choice_required: bool = False

    def is_plain(self, item: object) -> bool:
        """Whether it is a primitive that is right and leads nowhere: of most there is no more to say."""
        check = self.check
        if check is None or check is NARRATIVE or check(item) is not None:
            return False
        if isinstance(item, str) and item.startswith("#"):
            return False
        return self.codes is None or item in self.codes


@dataclass(frozen=True, slots=True)
class Shape:
    """A type: its elements by JSON name, the names that must be there, and its choices (``value[x]``) with
    the names in which they may be given, those of their extensions (``_valueString``) among them."""

    name: str
    is_resource: bool
    fields: Mapping[str, Field]
    required: tuple[str, ...]
    choices: Mapping[str, frozenset[str]]
    required_choices: frozenset[str]


PRIMITIVE_EXTENSION = "Element"
RESOURCE = "Resource"


@cache
def resource_shape(resource_type: str) -> Shape:
    """The shape of an R4 resource type or data type by its name."""
    return shape_of(get_fhir_model_class(resource_type))


@cache
def shape_of(model: Model) -> Shape:
    """The shape behind a model of ``fhir.resources.R4B``."""
    found = {
        info.alias or name: info
        for name, info in model.model_fields.items()
        if name not in ("fhir_comments", "resource_type") and not name.endswith("__ext")
    }
    fields = {name: _field(model, name, info) for name, info in found.items() if name not in _NOT_IN_R4}
    if model.__name__ == "Extension":
        fields["valueMeta"] = Field(
            "valueMeta", many=False, required=False, model=get_fhir_model_class("Meta"), choice="value"
        )
    return _shape(model.__name__, model.has_resource_base(), fields.values())


@cache
def primitive_extension() -> Shape:
    """The shape of ``_name`` beside a primitive: an id and extensions."""
    extension = resource_shape("Extension").fields["extension"]
    identity = Field("id", many=False, required=False, check=CHECKS["elementId"])
    return _shape(PRIMITIVE_EXTENSION, False, (identity, extension))


def _shape(name: str, is_resource: bool, fields: Iterable[Field]) -> Shape:
    choices: dict[str, frozenset[str]] = {}
    table = {field.name: field for field in fields}
    for item in table.values():
        if item.choice is not None:
            choices[item.choice] = choices.get(item.choice, frozenset()) | {item.name, f"_{item.name}"}
    return Shape(
        name=name,
        is_resource=is_resource,
        fields=table,
        required=tuple(item.name for item in table.values() if item.required),
        choices=choices,
        required_choices=frozenset(item.choice for item in table.values() if item.choice and item.choice_required),
    )


def _field(model: Model, name: str, info: Any) -> Field:
    leaf, many = _leaf(info.annotation)
    facts: Mapping[str, Any] = info.json_schema_extra or {}
    codes = _CORRECTIONS.get((model.__name__, name)) or facts.get("enum_values")
    if codes is not None and not _CUT_SHORT.isdisjoint(codes):
        codes = None
    check = target = targets = None
    if hasattr(leaf, "get_model_klass"):
        target = leaf.get_model_klass()
        if target.__name__ == RESOURCE:
            target = None
        elif target.__name__ == "Reference":
            allowed = facts.get("enum_reference_types") or [RESOURCE]
            targets = ANY_TYPE if RESOURCE in allowed else frozenset(allowed)
    else:
        check = CHECKS[_primitive(model, name, leaf)]
    return Field(
        name=name,
        many=many,
        required=info.is_required() or bool(facts.get("element_required")),
        check=check,
        codes=frozenset(codes) if codes is not None else None,
        model=target,
        targets=targets,
        choice=facts.get("one_of_many"),
        choice_required=bool(facts.get("one_of_many_required")),
    )


def _primitive(model: Model, name: str, leaf: Any) -> str:
    if leaf is bool:
        return "boolean"
    kind = _PRIMITIVES[type(leaf.__metadata__[-1]).__name__]
    if name == "language" and (model.has_resource_base() or model.__name__ == "Attachment"):
        return "language"
    return "elementId" if name == "id" and not model.has_resource_base() else kind


def _leaf(annotation: Any) -> tuple[Any, bool]:
    """The type inside ``X | None``, ``list[X]`` and their mixtures, and whether it is a list."""
    if hasattr(annotation, "__metadata__"):
        return annotation, False
    inner = [argument for argument in get_args(annotation) if argument is not type(None)]
    if not inner:
        return annotation, False
    leaf, many = _leaf(inner[0])
    return leaf, many or get_origin(annotation) is list
