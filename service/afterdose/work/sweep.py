"""The sweep: what a source did not send is found by asking it, and goes through the same door as what it sends.

Deletions are not found by any search, and some corrections neither: so every administration whose window is still
open is read by its id at each poll.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from afterdose.core.errors import BadInput, EhrError, EhrGone, EhrRefused, EhrUnavailable, StoreError
from afterdose.ehr import poller
from afterdose.ehr.answers import Resource
from afterdose.ehr.client import EhrClient
from afterdose.fhir import strict_json
from afterdose.fhir.administration import TYPE as ADMINISTRATION
from afterdose.fhir.administration import envelope
from afterdose.fhir.v2.translate import is_translated
from afterdose.logs import get_logger
from afterdose.store.rows import Arrival
from afterdose.store.store import Store
from afterdose.store.sweeps import Sweep
from afterdose.work.intake import Origin, deletion, receive

_EVERY = 5.0
"""Seconds between two looks at whether a poll is due."""
_GONE = 410

_log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """A source that is polled: how to ask it, what for, how often, and from when on."""

    origin: Origin
    client: EhrClient
    types: frozenset[str]
    interval: timedelta
    overlap: timedelta
    look_back: timedelta


class Sweeper:
    """Polls one source; of several processes that do, one at a time asks."""

    def __init__(
        self, polled: Polled, *, store: Store, owner: str, clock: Callable[[], datetime], stop: threading.Event
    ) -> None:
        """``owner`` is another one in every process."""
        self._polled = polled
        self._store = store
        self._owner = owner
        self._clock = clock
        self._stop = stop

    def run(self) -> None:
        """Poll until told to stop."""
        while not self._stop.is_set():
            try:
                self.sweep()
            except StoreError as error:
                _log.warning("the database was not there", error=type(error).__name__)
            self._stop.wait(_EVERY)

    def sweep(self) -> None:
        """Ask for everything that is due; a failure is alarmed and ends it until the next time. Raises StoreError."""
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
            told = {"source": sweep.source, "resource_type": sweep.resource_type, "status": error.status}
            _log.error("a source could not be polled", alarm="poll", code=error.code or type(error).__name__, **told)
        else:
            if reached is not None:
                self._store.sweeps.finish(sweep, reached)

    def _take_news(self, sweep: Sweep) -> datetime | None:
        """Take in what changed; up to when everything is known now, None where the poll was given up.

        Never later than the poll's own beginning: one resource with a time in the future must not hide the others.
        """
        began = self._clock()
        reached = sweep.watermark or began - self._polled.look_back
        for found in poller.news(self._polled.client, sweep.resource_type, reached - self._polled.overlap):
            self._take(found, sweep.resource_type, refused_before=sweep.watermark)
            changed = [moment for one in found if (moment := envelope(one).last_updated) is not None]
            reached = max([reached, *(moment for moment in changed if moment <= began)])
            if self._stop.is_set() or not self._store.sweeps.keep(sweep, reached, lease=self._polled.interval):
                self._store.sweeps.release(sweep)
                return None
        return reached

    def _read_tracked(self, sweep: Sweep, reached: datetime) -> None:
        """Read every administration that is still worth correcting. One that cannot be read keeps no other waiting."""
        heard_since = self._clock() - self._polled.look_back
        for id_ in self._store.sweeps.tracked(sweep.source, heard_since=heard_since):
            if self._stop.is_set():
                return
            if is_translated(id_):
                continue
            try:
                found = self._polled.client.read(ADMINISTRATION, id_)
            except EhrGone as gone:
                self._take_absence(id_, sure=gone.status == _GONE)
            except EhrUnavailable:
                raise
            except EhrRefused as refused:
                told = {"source": sweep.source, "resource_type": ADMINISTRATION, "status": refused.status}
                _log.warning("a tracked dose could not be read", code=refused.code, **told)
            else:
                self._take([found.resource], ADMINISTRATION, refused_before=reached)
            self._store.sweeps.keep(sweep, reached, lease=self._polled.interval)

    def _take(self, found: Iterable[Resource], type_: str, *, refused_before: datetime | None) -> None:
        """Store what is new. What is refused is quarantined once: not what had changed by ``refused_before``."""
        arrivals: list[Arrival] = []
        for resource in found:
            body = strict_json.dumps(resource)
            try:
                (arrival,) = receive(body, self._polled.origin, via="poll", expected_type=type_).arrivals
            except BadInput as bad:
                changed = envelope(resource).last_updated
                if refused_before is None or changed is None or changed > refused_before:
                    source = self._polled.origin.source
                    self._store.quarantine.keep(source, self._clock(), None, body, bad.problems)
                    _log.error("a polled resource was refused", alarm="quarantine", source=source, resource_type=type_)
                continue
            if not self._is_known(arrival):
                arrivals.append(arrival)
        if arrivals:
            self._store.committer.submit(arrivals)

    def _is_known(self, arrival: Arrival) -> bool:
        """Whether this version is the newest that is known, in whatever bytes it came."""
        latest = self._store.facts.latest(arrival.source, arrival.resource_id, arrival.resource_type)
        return (
            latest is not None
            and latest.interaction == "upsert"
            and latest.version is not None
            and (latest.version, latest.last_updated) == (arrival.version, arrival.last_updated)
        )

    def _take_absence(self, id_: str, *, sure: bool) -> None:
        """A dose is not there: deleted, unless it came to us whole from elsewhere and was never there."""
        origin = self._polled.origin
        known = self._store.facts.versions(origin.source, id_)
        was_there = any(fact.via != "push" and fact.interaction == "upsert" for fact in known)
        if known and known[-1].interaction == "upsert" and (sure or was_there):
            self._store.committer.submit([deletion(origin, ADMINISTRATION, id_, via="poll")])
