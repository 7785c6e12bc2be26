"""Reads what a source only named: an order, a visit, an encounter, a person; it is taken in like what is sent whole.

Whose it is stands in the resource alone, so nobody can be put on the agenda before it was read. Doses are another case:
they are read with all that hangs on them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from afterdose.core.errors import EhrGone, EhrRefused, EhrUnavailable
from afterdose.logs import get_logger
from afterdose.store.store import Store
from afterdose.store.sweeps import READING
from afterdose.store.unread import Unread
from afterdose.work.intake.reception import deletion
from afterdose.work.sources.polled import Finds, Polled

_AT_ONCE = 100
_LEASE = timedelta(minutes=5)
_FIRST_WAIT = timedelta(seconds=10)
_LONGEST_WAIT = timedelta(minutes=10)

_log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedReader:
    """One source. ``owner`` is another one in every process; of several that read, one does at a time."""

    polled: Polled
    finds: Finds
    store: Store
    owner: str
    clock: Callable[[], datetime]

    def read(self) -> None:
        """Read what is due. Raises StoreError."""
        origin = self.polled.origin
        if not self.store.unread.due(origin.source, 1) or origin.target in self.store.pauses.all():
            return
        turn = self.store.sweeps.begin(origin.source, READING, owner=self.owner, interval=timedelta(0), lease=_LEASE)
        if turn is None:
            return
        try:
            for one in self.store.unread.due(origin.source, _AT_ONCE):
                if not self._read(one):
                    return
        finally:
            self.store.sweeps.release(turn)

    def _read(self, one: Unread) -> bool:
        """Whether the source answers, so that the next one can be read."""
        told = {"source": one.source, "resource_type": one.resource_type}
        try:
            found = self.polled.client.read(one.resource_type, one.resource_id)
        except EhrGone:
            known = self.store.facts.latest(one.source, one.resource_id, one.resource_type)
            if known is not None and known.interaction == "upsert":
                gone = deletion(self.polled.origin, one.resource_type, one.resource_id, via="poll")
                self.store.committer.submit([gone])
        except EhrUnavailable:
            wait = min(_FIRST_WAIT * 2 ** min(one.attempts, 10), _LONGEST_WAIT)
            self.store.unread.later(one, self.clock() + wait)
            return False
        except EhrRefused as refused:
            _log.error(
                "what was named cannot be read", alarm="named", code=refused.shown, status=refused.status, **told
            )
        else:
            self.finds.take([found.resource], one.resource_type, refused_before=None)
        self.store.unread.done(one)
        return True
