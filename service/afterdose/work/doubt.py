"""Whether the ledger may know less than the EHR, so that nothing is made before it was searched for. Pure."""

from collections.abc import Collection
from datetime import datetime, timedelta

from afterdose.core.care import Care
from afterdose.store.append import REPLAY
from afterdose.store.copies import RESTORED

DOUBTED = "doubted"
"""The reason to look at a patient whose worker was overtaken while it may have written: there may be doubles."""

PUT_BACK = "ehr-put-back"
"""The reason to look at a patient whose EHR was put back from a copy: it holds less than was written, or older."""

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
