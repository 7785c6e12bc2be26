"""How a sender signs what it sends: an HMAC with SHA-256 (RFC 2104), in a header.

Some sign the body alone, byte for byte (Medplum, athenahealth: WebSub), and nothing tells then when that was. Others
sign a time besides, so that what was overheard cannot be sent again later (Standard Webhooks, and the form
``v0:TIME:BODY`` of Slack and Zoom). No signature covers the URL or the other headers.
"""

import hashlib
from base64 import b64decode
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from marshmallow import RAISE, Schema, fields, validate

from afterdose.core.errors import BadSettings
from afterdose.settings.fields import HEADER, Duration, Secret, file_of

Format = Literal["hex", "sha256=", "base64", "v0=", "standard-webhooks"]
"""How the sender writes a signature: hexadecimal digits (Medplum), the same behind ``sha256=`` (WebSub), Base64; with a
time: hexadecimal digits behind ``v0=``, and the headers of https://www.standardwebhooks.com."""

TOLERANCE = timedelta(minutes=5)

_FORMATS: tuple[Format, ...] = ("hex", "sha256=", "base64", "v0=", "standard-webhooks")
_MOST = 2
_LEAST_BYTES = 24


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A secret that the sender shares with us, the header in which it signs with it, and how.

    ``timestamp_header`` and ``id_header`` are signed too, where the format has them; a time may be ``tolerance`` away
    from ours.
    ``file``: where the secret was read from, None where it stood in the settings themselves.
    """

    header: str
    format: Format
    secret: bytes = field(repr=False)
    timestamp_header: str | None = None
    id_header: str | None = None
    tolerance: timedelta = TOLERANCE
    file: Path | None = field(default=None, compare=False)

    @property
    def sha256(self) -> bytes:
        """The digest by which equal secrets are found."""
        return hashlib.sha256(self.secret).digest()


def _header(help_: str, example: str | None = None) -> fields.String:
    return fields.String(
        load_default=None,
        validate=HEADER,
        error_messages={"invalid": "expected text"},
        metadata={"help": help_} | ({"example": example} if example else {}),
    )


class SignatureSchema(Schema):
    """A key with which a sender signs."""

    class Meta:
        unknown = RAISE

    error_messages = {  # noqa: RUF012 - marshmallow's own way to set messages
        "unknown": "is not a setting",
        "type": "expected a table",
    }

    header = _header(
        "The header that carries the signature; athenahealth: X-Hub-Signature. Without this key it is X-Signature,\n"
        "or webhook-signature for standard-webhooks.",
        "X-Signature",
    )
    format = fields.String(
        load_default="hex",
        validate=validate.OneOf(_FORMATS, error=f"expected one of {', '.join(_FORMATS)}"),
        error_messages={"invalid": "expected text"},
        metadata={
            "help": "hex (Medplum), sha256= (athenahealth: hex behind that word) or base64: the body is signed.\n"
            "v0= (hex over v0:TIME:BODY) or standard-webhooks: a time is signed too."
        },
    )
    timestamp_header = _header(
        "v0=: the header with the time, in seconds of Unix time. For standard-webhooks it is webhook-timestamp."
    )
    id_header = _header("standard-webhooks: the header with the id, where that is not webhook-id.")
    tolerance = Duration(
        load_default=None,
        metadata={"help": "How far from ours a signed time may be; without this key, 5 minutes."},
    )
    value = Secret(
        required=True,
        error_messages={"required": "expected value, or value_file with the path of a file that holds it"},
        metadata={
            "help": "The secret that the sender signs with, of 32 bytes or more; better in a file (value_file).\n"
            "standard-webhooks: as the sender shows it, whsec_ and Base64."
        },
    )


def signing_keys(key: str, entries: list[dict[str, Any]]) -> tuple[SigningKey, ...]:
    """The value of a ``signatures`` list that the schema has passed. Raises BadSettings naming the key."""
    if len(entries) > _MOST:
        raise BadSettings(f"{key}: expected {_MOST} keys at most")
    return tuple(_signing_key(f"{key}[{place}]", entry) for place, entry in enumerate(entries))


def _signing_key(key: str, entry: dict[str, Any]) -> SigningKey:
    format_: Format = entry["format"]
    secret = entry["value"]
    header, at, id_, tolerance = (entry[name] for name in ("header", "timestamp_header", "id_header", "tolerance"))
    if format_ == "standard-webhooks":
        return SigningKey(
            header or "webhook-signature",
            format_,
            _standard_secret(f"{key}.value", secret),
            at or "webhook-timestamp",
            id_ or "webhook-id",
            tolerance or TOLERANCE,
            file_of(secret),
        )
    if id_ is not None:
        raise BadSettings(f'{key}.id_header: is for format = "standard-webhooks"')
    if format_ == "v0=":
        if at is None:
            raise BadSettings(f"{key}.timestamp_header: expected the name of an HTTP header")
        lasting = tolerance or TOLERANCE
        return SigningKey(header or "X-Signature", format_, secret.encode(), at, None, lasting, file_of(secret))
    for name, value in (("timestamp_header", at), ("tolerance", tolerance)):
        if value is not None:
            raise BadSettings(f'{key}.{name}: is for format = "v0=" or "standard-webhooks", which sign a time')
    return SigningKey(header or "X-Signature", format_, secret.encode(), file=file_of(secret))


def _standard_secret(key: str, value: str) -> bytes:
    """Standard Webhooks: Base64 of 24 bytes or more, behind ``whsec_``."""
    try:
        secret = b64decode(value.removeprefix("whsec_"), validate=True)
    except ValueError:
        secret = b""
    if len(secret) < _LEAST_BYTES:
        raise BadSettings(f"{key}: expected whsec_ and {_LEAST_BYTES} bytes or more in Base64")
    return secret
