"""What a protocol file may hold, key by key. Every number has a first day in force and a source."""

from enum import StrEnum
from typing import Any

from marshmallow import fields, validate

from afterdose.content.schemas import Clock, Count, Day, Flag, Number, Strict, duration_unit, one_of, words
from afterdose.core.dose import Family, Route


class Bearing(StrEnum):
    """What a source says about a protocol."""

    SUPPORTS = "supports"
    CONTRADICTS = "contradicts"
    LEAVES_OPEN = "leaves open"
    IS_CONTEXT = "is context"


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


class _TimesRange(_Dated):
    min = Count(required=True)
    max = Count(required=True)


class _Preparations(_TimesRange):
    max = Count(required=True, validate=validate.Range(max=3, error="expected no more than 3"))


class _DurationSpan(_Dated):
    min = Number(required=True)
    max = Number(required=True)
    unit = duration_unit()


class _TimeOfDay(_Dated):
    value = Clock(required=True)


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


class _Citation(Strict):
    citation = words(required=True)
    url = words(load_default=None)
    bearing = one_of(*Bearing)
    finding = words(required=True)
    certainty = words(required=True)


def _entries(schema: type[_Dated], *, required: bool = True) -> fields.List[dict[str, Any]]:
    """The entries of one number; a number that is not required may be left out."""
    if not required:
        return fields.List(fields.Nested(schema), load_default=list)
    some = validate.Length(min=1, error="expected at least one entry")
    return fields.List(fields.Nested(schema), required=True, validate=some)


class ProtocolSchema(Strict):
    """A protocol file; a number is a list of entries, each in force from its day on."""

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
    early_edge_after = _entries(_Duration)
    early_edge_not_before = _entries(_TimeOfDay)
    early_edge_score = _entries(_Score)
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
    salt_to_base = _entries(_Score)
    adult_from = _entries(_Years)
    dose_needed = _entries(_YesNo)
    envelopes = _entries(_Envelope, required=False)
    bolus_dose = _entries(_MassPerWeight, required=False)
    bolus_shorter_than = _entries(_Duration, required=False)
    intramuscular_dose = _entries(_MassPerWeight, required=False)
    infusion_longer_than = _entries(_Duration, required=False)
    anaesthesia_within = _entries(_Duration, required=False)
    looks_after_anchor = _entries(_Durations)
    look_before_close = _entries(_Duration)
    look_while_waiting = _entries(_Duration)
    stuck_after = _entries(_Duration)
    look_for_activation = _entries(_Duration)

    preparation_sessions = _entries(_Preparations)
    preparation_until = _entries(_Duration)
    sessions_per_week = _entries(_Times)
    journal_due = _entries(_Duration)
    mindfulness_length = _entries(_DurationSpan)
    mindfulness_until = _entries(_Duration)
    activation_due = _entries(_DurationSpan)
    sleep_support = _entries(_Duration)
    commitments_due = _entries(_Duration)
    relapse_plan_due = _entries(_Duration)
    outcome_checks = _entries(_Durations)
    psychotherapy_every = _entries(_Duration)

    citations = fields.List(fields.Nested(_Citation), load_default=list)
