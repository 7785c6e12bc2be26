"""Follows the Subscriptions of one source: that they are active, that they are heard of, and that no event is missing.

What is wrong is alarmed once when it begins and once when it is over. What was lost meanwhile is found (``recover``);
a Subscription of ours that the EHR switched off is activated again, some times at most. Those that others made are
looked at and never written to.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from afterdose.core.errors import AfterdoseError, EhrError, EhrGone
from afterdose.ehr.answers import Resource
from afterdose.fhir.subscription import TYPE, Standing, standing, written
from afterdose.logs import get_logger
from afterdose.store.store import Store
from afterdose.store.subscriptions import SubscriptionRow
from afterdose.store.sweeps import FOLLOWING, LOOKING
from afterdose.work.sources.named import NamedReader
from afterdose.work.sources.recover import Recovery
from afterdose.work.sources.subscribe import NONE_YET, Subscriber
from afterdose.work.sources.sweep import keep_sweeping

GRACE = timedelta(seconds=30)
"""How long a number may be missing: deliveries overtake each other."""
LATE = timedelta(minutes=1)
"""How much later than said a heartbeat may come, and never more than once its period."""
ACTIVATIONS = (timedelta(0), timedelta(minutes=15), timedelta(hours=4))
"""After how long a Subscription is activated again for the first, the second and the last time."""
CALM = timedelta(hours=24)
"""After so long without trouble the tries are counted anew."""

_AGAIN = timedelta(seconds=10)
_LEASE = timedelta(minutes=10)
_WRONG = frozenset({"error", "off", "entered-in-error"})

GAP, SILENT, MISSING, EXPIRED, NOT_ACTIVATED = "gap", "silent", "missing", "expired", "requested"
BROKEN = _WRONG | {MISSING, EXPIRED, NOT_ACTIVATED}
"""What may be wrong with the Subscription itself."""

_log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """One source. ``subscriber`` is None where we make no Subscriptions.

    ``check_interval``: how often all of them are read.
    """

    source: str
    target: str
    recovery: Recovery
    reader: NamedReader
    subscriber: Subscriber | None
    check_interval: timedelta


class Follower:
    """Follows one source; of several processes that do, one at a time acts."""

    def __init__(
        self, followed: Followed, *, store: Store, owner: str, clock: Callable[[], datetime], stop: threading.Event
    ) -> None:
        """``owner`` is another one in every process."""
        self.reader = followed.reader
        self._followed = followed
        self._recovery = followed.recovery
        self._store = store
        self._owner = owner
        self._clock = clock
        self._stop = stop
        self._polled: dict[str, datetime] = {}

    def run(self) -> None:
        """Follow, and read what was only named, until told to stop."""
        keep_sweeping(self._turn, self._stop)

    def _turn(self) -> None:
        self.reader.read()
        self.follow()

    def follow(self) -> None:
        """Look at what is due to be looked at, and recover what is missing. Raises StoreError."""
        source = self._followed.source
        if self._followed.target in self._store.pauses.all():
            return
        rows = self._store.subscriptions.of(source)
        if self._followed.subscriber is None and not rows:
            return
        interval = self._followed.check_interval
        look = self._store.sweeps.begin(source, LOOKING, owner=self._owner, interval=interval, lease=_LEASE)
        if look is not None:
            try:
                self._look(rows)
            except (AfterdoseError, OSError) as error:
                _log.warning("Subscriptions could not be looked at", source=source, error=type(error).__name__)
            finally:
                self._store.sweeps.release(look)
            rows = self._store.subscriptions.of(source)
        if not any(self._needs_recovery(row) for row in rows):
            return
        recover = self._store.sweeps.begin(source, FOLLOWING, owner=self._owner, interval=_AGAIN, lease=_LEASE)
        if recover is not None:
            try:
                for row in self._store.subscriptions.of(source):
                    if self._needs_recovery(row) and not self._stop.is_set():
                        self._recover(row)
            finally:
                self._store.sweeps.release(recover)

    # --- what the Subscriptions say of themselves

    def _look(self, rows: list[SubscriptionRow]) -> None:
        subscriber = self._followed.subscriber
        if subscriber is not None:
            self._look_at_ours(subscriber, rows)
        for row in rows:
            if row.mark is None and self._recovery.may_ask:
                self._look_at_anothers(row)

    def _look_at_ours(self, subscriber: Subscriber, rows: list[SubscriptionRow]) -> None:
        found = subscriber.found()
        by_mark = {mark: id_ for id_, one in found.items() for mark in subscriber.marks_of(one)}
        for mark, type_ in subscriber.marks().items():
            known = next((row.id for row in rows if row.mark == mark), f"{NONE_YET}{mark}")
            id_ = by_mark.get(mark, known)
            subscriber.replaced(mark, id_)
            self._store.subscriptions.keep(self._followed.source, id_, mark=mark, resource_type=type_)
            self._judge(id_, found.get(id_))

    def _look_at_anothers(self, row: SubscriptionRow) -> None:
        try:
            self._judge(row.id, self._recovery.polled.client.read(TYPE, row.id).resource)
        except EhrGone:
            # What it did not tell is still to be found; some servers keep their Subscriptions where we cannot see them.
            if row.unnamed is None and row.gap_at is None:
                self._store.subscriptions.forget(row.source, row.id)
        except EhrError:
            self._store.subscriptions.keep(row.source, row.id, looked_at=self._clock())

    def _judge(self, id_: str, resource: Resource | None) -> None:
        now, source = self._clock(), self._followed.source
        before = next((row for row in self._store.subscriptions.of(source) if row.id == id_), None)
        if before is None:
            return
        said = standing(resource) if resource is not None else Standing(None, None, None)
        heartbeat = round(said.heartbeat.total_seconds()) if said.heartbeat is not None else None
        trouble = _trouble(resource is not None, said, before, now)
        calm = trouble is None and before.activated_at is not None and now - before.activated_at >= CALM
        told: dict[str, object] = {"status": said.status, "heartbeat": heartbeat, "looked_at": now}
        self._store.subscriptions.keep(source, id_, **told, **({"activations": 0} if calm else {}))
        row = self._set(before, {code: since for code, since in before.troubles.items() if code not in BROKEN}, trouble)
        if trouble is not None and resource is not None and row.mark is not None:
            self._activate(row, trouble)

    def _activate(self, row: SubscriptionRow, trouble: str) -> None:
        """Ask the EHR to activate one of ours again, if it was not asked too often, and poll what was lost."""
        subscriber, now = self._followed.subscriber, self._clock()
        if subscriber is None or row.activations >= len(ACTIVATIONS):
            return
        if trouble == NOT_ACTIVATED and subscriber.facts.activates:
            return
        if row.activated_at is not None and now - row.activated_at < ACTIVATIONS[row.activations]:
            return
        tries = row.activations + 1
        self._store.subscriptions.keep(row.source, row.id, activations=tries, activated_at=now)
        told = {"source": row.source, "resource_type": row.resource_type, "attempts": tries, "code": trouble}
        try:
            wanted = next(one for one in subscriber.wanted() if str(one.mark) == row.mark)
            subscriber.activate(row.id, written(wanted, subscriber.facts, subscriber.mark_system))
        except AfterdoseError as error:
            _log.warning("a Subscription could not be activated again", error=type(error).__name__, **told)
        else:
            _log.warning("a Subscription was activated again", **told)
        self._recovery.poll(row, row.troubles.get(trouble, now))

    # --- what was not heard

    def _needs_recovery(self, row: SubscriptionRow) -> bool:
        open_ = {GAP, SILENT} & row.troubles.keys()
        return bool(open_) or row.unnamed is not None or self._has_gap(row) or self._is_silent(row)

    def _has_gap(self, row: SubscriptionRow) -> bool:
        return row.gap_at is not None and self._clock() - row.gap_at >= GRACE

    def _is_silent(self, row: SubscriptionRow) -> bool:
        heard = max((at for at in (row.heard_at, row.activated_at) if at is not None), default=None)
        if row.heartbeat is None or heard is None or row.troubles.keys() & BROKEN:
            return False
        return self._clock() - heard > row.heartbeat + min(LATE, row.heartbeat)

    def _recover(self, row: SubscriptionRow) -> None:
        """Alarm what was not heard of, find it, and say when it is over. Raises StoreError."""
        silent = self._is_silent(row)
        row = self._set(row, _without(row.troubles, SILENT), SILENT if silent else None)
        if silent:
            self._recovery.recount(row)
            row = self._again(row)
        if self._has_gap(row):
            row = self._set(row, row.troubles, GAP)
        if (row.unnamed is not None or GAP in row.troubles) and self._recovery.ask(row):
            row = self._set(self._again(row), _without(row.troubles, GAP), None)
        elif row.unnamed is not None:
            row = self._set(row, row.troubles, GAP)
        if row.troubles.keys() & {GAP, SILENT} and self._poll(row) and GAP in row.troubles:
            self._recovery.settle(row)
            self._set(row, _without(row.troubles, GAP), None)

    def _poll(self, row: SubscriptionRow) -> bool:
        """Whether a poll has found what was lost; where none has, one is begun now and then."""
        now = self._clock()
        lost_at = min(since for code, since in row.troubles.items() if code in (GAP, SILENT))
        if self._recovery.polled_since(row.source, lost_at):
            return True
        if row.id in self._polled and now - self._polled[row.id] < self._followed.check_interval:
            return False
        self._polled[row.id] = now
        return self._recovery.poll(row, min(at for at in (row.gap_at, row.heard_at, lost_at) if at is not None))

    def _again(self, row: SubscriptionRow) -> SubscriptionRow:
        """The row as it stands now; as it stood, where somebody has removed the Subscription meanwhile."""
        return next((one for one in self._store.subscriptions.of(row.source) if one.id == row.id), row)

    def _set(self, row: SubscriptionRow, troubles: Mapping[str, datetime], fresh: str | None) -> SubscriptionRow:
        """Let ``troubles`` be what is wrong, and ``fresh`` too; say what began and what is over."""
        now = self._clock()
        after = dict(troubles)
        if fresh is not None:
            after[fresh] = row.troubles.get(fresh, now)
        if after != row.troubles:
            self._store.subscriptions.trouble(row.source, row.id, after)
        told = {"source": row.source, "resource_type": row.resource_type}
        for code in sorted(after.keys() - row.troubles.keys()):
            _log.error("a Subscription is in trouble", alarm="subscription", code=code, **told)
        for code in sorted(row.troubles.keys() - after.keys()):
            seconds = round((now - row.troubles[code]).total_seconds())
            _log.warning("a Subscription is in order again", alarm="subscription", code=code, seconds=seconds, **told)
        return self._again(row)


def _trouble(is_there: bool, said: Standing, before: SubscriptionRow, now: datetime) -> str | None:
    """What is wrong with a Subscription that was read."""
    if not is_there:
        return MISSING
    if said.ends_at is not None and said.ends_at <= now:
        return EXPIRED
    if said.status in _WRONG:
        return said.status
    waited = before.status == "requested" and before.looked_at is not None
    return NOT_ACTIVATED if said.status == "requested" and waited else None


def _without(troubles: Mapping[str, datetime], code: str) -> dict[str, datetime]:
    return {one: since for one, since in troubles.items() if one != code}
