"""The kinds of value that settings are made of, each with the words for what was expected."""

import ipaddress
import re
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from marshmallow import Schema, ValidationError, fields, validate

from afterdose.core.errors import BadSettings

SECRET_BYTES = 32

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_LONGEST = timedelta(days=3650)
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
# A field name of HTTP: RFC 9110, section 5.6.2 (token).
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")

NAME = validate.Regexp(
    re.compile(rf"{_NAME.pattern}\Z"), error="expected a name of lower-case letters, digits and inner hyphens"
)
HEADER = validate.Regexp(re.compile(rf"{_TOKEN.pattern}\Z"), error="expected the name of an HTTP header")


def check_address(value: str) -> None:
    """For what is listened on: an address, since a name may stand for several."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ValidationError("expected an IP address such as 127.0.0.1 or 0.0.0.0") from None


class FileText(str):
    """Text that knows the file that it was read from."""

    __slots__ = ("file",)
    file: Path

    @classmethod
    def read(cls, file: Path) -> "FileText":
        """What a file holds, without the line's end. Raises OSError, UnicodeDecodeError."""
        text = cls(file.read_text(encoding="utf-8-sig").strip())
        text.file = file
        return text


def file_of(value: str) -> Path | None:
    """The file that a text was read from, None where it was not."""
    return value.file if isinstance(value, FileText) else None


def certificates(key: str, name: Path | None, folder: Path) -> Path | None:
    """The file ``name`` of certificates to trust, from ``folder`` on. Raises BadSettings where it holds none."""
    if name is None:
        return None
    path = folder / name
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise BadSettings(f"{key}: expected a file of certificates in PEM (-----BEGIN CERTIFICATE-----)") from None
    except OSError as error:
        raise BadSettings(f"{key}: {path} cannot be read ({error.strerror})") from error
    return path


class Whole(fields.Field[int]):
    """A whole number from ``low`` to ``high``; text of digits is one, since variables hold text."""

    def __init__(self, low: int, high: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low = low
        self.high = high

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not self.low <= value <= self.high:
            raise ValidationError(f"expected a whole number from {self.low} to {self.high}")
        return value


class Duration(fields.Field[timedelta]):
    """A length of time above zero: a number of seconds, or a number with ms, s, m, h or d."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> timedelta:
        text = str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
        match = _DURATION.fullmatch(text)
        if match is None:
            raise ValidationError('expected a length of time such as 30, "30s", "15m" or "96h"')
        seconds = float(match[1]) * _UNITS[match[2] or "s"]
        if not 0 < seconds <= _LONGEST.total_seconds():
            raise ValidationError("expected a length of time above zero and below ten years")
        return timedelta(seconds=seconds)


class Location(fields.Field[Path]):
    """A path of this machine."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Path:
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValidationError("expected a path")
        return Path(value)


class Zone(fields.Field[ZoneInfo]):
    """A time zone of the IANA database."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> ZoneInfo:
        try:
            return ZoneInfo(value)
        except (TypeError, ValueError, OSError, KeyError) as unknown:
            raise ValidationError('expected a time zone of the IANA database such as "America/New_York"') from unknown


class Url(fields.Field[str]):
    """An http or https URL without credentials, query or fragment, kept as it is written."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        expected = ValidationError("expected an absolute http(s) URL without credentials, query or fragment")
        if not isinstance(value, str) or not value.isascii() or any(c.isspace() or c in "\\\0" for c in value):
            raise expected
        try:
            parts = urlsplit(value)
            port_is_legal = parts.port != 0
        except ValueError as malformed:
            raise expected from malformed
        if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_legal:
            raise expected
        if parts.username is not None or parts.password is not None or "?" in value or "#" in value:
            raise expected
        return value


class BaseUrl(Url):
    """The base URL of a FHIR server or proxy; a slash at its end makes no difference."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        return super()._deserialize(value, *args, **kwargs).rstrip("/")


class Secret(fields.Field[str]):
    """A secret of at least 32 bytes; what is wrong is said without it."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("expected text")
        if len(value.encode(errors="surrogatepass")) < SECRET_BYTES:
            raise ValidationError(f"expected a secret of {SECRET_BYTES} bytes or more")
        if not (value.isascii() and value.isprintable()) or value != value.strip():
            raise ValidationError("expected a secret of printable ASCII characters without spaces around it")
        return value


class Words(fields.Field[frozenset[str]]):
    """A list of words; a variable holds them with commas."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> frozenset[str]:
        entries = value.split(",") if isinstance(value, str) else value
        if not isinstance(entries, list) or not all(isinstance(entry, str) and entry.strip() for entry in entries):
            raise ValidationError("expected a list of words")
        return frozenset(entry.strip() for entry in entries)


class Table(fields.Field[dict[str, dict[str, Any]]]):
    """A table of named things of one kind, such as ``[targets.NAME]``."""

    def __init__(self, schema: type[Schema], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schema = schema

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, dict[str, Any]]:
        if not isinstance(value, dict):
            raise ValidationError("expected a table of named tables")
        loaded: dict[str, dict[str, Any]] = {}
        wrong: dict[str, Any] = {}
        for name, entry in value.items():
            try:
                NAME(name)
                loaded[name] = self.schema().load(entry)
            except ValidationError as error:
                wrong[name] = error.messages
        if wrong:
            raise ValidationError(wrong)
        return loaded


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine, said by address or as ``localhost``."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
