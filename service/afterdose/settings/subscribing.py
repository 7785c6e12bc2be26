"""What `afterdose subscribe` asks a source to send us: what may be set, and the value that comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from marshmallow import fields, validate

from afterdose.core.errors import BadSettings
from afterdose.settings.fields import Words
from afterdose.settings.keys import Strict, duration, text

Form = Literal["criteria", "topic-r4", "topic-r5"]
Content = Literal["id-only", "full-resource", "empty"]
_FORMS: tuple[Form, ...] = ("criteria", "topic-r4", "topic-r5")
_CONTENTS: tuple[Content, ...] = ("id-only", "full-resource", "empty")
TYPES = (
    "Appointment",
    "CarePlan",
    "Encounter",
    "MedicationAdministration",
    "MedicationRequest",
    "Patient",
    "ServiceRequest",
    "Task",
)
"""What Subscriptions may tell of and polls may ask for: what a plan depends on, and what people do to it."""
_TYPE = "{type}"


@dataclass(frozen=True, slots=True)
class SubscribeSettings:
    """One Subscription for each of ``types``. ``form`` None: as the EHR's product and version have it.

    ``topics``: the canonical of the topic of each type. ``heartbeat``: after so long a silence the source is to speak.
    ``check_interval``: how often the Subscriptions are looked at.
    """

    types: frozenset[str]
    form: Form | None
    topics: Mapping[str, str]
    content: Content
    heartbeat: timedelta
    check_interval: timedelta


class SubscribeSchema(Strict):
    """What `afterdose subscribe` has the source send us."""

    types = Words(
        load_default=frozenset({"Appointment", "MedicationAdministration", "MedicationRequest"}),
        metadata={
            "help": f"One Subscription is made for each, of {', '.join(TYPES)}.",
            "example": ["Appointment", "MedicationAdministration", "MedicationRequest"],
        },
    )
    form = text(
        "criteria (FHIR R4), topic-r4 (topics as the Backport guide brings them to R4) or topic-r5. Without it, as\n"
        "the EHR's product and version of FHIR have it.",
        one_of=_FORMS,
        load_default=None,
        example="criteria",
    )
    topic = text(
        "For topics: the canonical URL of the topic; {type} in it stands for the type.",
        load_default=None,
        validate=validate.Regexp(r"https?://[!-~]{1,2000}\Z|urn:[!-~]{1,2000}\Z", error="expected a canonical URL"),
    )
    content = text(
        "For topics: id-only, full-resource or empty.", one_of=_CONTENTS, load_default="id-only", example="id-only"
    )
    heartbeat = duration(
        "For topics: after so long a silence the source is asked to send a sign of life.", timedelta(minutes=5), "5m"
    )
    check_interval = duration("How often the Subscriptions are looked at.", timedelta(minutes=5), "5m")


def subscribe_field() -> fields.Nested:
    """The table of a source."""
    return fields.Nested(
        SubscribeSchema,
        load_default=None,
        metadata={
            "help": "What `afterdose subscribe` makes at the source, and what is then watched there. Notifications\n"
            "show the first of the secrets above and are signed with the first of the signatures, where they lie in\n"
            "files.",
            "optional": True,
        },
    )


def subscribing(key: str, entry: dict[str, Any] | None, *, readable: bool) -> SubscribeSettings | None:
    """The value of ``[sources.NAME.subscribe]``, None where there is none. Raises BadSettings naming the key."""
    if entry is None:
        return None
    if not readable:
        raise BadSettings(f"{key}: expected readable = true, because Subscriptions are made and watched there")
    if not entry["types"] or not entry["types"] <= set(TYPES):
        raise BadSettings(f"{key}.types: expected types out of {', '.join(TYPES)}")
    topic, form = entry["topic"], entry["form"]
    if topic is not None and form is None:
        raise BadSettings(f"{key}.form: expected topic-r4 or topic-r5, because a topic is given")
    if topic is not None and form == "criteria":
        raise BadSettings(f"{key}.topic: expected no topic with form criteria")
    if topic is None and form not in (None, "criteria"):
        raise BadSettings(f"{key}.topic: expected the topic's canonical URL")
    return SubscribeSettings(
        types=entry["types"],
        form=form,
        topics={type_: topic.replace(_TYPE, type_) for type_ in entry["types"]} if topic else {},
        content=entry["content"],
        heartbeat=entry["heartbeat"],
        check_interval=entry["check_interval"],
    )
