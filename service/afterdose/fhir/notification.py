"""The cover sheet of a topic-based notification: which events it tells of.

R4 has it as Parameters (https://hl7.org/fhir/uv/subscriptions-backport/, backport-subscription-status-r4), R4B and R5
as SubscriptionStatus (https://hl7.org/fhir/R5/subscriptionstatus.html). Unknown members and parts are passed over.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from afterdose.fhir.elements import members, reference, text

EVENTS = frozenset({"event-notification", "query-event"})
"""The types that tell of events; a handshake, a heartbeat and an answer about the status do not."""

_MARKS = frozenset({"notification-event", "subscription", "type"})


@dataclass(frozen=True, slots=True)
class Notification:
    """``focuses``: for each event the reference to what it is about, None where the sender keeps that to itself."""

    type: str | None
    focuses: tuple[str | None, ...]

    @property
    def is_empty(self) -> bool:
        """Whether it says that something happened, and of nothing what."""
        return self.type in EVENTS and not any(self.focuses)


def read(resource: object) -> Notification | None:
    """The cover sheet that ``resource`` is, None where it is none."""
    kind = text(resource, "resourceType")
    if kind == "SubscriptionStatus":
        events = members(resource, "notificationEvent")
        return Notification(text(resource, "type"), tuple(reference(event, "focus") for event in events))
    if kind != "Parameters":
        return None
    parameters = list(members(resource, "parameter"))
    if not any(text(parameter, "name") in _MARKS for parameter in parameters):
        return None
    types = (text(parameter, "valueCode") for parameter in parameters if text(parameter, "name") == "type")
    told = [parameter for parameter in parameters if text(parameter, "name") == "notification-event"]
    return Notification(next(types, None), tuple(_focus(parameter) for parameter in told))


def _focus(event: Mapping[str, object]) -> str | None:
    parts = (part for part in members(event, "part") if text(part, "name") == "focus")
    return next((reference(part, "valueReference") for part in parts), None)
