"""Protocol files (``mappings/protocols/*.toml``): every clinical number, with its unit, first day and source."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from marshmallow import fields, validate

from afterdose.content.schemas import (
    DURATION_UNITS,
    Count,
    Day,
    Flag,
    Number,
    Strict,
    duration,
    duration_unit,
    load,
    one_of,
    read_toml,
    words,
)
from afterdose.core.dose import Family, Route
from afterdose.core.errors import BadContent
from afterdose.core.protocol import DoseEnvelope, Exclusions, Plausible, Protocol, Rules


class _Reference(Strict):
    title = words(required=True)
    url = words(required=True)


def _since() -> Day:
    return Day(required=True, data_key="from")


class _Dated(Strict):
    since = _since()
    reference = fields.Nested(_Reference, required=True)


class _Duration(_Dated):
    value = Number(required=True)
    unit = duration_unit()


class _Durations(_Dated):
    value = fields.List(Number(), required=True)
    unit = duration_unit()


class _Mass(_Dated):
    value = Number(required=True)
    unit = one_of("mg")


class _MassPerWeight(_Dated):
    value = Number(required=True)
    unit = one_of("mg/kg")


class _Weight(_Dated):
    value = Number(required=True)
    unit = one_of("kg")


class _Years(_Dated):
    value = Count(required=True)
    unit = one_of("years")


class _Score(_Dated):
    value = Number(required=True)


class _Times(_Dated):
    value = Count(required=True)


class _FirstDay(_Dated):
    value = Day(required=True)


class _YesNo(_Dated):
    value = Flag(required=True)


class _MassPerWeightRange(Strict):
    min = Number(load_default=None)
    max = Number(load_default=None)
    unit = one_of("mg/kg")


class _MassRange(Strict):
    max = Number(required=True)
    unit = one_of("mg")


class _DurationRange(Strict):
    min = Number(load_default=None)
    max = Number(load_default=None)
    unit = duration_unit()


class _Envelope(_Dated):
    route = one_of(*Route)
    dose_per_weight = fields.Nested(_MassPerWeightRange, load_default=None)
    dose_total = fields.Nested(_MassRange, load_default=None)
    duration = fields.Nested(_DurationRange, load_default=None)


class _SessionLength(Strict):
    min = Number(required=True)
    max = Number(required=True)
    unit = duration_unit()
    reference = fields.Nested(_Reference, required=True)


def _entries(schema: type[_Dated], *, required: bool = True) -> fields.List[dict[str, Any]]:
    """The entries of one number; a number that is not required may be left out."""
    if not required:
        return fields.List(fields.Nested(schema), load_default=list)
    some = validate.Length(min=1, error="expected at least one entry")
    return fields.List(fields.Nested(schema), required=True, validate=some)


class _ProtocolSchema(Strict):
    id = fields.String(
        required=True, validate=validate.Regexp(r"^[A-Za-z0-9\-.]{1,64}$", error="expected letters, digits and '-'")
    )
    version = fields.String(
        required=True, validate=validate.Regexp(r"^[0-9]+\.[0-9]+\.[0-9]+$", error='expected a version such as "1.0.0"')
    )
    title = words(required=True)
    family = one_of(*Family)
    review_by = Day(required=True)
    evidence = fields.List(
        words(), required=True, validate=validate.Length(min=1, error="expected at least one sentence")
    )
    session_length = fields.Nested(_SessionLength, required=True)

    opens_after = _entries(_Duration)
    peak_after = _entries(_Duration)
    plateau_ends_after = _entries(_Duration)
    closes_after = _entries(_Duration)
    nothing_before = _entries(_Duration)
    lead_time = _entries(_Duration)
    post_window_until = _entries(_Duration)
    score_at_opens = _entries(_Score)
    score_at_plateau_end = _entries(_Score)
    score_at_closes = _entries(_Score)
    cluster_gap = _entries(_Duration)
    course_gap = _entries(_Duration)
    active_phase = _entries(_Duration)
    active_trailing = _entries(_Duration)
    active_trailing_doses = _entries(_Times)
    future_tolerance = _entries(_Duration)
    longest_administration = _entries(_Duration)
    earliest_plausible = _entries(_FirstDay)
    plausible_dose_max = _entries(_Mass, required=False)
    plausible_dose_per_weight_max = _entries(_MassPerWeight, required=False)
    plausible_weight_min = _entries(_Weight, required=False)
    plausible_weight_max = _entries(_Weight, required=False)
    adult_from = _entries(_Years)
    dose_needed = _entries(_YesNo)
    envelopes = _entries(_Envelope, required=False)
    bolus_dose = _entries(_MassPerWeight, required=False)
    bolus_shorter_than = _entries(_Duration, required=False)
    intramuscular_dose = _entries(_MassPerWeight, required=False)
    infusion_longer_than = _entries(_Duration, required=False)
    looks_after_anchor = _entries(_Durations)
    look_before_close = _entries(_Duration)
    look_while_waiting = _entries(_Duration)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolFile:
    """A protocol, and how long a session under it may be."""

    protocol: Protocol
    shortest_session: timedelta
    longest_session: timedelta


def read_protocol(path: Path) -> ProtocolFile:
    """The protocol of a file. Raises BadContent naming file and key."""
    schema = _ProtocolSchema()
    data = load(schema, path, read_toml(path))
    numbers = {name: data[name] for name, field in schema.fields.items() if isinstance(field, fields.List)}
    del numbers["evidence"]
    firsts = sorted({entry["since"] for entries in numbers.values() for entry in entries})
    for name, entries in numbers.items():
        if schema.fields[name].required and min(entry["since"] for entry in entries) > firsts[0]:
            raise BadContent(
                f"{path}: {name}: the first entry has to apply from {firsts[0]}, as others in this file do"
            )
    length = data["session_length"]
    return ProtocolFile(
        protocol=Protocol(
            id=data["id"],
            version=data["version"],
            title=data["title"],
            family=Family(data["family"]),
            review_by=data["review_by"],
            dated=tuple((day, _rules(path, numbers, day)) for day in firsts),
            evidence=tuple(data["evidence"]),
        ),
        shortest_session=duration(length["min"], length["unit"]),
        longest_session=duration(length["max"], length["unit"]),
    )


_IN_ORDER = ("nothing_before", "opens_after", "peak_after", "plateau_ends_after", "closes_after", "post_window_until")


def _rules(path: Path, numbers: Mapping[str, list[dict[str, Any]]], day: date) -> Rules:
    """The numbers in force on ``day``: of each the entry with the latest ``from`` that has come."""
    now = {name: _in_force(entries, day) for name, entries in numbers.items() if name != "envelopes"}
    value = {name: _value(entry) for name, entry in now.items()}
    for earlier, later in pairwise(_IN_ORDER):
        if value[earlier] > value[later]:
            raise BadContent(f"{path}: {later}: expected no less than {earlier} (in the numbers from {day})")
    routes = {entry["route"] for entry in numbers["envelopes"] if entry["since"] <= day}
    envelopes = {
        Route(route): _envelope(_in_force([one for one in numbers["envelopes"] if one["route"] == route], day) or {})
        for route in sorted(routes)
    }
    return Rules(
        opens_after=value["opens_after"],
        peak_after=value["peak_after"],
        plateau_ends_after=value["plateau_ends_after"],
        closes_after=value["closes_after"],
        nothing_before=value["nothing_before"],
        lead_time=value["lead_time"],
        post_window_until=value["post_window_until"],
        score_at_opens=value["score_at_opens"],
        score_at_plateau_end=value["score_at_plateau_end"],
        score_at_closes=value["score_at_closes"],
        cluster_gap=value["cluster_gap"],
        course_gap=value["course_gap"],
        future_tolerance=value["future_tolerance"],
        longest_administration=value["longest_administration"],
        earliest_plausible=value["earliest_plausible"],
        active_phase=value["active_phase"],
        active_trailing=value["active_trailing"],
        active_trailing_doses=value["active_trailing_doses"],
        envelopes=envelopes,
        dose_needed=value["dose_needed"],
        exclusions=Exclusions(
            bolus_mg_per_kg=value["bolus_dose"],
            bolus_shorter_than=value["bolus_shorter_than"],
            intramuscular_mg_per_kg=value["intramuscular_dose"],
            infusion_longer_than=value["infusion_longer_than"],
        ),
        plausible=Plausible(
            dose_mg_max=value["plausible_dose_max"],
            dose_mg_per_kg_max=value["plausible_dose_per_weight_max"],
            weight_kg_min=value["plausible_weight_min"],
            weight_kg_max=value["plausible_weight_max"],
        ),
        adult_from_years=value["adult_from"],
        looks_after_anchor=value["looks_after_anchor"],
        look_before_close=value["look_before_close"],
        look_while_waiting=value["look_while_waiting"],
    )


def _in_force(entries: list[dict[str, Any]], day: date) -> dict[str, Any] | None:
    begun = [entry for entry in entries if entry["since"] <= day]
    return max(begun, key=lambda entry: entry["since"], default=None)


def _value(entry: Mapping[str, Any] | None) -> Any:
    """A number as the rules want it: durations as timedelta, amounts in the one unit that the schema allows."""
    if entry is None:
        return None
    value, unit = entry["value"], entry.get("unit")
    if unit not in DURATION_UNITS:
        return value
    return tuple(duration(one, unit) for one in value) if isinstance(value, list) else duration(value, unit)


def _envelope(entry: Mapping[str, Any]) -> DoseEnvelope:
    by_weight, total, lasting = entry["dose_per_weight"] or {}, entry["dose_total"] or {}, entry["duration"] or {}
    shortest, longest = lasting.get("min"), lasting.get("max")
    return DoseEnvelope(
        mg_per_kg_min=by_weight.get("min"),
        mg_per_kg_max=by_weight.get("max"),
        total_mg_max=total.get("max"),
        duration_min=duration(shortest, lasting["unit"]) if shortest is not None else None,
        duration_max=duration(longest, lasting["unit"]) if longest is not None else None,
    )
