"""What the EHR that plans are written to has on file about a patient: crisis plans, and stated preferences.

Asked only once a plan follows or stands, each search once a day at most, and only where the EHR declares that it can be
searched so. That it refuses, or does not answer however often it is asked, is no sign that there is nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from afterdose.core.codes import Codes, CodeSet
from afterdose.core.dose import Coding
from afterdose.ehr.wire import token
from afterdose.fhir.decode import on_file
from afterdose.store.rows import Reading
from afterdose.work.snapshot.related import Related
from afterdose.work.snapshot.surroundings import KEPT_FOR, PER_PAGE
from afterdose.work.source import Resource

_KINDS = ("type", "category")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnFile:
    """As in the snapshot: None where that cannot be known. ``readings``: what was read for it."""

    crisis_plans: tuple[str, ...] | None
    preferences: tuple[Coding, ...] | None
    readings: Sequence[Reading] = ()


def read(related: Related, codes: Codes, now: datetime) -> OnFile:
    """What ``related``'s EHR has on file about the patient. Raises EhrUnavailable the first times, LeaseLost."""
    said = _told(related, "Observation", "code", codes.preference_observations, now)
    return OnFile(
        crisis_plans=_crisis_plans(related, codes, now),
        preferences=None if said is None else on_file.preferences(said, codes, related.source.zone),
    )


def _crisis_plans(related: Related, codes: Codes, now: datetime) -> tuple[str, ...] | None:
    """By type, else by category: EHRs file them under either. That there is none is known when all have answered."""
    answers: list[Sequence[Resource] | None] = []
    for kind in related.declared("DocumentReference", _KINDS):
        answers.append(_told(related, "DocumentReference", kind, codes.crisis_plans, now))
        if found := on_file.crisis_plans(answers[-1] or (), codes):
            return found
    return () if answers and None not in answers else None


def _told(related: Related, type_: str, by: str, wanted: CodeSet, now: datetime) -> list[Resource] | None:
    values = ",".join(token(system, code) for system, code in sorted(wanted.codes))
    if not values or not related.declared(type_, (by,)):
        return None
    return related.told(type_, {by: values, "_count": PER_PAGE}, since=now - KEPT_FOR)
