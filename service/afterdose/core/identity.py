"""Names that stay the same: UUIDv5 for dose sessions, courses and artifacts.

Minted once from the founding administration's source name and id, then kept with its members.
Patient, URL, time and protocol are never in a key: they may all change while the care stays the same.
"""

from collections.abc import Collection, Iterable
from functools import lru_cache
from uuid import UUID, uuid5

from afterdose.core.care import ArtifactKey
from afterdose.core.dose import DoseKey

_NAMESPACE = UUID("6f1c3f0e-8a57-5d3c-9f0b-0b8f6f3f2a51")
_TURNS = 4
_NUMBERED = 30


def dose_session_id(founder: DoseKey, turn: int = 0) -> UUID:
    """The id of the dose session that ``founder`` founds; later turns where that one is with others."""
    return _founded("dose-session", founder, turn)


def course_id(founder: DoseKey, turn: int = 0) -> UUID:
    """The id of the course whose first known dose is ``founder``; later turns as for dose sessions."""
    return _founded("course", founder, turn)


def preparation_id(course: UUID, number: int) -> UUID:
    """The id of the ``number``-th preparation visit of a course."""
    return uuid5(_NAMESPACE, f"preparation|{course}|{number}")


def planned_dose_id(order: DoseKey, number: int) -> UUID:
    """The id of the ``number``-th dose that an order announces."""
    return uuid5(_NAMESPACE, f"planned-dose|{order.source}|{order.id}|{number}")


@lru_cache(maxsize=8192)
def artifact_id(key: ArtifactKey) -> UUID:
    """The value of the identifier that an artifact carries in the EHR."""
    return uuid5(_NAMESPACE, f"{key.kind}|{key.subject}|{key.generation}")


def _founded(what: str, founder: DoseKey, turn: int) -> UUID:
    name = f"{what}|{founder.source}|{founder.id}"
    return uuid5(_NAMESPACE, f"{name}|{turn}" if turn else name)


def founded_by(keys: Iterable[DoseKey], subjects: Collection[UUID]) -> set[UUID]:
    """Which of ``subjects`` were minted from these administrations and orders: dose sessions, courses, what hangs on
    them. Of later turns the first few are known: an id is minted anew only where a session or a course was parted."""
    found = set[UUID]()
    for key in keys:
        courses = [course_id(key, turn) for turn in range(_TURNS)]
        found |= {dose_session_id(key, turn) for turn in range(_TURNS)}.union(courses)
        found |= {preparation_id(course, number) for course in courses for number in range(1, _NUMBERED + 1)}
        found |= {planned_dose_id(key, number) for number in range(_NUMBERED)}
    return found.intersection(subjects)
