"""Access tokens for one EHR: fetched by one thread for all, kept until shortly before they end, replaced on a 401."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from afterdose.core.errors import EhrUnavailable
from afterdose.ehr.token_endpoint import Grant

SECONDS_BETWEEN_REQUESTS = 10.0
_LONGEST_MARGIN = 60.0


@dataclass(frozen=True, slots=True)
class _Held:
    """A token in hand; the times count like ``monotonic``."""

    grant: Grant
    fresh_until: float
    ends_at: float

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.grant.token.value}"}


class AccessTokens:
    """The Authentication with a bearer token. Threads share it: one of them asks, the others wait or go on.

    At most one token is asked for in SECONDS_BETWEEN_REQUESTS, whatever happens. ``obtain`` gets one within the seconds
    that it is told; ``monotonic`` counts seconds.
    """

    def __init__(self, obtain: Callable[[float], Grant], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._obtain = obtain
        self._monotonic = monotonic
        self._turn = threading.Lock()
        self._held: _Held | None = None
        self._next_request = float("-inf")
        self._failure: EhrUnavailable | None = None

    def headers(self, within: float) -> Mapping[str, str]:
        """The bearer token. Raises EhrUnavailable where there is none to be had now."""
        return self._current(within, refused=None).headers()

    def renew(self, refused: Mapping[str, str], within: float) -> Mapping[str, str] | None:
        """Another token than the refused one; somebody may have fetched it already. Raises EhrUnavailable."""
        return self._current(within, refused=refused).headers()

    def grant(self, within: float) -> Grant:
        """The token that would be used now, with what was asked for: for whoever checks the settings."""
        return self._current(within, refused=None).grant

    def _current(self, within: float, *, refused: Mapping[str, str] | None) -> _Held:
        held, until = self._usable(refused), self._monotonic() + within
        if held is not None and self._monotonic() < held.fresh_until:
            return held
        if not self._turn.acquire(timeout=0 if held is not None else max(within, 0.0)):
            if held is not None:
                return held
            raise EhrUnavailable("no access token in time", code="no-token")
        try:
            return self._take_turn(until, refused)
        finally:
            self._turn.release()

    def _take_turn(self, until: float, refused: Mapping[str, str] | None) -> _Held:
        now, held = self._monotonic(), self._usable(refused)
        if held is not None and (now < held.fresh_until or now < self._next_request):
            return held
        if now < self._next_request:
            raise self._too_early(self._next_request - now)
        self._next_request = now + SECONDS_BETWEEN_REQUESTS
        try:
            grant = self._obtain(until - now)
        except EhrUnavailable as error:
            self._failure = error
            if held is not None:
                return held
            raise
        self._failure = None
        lasts = grant.token.lasts.total_seconds()
        self._held = _Held(grant, fresh_until=now + lasts - min(_LONGEST_MARGIN, lasts / 5), ends_at=now + lasts)
        return self._held

    def _usable(self, refused: Mapping[str, str] | None) -> _Held | None:
        held = self._held
        if held is None or self._monotonic() >= held.ends_at or held.headers() == refused:
            return None
        return held

    def _too_early(self, seconds: float) -> EhrUnavailable:
        wait = timedelta(seconds=seconds)
        failure = self._failure
        if failure is None:
            text = "the EHR refuses an access token that it has just given"
            return EhrUnavailable(text, status=401, code="login", retry_after=wait)
        return EhrUnavailable(str(failure), status=failure.status, code=failure.code, retry_after=wait)
