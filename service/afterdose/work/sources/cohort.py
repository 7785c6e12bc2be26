"""Polling patient by patient, for EHRs that cannot be asked for everything that changed.

Each patient of the cohort is asked about once an interval, a few at a time so that the calls are spread over it: for
what may have been charted since the last time and, because doses are charted late, some days before it. Corrections
keep the effective time of a dose, so every dose that is still worth correcting and that no search has shown is read by
its id, also when its patient is in the cohort no more. How far it is with a patient is remembered once what was found
is stored: what is broken off is done again.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from afterdose.core.errors import EhrError, EhrUnavailable
from afterdose.ehr import poller
from afterdose.ehr.answers import Resource
from afterdose.fhir.decode import accepted
from afterdose.fhir.decode.administration import TYPE as ADMINISTRATION
from afterdose.logs import get_logger
from afterdose.store.cohorts import Due
from afterdose.store.store import Store
from afterdose.store.sweeps import Sweep
from afterdose.work.sources.polled import Finds, Polled, Trouble
from afterdose.work.sources.roster import Roster
from afterdose.work.sources.sweep import EVERY, keep_sweeping

_COHORT = "(cohort)"
"""In the place of a resource type, where it is remembered when the cohort was last called."""
_LEASE = timedelta(minutes=2)
_PAUSE = timedelta(minutes=1)
"""How long an EHR that did not answer is left alone."""
_BEHIND = 3
"""So many intervals without being asked about are too many."""

_log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a cohort is asked about. ``ways``: resource type -> search of this EHR; Patients are read by their ids."""

    polled: Polled
    roster: Roster
    ways: Mapping[str, Mapping[str, str]]


