"""Workers: each takes one due patient at a time, reconciles it and gives it back with its next due time.

Attempts are counted before the work (by the claim), so a patient that kills its worker cannot do so
for ever. An EHR that does not answer puts a patient off, for at most the retrying time of the
settings; then it is parked with an alarm, and one command replays it. While an EHR as a whole is left
alone, or paused by people, its patients stay due and nothing counts against them.
"""

import random
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from itertools import cycle
from types import MappingProxyType

from afterdose.core.errors import EhrConflict, EhrError, EhrRefused, EhrUnavailable, LeaseLost, StoreError
from afterdose.core.reasons import Reason
from afterdose.logs import get_logger
from afterdose.store.due import DOUBTED
from afterdose.store.rows import Claim
from afterdose.store.store import Store
from afterdose.work.reconcile import Reconciler
from afterdose.work.retry import next_attempt
from afterdose.work.trail import reading

_MAX_FAILURES = 5
"""A patient whose reconciling fails with an error of ours this often in a row is parked: no retry cures a bug."""

_MAX_BROKEN_OFF = 8
"""A patient whose work ended its process this often in a row, or hung, is parked: whoever stops processes does so less
often than that in the middle of one patient."""

_WHY = MappingProxyType({"retries-exhausted": Reason.RETRIES_EXHAUSTED, "ehr-refused": Reason.EHR_REFUSED})
"""What is said of the doses of a patient who was given up, where it is more than that."""

log = get_logger()


class LeftAlone(Exception):
    """The EHR is not to be called now, for a reason that has nothing to do with the patient in hand."""


class Worker:
    """One thread of work. ``stop`` is shared by all; the claim in hand is finished before the thread ends.

    Every second patient is the one that became due last: the dose of this moment does not wait for a year of doses that
    a backfill has taken in, nor those for it.
    """

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
        shut: Callable[[], Mapping[str, datetime]] = dict,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``shut``: the targets that must not be called now, and until when."""
        self._name = name
        self._store = store
        self._reconciler = reconciler
        self._clock = clock
        self._lease = lease
        self._retry_for = retry_for
        self._retry_cap = retry_cap
        self._poll = poll_interval.total_seconds()
        self._stop = stop
        self._shut = shut
        self._jitter = jitter
        self._latest = cycle((False, True))

    def run(self) -> None:
        """Work until told to stop; never dies of one patient, nor of a database that is away for a while."""
        while not self._stop.is_set():
            try:
                worked = self.work_once()
            except StoreError as error:
                log.warning("the database was not there", error=type(error).__name__, reason=str(error))
                self._stop.wait(self._poll)
                continue
            if not worked:
                self._store.agenda.wait(self._poll)

    def work_once(self) -> bool:
        """Reconcile one due patient; False where nobody is due. Raises StoreError."""
        now, shut, latest = self._clock(), self._shut(), next(self._latest)
        claim = self._store.agenda.claim(self._name, lease=self._lease, now=now, except_of=shut, latest=latest)
        if claim is None:
            return False
        try:
            self._work(claim)
        except LeaseLost:  # what was sent meanwhile may stand there twice
            log.info("lease_lost", attempts=claim.attempts)
            self._store.agenda.put(claim.target, claim.patient, self._clock(), DOUBTED)
        return True

    def _work(self, claim: Claim) -> None:
        """Work on a claimed patient and give it back, whatever comes of it. Raises StoreError."""
        if claim.broken_off >= _MAX_BROKEN_OFF:
            self._park(claim, "poison", "broken-off")
            return
        try:
            with reading(self._store.audit, claim) as hand_over:
                done = self._reconciler.reconcile(claim, self._holder(claim))
                self._store.agenda.finish(claim, done.next_due_at, "time", audit=hand_over())
        except LeftAlone:
            self._store.agenda.leave(claim)
        except (EhrUnavailable, EhrConflict) as error:
            self._put_off(claim, error)
        except EhrRefused as error:
            self._park(claim, "ehr-refused", error.shown)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - one patient's bug must not stop the others
            self._fail(claim, error)

    def _holder(self, claim: Claim) -> Callable[[], None]:
        """Renews the lease once a third of it has passed; the rest outlasts the deadline of one call."""
        renew_at = self._clock() + self._lease / 3

        def hold() -> None:
            nonlocal renew_at
            if self._clock() >= renew_at:
                self._store.agenda.renew(claim, self._lease)
                renew_at = self._clock() + self._lease / 3
            if claim.target in self._store.pauses.all():
                raise LeftAlone

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
        code = error.shown
        if until is None:
            self._park(claim, "retries-exhausted", code)
        else:
            until = max(until, self._shut().get(claim.target, until))
            log.warning("a patient is put off and tried again", target=claim.target, code=code, attempts=claim.attempts)
            self._store.agenda.postpone(claim, until, code)

    def _fail(self, claim: Claim, error: Exception) -> None:
        kind = type(error).__name__
        if claim.attempts >= _MAX_FAILURES and kind in claim.reasons:  # not where an outage used up the attempts
            self._park(claim, "failed", kind)
        else:
            log.error("the work for a patient failed", target=claim.target, attempts=claim.attempts, exc_info=error)
            wait = timedelta(seconds=2 ** min(claim.attempts, _MAX_FAILURES))
            self._store.agenda.postpone(claim, self._clock() + wait, kind)

    def _park(self, claim: Claim, reason: str, code: str) -> None:
        """Give the patient up, aloud."""
        told = {"target": claim.target, "reason": reason, "code": code, "attempts": claim.attempts}
        log.error("a patient was given up", alarm="parked", **told)
        former = self._store.persons.kept_with(claim.target, claim.patient)
        history = self._store.facts.history(claim.target, claim.patient, *former)
        self._store.outcomes.park(claim, history, _WHY.get(reason))
        self._store.agenda.park(claim, reason)
