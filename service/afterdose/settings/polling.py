"""How a source is asked for what it did not send: what may be set, and the value that comes of it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from marshmallow import RAISE, Schema, fields, validate

from afterdose.core.errors import BadSettings
from afterdose.settings.fields import Duration, Words

_POLLED = ("Appointment", "MedicationAdministration", "MedicationRequest", "Patient")


@dataclass(frozen=True, slots=True)
class PollSettings:
    """Every ``interval`` a source is asked for what changed since the last time, less ``overlap``.

    ``look_back``: how far back the first poll goes. ``types``: the resource types that are asked for.
    """

    interval: timedelta
    overlap: timedelta
    look_back: timedelta
    types: frozenset[str]


class PollSchema(Schema):
    """What is asked of a source that can be read."""

    class Meta:
        unknown = RAISE

    error_messages = {  # noqa: RUF012 - marshmallow's own way to set messages
        "unknown": "is not a setting",
        "type": "expected a table",
    }

    strategy = fields.String(
        required=True,
        validate=validate.OneOf(("last-updated",), error="expected last-updated"),
        error_messages={"required": "expected last-updated", "invalid": "expected text"},
        metadata={
            "help": "last-updated: everything that changed since the last poll, for servers that can be asked by\n"
            "_lastUpdated (FHIR stores can; the large EHRs cannot).",
            "example": "last-updated",
        },
    )
    interval = Duration(
        load_default=timedelta(minutes=5), metadata={"help": "How often the source is asked.", "example": "5m"}
    )
    overlap = Duration(
        load_default=timedelta(minutes=15),
        metadata={
            "help": "How much of the time before the last poll is asked for again: what a server took in late, or\n"
            "did not find yet, is found then.",
            "example": "15m",
        },
    )
    look_back = Duration(
        load_default=timedelta(days=7), metadata={"help": "How far back the first poll goes.", "example": "7d"}
    )
    types = Words(
        load_default=frozenset({"MedicationAdministration"}),
        metadata={"help": f"What is asked for, of {', '.join(_POLLED)}.", "example": ["MedicationAdministration"]},
    )


def polling(key: str, entry: dict[str, Any] | None, *, readable: bool) -> PollSettings | None:
    """The polling of a source, None where it is not polled. Raises BadSettings naming the key."""
    if entry is None:
        return None
    if not readable:
        raise BadSettings(f"{key}: expected no polling of a source that is not readable")
    if not entry["types"] <= set(_POLLED):
        raise BadSettings(f"{key}.types: expected types out of {', '.join(_POLLED)}")
    return PollSettings(
        interval=entry["interval"], overlap=entry["overlap"], look_back=entry["look_back"], types=entry["types"]
    )