class CohortSweeper:
    """Polls one source patient by patient; of several processes that do, one at a time asks."""

    def __init__(
        self, asked: Asked, *, store: Store, owner: str, clock: Callable[[], datetime], stop: threading.Event
    ) -> None:
        """``owner`` is another one in every process."""
        self._asked = asked
        self._polled = asked.polled
        self._source = asked.polled.origin.source
        # what a decision stands on comes first
        self._types = sorted(asked.polled.types, key=lambda type_: (type_ != ADMINISTRATION, type_))
        self._finds = Finds(asked.polled, store=store, clock=clock)
        self._store = store
        self._owner = owner
        self._clock = clock
        self._stop = stop
        self._last_round: datetime | None = None
        self._not_before: datetime | None = None
        self._called: datetime | None = None
        self._told_behind: datetime | None = None
        self._trouble = Trouble(self._source)
        self._told_refused: dict[tuple[str, str, int | None], datetime] = {}

    def run(self) -> None:
        """Poll until told to stop."""
        keep_sweeping(self.sweep, self._stop)

    def sweep(self) -> None:
        """Ask about those whose turn it is; a failure is alarmed and ends the round. Raises StoreError."""
        now = self._clock()
        if self._stop.is_set() or (self._not_before is not None and now < self._not_before):
            return
        if self._polled.origin.target in self._store.pauses.all() or not self._is_anything_due(now):
            return
        begun = self._store.sweeps.begin(self._source, _COHORT, owner=self._owner, interval=timedelta(0), lease=_LEASE)
        if begun is None:
            return
        called = begun.watermark
        try:
            if called is None or now - called >= self._polled.interval:
                called = self._call(now)
            finished = self._round(begun, now)
        except EhrUnavailable as error:
            self._store.sweeps.release(begun)
            self._not_before = self._clock() + min(_PAUSE, self._polled.interval)
            self._trouble.begins(_COHORT, error)
            return
        self._trouble.ends(_COHORT)
        if finished:
            known = self._store.cohorts.known_until(self._source)
            self._store.sweeps.finish(begun, called, known_since=known)
            self._called = called
            self._tell_where_behind(known)

    def _is_anything_due(self, now: datetime) -> bool:
        interval = self._polled.interval
        if self._called is None or now - self._called >= interval:
            return True
        return bool(self._store.cohorts.due(self._source, asked_before=now - interval, most=1))

    def _call(self, now: datetime) -> datetime:
        """Find out who is in the cohort; whoever was stays in it where that cannot be told for sure."""
        roll = self._asked.roster.call(now)
        patients = set(roll.patients)
        if roll.problems:
            self._alarm("cohort", count=len(roll.problems))
            patients |= self._store.cohorts.members(self._source)
        self._store.cohorts.replace(self._source, patients, self._tracked())
        return now

    def _tracked(self) -> dict[str, list[str]]:
        """Patient key -> ids of the doses that are still worth correcting."""
        found: dict[str, list[str]] = {}
        heard_since = self._clock() - self._polled.look_back
        for patient, id_ in self._store.sweeps.tracked(self._source, heard_since=heard_since):
            found.setdefault(patient, []).append(id_)
        return found

    def _round(self, sweep: Sweep, now: datetime) -> bool:
        """Take as many turns as the time since the last round asks for; False where another process has them now."""
        cohorts, interval = self._store.cohorts, self._polled.interval
        since = min(now - self._last_round if self._last_round else timedelta(seconds=EVERY), interval)
        self._last_round = now
        share = ceil(cohorts.size(self._source) * (since / interval))
        due = cohorts.due(self._source, asked_before=now - interval, most=max(1, share))
        tracked = self._tracked() if due else {}
        refused: Counter[tuple[str, str, int | None]] = Counter()
        for one in due:
            if self._stop.is_set() or not self._turn(sweep, one, tracked.get(one.patient, ()), refused):
                self._store.sweeps.release(sweep)
                return False
        for what, count in refused.items():
            self._tell_refused(what, count, now)
        return True

    def _turn(
        self, sweep: Sweep, due: Due, tracked: Sequence[str], refused: Counter[tuple[str, str, int | None]]
    ) -> bool:
        """Ask about one patient; False where another process has the round now.

        What an EHR refuses of one patient, or of one type, keeps no other waiting. Raises EhrUnavailable.
        """
        began = self._clock()
        since = (due.known_until or due.joined_at) - self._polled.look_back
        shown: set[str] = set()
        known = True
        for type_ in self._types if due.member else ():
            try:
                found = self._about(due.patient, type_, since)
            except EhrUnavailable:
                raise
            except EhrError as error:
                refused[type_, error.code or type(error).__name__, error.status] += 1
                known = known and type_ != self._types[0]
                continue
            self._finds.take(found, type_, refused_before=due.known_until)
            if type_ == ADMINISTRATION:
                shown = {str(one.get("id")) for one in found}
            if not self._store.sweeps.keep(sweep, sweep.watermark, lease=_LEASE):
                return False
        for id_ in tracked:
            if id_ not in shown:
                self._finds.read_again(id_, refused_before=due.known_until)
                if not self._store.sweeps.keep(sweep, sweep.watermark, lease=_LEASE):
                    return False
        self._store.cohorts.asked(self._source, due.patient, known_until=began if known else None)
        return True

    def _about(self, patient: str, type_: str, since: datetime) -> list[Resource]:
        """What may be new of a patient; about others nothing is kept, whatever an EHR answers."""
        found = poller.of_patient(self._polled.client, type_, self._asked.ways.get(type_), patient, since)
        base_url = self._polled.origin.base_url
        named = [(one, set(accepted.patients_of(one, base_url=base_url))) for one in found]
        own = [one for one, patients in named if not patients or patient in patients]
        if len(own) < len(found):
            self._alarm("security", resource_type=type_, count=len(found) - len(own))
        return own

    def _tell_refused(self, what: tuple[str, str, int | None], count: int, now: datetime) -> None:
        """A record that stays closed is said once an interval, though somebody's turn comes every few seconds."""
        told = self._told_refused.get(what)
        if told is None or now - told >= self._polled.interval:
            self._told_refused[what] = now
            type_, code, status = what
            self._alarm(code, resource_type=type_, status=status, count=count)

    def _tell_where_behind(self, known_until: datetime | None) -> None:
        """A cohort that is too large for its interval is said once an interval."""
        now, interval = self._clock(), self._polled.interval
        late = known_until is not None and now - known_until > _BEHIND * interval
        if late and (self._told_behind is None or now - self._told_behind >= interval):
            self._told_behind = now
            self._alarm("behind", count=self._store.cohorts.size(self._source))

    def _alarm(self, code: str, **told: object) -> None:
        _log.error("a source could not be polled", alarm="poll", source=self._source, code=code, **told)
