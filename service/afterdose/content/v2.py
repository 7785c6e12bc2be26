"""The HL7 v2 table (``mappings/v2/ras-o17.toml``) and its code tables, checked and read as values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marshmallow import ValidationError, fields, validate

from afterdose.content.codes import concept_rows
from afterdose.content.locate import find
from afterdose.content.schemas import Strict, load, one_of, read_toml, words
from afterdose.core.errors import BadContent
from afterdose.fhir.decode.administration import STATUSES
from afterdose.fhir.v2.mapping import FIELDS_OF, Action, Alternatives, FieldRef, Row, Rule, V2Mapping

FILE = "mappings/v2/ras-o17.toml"

_ONCE = (Rule.STATUS, Rule.SUBJECT, Rule.MEDICATION, Rule.TIME, Rule.VERSION)
"""Rules that the table has exactly once: without them a message would say nothing that could be used."""


class _Fields(fields.Field[Alternatives]):
    """``RXA-5``, or ``ORC-3|ORC-2``."""

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> Alternatives:
        del attr, data, kwargs
        try:
            return tuple(FieldRef.of(each) for each in str(value).split("|"))
        except ValueError as error:
            raise ValidationError(str(error)) from None


class _Row(Strict):
    element = fields.String(
        required=True,
        validate=validate.Regexp(
            r"[a-z][A-Za-z]*(?:\.[a-z][A-Za-z]*)*(?:\[\])?\Z", error="expected an element such as dosage.route"
        ),
    )
    rule = one_of(*map(str, Rule))
    fields_ = fields.List(_Fields(), required=True, data_key="fields", validate=validate.Length(min=1))
    table = words(load_default=None)
    source = words(required=True)


class _Table(Strict):
    messages = fields.List(
        fields.String(
            validate=validate.Regexp(r"[A-Z]{3}(?:\^[A-Z][0-9]{2})?\Z", error="expected a type such as RAS^O17")
        ),
        required=True,
        validate=validate.Length(min=1),
    )
    processing_ids = fields.List(words(), required=True)
    identity = fields.List(_Fields(), required=True, validate=validate.Length(min=1))
    identifier_types = fields.List(fields.String(), required=True, validate=validate.Length(min=1))
    action_when_absent = one_of(*map(str, Action))
    status_when_absent = one_of(*sorted(STATUSES))
    status_while_running = one_of(*sorted(STATUSES))
    unknown_amounts = fields.List(words(), required=True)
    table_system = words(required=True)
    ucum = words(required=True)
    class_system = words(required=True)
    assigners = fields.Dict(keys=words(), values=words(), required=True)
    locations = fields.Dict(keys=words(), values=words(), required=True)
    time_units = fields.Dict(keys=words(), values=words(), required=True)
    row = fields.List(fields.Nested(_Row), required=True)


def read_v2(overlay: Path | None) -> V2Mapping:
    """The table; the site's where it has one. Raises BadContent naming file and key."""
    path = find(FILE, overlay)
    loaded = load(_Table(), path, read_toml(path))
    rows = tuple(_row(each, f"{path}: row[{place}]") for place, each in enumerate(loaded.pop("row")))
    for rule in _ONCE:
        if sum(row.rule is rule for row in rows) != 1:
            raise BadContent(f"{path}: row: expected exactly one with rule = '{rule}'")
    if not any(ref.segment == "RXA" for alternatives in loaded["identity"] for ref in alternatives):
        raise BadContent(f"{path}: identity: expected at least one field of RXA")
    messages = frozenset(_pair(message) for message in loaded.pop("messages"))
    return V2Mapping(
        messages=messages,
        processing_ids=frozenset(loaded.pop("processing_ids")),
        identity=tuple(loaded.pop("identity")),
        identifier_types=tuple(loaded.pop("identifier_types")),
        action_when_absent=Action(loaded.pop("action_when_absent")),
        unknown_amounts=frozenset(loaded.pop("unknown_amounts")),
        rows=rows,
        completion=_codes("ConceptMap-v2-completion-status", overlay, {status: status for status in STATUSES}),
        actions=_codes("ConceptMap-v2-actions", overlay, {str(action): action for action in Action}),
        classes={row.code: row.target for row in concept_rows("ConceptMap-v2-visit-classes", overlay)},
        systems={row.code.casefold(): row.target for row in concept_rows("ConceptMap-v2-coding-systems", overlay)},
        **loaded,
    )


def _pair(message: str) -> tuple[str, str]:
    type_, _, event = message.partition("^")
    return type_, event


def _row(loaded: Mapping[str, Any], at: str) -> Row:
    rule = Rule(loaded["rule"])
    if len(loaded["fields_"]) != FIELDS_OF[rule]:
        raise BadContent(f"{at}.fields: expected {FIELDS_OF[rule]} for rule = '{rule}'")
    return Row(element=loaded["element"], rule=rule, fields=tuple(loaded["fields_"]), table=loaded["table"])


def _codes(name: str, overlay: Path | None, meanings: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for row in concept_rows(name, overlay):
        if row.target not in meanings:
            raise BadContent(f"{row.at}.target: expected one of {', '.join(sorted(meanings))}")
        found[row.code.casefold()] = meanings[row.target]
    return found
