"""The line to one EHR, shared by all threads of a process: whether it is called, how much at once, how often.

After some calls in a row that it did not serve, an EHR is left alone and then asked by one call (``retry.Circuit``);
that is said once when it begins and once when it ends. What it asks for in Retry-After holds for everybody.
"""

import random
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from afterdose.core.errors import EhrUnavailable
from afterdose.ehr.waits import retry_after
from afterdose.ehr.wire import Answer, Request
from afterdose.logs import get_logger
from afterdose.work.retry import Circuit

_log = get_logger()

_PATIENCE = timedelta(seconds=5)
"""How long a call waits for its turn; whoever would wait longer lets the patient wait instead."""
_NOT_SERVED = frozenset({401, 408, 425, 429})
_BURST = 1.0
"""Seconds for which calls that were not made may be made up for."""
_SERVER_ERRORS = 500
_NOT_IMPLEMENTED = 501
_REFUSES_US = 401


class Line:
    """One EHR. ``on_return`` is called when it serves again after it was left alone."""

    def __init__(
        self,
        name: str,
        *,
        clock: Callable[[], datetime],
        at_once: int,
        per_second: int,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.on_return: Callable[[], None] = _nobody_waits
        self._clock = clock
        self._jitter = jitter
        self._at_once = threading.BoundedSemaphore(at_once)
        self._gap = 1 / per_second
        self._next_turn = time.monotonic()
        self._circuit = Circuit()
        self._lock = threading.Lock()

    def shut_until(self) -> datetime | None:
        """Until when the EHR is left alone; None where it may be called."""
        with self._lock:
            until = self._circuit.open_until
            return until if not self._circuit.admits(self._clock()) else None

    def send(self, request: Request, send: Callable[[Request], Answer]) -> Answer:
        """Send when it is this call's turn. Raises EhrUnavailable where the EHR is left alone now."""
        self._admit()
        if not self._at_once.acquire(timeout=_PATIENCE.total_seconds()):
            raise EhrUnavailable("too many calls to this EHR at once", code="throttled", retry_after=_PATIENCE)
        try:
            self._take_turn()
            try:
                answer = send(request)
            except EhrUnavailable as error:
                self._failed(error.retry_after, error.status, str(error))
                raise
        finally:
            self._at_once.release()
        if _served(answer):
            self._served()
        else:
            self._failed(retry_after(answer.headers, self._clock()), answer.status, "it answered, and did not serve us")
        return answer

    def _admit(self) -> None:
        with self._lock:
            now = self._clock()
            if not self._circuit.admits(now):
                left = (self._circuit.open_until or now) - now
                raise EhrUnavailable("the EHR is left alone for a while", code="left-alone", retry_after=left)
            self._circuit = self._circuit.probing(now)

    def _take_turn(self) -> None:
        """Wait for a place in the rate; a second's worth of calls may come together."""
        with self._lock:
            now = time.monotonic()
            turn = max(self._next_turn, now - _BURST)
            if turn - now > _PATIENCE.total_seconds():
                wait = timedelta(seconds=turn - now)
                raise EhrUnavailable("too many calls to this EHR", code="throttled", retry_after=wait)
            self._next_turn = turn + self._gap
        if turn > now:
            time.sleep(turn - now)

    def _failed(self, wait: timedelta | None, status: int | None, reason: str) -> None:
        with self._lock:
            before = self._circuit
            after = before.failed(self._clock(), wait, self._jitter(), at_once=status == _REFUSES_US)
            self._circuit = after
        told = {"target": self.name, "status": status, "reason": reason}
        if after.is_broken and not before.is_broken:
            _log.error("an EHR does not serve us and is left alone", alarm="away", **told)
        elif after.open_until is not None and before.open_until is None:
            _log.warning("an EHR is left alone for a while", **told)

    def _served(self) -> None:
        with self._lock:
            before, self._circuit = self._circuit, self._circuit.succeeded()
        if before.open_until is None:
            return
        if before.is_broken:
            _log.warning("an EHR serves us again", alarm="away", target=self.name)
        self.on_return()


def _served(answer: Answer) -> bool:
    """Whether the EHR itself has answered, be it with a refusal; a web page is a proxy's or a login's."""
    if answer.status in _NOT_SERVED or (answer.status >= _SERVER_ERRORS and answer.status != _NOT_IMPLEMENTED):
        return False
    return not answer.headers.get("content-type", "").lower().startswith("text/html")


def _nobody_waits() -> None:
    """Nothing depends on it."""
