"""Private keys that sign our client assertions: made, read, used; and their public halves for the EHR.

SMART App Launch 2.2, client-confidential-asymmetric.html: ES384 (a key on P-384) and RS384 (an RSA key). A key is a JWK
(RFC 7517) or, brought along by a site, a PEM file. Who can read a private key can ask any EHR for a token in our name,
so a file that others than its owner can read is refused.
"""

import base64
import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from afterdose.core.errors import BadInput, BadSettings
from afterdose.fhir import strict_json

ALGORITHMS = ("ES384", "RS384")
_RSA_BITS = 3072
_LEAST_RSA_BITS = 2048
_PUBLIC_MEMBERS = ("kty", "crv", "x", "y", "n", "e", "kid", "alg")
# RFC 7638, section 3.2: the members that make the thumbprint.
_THUMBPRINT_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}

PrivateKey = EllipticCurvePrivateKey | RSAPrivateKey
Jwk = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, the ``kid`` under which the EHR knows its public half, and the one algorithm it is used with."""

    kid: str
    algorithm: str
    private: PrivateKey = field(repr=False)

    def sign(self, claims: Mapping[str, object]) -> str:
        """A JWT over the claims."""
        headers = {"kid": self.kid, "typ": "JWT"}
        return jwt.encode(dict(claims), self.private, algorithm=self.algorithm, headers=headers)

    def public_jwk(self) -> Jwk:
        """The public half, for our JWKS."""
        return public_part(self.private_jwk())

    def private_jwk(self) -> Jwk:
        """The whole key; for its file only."""
        return {**_jwk(self.private), "kid": self.kid, "alg": self.algorithm, "use": "sig", "key_ops": ["sign"]}


def new_key(algorithm: str) -> SigningKey:
    """A fresh key; its kid is its thumbprint (RFC 7638), so no two keys share one."""
    private: PrivateKey = (
        generate_private_key(SECP384R1()) if algorithm == "ES384" else generate_rsa_key(65537, _RSA_BITS)
    )
    return SigningKey(_thumbprint(private), algorithm, private)


def load_key(path: Path, *, key: str, kid: str | None = None) -> SigningKey:
    """The private key in ``path``, JWK or PEM without a password.

    ``kid`` wins over the file's own; a file without one gets the key's thumbprint. Raises BadSettings that names
    ``key``, the setting, and says nothing of the file's contents.
    """
    check_private(path, key=key)
    text = _read(path, key)
    if b"-----BEGIN" in text:
        private, own_kid = _from_pem(text, key), None
    else:
        private, own_kid = _from_jwk(text, key)
    return SigningKey(kid or own_kid or _thumbprint(private), _algorithm(private, key), private)


def check_private(path: Path, *, key: str) -> None:
    """Raises BadSettings where the file or folder is not there, or where others than its owner get at it."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise BadSettings(f"{key}: {path} cannot be read ({error.strerror})") from None
    if mode & 0o077:
        wanted = "0700" if path.is_dir() else "0600"
        raise BadSettings(f"{key}: {path} has mode {mode:04o}; expected {wanted}, for its owner alone")


def public_part(jwk: Mapping[str, Any]) -> Jwk:
    """What others may see of a JWK: the members that we know to be public, and no other."""
    return {name: jwk[name] for name in _PUBLIC_MEMBERS if name in jwk} | {"use": "sig", "key_ops": ["verify"]}


def _read(path: Path, key: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadSettings(f"{key}: {path} cannot be read ({error.strerror})") from None


def _from_pem(text: bytes, key: str) -> PrivateKey:
    try:
        private = load_pem_private_key(text, password=None)
    except (ValueError, TypeError):
        raise BadSettings(f"{key}: expected a private key in PEM form without a password") from None
    if not isinstance(private, PrivateKey):
        raise BadSettings(f"{key}: expected an EC key on P-384 or an RSA key")
    return private


def _from_jwk(text: bytes, key: str) -> tuple[PrivateKey, str | None]:
    try:
        jwk = strict_json.loads(text)
    except BadInput:
        jwk = None
    if not isinstance(jwk, dict) or jwk.get("kty") not in _THUMBPRINT_MEMBERS or "d" not in jwk:
        raise BadSettings(f"{key}: expected a private key as a JWK (kty EC or RSA) or in PEM form")
    kid, algorithm = jwk.get("kid"), ECAlgorithm if jwk["kty"] == "EC" else RSAAlgorithm
    try:
        private = algorithm.from_jwk(cast(Any, jwk))
    except (jwt.InvalidKeyError, ValueError, TypeError):
        raise BadSettings(f"{key}: this JWK is damaged") from None
    return cast(PrivateKey, private), kid if isinstance(kid, str) and kid else None


def _algorithm(private: PrivateKey, key: str) -> str:
    if isinstance(private, EllipticCurvePrivateKey):
        if not isinstance(private.curve, SECP384R1):
            raise BadSettings(f"{key}: expected an EC key on P-384 (ES384), not on {private.curve.name}")
        return "ES384"
    if private.key_size < _LEAST_RSA_BITS:
        raise BadSettings(f"{key}: expected an RSA key of {_LEAST_RSA_BITS} bits or more")
    return "RS384"


def _jwk(private: PrivateKey) -> Jwk:
    if isinstance(private, EllipticCurvePrivateKey):
        return ECAlgorithm.to_jwk(private, as_dict=True)
    jwk = RSAAlgorithm.to_jwk(private, as_dict=True)
    return {name: value for name, value in jwk.items() if name != "key_ops"}


def _thumbprint(private: PrivateKey) -> str:
    jwk = _jwk(private)
    members = {name: jwk[name] for name in _THUMBPRINT_MEMBERS[jwk["kty"]]}
    digest = hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
