"""Who is asking. Whatever has not been named here as public or guarded is closed.

A sender is known by a secret in a header, by a token, by a signature over its bytes; each says which source it is, and
a source that has several kinds needs them all. What is wrong with a proof is told only to whom it proves.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from flask import Flask, g, request

from afterdose.core.errors import Problem
from afterdose.ehr.sender_keys import SenderKeys
from afterdose.fhir.decode.administration import TYPE as ADMINISTRATION
from afterdose.logs import get_logger
from afterdose.settings import Settings, SourceSettings
from afterdose.web.body import BodyReader
from afterdose.web.consent import ORIGIN
from afterdose.web.limits import RequestLimits
from afterdose.web.metrics import WebMetrics
from afterdose.web.problems import Unauthenticated
from afterdose.web.proofs import (
    Accepted,
    Delivery,
    Judgement,
    Refused,
    bearer_token,
    by_header,
    judge_signature,
    judge_token,
    names_shown,
    signatures_shown,
)
from afterdose.work.intake.reception import Origin

OPERATIONS = "operations"
PUBLIC = frozenset({"health.healthz", "jwks.keys", "metadata.capabilities"})
"""The endpoints that anybody may call."""

Guard = Callable[[], None]

_log = get_logger()


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a request: its source, as the settings have it and as intake sees it, and where it gives one that is
    proven its own id of what it sent."""

    source: SourceSettings
    origin: Origin
    delivery: Delivery | None


class Doorkeeper:
    """Knows what each source has to show. Built once a process."""

    def __init__(
        self,
        settings: Settings,
        metrics: WebMetrics,
        bodies: BodyReader,
        *,
        keys: Mapping[str, SenderKeys],
        clock: Callable[[], datetime],
        keep: Callable[[str, bytes, Problem], None],
        counts: Callable[[str], bool],
    ) -> None:
        """``keys``: by source, those of who makes its tokens. ``keep``: puts what was refused into the quarantine.
        ``counts``: whether a source numbers its events."""
        self._metrics = metrics
        self._bodies = bodies
        self._sources = settings.sources
        self._origins_of = {name: _origin_of(source, counts=counts(name)) for name, source in settings.sources.items()}
        self._keys = keys
        self._clock = clock
        self._keep = keep
        limits = {one.name: one.max_requests_per_minute for one in settings.sources.values()}
        self._limits = RequestLimits({name: most for name, most in limits.items() if most is not None})
        self._origins = {origin for one in settings.sources.values() for origin in one.webhook_origins}
        self._secrets = by_header((one, source.name) for source in settings.sources.values() for one in source.secrets)
        self._operations = by_header((secret, OPERATIONS) for secret in settings.operations)
        self._insecure_dev = settings.insecure_dev
        listened = {listener.source for listener in settings.mllp}
        open_sources = (s.name for s in settings.sources.values() if not s.is_proven and s.name not in listened)
        self._open_source = next(open_sources, None) if settings.insecure_dev else None

    def require_source(self) -> None:
        """Let senders in, and remember for the request which source it is.

        A source is let in by everything that it has to show, and only where no other one is too. Raises
        Unauthenticated, EhrUnavailable where it cannot be told now, and TooMany.
        """
        shown = names_shown(self._secrets, _header)
        judged = {name: self._judge(source, shown) for name, source in self._sources.items()}
        accepted = {name: one for name, one in judged.items() if isinstance(one, Accepted)}
        refused = [(name, one.reason) for name, one in judged.items() if isinstance(one, Refused)]
        if not accepted and not refused and self._open_source is not None and not self._shows_anything():
            accepted = {self._open_source: Accepted()}
        if not accepted and refused:
            raise self._failure(*refused[0])
        if len(accepted) != 1 or shown - accepted.keys():
            raise self._failure()
        [(name, right)] = accepted.items()
        self._limits.take(name)
        g.sender = Sender(self._sources[name], self._origins_of[name], right.delivery)

    def require_consent(self) -> None:
        """Let in who may ask whether to deliver: origins of the settings, and senders. Raises Unauthenticated."""
        if (_header(ORIGIN) or "").lower() not in self._origins:
            self.require_source()

    def require_operations(self) -> None:
        """Let in who watches over this server. Raises Unauthenticated."""
        shown = names_shown(self._operations, _header)
        if not shown and not (self._insecure_dev and not self._operations):
            raise self._failure()

    def _judge(self, source: SourceSettings, shown: Collection[str]) -> Judgement:
        """What the request proves of one source; ``shown`` are those whose secrets it shows."""
        if not source.is_proven or (source.secrets and source.name not in shown):
            return None
        before: Judgement = Accepted()
        if source.bearer is not None:
            token = bearer_token(_header)
            if token is None:
                return None
            before = judge_token(token, source.bearer, self._keys[source.name], self._clock())
        return self._judge_body(source, before) if isinstance(before, Accepted) and source.signatures else before

    def _judge_body(self, source: SourceSettings, before: Accepted) -> Judgement:
        """What the signature says; the body is read only for who shows what can be one."""
        given = [(key, one) for key in source.signatures if (one := signatures_shown(key, _header))]
        if not given:
            return None
        body, now = self._bodies.read(request), self._clock()
        judged = [judge_signature(key, one, _header, body, now) for key, one in given]
        for right in judged:
            if isinstance(right, Accepted):
                return right if right.delivery is not None else before
        for stale in judged:
            if isinstance(stale, Refused):
                self._keep(source.name, body, Problem("expired", "", stale.reason))
                return stale
        return None

    def _shows_anything(self) -> bool:
        signed_in = {key.header for source in self._sources.values() for key in source.signatures}
        token = (
            any(source.bearer is not None for source in self._sources.values()) and "Authorization" in request.headers
        )
        return token or any(header in request.headers for header in signed_in.union(name for name, _ in self._secrets))

    def _failure(self, source: str | None = None, reason: str | None = None) -> Unauthenticated:
        self._metrics.unauthenticated.inc()
        if reason is None:
            _log.warning("a request without a right secret", method=request.method, host=request.remote_addr)
        else:
            _log.warning("a request of a known sender was not taken", reason=reason, source=source)
        return Unauthenticated(reason)


def _header(name: str) -> str | None:
    return request.headers.get(name)


def current_sender() -> Sender:
    """Who sent this request; only behind ``require_source``."""
    sender: Sender = g.sender
    return sender


def _origin_of(source: SourceSettings, *, counts: bool) -> Origin:
    """``counts``: it numbers its events; where it can be read too, it can be asked for those that it does not name."""
    types = source.poll.types if source.poll is not None else frozenset()
    return Origin(
        source.name,
        source.target,
        source.base_url,
        readable=source.readable,
        polled=ADMINISTRATION in types,
        asked=source.readable and counts,
        polled_types=types,
    )


def close_by_default(app: Flask, guards: Mapping[str, Guard]) -> None:
    """Ask the guard of a request's blueprint before anything else is done; a route without a guard is closed."""

    @app.before_request
    def ask() -> None:
        if request.endpoint is None or request.endpoint in PUBLIC:
            return
        guard = guards.get(request.blueprint or "")
        if guard is None:
            raise Unauthenticated
        guard()
