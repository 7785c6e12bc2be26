"""How a source is asked for what it did not send: what may be set, and the value that comes of it."""

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from marshmallow import fields, validate

from afterdose.core.errors import BadSettings
from afterdose.settings.fields import Duration, Location, Words
from afterdose.settings.keys import Strict
from afterdose.settings.subscribing import TYPES

_STRATEGIES = ("last-updated", "cohort")
_ID = r"[A-Za-z0-9\-.]{1,64}"
_REFERENCES = {"groups": ("Group",), "lists": ("List",), "visits_at": ("Location", "Practitioner")}
_INTERVAL = {"last-updated": timedelta(minutes=5), "cohort": timedelta(minutes=15)}
_DOSES = frozenset({"MedicationAdministration"})
_TYPES = {"last-updated": _DOSES | {"CarePlan", "Task"}, "cohort": _DOSES}
_OVERLAP = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class CohortSettings:
    """Where the patients stand who are asked about one by one: whoever stands in any of these is one of them.

    ``groups``, ``lists``, ``visits_at``: references; ``file`` holds ids of patients.
    """

    groups: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    visits_at: tuple[str, ...] = ()
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class PollSettings:
    """Every ``interval`` a source is asked for what changed since the last time, less ``overlap``.

    ``look_back``: how far back the first poll goes. ``types``: the resource types that are asked for.
    ``cohort`` is None where everything that changed is asked for at once; else each patient of it is asked about once
    an interval, for what is not older than ``look_back`` before the last time.
    """

    interval: timedelta
    overlap: timedelta
    look_back: timedelta
    types: frozenset[str]
    cohort: CohortSettings | None = None


class CohortSchema(Strict):
    """Who is asked about, one by one."""

    groups = Words(
        load_default=frozenset(),
        metadata={"help": "Groups in the EHR whose members are asked about.", "example": ["Group/ketamine-clinic"]},
    )
    lists = Words(
        load_default=frozenset(),
        metadata={
            "help": "Lists in the EHR whose patients are asked about (Epic's patient lists are such).",
            "example": ["List/today"],
        },
    )
    visits_at = Words(
        load_default=frozenset(),
        metadata={
            "help": "Places (Location/ID) and persons (Practitioner/ID): who has a visit there today, or had one\n"
            "within look_back. The days are those of the source's zone.",
            "example": ["Location/21", "Practitioner/7"],
        },
    )
    file = Location(
        load_default=None,
        metadata={
            "help": "A file with one id of a Patient a line, which only its owner can read; it is read again at each\n"
            "round."
        },
    )


class PollSchema(Strict):
    """What is asked of a source that can be read."""

    strategy = fields.String(
        required=True,
        validate=validate.OneOf(_STRATEGIES, error=f"expected {' or '.join(_STRATEGIES)}"),
        error_messages={"required": f"expected {' or '.join(_STRATEGIES)}", "invalid": "expected text"},
        metadata={
            "help": "last-updated: everything that changed since the last poll, for servers that can be asked by\n"
            "_lastUpdated (FHIR stores can). cohort: patient by patient, for those that cannot (the large EHRs).",
            "example": "last-updated",
        },
    )
    interval = Duration(
        load_default=None,
        metadata={
            "help": "How often the source is asked (5m), or how often about each patient (15m); the patients are\n"
            "spread over it.",
            "example": "5m",
        },
    )
    overlap = Duration(
        load_default=None,
        metadata={
            "help": "By last-updated, how much of the time before the last poll is asked for again (15m): what a\n"
            "server took in late, or did not find yet, is found then."
        },
    )
    look_back = Duration(
        load_default=timedelta(days=7),
        metadata={
            "help": "How far back the first poll goes; patient by patient, how far before the last one every poll\n"
            "goes, because doses are charted late.",
            "example": "7d",
        },
    )
    types = Words(
        load_default=None,
        metadata={
            "help": f"What is asked for, of {', '.join(TYPES)}.\n"
            "Of CarePlan and Task only what we have written is asked for (by identifier=SYSTEM|), so that what people\n"
            "did to it is noticed soon. Leave them out where the server cannot be searched so, or patient by patient.",
            "example": ["CarePlan", "MedicationAdministration", "Task"],
        },
    )
    cohort = fields.Nested(
        CohortSchema,
        load_default=None,
        metadata={"help": 'With strategy = "cohort": who is asked about.', "optional": True},
    )


def polling(
    key: str, entry: dict[str, Any] | None, *, readable: bool, zoned: bool, folder: Path
) -> PollSettings | None:
    """The polling of a source, None where it is not polled. Raises BadSettings naming the key.

    ``zoned``: whether the source has a time zone; ``folder``: where paths start.
    """
    if entry is None:
        return None
    if not readable:
        raise BadSettings(f"{key}: expected no polling of a source that is not readable")
    strategy, by_cohort = entry["strategy"], entry["strategy"] == "cohort"
    types = _TYPES[strategy] if entry["types"] is None else entry["types"]
    if not types or not types <= set(TYPES):
        raise BadSettings(f"{key}.types: expected types out of {', '.join(TYPES)}")
    if by_cohort and entry["overlap"] is not None:
        raise BadSettings(f'{key}.overlap: expected look_back alone with strategy = "cohort"')
    if not by_cohort and entry["cohort"] is not None:
        raise BadSettings(f'{key}.cohort: expected strategy = "cohort" with it')
    return PollSettings(
        interval=entry["interval"] or _INTERVAL[strategy],
        overlap=entry["overlap"] or _OVERLAP,
        look_back=entry["look_back"],
        types=types,
        cohort=_cohort(f"{key}.cohort", entry["cohort"], zoned, folder) if by_cohort else None,
    )


def _cohort(key: str, entry: dict[str, Any] | None, zoned: bool, folder: Path) -> CohortSettings:
    if entry is None or not any(entry.values()):
        raise BadSettings(f"{key}: expected groups, lists, visits_at or file: who is asked about?")
    for name, types in _REFERENCES.items():
        if not all(re.fullmatch(rf"(?:{'|'.join(types)})/{_ID}", reference) for reference in entry[name]):
            raise BadSettings(f"{key}.{name}: expected references such as {' or '.join(f'{one}/123' for one in types)}")
    if entry["visits_at"] and not zoned:
        raise BadSettings(f"{key}.visits_at: expected the zone of the source besides: which day is today?")
    return CohortSettings(
        **{name: tuple(sorted(entry[name])) for name in _REFERENCES},
        file=folder / entry["file"] if entry["file"] is not None else None,
    )
