"""The listeners for HL7 v2 over MLLP: what may be set, what must be true of it, and the value that comes of it.

MLLP knows no secrets: whoever can connect is the source. So a listener stays on this machine, or asks for a client
certificate, or the site says in so many words that the network in front of it is to be trusted.
"""

import ipaddress
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from afterdose.core.errors import BadSettings
from afterdose.settings.fields import Duration, Location, Whole

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class MllpSettings:
    """One listener; everything that it receives comes from ``source``. Without ``certificate`` it speaks no TLS.

    ``peers``: who may connect; empty for everybody. ``idle_timeout``: how long a connection may be silent.
    """

    source: str
    host: str
    port: int
    certificate: Path | None
    key: Path | None
    client_ca: Path | None
    peers: tuple[Network, ...]
    max_connections: int
    idle_timeout: timedelta
    max_message_bytes: int


class Networks(fields.Field[tuple[Network, ...]]):
    """Addresses and networks; a variable holds them with commas."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[Network, ...]:
        entries = value.split(",") if isinstance(value, str) else value
        if not isinstance(entries, list):
            raise ValidationError("expected a list of addresses or networks")
        try:
            return tuple(ipaddress.ip_network(str(entry).strip()) for entry in entries)
        except ValueError:
            raise ValidationError('expected addresses or networks such as "10.1.2.3" or "10.1.0.0/16"') from None


class MllpSchema(Schema):
    """A listener for HL7 v2 over MLLP, which `afterdose mllp` serves."""

    class Meta:
        unknown = RAISE

    error_messages = {  # noqa: RUF012 - marshmallow's own way to set messages
        "unknown": "is not a setting",
        "type": "expected a table",
    }

    source = fields.String(
        required=True,
        error_messages={"required": "expected the name of a source", "invalid": "expected text"},
        metadata={"help": "The source (above) that everything it receives comes from.", "example": "ehr"},
    )
    host = fields.String(
        load_default="127.0.0.1",
        validate=validate.Length(min=1, error="expected text that is not empty"),
        metadata={"help": "The address to listen on."},
    )
    port = Whole(1, 65535, load_default=2575, metadata={"help": "The port to listen on."})
    certificate = Location(
        load_default=None, metadata={"help": "The server's certificate chain (a PEM file), for TLS."}
    )
    key = Location(load_default=None, metadata={"help": "The key of that certificate (a PEM file)."})
    client_ca = Location(
        load_default=None,
        metadata={"help": "Who connects has to show a certificate of this authority (a PEM file)."},
    )
    peers = Networks(
        load_default=(),
        metadata={"help": "Addresses and networks that may connect; without it, all.", "example": ["127.0.0.1"]},
    )
    trusted_network = fields.Boolean(
        load_default=False,
        error_messages={"invalid": "expected true or false"},
        metadata={
            "help": "Listen beyond this machine without client certificates: whoever reaches the port can report doses."
        },
    )
    max_connections = Whole(1, 10_000, load_default=64, metadata={"help": "Connections at the same time."})
    idle_timeout = Duration(
        load_default=timedelta(hours=1),
        metadata={"help": "How long a connection may be silent before it is closed.", "example": "1h"},
    )
    max_message_bytes = Whole(
        1024, 67_108_864, load_default=1_048_576, metadata={"help": "The largest message that is taken, in bytes."}
    )


def listeners(
    entries: list[dict[str, Any]], sources: Collection[str], folder: Path, *, is_loopback: Callable[[str], bool]
) -> tuple[MllpSettings, ...]:
    """The listeners of a settings file. Raises BadSettings naming the key."""
    built = tuple(
        _listener(entry, f"mllp[{place}]", sources, folder, is_loopback) for place, entry in enumerate(entries)
    )
    places = [(one.host, one.port) for one in built]
    for place, where in enumerate(places):
        if where in places[:place]:
            raise BadSettings(f"mllp[{place}].port: expected one that no other listener has")
    return built


def _listener(
    entry: dict[str, Any], at: str, sources: Collection[str], folder: Path, is_loopback: Callable[[str], bool]
) -> MllpSettings:
    if entry["source"] not in sources:
        raise BadSettings(f"{at}.source: expected the name of a source ({', '.join(sorted(sources)) or 'none is set'})")
    files = {name: folder / entry[name] if entry[name] else None for name in ("certificate", "key", "client_ca")}
    if (files["certificate"] is None) != (files["key"] is None):
        raise BadSettings(f"{at}.key: expected certificate and key, or neither")
    if files["client_ca"] is not None and files["certificate"] is None:
        raise BadSettings(f"{at}.client_ca: expected certificate and key beside it")
    trusted = entry.pop("trusted_network")
    if files["client_ca"] is None and not trusted and not is_loopback(entry["host"]):
        raise BadSettings(f"{at}.host: expected a loopback address, or client_ca, or trusted_network = true")
    return MllpSettings(**{**entry, **files})
