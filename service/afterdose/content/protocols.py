"""Protocol files (``mappings/protocols/*.toml``): every clinical number, with its unit, first day and source."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from marshmallow import fields

from afterdose.content.protocol_schema import Bearing, ProtocolSchema
from afterdose.content.schemas import DURATION_UNITS, duration, load, read_toml
from afterdose.core.dose import Family, Route
from afterdose.core.errors import BadContent
from afterdose.core.protocol import DoseEnvelope, EarlyEdge, Exclusions, Plausible, Practices, Protocol, Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A source on the subject of a protocol. ``certainty``: how far it was checked before it was entered."""

    citation: str
    url: str | None
    bearing: Bearing
    finding: str
    certainty: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolFile:
    """A protocol, how long a session under it may be, and what it rests on.

    ``references``: (title, url) of the published sources of numbers, each once, in the order of the file.
    """

    protocol: Protocol
    shortest_session: timedelta
    longest_session: timedelta
    references: tuple[tuple[str, str], ...]
    citations: tuple[Citation, ...]


def read_protocol(path: Path) -> ProtocolFile:
    """The protocol of a file. Raises BadContent naming file and key."""
    schema = ProtocolSchema()
    data = load(schema, path, read_toml(path))
    numbers = {name: data[name] for name, field in schema.fields.items() if isinstance(field, fields.List)}
    del numbers["evidence"], numbers["citations"]
    firsts = sorted({entry["since"] for entries in numbers.values() for entry in entries})
    for name, entries in numbers.items():
        if schema.fields[name].required and min(entry["since"] for entry in entries) > firsts[0]:
            raise BadContent(
                f"{path}: {name}: the first entry has to apply from {firsts[0]}, as others in this file do"
            )
    for name, entries in numbers.items():
        begun = [(entry["since"], entry.get("route")) for entry in entries]
        if twice := next((one for one in begun if begun.count(one) > 1), None):
            raise BadContent(f"{path}: {name}: two entries apply from {twice[0]}; which of them counts?")
    length = data["session_length"]
    if length["min"] > length["max"]:
        raise BadContent(f"{path}: session_length: expected min to be no more than max")
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
        references=_references(length, *(entry for entries in numbers.values() for entry in entries)),
        citations=tuple(Citation(**one | {"bearing": Bearing(one["bearing"])}) for one in data["citations"]),
    )


def _references(*entries: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    found = [(entry["reference"]["title"], entry["reference"]["url"]) for entry in entries]
    return tuple(dict.fromkeys((title, url) for title, url in found if url.startswith("http")))


_IN_ORDER = (
    "nothing_before",
    "early_edge_after",
    "opens_after",
    "peak_after",
    "plateau_ends_after",
    "closes_after",
    "post_window_until",
)


def _rules(path: Path, numbers: Mapping[str, list[dict[str, Any]]], day: date) -> Rules:
    """The numbers in force on ``day``: of each the entry with the latest ``from`` that has come."""
    now = {name: _in_force(entries, day) for name, entries in numbers.items() if name != "envelopes"}
    value = {name: _value(entry) for name, entry in now.items()}
    for earlier, later in pairwise(_IN_ORDER):
        if value[earlier] > value[later]:
            raise BadContent(f"{path}: {later}: expected no less than {earlier} (in the numbers from {day})")
    for name in ("preparation_sessions", "mindfulness_length", "activation_due"):
        if value[name][0] > value[name][1]:
            raise BadContent(f"{path}: {name}: expected min to be no more than max (in the numbers from {day})")
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
            anaesthesia_within=value["anaesthesia_within"],
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
        stuck_after=value["stuck_after"],
        early_edge=EarlyEdge(
            after=value["early_edge_after"],
            score=value["early_edge_score"],
            not_before=value["early_edge_not_before"],
        ),
        salt_to_base=value["salt_to_base"],
        preparation_until=value["preparation_until"],
        look_for_activation=value["look_for_activation"],
        practices=Practices(**{one.name: value[one.name] for one in dataclass_fields(Practices)}),
    )


def _in_force(entries: list[dict[str, Any]], day: date) -> dict[str, Any] | None:
    begun = [entry for entry in entries if entry["since"] <= day]
    return max(begun, key=lambda entry: entry["since"], default=None)


def _value(entry: Mapping[str, Any] | None) -> Any:
    """A number as the rules want it: durations as timedelta, amounts in the one unit that the schema allows."""
    if entry is None:
        return None
    unit = entry.get("unit")
    if "value" not in entry:
        least, most = entry["min"], entry["max"]
        return (least, most) if unit is None else (duration(least, unit), duration(most, unit))
    value = entry["value"]
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
