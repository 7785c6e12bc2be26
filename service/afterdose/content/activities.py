"""The words of a follow-up plan's activities and questionnaires (``mappings/activities/integration.toml``)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from marshmallow import fields, validate

from afterdose.content.locate import find
from afterdose.content.schemas import Day, Flag, Strict, load, one_of, read_toml, words
from afterdose.core.errors import BadContent

PHASES = ("preparation", "experience", "integration")
"""The three groups of a plan, in their order in time."""
_QUALITY = ("high", "moderate", "low", "very-low")  # http://terminology.hl7.org/CodeSystem/evidence-quality
_STRENGTH = ("strong", "weak")  # http://terminology.hl7.org/CodeSystem/recommendation-strength
FILE = "mappings/activities/integration.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A heading and what it means."""

    title: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity(Text):
    """Something that a plan asks of somebody.

    ``kind``: the type of the resource that a plan holds for it. ``who``: practitioner or patient.
    ``quality`` and ``strength``: of the evidence, as GRADE says; ``evidence`` says it in a sentence.
    ``questionnaire``: the id of the one that goes with it. ``optional``: only where it is preferred.
    """

    kind: str
    who: str
    phase: str
    quality: str
    strength: str
    evidence: str
    documentation: tuple[str, ...]
    questionnaire: str | None
    agenda: tuple[Text, ...]
    optional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question. ``type`` is FHIR's (http://hl7.org/fhir/R4/valueset-item-type.html)."""

    link_id: str
    type: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions(Text):
    """A questionnaire."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityFile:
    """All words, by id in the order of the file. ``date`` and ``version`` are the file's own."""

    date: date
    version: str
    purpose: str
    usage: str
    goal: str
    phases: Mapping[str, Text]
    activities: Mapping[str, Activity]
    questionnaires: Mapping[str, Questions]
    accompanied: Mapping[str, str]


class _Plan(Strict):
    purpose = words(required=True)
    usage = words(required=True)
    goal = words(required=True)


class _Text(Strict):
    title = words(required=True)
    description = words(required=True)


class _Activity(_Text):
    kind = one_of("Appointment", "ServiceRequest", "Task")
    who = one_of("patient", "practitioner")
    phase = one_of(*PHASES)
    quality = one_of(*_QUALITY)
    strength = one_of(*_STRENGTH)
    evidence = words(required=True)
    documentation = fields.List(words(), load_default=list)
    questionnaire = words(load_default=None)
    agenda = fields.List(fields.Nested(_Text), load_default=list)
    optional = Flag(load_default=False)


class _Item(Strict):
    link_id = words(required=True)
    type = one_of("boolean", "text")
    text = words(required=True)


class _Questions(_Text):
    items = fields.List(fields.Nested(_Item), required=True, validate=validate.Length(min=1))


class _Accompanied(Strict):
    therapist_present = words(required=True, data_key="therapist-present")
    monitoring_only = words(required=True, data_key="monitoring-only")
    not_stated = words(required=True, data_key="not-stated")


def _by_id(schema: type[Strict]) -> fields.Dict:
    key = fields.String(
        validate=validate.Regexp(r"^[a-z][a-z0-9-]{0,63}$", error="expected small letters, digits and '-'")
    )
    return fields.Dict(keys=key, values=fields.Nested(schema), required=True)


class _File(Strict):
    date = Day(required=True)
    version = words(required=True)
    plan = fields.Nested(_Plan, required=True)
    phases = _by_id(_Text)
    activities = _by_id(_Activity)
    questionnaires = _by_id(_Questions)
    accompanied = fields.Nested(_Accompanied, required=True)


def read_activities(overlay: Path | None = None) -> ActivityFile:
    """The activities of this installation. Raises BadContent naming file and key."""
    path = find(FILE, overlay)
    data = load(_File(), path, read_toml(path))
    missing = [phase for phase in PHASES if phase not in data["phases"]]
    if missing:
        raise BadContent(f"{path}: phases.{missing[0]}: is missing")
    for name, one in data["activities"].items():
        if one["questionnaire"] is not None and one["questionnaire"] not in data["questionnaires"]:
            raise BadContent(f"{path}: activities.{name}.questionnaire: there is no such questionnaire in this file")
    return ActivityFile(
        date=data["date"],
        version=data["version"],
        **data["plan"],
        phases={name: Text(**one) for name, one in data["phases"].items()},
        activities={name: _activity(one) for name, one in data["activities"].items()},
        questionnaires={name: _questions(one) for name, one in data["questionnaires"].items()},
        accompanied=data["accompanied"],
    )


def _activity(one: Mapping[str, Any]) -> Activity:
    parts = {"documentation": tuple(one["documentation"]), "agenda": tuple(Text(**part) for part in one["agenda"])}
    return Activity(**{**one, **parts})


def _questions(one: Mapping[str, Any]) -> Questions:
    return Questions(**{**one, "items": tuple(Item(**item) for item in one["items"])})
