"""Who is asking. Whatever has not been named here as public or guarded is closed.

A sender is known by a secret in a header; the secret says which source it is. Secrets are compared as SHA-256 digests,
all of them every time, so that the time an answer takes says nothing, and every failure gets the same answer.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping

from flask import Flask, g, request
from werkzeug.datastructures import Headers

from afterdose.logs import get_logger
from afterdose.settings import SenderSecret, Settings, SourceSettings
from afterdose.web.metrics import WebMetrics
from afterdose.web.problems import Unauthenticated
from afterdose.work.intake import Origin

OPERATIONS = "operations"
PUBLIC = frozenset({"health.healthz", "jwks.keys", "metadata.capabilities"})
"""The endpoints that anybody may call."""

Guard = Callable[[], None]

_log = get_logger()


class Doorkeeper:
    """Knows the secrets' digests. Built once a process."""

    def __init__(self, settings: Settings, metrics: WebMetrics) -> None:
        self._metrics = metrics
        self._sources = settings.sources
        owners = [(secret, source.name) for source in settings.sources.values() for secret in source.secrets]
        self._senders = _by_header(owners)
        self._operations = _by_header((secret, OPERATIONS) for secret in settings.operations)
        self._insecure_dev = settings.insecure_dev
        listened = {listener.source for listener in settings.mllp}
        open_sources = (s.name for s in settings.sources.values() if not s.secrets and s.name not in listened)
        self._open_source = next(open_sources, None) if settings.insecure_dev else None

    def require_source(self) -> None:
        """Let senders in, and remember for the request which source it is. Raises Unauthenticated."""
        name = _identify(self._senders, request.headers)
        if name is None and self._open_source is not None and not _shows_anything(self._senders, request.headers):
            name = self._open_source
        if name is None:
            raise self._failure()
        g.source = self._sources[name]

    def require_operations(self) -> None:
        """Let in who watches over this server. Raises Unauthenticated."""
        if _identify(self._operations, request.headers) is None and not (self._insecure_dev and not self._operations):
            raise self._failure()

    def _failure(self) -> Unauthenticated:
        self._metrics.unauthenticated.inc()
        _log.warning("a request without a right secret", method=request.method, host=request.remote_addr)
        return Unauthenticated()


def current_source() -> SourceSettings:
    """The source that sent this request; only behind ``require_source``."""
    source: SourceSettings = g.source
    return source


def current_origin() -> Origin:
    """The same, as intake sees it."""
    source = current_source()
    return Origin(source.name, source.target, source.base_url)


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


# (header, lower-case scheme or None) -> digests and the names that they stand for
_Known = Mapping[tuple[str, str | None], list[tuple[bytes, str]]]


def _by_header(owners: Iterable[tuple[SenderSecret, str]]) -> _Known:
    known: dict[tuple[str, str | None], list[tuple[bytes, str]]] = {}
    for secret, name in owners:
        scheme = secret.scheme.lower() if secret.scheme else None
        known.setdefault((secret.header, scheme), []).append((secret.sha256, name))
    return known


def _identify(known: _Known, headers: Headers) -> str | None:
    """The one name whose secret the headers show; None where there is none, or where they show two."""
    found: set[str] = set()
    for (header, scheme), digests in known.items():
        shown = _shown(headers, header, scheme)
        digest = hashlib.sha256(shown).digest()
        for expected, name in digests:
            if hmac.compare_digest(digest, expected):
                found.add(name)
    return found.pop() if len(found) == 1 else None


def _shown(headers: Headers, header: str, scheme: str | None) -> bytes:
    """The secret that the header shows, as bytes; empty where it shows none."""
    value = headers.get(header, "")
    if scheme is not None:
        word, _, value = value.partition(" ")
        value = value.strip(" ") if word.lower() == scheme else ""
    # WSGI hands header bytes over as latin-1 text (PEP 3333).
    return value.encode("latin-1", errors="replace")


def _shows_anything(known: _Known, headers: Headers) -> bool:
    return any(header in headers for header, _scheme in known)
