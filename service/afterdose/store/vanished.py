"""Plans of several patients that are gone from one EHR at once: it was put back from a copy, and nobody removed them.

A person may delete a plan; nobody deletes those of several patients within an hour. Then the EHR is paused as by hand,
with an alarm, until a person lets it go on (decision 0008, rule 17) and says whether what was lost is to be written
again. From then on what is gone is believed to have been removed by people. Each process counts what it sees itself.
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

_log = get_logger()


class Vanished:
    """What was found to be gone of late, by target."""

    def __init__(self, pauses: Pauses, clock: Callable[[], datetime]) -> None:
        self._pauses = pauses
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, dict[str, datetime]] = {}
        self._alarmed: set[str] = set()

    def note(self, target: str, patient: str) -> None:
        """The plan of a patient is gone. Raises EhrUnavailable where that is not to be believed for now."""
        with self._lock:
            if target in self._alarmed:
                if target in self._pauses.all():
                    raise _held()
                return
            now, seen = self._clock(), self._seen.setdefault(target, {})
            seen[patient] = now
            recent = [one for one, at in seen.items() if now - at <= AT_ONCE]
            if len(recent) < SEVERAL:
                return
            self._alarmed.add(target)
            self._pauses.pause(target)
        _log.error("plans of several patients are gone at once", alarm="restored", target=target, count=len(recent))
        raise _held()


def _held() -> EhrUnavailable:
    return EhrUnavailable("plans of several patients are gone: was this EHR put back from a copy?", code="restored")
