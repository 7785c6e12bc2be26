"""Whether the ledger may know less than the EHR, so that nothing is made before it was searched for. Pure."""

from collections.abc import Collection
from datetime import datetime, timedelta

from afterdose.core.care import Care
from afterdose.store.due import DOUBTED, PUT_BACK, REPLAY, RESTORED

_LATE = timedelta(hours=3)
"""A dose first heard of later than this may have been heard of before, by a store that was put back since."""


def in_doubt(reasons: Collection[str]) -> bool:
    """Whether a patient is looked at for a reason that casts doubt on what we remember."""
    return not {DOUBTED, PUT_BACK, RESTORED, REPLAY}.isdisjoint(reasons)


def heard_late(care: Care) -> bool:
    """Whether a dose was first heard of so late that its care may stand in the EHR already."""
    times = [(verdict.anchor, verdict.heard_at) for verdict in care.verdicts]
    return any(anchor is not None and heard is not None and heard - anchor > _LATE for anchor, heard in times)


def earliest(*moments: datetime | None) -> datetime | None:
    """The first of some moments, None where there is none."""
    return min((moment for moment in moments if moment is not None), default=None)
