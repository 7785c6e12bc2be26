"""The kinds of keys that settings are made of, each with the help that the example file shows above it."""

from datetime import timedelta
from typing import Any

from marshmallow import RAISE, Schema, fields, validate

from afterdose.settings.fields import Duration, Whole

_MESSAGES = {"unknown": "is not a setting", "type": "expected a table"}


def text(help_: str, *, one_of: tuple[str, ...] = (), **options: Any) -> fields.String:
    """Text; ``example`` and ``validate`` may be given."""
    if one_of:
        options["validate"] = validate.OneOf(one_of, error=f"expected one of {', '.join(one_of)}")
    elif "validate" not in options:
        options["validate"] = validate.Length(min=1, error="expected text that is not empty")
    messages = {"invalid": "expected text"} | options.pop("error_messages", {})
    return fields.String(metadata=_metadata(help_, options), error_messages=messages, **options)


def number(help_: str, *, low: int, high: int, default: int) -> Whole:
    """A whole number from ``low`` to ``high``."""
    return Whole(low, high, load_default=default, metadata={"help": help_})


def switch(help_: str, *, default: bool = False) -> fields.Boolean:
    """On or off; off by default, unless ``default`` says otherwise."""
    return fields.Boolean(
        load_default=default, metadata={"help": help_}, error_messages={"invalid": "expected true or false"}
    )


def duration(help_: str, default: timedelta, example: str) -> Duration:
    """A length of time; ``example`` spells the default."""
    return Duration(load_default=default, metadata={"help": help_, "example": example})


def _metadata(help_: str, options: dict[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"help": help_}
    if "example" in options:
        metadata["example"] = options.pop("example")
    return metadata


class Strict(Schema):
    """Unknown keys are refused: a misspelt key must not be silently without effect."""

    class Meta:
        unknown = RAISE

    error_messages = _MESSAGES
