"""Who is asking. Whatever has not been named here as public or guarded is closed.

A sender is known by a secret in a header, or by a signature over its bytes; either says which source it is, and a
source that has both kinds needs both. Secrets are compared as SHA-256 digests and signatures in constant time, all of
them every time, so that the time an answer takes says nothing, and every failure gets the same answer.
"""

import hashlib
import hmac
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence

from flask import Flask, g, request
from werkzeug.datastructures import Headers

from afterdose.fhir.administration import TYPE as ADMINISTRATION
from afterdose.logs import get_logger
from afterdose.settings import SenderSecret, Settings, SigningKey, SourceSettings
from afterdose.web.body import BodyReader
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

    def __init__(self, settings: Settings, metrics: WebMetrics, bodies: BodyReader) -> None:
        self._metrics = metrics
        self._bodies = bodies
        self._sources = settings.sources
        owners = [(secret, source.name) for source in settings.sources.values() for secret in source.secrets]
        self._senders = _by_header(owners)
        self._signers = {s.name: s.signatures for s in settings.sources.values() if s.signatures and not s.secrets}
        self._operations = _by_header((secret, OPERATIONS) for secret in settings.operations)
        self._insecure_dev = settings.insecure_dev
        listened = {listener.source for listener in settings.mllp}
        proofless = (s.name for s in settings.sources.values() if not s.secrets and not s.signatures)
        open_sources = (name for name in proofless if name not in listened)
        self._open_source = next(open_sources, None) if settings.insecure_dev else None

    def require_source(self) -> None:
        """Let senders in, and remember for the request which source it is. Raises Unauthenticated."""
        name = _identify(self._senders, request.headers)
        if name is None:
            name = self._signer(self._signers)
        elif signatures := self._sources[name].signatures:
            name = self._signer({name: signatures})
        if name is None and self._open_source is not None and not self._shows_anything():
            name = self._open_source
        if name is None:
            raise self._failure()
        g.source = self._sources[name]

    def require_operations(self) -> None:
        """Let in who watches over this server. Raises Unauthenticated."""
        if _identify(self._operations, request.headers) is None and not (self._insecure_dev and not self._operations):
            raise self._failure()

    def _signer(self, signers: Mapping[str, Sequence[SigningKey]]) -> str | None:
        """The one source that signed the body; the body is read only for who shows what can be a signature."""
        shown = [(name, key, given) for name, keys in signers.items() for key in keys if (given := _signature(key))]
        if not shown:
            return None
        body = self._bodies.read(request)
        right = {name for name, key, given in shown if hmac.compare_digest(given, _signed(key, body))}
        return right.pop() if len(right) == 1 else None

    def _shows_anything(self) -> bool:
        signed_in = {key.header for source in self._sources.values() for key in source.signatures}
        return any(header in request.headers for header in signed_in.union(header for header, _ in self._senders))

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
    polled = source.poll is not None and ADMINISTRATION in source.poll.types
    return Origin(source.name, source.target, source.base_url, source.readable, polled)


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


def _signature(key: SigningKey) -> bytes:
    """What the request shows as a signature in the key's header and format; empty where it shows none."""
    value = request.headers.get(key.header, "")
    if key.format == "sha256=":
        method, _, value = value.partition("=")
        value = value if method == "sha256" else ""
    try:
        given = b64decode(value, validate=True) if key.format == "base64" else bytes.fromhex(value)
    except ValueError:
        return b""
    return given if len(given) == hashlib.sha256().digest_size else b""


def _signed(key: SigningKey, body: bytes) -> bytes:
    return hmac.digest(key.secret, body, "sha256")
