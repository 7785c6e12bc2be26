"""What a request shows of who sent it, and whether it is right: secrets, tokens, signatures. Nothing here knows Flask.

A proof is right, or wrong, or right and yet not taken (``Refused``): then its sender is who it says, and may be told
what was wrong. Secrets are compared as SHA-256 digests and signatures in constant time, all of them every time.
"""

import hashlib
import hmac
import math
import re
from base64 import b64decode
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt

from afterdose.ehr.sender_keys import SenderKeys
from afterdose.settings import BearerSettings, SenderSecret, SigningKey
from afterdose.settings.bearer import SEVERAL_VALUES

SKEW = timedelta(seconds=60)
"""By how much the clock of whoever makes tokens may differ from ours."""

_LONGEST_TOKEN = 16_384
_TYPES = frozenset({"jwt", "at+jwt"})
_TIMESTAMP = re.compile(r"[0-9]{1,12}\Z")
# Without a full stop, which separates the parts that are signed.
_DELIVERY = re.compile(r"[!-\-/-~]{1,255}\Z")

HeaderOf = Callable[[str], str | None]
"""The value of a header by its name."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """By what something that was sent is known again, until ``until``.

    ``is_named``: the sender gives it a name, under which nothing else may come; else the signature is all there is.
    """

    id: str
    until: datetime
    is_named: bool = True


@dataclass(frozen=True, slots=True)
class Accepted:
    """A proof that is right."""

    delivery: Delivery | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The sender is who it says, and the request is not taken. ``reason`` holds no value of it."""

    reason: str


Judgement = Accepted | Refused | None
"""None: no proof, or a wrong one."""


# (header, lower-case scheme or None) -> digests and the names that they stand for
Known = Mapping[tuple[str, str | None], list[tuple[bytes, str]]]


def by_header(owners: Iterable[tuple[SenderSecret, str]]) -> Known:
    """The digests of secrets by where they are shown."""
    known: dict[tuple[str, str | None], list[tuple[bytes, str]]] = {}
    for secret, name in owners:
        scheme = secret.scheme.lower() if secret.scheme else None
        known.setdefault((secret.header, scheme), []).append((secret.sha256, name))
    return known


def names_shown(known: Known, header_of: HeaderOf) -> set[str]:
    """The names whose secrets the headers show."""
    found: set[str] = set()
    for (header, scheme), digests in known.items():
        digest = hashlib.sha256(_shown(header_of(header), scheme)).digest()
        for expected, name in digests:
            if hmac.compare_digest(digest, expected):
                found.add(name)
    return found


def _shown(value: str | None, scheme: str | None) -> bytes:
    """The secret that a header shows, as bytes; empty where it shows none."""
    value = value or ""
    if scheme is not None:
        word, _, value = value.partition(" ")
        value = value.strip(" ") if word.lower() == scheme else ""
    # WSGI hands header bytes over as latin-1 text (PEP 3333).
    return value.encode("latin-1", errors="replace")


def bearer_token(header_of: HeaderOf) -> str | None:
    """The token in ``Authorization: Bearer``, where what stands there can be one (RFC 7515, section 3.1)."""
    token = _shown(header_of("Authorization"), "bearer").decode("latin-1")
    return token if len(token) <= _LONGEST_TOKEN and token.isascii() and token.count(".") == 2 else None


def judge_token(token: str, wanted: BearerSettings, keys: SenderKeys, now: datetime) -> Judgement:
    """Whether a token is one of the issuer's for us, now. Raises EhrUnavailable where the keys cannot be had."""
    header, claimed = _unverified(token)
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in wanted.algorithms or claimed.get("iss") != wanted.issuer:
        return None
    typ = header.get("typ", "JWT")
    if not isinstance(typ, str) or typ.lower().removeprefix("application/") not in _TYPES or "crit" in header:
        return None
    if kid is not None and not isinstance(kid, str):
        return None
    for key in keys.candidates(kid):
        if algorithm in key.algorithms:
            try:
                claims = jwt.decode(token, key=key.public, algorithms=[algorithm], options=_SIGNATURE_ONLY)
            except jwt.InvalidTokenError:
                continue
            return _judge_claims(claims, wanted, now)
    return None


_SIGNATURE_ONLY: Any = {
    "verify_signature": True,
    **dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_aud", "verify_iss"), False),
    **dict.fromkeys(("verify_sub", "verify_jti"), False),
}


