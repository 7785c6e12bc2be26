"""The sweep: what a source did not send is found by asking it for everything that changed."""

import threading
from collections.abc import Callable
from datetime import datetime

from afterdose.core.errors import EhrError, StoreError
from afterdose.ehr import poller
from afterdose.ehr.wire import token
from afterdose.fhir.decode import accepted
from afterdose.fhir.decode.administration import TYPE as ADMINISTRATION
from afterdose.fhir.decode.administration import envelope
from afterdose.logs import get_logger
from afterdose.store.store import Store
from afterdose.store.sweeps import Sweep
from afterdose.work.sources.polled import Finds, Polled, Trouble

EVERY = 5.0
"""Seconds between two looks at whether a poll is due."""

_log = get_logger()


def keep_sweeping(sweep: Callable[[], None], stop: threading.Event) -> None:
    """Look whether a poll is due until told to stop."""
    while not stop.is_set():
        try:
            sweep()
        except StoreError as error:
            _log.warning("the database was not there", error=type(error).__name__, reason=str(error))
        stop.wait(EVERY)


class Sweeper:
    """Polls one source by ``_lastUpdated``; of several processes that do, one at a time asks."""

    def __init__(
        self, polled: Polled, *, store: Store, owner: str, clock: Callable[[], datetime], stop: threading.Event
    ) -> None:
        """``owner`` is another one in every process."""
        self._polled = polled
        self._finds = Finds(polled, store=store, clock=clock)
        self._trouble = Trouble(polled.origin.source)
        self._store = store
        self._owner = owner
        self._clock = clock
        self._stop = stop

    def run(self) -> None:
        """Poll until told to stop."""
        keep_sweeping(self.sweep, self._stop)

    def sweep(self) -> None:
        """Ask for everything that is due; a failure, alarmed once, ends it until the next time. Raises StoreError."""
        polled = self._polled
        for type_ in sorted(polled.types):
            if self._stop.is_set() or polled.origin.target in self._store.pauses.all():
                return
            begun = self._store.sweeps.begin(
                polled.origin.source, type_, owner=self._owner, interval=polled.interval, lease=polled.interval
            )
            if begun is not None:
                self._poll(begun)

    def _poll(self, sweep: Sweep) -> None:
        try:
            reached = self._take_news(sweep)
            if sweep.resource_type == ADMINISTRATION and reached is not None:
                self._read_tracked(sweep, reached)
        except EhrError as error:
            self._store.sweeps.release(sweep)
            self._trouble.begins(sweep.resource_type, error)
        else:
            self._trouble.ends(sweep.resource_type)
            if reached is not None:
                self._store.sweeps.finish(sweep, reached)

    def _take_news(self, sweep: Sweep) -> datetime | None:
        """Take in what changed; up to when everything is known now, None where the poll was given up.

        Never later than the poll's own beginning: one resource with a time in the future must not hide the others.
        """
        began = self._clock()
        reached = sweep.watermark or began - self._polled.look_back
        since, type_ = reached - self._polled.overlap, sweep.resource_type
        only = {"identifier": token(self._polled.identifier_system, "")} if type_ in accepted.OURS else {}
        for found in poller.news(self._polled.client, type_, since, only):
            self._finds.take(found, type_, refused_before=sweep.watermark)
            changed = [moment for one in found if (moment := envelope(one).last_updated) is not None]
            reached = max([reached, *(moment for moment in changed if moment <= began)])
            if self._stop.is_set() or not self._store.sweeps.keep(sweep, reached, lease=self._polled.interval):
                self._store.sweeps.release(sweep)
                return None
        return reached

    def _read_tracked(self, sweep: Sweep, reached: datetime) -> None:
        """Read every administration that is still worth correcting."""
        heard_since = self._clock() - self._polled.look_back
        ids = {id_ for _, id_ in self._store.sweeps.tracked(sweep.source, heard_since=heard_since)}
        for id_ in sorted(ids):
            if self._stop.is_set():
                return
            self._finds.read_again(id_, refused_before=reached)
            self._store.sweeps.keep(sweep, reached, lease=self._polled.interval)
