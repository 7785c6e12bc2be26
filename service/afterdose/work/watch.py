"""Watches for plans that are not in the EHR although their doses are long over, whatever keeps them from it.

It asks the store alone, so it sees what no worker can reach: an EHR that is away, paused or restored, a patient who was
given up. Each step is alarmed once; a person finds the dose among the open reviews.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta

from afterdose.core.care import ArtifactKey, Care, ReviewItem
from afterdose.core.dose import DoseKey
from afterdose.core.errors import StoreError
from afterdose.core.reasons import Outcome, Reason
from afterdose.fhir.times import parse_instant
from afterdose.logs import get_logger
from afterdose.store.rows import AgendaRow, LedgerRow, OutcomeRow
from afterdose.store.store import Store

STEPS = (timedelta(hours=20), timedelta(hours=48))
"""How long after the end of a dose its plan is missed, and missed again: before the window opens, before it closes."""

_EVERY = 60.0
_TO_BE_THERE = frozenset({Outcome.PLANNED, Outcome.JOINED})

_log = get_logger()


class Watch:
    """One look a minute; of several processes that look, one raises each alarm."""

    def __init__(self, *, store: Store, clock: Callable[[], datetime], stop: threading.Event) -> None:
        self._store = store
        self._clock = clock
        self._stop = stop

    def run(self) -> None:
        """Look until told to stop."""
        while not self._stop.is_set():
            try:
                self.look()
            except StoreError as error:
                _log.warning("the database was not there", error=type(error).__name__, reason=str(error))
            self._stop.wait(_EVERY)

    def look(self) -> None:
        """Alarm what is missed now. Raises StoreError."""
        now = self._clock()
        for row in self._store.agenda.outstanding(now):
            if row.escalated < len(STEPS):
                self._look_at(row, now)

    def _look_at(self, row: AgendaRow, now: datetime) -> None:
        missed = {item: since for item, since in self._undelivered(row) if now - since >= STEPS[0]}
        if not missed:
            return
        since = min(missed.values())
        step = sum(now - since >= after for after in STEPS)
        if row.escalated >= step or not self._store.agenda.escalate(row.target, row.patient, step):
            return
        for item in missed:
            self._store.reviews.ask(row.target, row.patient, item)
        seconds = round((now - since).total_seconds())
        told = {"target": row.target, "seconds": seconds, "count": len(missed), "reason": row.parked or "waits"}
        _log.error("a dose has no plan in the EHR yet", alarm="undelivered", **told)

    def _undelivered(self, row: AgendaRow) -> Iterator[tuple[ReviewItem, datetime]]:
        """The doses whose plan is not in the EHR, and since when they are over; what is not decided counts too."""
        person = self._store.persons.find(row.target, row.patient)
        if person is not None and person.kept_with is not None:
            return  # all of it is looked for under the patient whose record this one went up in
        decided = self._store.outcomes.of_patient(row.target, row.patient)
        written = self._store.ledger.load(row.target, row.patient)
        there = {one.key.subject for one in written if one.ehr_id is not None}
        sessions: dict[object, list[OutcomeRow]] = {}
        for one in decided:
            if _decided(one) in _TO_BE_THERE and not one.shadow and one.session_id not in there:
                sessions.setdefault(one.session_id, []).append(one)
        for members in sessions.values():
            anchor = members[0].details.get("anchor")
            if isinstance(anchor, str):
                yield _item(tuple(sorted(one.key for one in members))), parse_instant(anchor)
        known = {one.key for one in decided if _decided(one) is not None}
        former = self._store.persons.kept_with(row.target, row.patient)
        for key, versions in self._store.facts.history(row.target, row.patient, *former).items():
            if key not in known:
                yield _item((key,)), versions[0].received_at


def missed(care: Care, rows: Mapping[ArtifactKey, LedgerRow]) -> list[ReviewItem]:
    """The questions that :class:`Watch` has put, as long as what they are about is not delivered."""
    there = {key.subject for key, row in rows.items() if row.ehr_id is not None}
    return [
        _item(tuple(sorted(verdict.administrations)))
        for verdict in care.verdicts
        if verdict.outcome is Outcome.PLANNED and verdict.session_id not in there
    ]


def _decided(row: OutcomeRow) -> object:
    """What was decided before the patient was given up; None where nothing was."""
    return row.details.get("outcome") if row.outcome is Outcome.PARKED else row.outcome


def _item(administrations: tuple[DoseKey, ...]) -> ReviewItem:
    return ReviewItem(founder=administrations[0], administrations=administrations, reasons=(Reason.RETRIES_EXHAUSTED,))
