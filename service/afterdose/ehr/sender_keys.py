"""The public keys of those whose tokens we take: pinned to one file or one URL, kept, and asked for with restraint.

RFC 7517. Where a token says that its keys are (jku, x5u, jwk) is never looked at. A rotation needs nothing of us: all
keys of the set count, so the old and the new one do while both stand in it.
"""

import re
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from afterdose.core.errors import BadInput, BadSettings, EhrError, EhrUnavailable, Problem
from afterdose.ehr.wire import Answer
from afterdose.fhir import strict_json
from afterdose.logs import get_logger

SECONDS_BETWEEN_FETCHES = 60.0
SHORTEST_KEPT = 300.0
LONGEST_KEPT = 24 * 3600.0
_KEPT = 3600.0
_LEAST_RSA_BITS = 2048
_MOST_KEYS = 100
_CURVES = {"P-256": "ES256", "P-384": "ES384"}
_PUBLIC = frozenset({"kty", "crv", "x", "y", "n", "e"})
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})(?:[\s,]|$)")

_log = get_logger()

PublicKey = EllipticCurvePublicKey | RSAPublicKey


@dataclass(frozen=True, slots=True)
class PinnedKey:
    """A public key, its id in the set, and what may be signed with it."""

    kid: str | None
    algorithms: frozenset[str]
    public: PublicKey = field(repr=False)


class SenderKeys(Protocol):
    """The keys of one issuer."""

    def candidates(self, kid: str | None) -> Collection[PinnedKey]:
        """The keys with this id; all of them for a token that names none. Raises EhrUnavailable where none are had."""


def parse_jwks(text: bytes) -> tuple[PinnedKey, ...]:
    """The keys of a JWK set that can check signatures; what is shared, weak, or for something else is left out.

    Raises BadInput where it is no set of keys or none is of use.
    """
    document = strict_json.loads(text)
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise BadInput(Problem("value", "keys", "is no JWK set"))
    keys = tuple(key for key in map(_pinned, listed[:_MOST_KEYS]) if key is not None)
    if not keys:
        raise BadInput(Problem("value", "keys", "holds no public key that can check a signature"))
    return keys


def _pinned(jwk: object) -> PinnedKey | None:
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
        return None
    if "key_ops" in jwk and "verify" not in (jwk["key_ops"] or ()):
        return None
    public: dict[str, Any] = {name: jwk[name] for name in _PUBLIC & jwk.keys()}
    try:
        if jwk.get("kty") == "EC":
            algorithms = frozenset({_CURVES[str(jwk.get("crv"))]})
            key = cast(PublicKey, ECAlgorithm.from_jwk(public))
        elif jwk.get("kty") == "RSA":
            algorithms = frozenset({"RS256", "RS384"})
            key = cast(PublicKey, RSAAlgorithm.from_jwk(public))
        else:
            return None
    except (jwt.InvalidKeyError, KeyError, ValueError, TypeError):
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < _LEAST_RSA_BITS:
        return None
    if "alg" in jwk:
        algorithms &= {jwk["alg"]} if isinstance(jwk["alg"], str) else set()
    kid = jwk.get("kid")
    return PinnedKey(kid if isinstance(kid, str) else None, algorithms, key) if algorithms else None


def _matching(keys: Collection[PinnedKey], kid: str | None) -> list[PinnedKey]:
    return [key for key in keys if kid is None or key.kid == kid]


class FileKeys:
    """The keys of a file, read anew when it has changed; a file that has become unreadable changes nothing."""

    def __init__(self, path: Path, *, key: str) -> None:
        """Raises BadSettings that names ``key``, the setting."""
        self._path = path
        self._key = key
        self._lock = threading.Lock()
        self._stamp, self._keys = self._read()
        self._failed = False

    def candidates(self, kid: str | None) -> Collection[PinnedKey]:
        """The keys with this id; all of them for a token that names none."""
        with self._lock:
            try:
                if self._stamp_now() != self._stamp:
                    self._stamp, self._keys = self._read()
                self._tell(failed=False)
            except (BadSettings, OSError):
                self._tell(failed=True)
            return _matching(self._keys, kid)

    def _tell(self, *, failed: bool) -> None:
        if failed and not self._failed:
            _log.error("the keys of a sender cannot be read any more", alarm="sender-keys", reason=self._key)
        elif self._failed and not failed:
            _log.warning("the keys of a sender can be read again", alarm="sender-keys", reason=self._key)
        self._failed = failed

    def _stamp_now(self) -> tuple[int, int, int]:
        stat = self._path.stat()
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    def _read(self) -> tuple[tuple[int, int, int], tuple[PinnedKey, ...]]:
        try:
            return self._stamp_now(), parse_jwks(self._path.read_bytes())
        except OSError as error:
            raise BadSettings(f"{self._key}: {self._path} cannot be read ({error.strerror})") from None
        except BadInput as bad:
            raise BadSettings(f"{self._key}: {self._path}: {bad.problems[0].text}") from None


class FetchedKeys:
    """The keys behind a URL. Fetched when they are first needed, when they have got old, and for an unknown id; never
    twice within SECONDS_BETWEEN_FETCHES. A fetch that fails leaves those that were known. Threads may share it.

    ``fetch`` gets the answer of the URL; ``key`` is the setting, for the log; ``monotonic`` counts seconds.
    """

    def __init__(
        self, fetch: Callable[[], Answer], *, key: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._key = key
        self._monotonic = monotonic
        self._turn = threading.Lock()
        self._keys: tuple[PinnedKey, ...] = ()
        self._fresh_until = float("-inf")
        self._next_fetch = float("-inf")
        self._failed = False

    def candidates(self, kid: str | None) -> Collection[PinnedKey]:
        """The keys with this id; all of them for a token that names none.

        Raises EhrUnavailable where the keys cannot be had: whether the token is right is not known then.
        """
        if self._monotonic() >= self._fresh_until:
            self._refresh()
        found = _matching(self._keys, kid)
        if not found:
            self._refresh()
            found = _matching(self._keys, kid)
        if not found and (self._failed or not self._keys):
            raise EhrUnavailable(f"{self._key}: the keys of a sender cannot be had", code="sender-keys")
        return found

    def _refresh(self) -> None:
        """One thread asks; the others go on with what is known, and wait where that is nothing."""
        if not self._turn.acquire(blocking=not self._keys):
            return
        try:
            now = self._monotonic()
            if now < self._next_fetch:
                return
            self._next_fetch = now + SECONDS_BETWEEN_FETCHES
            self._take(now)
        finally:
            self._turn.release()

    def _take(self, now: float) -> None:
        try:
            answer = self._fetch()
            if answer.status != 200:
                raise EhrUnavailable("no keys", status=answer.status)
            self._keys = parse_jwks(answer.body)
        except (EhrError, BadInput) as error:
            if not self._failed:
                reason = error.shown if isinstance(error, EhrError) else "no-keys"
                _log.error("the keys of a sender cannot be had", alarm="sender-keys", reason=f"{self._key}: {reason}")
            self._failed = True
            return
        if self._failed:
            _log.warning("the keys of a sender can be had again", alarm="sender-keys", reason=self._key)
        self._failed = False
        said = _MAX_AGE.search(answer.headers.get("cache-control", ""))
        kept = float(said[1]) if said else _KEPT
        self._fresh_until = now + min(max(kept, SHORTEST_KEPT), LONGEST_KEPT)
