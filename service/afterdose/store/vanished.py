"""Plans of several patients that are gone from one EHR at once: it was put back from a copy, and nobody removed them.

A person may delete a plan; nobody deletes those of several patients within an hour. Then the EHR is paused as by hand,
with an alarm, until a person lets it go on (decision 0008, rule 17) and says whether what was lost is to be written
again. For a day from then on what is gone is believed to have been removed by people. Each process counts what it sees
itself.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from afterdose.core.errors import EhrUnavailable
from afterdose.logs import get_logger
from afterdose.store.pauses import Pauses

SEVERAL = 3
"""Patients."""
AT_ONCE = timedelta(hours=1)
BELIEVED = timedelta(days=1)
"""Everybody has been looked at within it."""

_log = get_logger()


class Vanished:
    """What was found to be gone of late, by target."""

    def __init__(self, pauses: Pauses, clock: Callable[[], datetime]) -> None:
        self._pauses = pauses
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, dict[str, datetime]] = {}
        self._alarmed: dict[str, datetime | None] = {}
        """Until when what is gone is believed; None where that was not asked since the alarm."""

    def note(self, target: str, patient: str) -> None:
        """The plan of a patient is gone. Raises EhrUnavailable where that is not to be believed for now."""
        with self._lock:
            now = self._clock()
            if target in self._alarmed and self._is_believed(target, now):
                return
            seen = self._seen.setdefault(target, {})
            seen[patient] = now
            recent = [one for one, at in seen.items() if now - at <= AT_ONCE]
            if len(recent) < SEVERAL:
                return
            self._alarmed[target] = None
            self._pauses.pause(target)
        _log.error("plans of several patients are gone at once", alarm="restored", target=target, count=len(recent))
        raise _held()

    def _is_believed(self, target: str, now: datetime) -> bool:
        """Whether persons have looked at the last alarm and let the work go on, of late. Raises EhrUnavailable."""
        if target in self._pauses.all():
            raise _held()
        until = self._alarmed[target] or now + BELIEVED
        self._alarmed[target] = until
        if now < until:
            return True
        del self._alarmed[target], self._seen[target]
        return False


def _held() -> EhrUnavailable:
    return EhrUnavailable("plans of several patients are gone: was this EHR put back from a copy?", code="restored")
