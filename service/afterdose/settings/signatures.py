"""The keys with which senders sign what they send: what may be set, and the value that comes of it.

A signature is the HMAC-SHA-256 of the body, byte for byte (RFC 2104). It covers neither the URL nor the other headers.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from marshmallow import RAISE, Schema, fields, validate

from afterdose.core.errors import BadSettings
from afterdose.settings.fields import HEADER, Secret, file_of

Format = Literal["hex", "sha256=", "base64"]
"""How the sender writes a signature: hexadecimal digits (Medplum), the same behind ``sha256=`` (WebSub), Base64."""

_FORMATS: tuple[Format, ...] = ("hex", "sha256=", "base64")
_MOST = 2


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A secret that the sender shares with us, the header in which it signs with it, and how.

    ``file``: where the secret was read from, None where it stood in the settings themselves.
    """

    header: str
    format: Format
    secret: bytes = field(repr=False)
    file: Path | None = field(default=None, compare=False)

    @property
    def sha256(self) -> bytes:
        """The digest by which equal secrets are found."""
        return hashlib.sha256(self.secret).digest()


class SignatureSchema(Schema):
    """A key with which a sender signs."""

    class Meta:
        unknown = RAISE

    error_messages = {  # noqa: RUF012 - marshmallow's own way to set messages
        "unknown": "is not a setting",
        "type": "expected a table",
    }

    header = fields.String(
        load_default="X-Signature",
        validate=HEADER,
        error_messages={"invalid": "expected text"},
        metadata={"help": "The header that carries the signature; athenahealth: X-Hub-Signature."},
    )
    format = fields.String(
        load_default="hex",
        validate=validate.OneOf(_FORMATS, error=f"expected one of {', '.join(_FORMATS)}"),
        error_messages={"invalid": "expected text"},
        metadata={"help": "hex (Medplum), sha256= (athenahealth: hex behind that word) or base64."},
    )
    value = Secret(
        required=True,
        error_messages={"required": "expected value, or value_file with the path of a file that holds it"},
        metadata={"help": "The secret that the sender signs with, of 32 bytes or more; better in a file (value_file)."},
    )


def signing_keys(key: str, entries: list[dict[str, Any]]) -> tuple[SigningKey, ...]:
    """The value of a ``signatures`` list that the schema has passed. Raises BadSettings naming the key."""
    if len(entries) > _MOST:
        raise BadSettings(f"{key}: expected {_MOST} keys at most")
    return tuple(
        SigningKey(entry["header"], entry["format"], entry["value"].encode(), file_of(entry["value"]))
        for entry in entries
    )