def _unverified(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    try:
        header = jwt.get_unverified_header(token)
        return header, jwt.decode(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        return {}, {}


def _judge_claims(claims: Mapping[str, Any], wanted: BearerSettings, now: datetime) -> Judgement:
    """RFC 7519, section 4.1, with SKEW where times are compared."""
    if wanted.audience not in _values("aud", claims.get("aud")):
        return Refused("the token is for another audience")
    moment, skew = now.timestamp(), SKEW.total_seconds()
    expires, begins, made = (_instant(claims, name) for name in ("exp", "nbf", "iat"))
    if expires is None or begins is None or made is None or "exp" not in claims:
        return Refused("the token has no legal time of expiry (exp), or an illegal nbf or iat")
    if moment >= expires + skew:
        return Refused("the token has expired, by our clock")
    if begins > moment + skew or made > moment + skew:
        return Refused("the token is not valid yet, by our clock")
    for name, values in wanted.claims.items():
        if not values <= _values(name, claims.get(name)):
            return Refused("the token lacks a claim that this source asks for")
    if not wanted.single_use:
        return Accepted()
    id_ = claims.get("jti")
    if not isinstance(id_, str) or not 0 < len(id_) <= 255:
        return Refused("the token has no id (jti), and each may be used once only")
    return Accepted(Delivery(f"jti {id_}", now + timedelta(seconds=min(expires - moment, _YEAR) + skew)))


_YEAR = 366 * 86_400.0


def _instant(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate; 0 where there is none, None where there is something else."""
    value = claims.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and abs(value) < 1e12 else None


def _values(name: str, value: object) -> frozenset[str]:
    """The values of a claim: those of a list, the words of a scope, or the one that it is."""
    if isinstance(value, list):
        return frozenset(one for one in value if isinstance(one, str))
    if isinstance(value, bool):
        return frozenset({str(value).lower()})
    if not isinstance(value, str):
        return frozenset()
    return frozenset(value.split() if name in SEVERAL_VALUES - {"aud"} else [value])


def signatures_shown(key: SigningKey, header_of: HeaderOf) -> tuple[bytes, ...]:
    """What the request shows as signatures in the key's header and format; nothing where it shows none.

    A few may stand in one header (Standard Webhooks): the sender changes its key then.
    """
    value = header_of(key.header) or ""
    match key.format:
        case "standard-webhooks":
            shown = [part.removeprefix("v1,") for part in value.split(" ") if part.startswith("v1,")]
        case "sha256=" | "v0=":
            shown = [value.removeprefix(key.format)] if value.startswith(key.format) else []
        case _:
            shown = [value]
    if key.timestamp_header is not None and not _TIMESTAMP.match(header_of(key.timestamp_header) or ""):
        return ()
    if key.id_header is not None and not _DELIVERY.match(header_of(key.id_header) or ""):
        return ()
    return tuple(given for given in (_digest(key, one) for one in shown[:_MOST_SHOWN]) if given)


_MOST_SHOWN = 4


def _digest(key: SigningKey, text: str) -> bytes:
    try:
        in_base64 = key.format in ("base64", "standard-webhooks")
        given = b64decode(text, validate=True) if in_base64 else bytes.fromhex(text)
    except ValueError:
        return b""
    return given if len(given) == hashlib.sha256().digest_size else b""


def judge_signature(
    key: SigningKey, shown: Collection[bytes], header_of: HeaderOf, body: bytes, now: datetime
) -> Judgement:
    """Whether one of the signatures is right, and was made within the key's tolerance."""
    at = header_of(key.timestamp_header) or "" if key.timestamp_header is not None else ""
    id_ = header_of(key.id_header) or "" if key.id_header is not None else ""
    match key.format:
        case "standard-webhooks":
            signed = f"{id_}.{at}.".encode("latin-1", errors="replace") + body
        case "v0=":
            signed = f"v0:{at}:".encode("latin-1", errors="replace") + body
        case _:
            signed = body
    right = hmac.digest(key.secret, signed, "sha256")
    if not any([hmac.compare_digest(given, right) for given in shown]):  # noqa: C419 - all of them, every time
        return None
    if key.timestamp_header is None:
        return Accepted()
    if abs(now.timestamp() - int(at)) > key.tolerance.total_seconds():
        return Refused("the request was signed too long ago, or ahead of our clock")
    if id_:
        return Accepted(Delivery(f"signed {id_}", now + _REMEMBERED))
    return Accepted(Delivery(f"signature {right.hex()}", now + 2 * key.tolerance, is_named=False))


_REMEMBERED = timedelta(days=7)
"""A sender tries again for days, with the same id and a new time."""
