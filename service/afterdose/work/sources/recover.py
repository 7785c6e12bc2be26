"""Finds the events of a Subscription that did not come: the source is asked for them, or for everything that changed.

``$events`` gives them by their numbers and ``$status`` says how many there are
(https://hl7.org/fhir/uv/subscriptions-backport/operations.html). Few servers offer these; then a poll does it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from afterdose.core.errors import BadInput, EhrError
from afterdose.core.numbering import Numbering
from afterdose.ehr import poller
from afterdose.ehr.answers import Resource
from afterdose.fhir import strict_json
from afterdose.fhir.decode import notification
from afterdose.fhir.decode.administration import TYPE as ADMINISTRATION
from afterdose.fhir.elements import members
from afterdose.fhir.subscription import TYPE
from afterdose.logs import get_logger
from afterdose.store.store import Store
from afterdose.store.subscriptions import SubscriptionRow
from afterdose.work.intake.bodies import receive
from afterdose.work.intake.hearing import added
from afterdose.work.sources.polled import Finds, Polled

_MOST_EVENTS = 1000
"""So many are asked for at once: more is the business of a poll."""

_log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """One source. ``polls``: it is polled anyway; ``searchable``: it can be asked for what changed.

    ``may_ask``: our credentials let us ask about Subscriptions. Some servers answer what they do not allow with 401,
    which would look as if they refused us altogether.
    """

    polled: Polled
    polls: bool
    searchable: bool
    may_ask: bool
    store: Store
    clock: Callable[[], datetime]

    def recount(self, row: SubscriptionRow) -> None:
        """Ask how many events there have been. Raises StoreError; an EHR that does not say it is not asked further."""
        if not self.may_ask:
            return
        try:
            bundle = self.polled.client.operation(TYPE, row.id, "status")
        except EhrError:
            return
        for told in _covers(bundle):
            said = partial(added, notification=replace(told, type="query-status"))
            self.store.subscriptions.recount(row.source, row.id, said)
            if told.status is not None:
                self.store.subscriptions.keep(row.source, row.id, status=told.status)

    def ask(self, row: SubscriptionRow) -> bool:
        """Ask for the events that are missing or were not named; whether none is left. Raises StoreError."""
        asked = _wanted(row)
        if asked is None or not self.may_ask or asked[1] - asked[0] >= _MOST_EVENTS:
            return asked is None
        first, last = asked
        limits = {"eventsSinceNumber": str(first), "eventsUntilNumber": str(last), "content": "id-only"}
        try:
            bundle = self.polled.client.operation(TYPE, row.id, "events", limits)
            reception = receive(strict_json.dumps(bundle), self.polled.origin, via="poll")
        except (EhrError, BadInput):
            return False
        self.store.committer.submit(reception.arrivals)
        self.store.unread.keep(row.source, reception.unread)
        known = row.numbering
        for told in reception.notifications:
            if not told.is_empty or reception.arrivals:
                said = partial(added, notification=replace(told, type="query-event"))
                known = self.store.subscriptions.recount(row.source, row.id, said)
        named = {event.number for told in reception.notifications for event in told.events if event.focus is not None}
        if row.unnamed is not None and set(range(row.unnamed, last + 1)) <= named:
            self.store.subscriptions.keep(row.source, row.id, unnamed=None)
        elif row.unnamed is not None:
            return False
        return known is not None and known.missing is None

    def poll(self, row: SubscriptionRow, since: datetime) -> bool:
        """Have everything found that changed since a moment; whether that is done now. Raises StoreError.

        A source that is polled anyway is only hurried: its poller may be another process.
        """
        if self.polls:
            self.store.sweeps.hurry(row.source)
            return False
        if not self.searchable:
            return False
        finds = Finds(self.polled, store=self.store, clock=self.clock)
        types = {row.resource_type or ADMINISTRATION} if row.mark is not None else self.polled.types
        try:
            for type_ in sorted(types):
                for found in poller.news(self.polled.client, type_, since - self.polled.overlap):
                    finds.take(found, type_, refused_before=None)
        except EhrError as error:
            code = error.code or type(error).__name__
            _log.error("a source could not be polled", alarm="poll", source=row.source, status=error.status, code=code)
            return False
        return True

    def polled_since(self, source: str, moment: datetime) -> bool:
        """Whether a poll has ended since, that found what was lost before."""
        known = self.store.sweeps.polled().get(source) if self.polls else None
        return known is not None and known > moment

    def settle(self, row: SubscriptionRow) -> None:
        """Remember that nothing is missing, because all of it was found in another way."""
        self.store.subscriptions.recount(row.source, row.id, _settled)
        self.store.subscriptions.keep(row.source, row.id, unnamed=None)


def _settled(known: Numbering | None) -> Numbering | None:
    return known.settled() if known is not None else None


def _wanted(row: SubscriptionRow) -> tuple[int, int] | None:
    """The first and the last number to ask for."""
    missing = row.numbering.missing if row.numbering is not None else None
    if row.unnamed is None or row.numbering is None:
        return missing
    first, last = missing or (row.unnamed, row.numbering.exists)
    return min(first, row.unnamed), max(last, row.numbering.exists)


def _covers(bundle: Resource) -> list[notification.Notification]:
    found = (
        notification.read(entry.get("resource"), sent=bundle.get("timestamp")) for entry in members(bundle, "entry")
    )
    return [one for one in found if one is not None]
