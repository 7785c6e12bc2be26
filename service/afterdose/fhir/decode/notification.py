"""The cover sheet of a topic-based notification: which events it tells of.

R4 has it as Parameters (https://hl7.org/fhir/uv/subscriptions-backport/, backport-subscription-status-r4), R4B and R5
as SubscriptionStatus (https://hl7.org/fhir/R5/subscriptionstatus.html). Aidbox has a type of its own that is like it,
for AidboxTopicDestination. Unknown members and parts are passed over.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from afterdose.core.errors import BadInput
from afterdose.fhir.elements import JsonObject, members, number, reference, text
from afterdose.fhir.subscription import status_of
from afterdose.fhir.times import parse_instant

EVENTS = frozenset({"event-notification", "query-event"})
"""The types that tell of events; a handshake, a heartbeat and an answer about the status do not."""

_AIDBOX = "AidboxSubscriptionStatus"
_STATUSES = frozenset({_AIDBOX, "SubscriptionStatus"})
_MARKS = frozenset({"notification-event", "subscription", "type"})
_DIGITS = 18
"""FHIR's integer64 has no more than 19; nobody counts as far."""


@dataclass(frozen=True, slots=True)
class Event:
    """``focus``: the reference to what it is about, None where the sender keeps that to itself."""

    focus: str | None
    number: int | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """``subscription``: the reference to the Subscription; ``status`` is the Subscription's. ``count``: how many events
    there have been since it began. ``sent_at``: when the notification was made, by the server's clock.
    ``is_queued``: it comes again until it is taken, and what is behind it waits as long (Aidbox).
    """

    type: str | None
    events: tuple[Event, ...]
    subscription: str | None = None
    status: str | None = None
    count: int | None = None
    sent_at: datetime | None = None
    is_queued: bool = False

    @property
    def focuses(self) -> tuple[str | None, ...]:
        """For each event the reference to what it is about."""
        return tuple(event.focus for event in self.events)

    @property
    def is_empty(self) -> bool:
        """Whether it says that something happened, and of nothing what."""
        return self.type in EVENTS and not any(self.focuses)

    @property
    def is_numbered(self) -> bool:
        """Whether its events can be asked for by their numbers."""
        return self.subscription is not None and bool(self.count or any(event.number for event in self.events))


def read(resource: object, *, sent: object = None) -> Notification | None:
    """The cover sheet that ``resource`` is, None where it is none. ``sent``: the timestamp of the Bundle around it."""
    kind = text(resource, "resourceType")
    if kind in _STATUSES:
        return Notification(
            text(resource, "type"),
            tuple(_event(one) for one in members(resource, "notificationEvent")),
            subscription=reference(resource, "subscription"),
            status=status_of(text(resource, "status")),
            count=_whole(resource, "eventsSinceSubscriptionStart"),
            sent_at=_moment(sent),
            is_queued=kind == _AIDBOX,
        )
    if kind != "Parameters":
        return None
    parameters = list(members(resource, "parameter"))
    if not any(text(parameter, "name") in _MARKS for parameter in parameters):
        return None
    return Notification(
        next((text(one, "valueCode") for one in _named(parameters, "type")), None),
        tuple(_event_of_parts(one) for one in _named(parameters, "notification-event")),
        subscription=next((reference(one, "valueReference") for one in _named(parameters, "subscription")), None),
        status=next((status_of(text(one, "valueCode")) for one in _named(parameters, "status")), None),
        count=next((_value(one) for one in _named(parameters, "events-since-subscription-start")), None),
        sent_at=_moment(sent),
    )


def _event(event: JsonObject) -> Event:
    return Event(reference(event, "focus"), _whole(event, "eventNumber"), _moment(event.get("timestamp")))


def _event_of_parts(event: JsonObject) -> Event:
    parts = list(members(event, "part"))
    times = (_moment(part.get("valueInstant") or part.get("valueDateTime")) for part in _named(parts, "timestamp"))
    return Event(
        next((reference(part, "valueReference") for part in _named(parts, "focus")), None),
        next((_value(part) for part in _named(parts, "event-number")), None),
        next(times, None),
    )


def _named(parameters: list[JsonObject], name: str) -> Iterator[JsonObject]:
    return (parameter for parameter in parameters if text(parameter, "name") == name)


def _value(parameter: JsonObject) -> int | None:
    """A number, by whatever type the server writes it: R4 has it as text."""
    return next((_whole(parameter, name) for name in parameter if name.startswith("value")), None)


def _whole(parent: Mapping[str, object] | object, name: str) -> int | None:
    said = text(parent, name)
    if said is not None:
        return int(said) if said.isascii() and said.isdecimal() and len(said) <= _DIGITS else None
    exact = number(parent, name)
    return int(exact) if exact is not None and 0 <= exact < 10**_DIGITS and exact == exact.to_integral_value() else None


def _moment(value: object) -> datetime | None:
    try:
        return parse_instant(value) if isinstance(value, str) else None
    except BadInput:
        return None
