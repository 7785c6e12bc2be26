"""When to try an EHR again. Pure: the present and the chance come from outside.

With the constants as they stand the waits are at most 2, 4, 8 ... 512 s, then 10 min, and half of that on average
(full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). An outage of a minute is
noticed within about a minute of its end, a longer one within ten; 96 h of outage are some 1,200 attempts a patient.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

FIRST_WAIT = timedelta(seconds=2)
SHORTEST_WAIT = timedelta(seconds=1)
LONGEST_WAIT = timedelta(minutes=10)
# The window closes 72 h after the dose; a day more covers an outage that began with it.
GIVE_UP_AFTER = timedelta(hours=96)

FAILURES_THAT_OPEN = 5
PROBE_LASTS = timedelta(minutes=1)


def next_attempt(
    attempts: int,
    first_due_at: datetime,
    now: datetime,
    retry_after: timedelta | None,
    jitter: float,
    *,
    retry_for: timedelta = GIVE_UP_AFTER,
    longest_wait: timedelta = LONGEST_WAIT,
) -> datetime | None:
    """When to try again after ``attempts`` failed ones, or None: it has been tried for long enough, park it.

    ``jitter`` is a random number in [0, 1). What the EHR asks for in ``retry_after`` is the least that is waited.
    The last attempt may be later than ``retry_for`` after ``first_due_at``, by no more than one wait.
    """
    if now - first_due_at >= retry_for:
        return None
    wait = max(SHORTEST_WAIT, jitter * _ceiling(attempts, longest_wait))
    if retry_after is not None:
        wait = max(wait, retry_after + jitter * FIRST_WAIT)
    return now + wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """Whether one EHR may be called: after some failures in a row it is left alone, then asked by one call."""

    failures: int = 0
    open_until: datetime | None = None

    def admits(self, now: datetime) -> bool:
        """Whether a call may be made now."""
        return self.open_until is None or now >= self.open_until

    def probing(self, now: datetime) -> "Circuit":
        """The circuit once an admitted call has begun: others wait for its outcome, a minute at most."""
        return self if self.open_until is None else replace(self, open_until=now + PROBE_LASTS)

    @property
    def is_broken(self) -> bool:
        """Whether it is open because the EHR fails, not only because the EHR asked for a pause."""
        return self.open_until is not None and self.failures >= FAILURES_THAT_OPEN

    def failed(
        self, now: datetime, retry_after: timedelta | None, jitter: float, *, at_once: bool = False
    ) -> "Circuit":
        """The circuit after an EhrUnavailable. A ``retry_after`` holds for all calls to this EHR, at once.

        ``at_once``: it is a failure that no other call can escape.
        """
        failures = max(self.failures + 1, FAILURES_THAT_OPEN if at_once else 0)
        if failures < FAILURES_THAT_OPEN and retry_after is None:
            return replace(self, failures=failures)
        wait = max(SHORTEST_WAIT, jitter * _ceiling(failures, LONGEST_WAIT), retry_after or timedelta(0))
        return Circuit(failures=failures, open_until=now + wait)

    def succeeded(self) -> "Circuit":
        """The circuit after any answer that shows the EHR at work."""
        return Circuit()


def _ceiling(attempts: int, longest_wait: timedelta) -> timedelta:
    doublings = min(max(attempts - 1, 0), 30)
    return min(FIRST_WAIT * (1 << doublings), longest_wait)
