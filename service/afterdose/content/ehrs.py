"""What is known of EHR products beyond what they declare (``mappings/ehrs/*.toml``)."""

from pathlib import Path
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from afterdose.content.locate import choose
from afterdose.content.schemas import Count, Day, Flag, Strict, load, read_toml, words
from afterdose.fhir.encode.rungs import Artifact, CohortKind, EhrFacts, TypeFacts, rungs_of
from afterdose.fhir.resource_types import R4_TYPES
from afterdose.fhir.subscription import DELETIONS, FORMS, Addition, SubscriptionFacts

_NEEDS = ("location", "pool", "sender")
_TEMPLATE = validate.Regexp(
    r"^(?:[^{}]|\{patient\}|\{since\})+$", error="expected a search value; only {{patient}} and {{since}} are filled in"
)


def _texts() -> fields.List[Any]:
    return fields.List(words(), load_default=list)


class _TypeSchema(Strict):
    fields_ = fields.List(words(), load_default=None, data_key="fields")
    single = _texts()
    values = fields.Dict(keys=words(), values=words(), load_default=dict)
    longest = fields.Dict(keys=words(), values=Count(), load_default=dict)
    needs = fields.List(
        fields.String(validate=validate.OneOf(_NEEDS, error=f"expected one of {', '.join(_NEEDS)}")), load_default=list
    )
    updates = Flag(load_default=None)
    patches = _texts()
    again = Flag(load_default=False)
    attach = Flag(load_default=False)
    find = fields.Dict(keys=words(), values=fields.String(validate=_TEMPLATE), load_default=None)
    mark = words(load_default=None)
    poll = fields.Dict(keys=words(), values=fields.String(validate=_TEMPLATE), load_default=None)

    @validates_schema(skip_on_field_errors=True)
    def _recognised(self, data: dict[str, Any], **kwargs: object) -> None:
        del kwargs
        if data["find"] and data["mark"] is None:
            raise ValidationError("expected the path of a text, because what is found has to be known again", "mark")

    @validates_schema(skip_on_field_errors=True)
    def _of_one_patient(self, data: dict[str, Any], **kwargs: object) -> None:
        del kwargs
        if data["poll"] is not None and "{patient}" not in data["poll"].values():
            raise ValidationError("expected a search for one {patient}", "poll")


class _PollingSchema(Strict):
    last_updated = Flag(load_default=True)
    cohorts = fields.List(
        fields.String(validate=validate.OneOf([*CohortKind], error=f"expected one of {', '.join(CohortKind)}")),
        load_default=lambda: [*CohortKind],
    )


class _AdditionSchema(Strict):
    url = words(required=True)
    value = fields.Dict(keys=words(), required=True, validate=validate.Length(equal=1, error="expected one value"))
    on_channel = Flag(load_default=False)
    variant = fields.String(
        load_default=None, validate=validate.OneOf((DELETIONS,), error=f"expected {DELETIONS}, or nothing")
    )


class _SubscriptionsSchema(Strict):
    offered = Flag(load_default=True)
    form = fields.String(load_default=None, validate=validate.OneOf(FORMS, error=f"expected one of {', '.join(FORMS)}"))
    numbers = Flag(load_default=True)
    activates = Flag(load_default=True)
    additions = fields.List(fields.Nested(_AdditionSchema), load_default=list)


class _EhrSchema(Strict):
    title = words(required=True)
    sources = fields.List(words(), required=True, validate=validate.Length(min=1, error="expected where this is said"))
    as_of = Day(required=True)
    rungs = fields.Dict(
        keys=fields.String(validate=validate.OneOf([*Artifact], error=f"expected one of {', '.join(Artifact)}")),
        values=words(),
        load_default=dict,
    )
    polling = fields.Nested(_PollingSchema, load_default=lambda: _PollingSchema().load({}))
    types = fields.Dict(
        keys=fields.String(validate=validate.OneOf(sorted(R4_TYPES), error="expected a resource type of FHIR R4")),
        values=fields.Nested(_TypeSchema),
        load_default=dict,
    )

    reads = fields.List(
        fields.String(validate=validate.OneOf(sorted(R4_TYPES), error="expected a resource type of FHIR R4")),
        load_default=list,
    )
    atomic_create = Flag(load_default=False)
    subscriptions = fields.Nested(_SubscriptionsSchema, load_default=lambda: _SubscriptionsSchema().load({}))

    @validates_schema(skip_on_field_errors=True)
    def _on_the_ladder(self, data: dict[str, Any], **kwargs: object) -> None:
        del kwargs
        for artifact, rung in data["rungs"].items():
            legal = rungs_of(Artifact(artifact))
            if rung not in legal:
                raise ValidationError(f"expected one of {', '.join(legal)}", f"rungs.{artifact}")


def read_ehr(name_or_path: str, overlay: Path | None = None) -> EhrFacts:
    """The facts about a product by the name of its file in ``mappings/ehrs``, or by path.

    Raises BadContent that names file and key.
    """
    path = choose("mappings/ehrs", name_or_path, overlay)
    data = load(_EhrSchema(), path, read_toml(path))
    return EhrFacts(
        name=path.stem,
        title=data["title"],
        last_updated=data["polling"]["last_updated"],
        cohorts=frozenset(CohortKind(kind) for kind in data["polling"]["cohorts"]),
        rungs={Artifact(artifact): rung for artifact, rung in data["rungs"].items()},
        types={type_: _facts(table) for type_, table in data["types"].items()},
        subscriptions=_subscriptions(data["subscriptions"]),
        reads=frozenset(data["reads"]),
        atomic_create=data["atomic_create"],
    )


def _subscriptions(table: dict[str, Any]) -> SubscriptionFacts:
    additions = tuple(Addition(**one) for one in table.pop("additions"))
    return SubscriptionFacts(additions=additions, **table)


def _facts(table: dict[str, Any]) -> TypeFacts:
    taken = table.pop("fields_")
    return TypeFacts(
        fields=frozenset(taken) if taken is not None else None,
        single=frozenset(table.pop("single")),
        needs=frozenset(table.pop("needs")),
        patches=frozenset(table.pop("patches")),
        **table,
    )
