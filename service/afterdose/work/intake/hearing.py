"""What a topic-based notification says besides its events: which they are by number, and that the sender still speaks.

It is written down after what the notification told of is stored. Should that fail, numbers are missing that are not,
and the source is asked for them in vain.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from afterdose.core.numbering import NumberedEvent, Numbering, began, counted, happened
from afterdose.fhir import references
from afterdose.fhir.decode.notification import EVENTS, Event, Notification
from afterdose.store.subscriptions import Subscriptions
from afterdose.work.intake.reception import Origin, Reception

_TYPE = "Subscription"


@dataclass(frozen=True, slots=True)
class Hearing:
    """``counts``: whether a source numbers the events of a Subscription as it should; some number deliveries."""

    subscriptions: Subscriptions
    counts: Callable[[str], bool]

    def hear(self, reception: Reception, origin: Origin) -> None:
        """Write down what the cover sheets of a stored notification say. Raises StoreError."""
        for one in reception.notifications:
            id_ = subscription_id(one.subscription, origin.base_url)
            if id_ is None:
                continue
            named = bool(reception.arrivals) or not one.is_empty or origin.polled
            numbers = [event.number for event in one.events if event.number is not None]
            heard = partial(added, notification=one) if self.counts(origin.source) else _nothing
            first = None if named else min(numbers, default=one.count)
            self.subscriptions.hear(origin.source, id_, heard, status=one.status, unnamed=first)


def subscription_id(reference: str | None, base_url: str) -> str | None:
    """The id of the Subscription that is referred to, under whatever base the source writes."""
    local = references.local_id(reference, _TYPE, base_url)
    if local is not None or reference is None:
        return local
    *_, type_, id_ = ["", "", *reference.partition("/_history/")[0].rstrip("/").split("/")]
    return id_ if type_ == _TYPE and references.is_id(id_) else None


def added(known: Numbering | None, *, notification: Notification) -> Numbering | None:
    """``known``, and what a notification adds."""
    one = notification
    if one.type == "handshake":
        return began(known, one.count or 0, one.sent_at)
    if one.type in EVENTS:
        events = [event for event in map(_numbered, one.events) if event is not None]
        return happened(known, events, one.count, asked=one.type == "query-event")
    if one.count is None:
        return known
    return counted(known, one.count, one.sent_at, now=one.type == "query-status")


def _numbered(event: Event) -> NumberedEvent | None:
    return NumberedEvent(event.number, event.at) if event.number is not None else None


def _nothing(known: Numbering | None) -> Numbering | None:
    """What numbers that are not to be relied on add."""
    return known
