"""How a sender proves itself by tokens (JWT) of an issuer whose public keys the site has pinned.

RFC 7519 (JWT), RFC 7517 (the key set), RFC 8725 (which mistakes others have made with both).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from marshmallow import RAISE, Schema, fields, validate

from afterdose.core.errors import BadSettings
from afterdose.settings.fields import BaseUrl, Location, Url, Words, certificates, is_loopback

ALGORITHMS = frozenset({"ES256", "ES384", "RS256", "RS384"})
"""What a token may be signed with. None of them works with a shared secret, and none is ``none``."""

SEVERAL_VALUES = frozenset({"aud", "groups", "roles", "scope", "scp"})
"""Claims that hold several values at once."""

_FOR_EVERYBODY = frozenset({"accounts.google.com", "https://accounts.google.com"})
"""Issuers of which anybody can get a token for whatever audience: https://cloud.google.com/docs/authentication/get-id-token"""


@dataclass(frozen=True, slots=True)
class BearerSettings:
    """Whose tokens are taken. The keys come from a file or from one URL, never from where a token says.

    ``claims``: name -> values that the token has to hold; ``single_use``: a token (its ``jti``) serves one request.
    ``ca_bundle`` and ``proxy`` are for the way to ``jwks_url``.
    """

    issuer: str
    audience: str
    algorithms: frozenset[str]
    claims: Mapping[str, frozenset[str]]
    single_use: bool
    jwks_file: Path | None
    jwks_url: str | None
    ca_bundle: Path | None
    proxy: str | None

    def is_told_from(self, other: "BearerSettings") -> bool:
        """Whether a token is of one of the two at most; where it names two audiences it is nobody's."""
        if (self.issuer, self.audience) != (other.issuer, other.audience):
            return True
        common = (self.claims.keys() & other.claims.keys()) - SEVERAL_VALUES
        return any(self.claims[name] != other.claims[name] for name in common)


def _text(help_: str, example: str, wanted: str) -> fields.String:
    return fields.String(
        required=True,
        validate=validate.Length(min=1, error="expected text that is not empty"),
        error_messages={"required": wanted, "invalid": "expected text"},
        metadata={"help": help_, "example": example},
    )


class BearerSchema(Schema):
    """Tokens of an issuer whose keys are pinned."""

    class Meta:
        unknown = RAISE

    error_messages = {  # noqa: RUF012 - marshmallow's own way to set messages
        "unknown": "is not a setting",
        "type": "expected a table",
    }

    issuer = _text(
        "Who makes the tokens, letter by letter as in their iss.",
        "https://accounts.google.com",
        "expected the issuer (iss) of the tokens",
    )
    audience = _text(
        "What has to stand in their aud: whatever the sender was told, often the URL of this server.",
        "https://afterdose.hospital.example/fhir",
        "expected the audience (aud) of the tokens",
    )
    jwks_file = Location(
        load_default=None,
        metadata={"help": "The issuer's public keys (a JWK set); read anew when the file changes."},
    )
    jwks_url = Url(
        load_default=None,
        metadata={
            "help": "Where the issuer publishes its public keys instead: https, or http on this machine.",
            "example": "https://www.googleapis.com/oauth2/v3/certs",
        },
    )
    algorithms = Words(
        load_default=ALGORITHMS,
        metadata={"help": "What tokens may be signed with.", "example": sorted(ALGORITHMS)},
    )
    claims = Words(
        load_default=frozenset(),
        metadata={
            "help": "What a token has to hold besides, as name=value: sub, azp, email, scope, roles and the like.",
            "example": ["email=push@project.iam.gserviceaccount.com"],
        },
    )
    single_use = fields.Boolean(
        load_default=False,
        error_messages={"invalid": "expected true or false"},
        metadata={"help": "Each token serves one request and has a jti; most senders use one for an hour."},
    )
    ca_bundle = Location(
        load_default=None, metadata={"help": "Certificates to trust on the way to jwks_url (a PEM file)."}
    )
    proxy = BaseUrl(load_default=None, metadata={"help": "The HTTP proxy on the way to jwks_url."})


def bearer(key: str, entry: dict[str, Any] | None, folder: Path) -> BearerSettings | None:
    """The value of a ``bearer`` table that the schema has passed; None where there is none. Raises BadSettings."""
    if entry is None:
        return None
    jwks_file, jwks_url = entry["jwks_file"], entry["jwks_url"]
    if (jwks_file is None) == (jwks_url is None):
        raise BadSettings(f"{key}.jwks_file: expected the issuer's keys, either as jwks_file or as jwks_url")
    if jwks_url is not None:
        parts = urlsplit(jwks_url)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise BadSettings(f"{key}.jwks_url: expected https://")
    if entry["issuer"] in _FOR_EVERYBODY and not entry["claims"]:
        raise BadSettings(
            f'{key}.claims: expected "email=...": this issuer makes tokens for everybody, for any audience'
        )
    if not entry["algorithms"] or not entry["algorithms"] <= ALGORITHMS:
        raise BadSettings(f"{key}.algorithms: expected some of {', '.join(sorted(ALGORITHMS))}")
    return BearerSettings(
        issuer=entry["issuer"],
        audience=entry["audience"],
        algorithms=entry["algorithms"],
        claims=_claims(f"{key}.claims", entry["claims"]),
        single_use=entry["single_use"],
        jwks_file=folder / jwks_file if jwks_file is not None else None,
        jwks_url=jwks_url,
        ca_bundle=certificates(f"{key}.ca_bundle", entry["ca_bundle"], folder),
        proxy=entry["proxy"],
    )


def check_told_apart(senders: Mapping[str, BearerSettings]) -> None:
    """Raises BadSettings where a token could be that of two sources."""
    for place, (name, one) in enumerate(senders.items()):
        for other, before in list(senders.items())[:place]:
            if not one.is_told_from(before):
                wanted = f"expected another issuer or audience than sources.{other} has, or another value of one claim"
                raise BadSettings(f"sources.{name}.bearer: {wanted}")


def _claims(key: str, entries: Collection[str]) -> Mapping[str, frozenset[str]]:
    wanted: dict[str, frozenset[str]] = {}
    for entry in sorted(entries):
        name, is_given, value = (part.strip() for part in entry.partition("="))
        if not (name and is_given and value):
            raise BadSettings(f'{key}: expected entries such as "sub=value"')
        wanted[name] = wanted.get(name, frozenset()) | {value}
    return wanted
