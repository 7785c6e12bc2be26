"""Workers: each takes one due patient at a time, reconciles it and gives it back with its next due time.

Attempts are counted before the work (by the claim), so a patient that kills its worker cannot do so
for ever. An EHR that does not answer puts a patient off, for at most the retrying time of the
settings; then it is parked with an alarm, and one command replays it.
"""

import random
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from afterdose.core.errors import EhrConflict, EhrError, EhrRefused, EhrUnavailable, LeaseLost, StoreError
from afterdose.store.rows import Claim
from afterdose.store.store import Store
from afterdose.work.reconcile import Reconciler
from afterdose.work.retry import next_attempt

_MAX_FAILURES = 5
"""A patient whose reconciling fails with an error of ours this often in a row is parked: no retry cures a bug."""

log = structlog.get_logger(__name__)


class Worker:
    """One thread of work. ``stop`` is shared by all; the claim in hand is finished before the thread ends."""

    def __init__(
        self,
        name: str,
        *,
        store: Store,
        reconciler: Reconciler,
        clock: Callable[[], datetime],
        lease: timedelta,
        poll_interval: timedelta,
        retry_for: timedelta,
        retry_cap: timedelta,
        stop: threading.Event,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._name = name
        self._store = store
        self._reconciler = reconciler
        self._clock = clock
        self._lease = lease
        self._retry_for = retry_for
        self._retry_cap = retry_cap
        self._poll = poll_interval.total_seconds()
        self._stop = stop
        self._jitter = jitter

    def run(self) -> None:
        """Work until told to stop; never dies of one patient, nor of a database that is away for a while."""
        while not self._stop.is_set():
            try:
                worked = self.work_once()
            except StoreError as error:
                log.warning("store_unavailable", error=type(error).__name__)
                self._stop.wait(self._poll)
                continue
            if not worked:
                self._store.agenda.wait(self._poll)

    def work_once(self) -> bool:
        """Reconcile one due patient; False where nobody is due. Raises StoreError."""
        claim = self._store.agenda.claim(self._name, lease=self._lease, now=self._clock())
        if claim is None:
            return False
        try:
            done = self._reconciler.reconcile(claim, self._holder(claim))
            self._store.agenda.finish(claim, done.next_due_at, "time")
        except LeaseLost:
            log.info("lease_lost", attempts=claim.attempts)
        except (EhrUnavailable, EhrConflict) as error:
            self._put_off(claim, error)
        except EhrRefused as error:
            log.error("patient_parked", alarm=True, error=error.code or f"http-{error.status}", attempts=claim.attempts)
            self._store.agenda.park(claim, "ehr-refused")
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - one patient's bug must not stop the others
            self._fail(claim, error)
        return True

    def _holder(self, claim: Claim) -> Callable[[], None]:
        """Renews the lease once a third of it has passed; the rest outlasts the deadline of one call."""
        renew_at = self._clock() + self._lease / 3

        def hold() -> None:
            nonlocal renew_at
            if self._clock() >= renew_at:
                self._store.agenda.renew(claim, self._lease)
                renew_at = self._clock() + self._lease / 3

        return hold

    def _put_off(self, claim: Claim, error: EhrError) -> None:
        now = self._clock()
        until = next_attempt(
            claim.attempts,
            first_due_at=claim.first_due_at,
            now=now,
            retry_after=getattr(error, "retry_after", None),
            jitter=self._jitter(),
            retry_for=self._retry_for,
            longest_wait=self._retry_cap,
        )
        code = error.code or (f"http-{error.status}" if error.status else type(error).__name__)
        if until is None:
            log.error("patient_parked", alarm=True, error=code, attempts=claim.attempts)
            self._store.agenda.park(claim, "retries-exhausted")
        else:
            log.warning("ehr_unavailable", error=code, attempts=claim.attempts)
            self._store.agenda.postpone(claim, until, code)

    def _fail(self, claim: Claim, error: Exception) -> None:
        kind = type(error).__name__
        if claim.attempts >= _MAX_FAILURES and kind in claim.reasons:  # not where an outage used up the attempts
            log.error("patient_parked", alarm=True, error=kind, attempts=claim.attempts)
            self._store.agenda.park(claim, "failed")
        else:
            log.error("reconcile_failed", error=kind, attempts=claim.attempts, exc_info=False)
            wait = timedelta(seconds=2 ** min(claim.attempts, _MAX_FAILURES))
            self._store.agenda.postpone(claim, self._clock() + wait, kind)
