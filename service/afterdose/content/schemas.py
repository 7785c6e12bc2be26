"""What mapping files share: reading them, and telling a person which key of which file is wrong, and why."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from afterdose.core.errors import BadContent

DURATION_UNITS = {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


class Strict(Schema):
    """A table of a mapping file: keys that are not known are refused, messages say what to do."""

    error_messages = {  # noqa: RUF012 - marshmallow's own way to set messages
        "unknown": "this key is not known here; is it misspelt?",
        "type": "expected a table of keys",
    }

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Give every field the same words for the commonest mistakes."""
        del field_name
        field_obj.error_messages |= {"required": "is missing", "null": "is empty", "invalid_string": "expected a text"}
        if isinstance(field_obj, fields.String):
            field_obj.error_messages["invalid"] = "expected a text"
        if isinstance(field_obj, fields.List | fields.Nested):
            field_obj.error_messages |= {"invalid": "expected a list [...]", "type": "expected a table of keys"}


class Number(fields.Field[Decimal]):
    """A number, digit for digit, not negative."""

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> Decimal:
        del attr, data, kwargs
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise ValidationError("expected a number without quotes, such as 24 or 0.5")
        number = Decimal(value)
        if not number.is_finite() or number < 0:
            raise ValidationError("expected a number that is not negative")
        return number


class Count(fields.Field[int]):
    """A whole number, one or more."""

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> int:
        del attr, data, kwargs
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValidationError("expected a whole number, 1 or more, without quotes")
        return value


class Day(fields.Field[date]):
    """A day as TOML writes it."""

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> date:
        del attr, data, kwargs
        if not isinstance(value, date) or isinstance(value, datetime):
            raise ValidationError("expected a day without quotes, such as 2026-12-25")
        return value


class Clock(fields.Field[time]):
    """A time of day as TOML writes it."""

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> time:
        del attr, data, kwargs
        if not isinstance(value, time):
            raise ValidationError("expected a time of day without quotes, such as 06:00:00")
        return value


class Flag(fields.Field[bool]):
    """true or false, nothing that merely looks like it."""

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> bool:
        del attr, data, kwargs
        if not isinstance(value, bool):
            raise ValidationError("expected true or false, without quotes")
        return value


def words(**options: Any) -> fields.String:
    """A text that says something."""
    return fields.String(
        validate=[
            validate.Regexp(r"\s*\S", error="expected a text that is not empty"),
            validate.Regexp(r"(?s)\S(.*\S)?\Z|\s*\Z", error="expected a text without white space around it"),
        ],
        **options,
    )


def one_of(*allowed: str) -> fields.String:
    """One of a few words."""
    return fields.String(
        required=True,
        validate=validate.OneOf(allowed, error=f"expected {' or '.join(repr(str(word)) for word in allowed)}"),
    )


def duration_unit() -> fields.String:
    """The unit of a duration."""
    return one_of(*DURATION_UNITS)


def duration(value: Decimal, unit: str) -> timedelta:
    """``value`` of ``unit`` as elapsed time."""
    return timedelta(microseconds=int(value * (DURATION_UNITS[unit] // timedelta(microseconds=1))))


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file; numbers with a fraction stay exact. Raises BadContent."""
    try:
        return tomllib.loads(_text(path), parse_float=Decimal)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadContent(f"{path}: cannot be read as TOML: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds one object. Raises BadContent."""
    try:
        value = json.loads(_text(path))
    except (OSError, json.JSONDecodeError) as error:
        raise BadContent(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadContent(f"{path}: expected a JSON object {{...}}")
    return value


def _text(path: Path) -> str:
    """The text of a file, with or without the byte order mark that some editors put before it."""
    body = path.read_bytes()
    try:
        return body.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise BadContent(f"{path}: is not UTF-8 (line {line}); save it in that encoding") from None


def load(schema: Schema, path: Path, raw: Mapping[str, Any]) -> dict[str, Any]:
    """What the schema makes of the file's content. Raises BadContent that names the file and every wrong key."""
    try:
        loaded: dict[str, Any] = schema.load(raw)
    except ValidationError as error:
        raise BadContent("\n".join(f"{path}: {line}" for line in _lines(error.messages, ""))) from error
    return loaded


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression that ignores case. Raises ValidationError."""
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise ValidationError(f"is not a regular expression: {error}") from error


def _lines(messages: object, key: str) -> Iterator[str]:
    if isinstance(messages, Mapping):
        for name, inner in messages.items():
            if name == "_schema":
                yield from _lines(inner, key)
            else:
                yield from _lines(inner, f"{key}[{name}]" if isinstance(name, int) else f"{key}.{name}".lstrip("."))
    else:
        for message in messages if isinstance(messages, list) else [messages]:
            yield f"{key or '(file)'}: {message}"
