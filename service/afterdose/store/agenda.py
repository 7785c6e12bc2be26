"""Which patient is due when, and why: one row a patient, however much arrives.

Everything that makes a patient due raises the row's ``seq``. A worker that finishes sets the next due time only where
``seq`` is still what it claimed; otherwise something arrived meanwhile and the patient is due now.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from afterdose.store.append import put_postgres, put_sqlite
from afterdose.store.audit import append_entries
from afterdose.store.engine import Database
from afterdose.store.leases import check_fence
from afterdose.store.rows import AgendaEntry, AgendaRow, AuditEntry, Claim
from afterdose.store.schema import agenda, pauses
from afterdose.store.statements import Statement, numbered, one_of
from afterdose.store.wake import Wake

_c = agenda.c


class Agenda:
    """Claims, leases and due times. All times come from the clock given to the store, or from the caller."""

    def __init__(self, database: Database, wake: Wake, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._wake = wake
        self._clock = clock

    def claim(
        self,
        worker_id: str,
        *,
        lease: timedelta,
        now: datetime,
        except_of: Collection[str] = (),
        latest: bool = False,
    ) -> Claim | None:
        """Take the patient that has been due longest and that nobody holds; None where there is none.

        With ``latest`` the one that became due last: of many that wait, not all shall wait for the same.

        Counts the attempt and raises the fence before any work is done. A lease that ran out is taken over. The
        patients of targets that are paused, and of those in ``except_of``, stay due.
        """
        first, free = _first_due(len(except_of), latest=latest), {"now": now} | numbered("target", except_of)
        if self._database.path is not None:
            with self._database.asking() as driver:
                if first.first(driver, free) is None:
                    return None  # without asking for the writer's lock, for which senders wait
        with self._database.telling() as driver:
            found = first.first(driver, free)
            if found is None:
                return None
            (row,) = _TAKE.rows(driver, found | {"worker": worker_id, "until": now + lease})
        told = {"reasons": tuple(row["reasons"].split()), "broken_off": row["broken_off"] - 1}
        return Claim(**found | row | told)

    def renew(self, claim: Claim, lease: timedelta) -> None:
        """Hold the claim for another ``lease`` from now. Raises LeaseLost."""
        with self._database.writing() as connection:
            check_fence(connection, claim)
            connection.execute(sa.update(agenda).where(_of(claim)).values(lease_until=self._clock() + lease))

    def finish(self, claim: Claim, next_due_at: datetime | None, reason: str, audit: Sequence[AuditEntry] = ()) -> None:
        """Give the patient back as done; ``reason`` is why it is due again at ``next_due_at`` (None: not by time).

        Due now instead where something arrived since the claim. ``audit`` is committed with it. Raises LeaseLost.
        """
        done = {"first_due_at": next_due_at, "attempts": 0, "escalated": 0, "parked": None}
        self._give_back(claim, next_due_at, audit, reasons=reason, **done)

    def postpone(self, claim: Claim, until: datetime, error_code: str) -> None:
        """Give the patient back as not done; try again at ``until`` (now where something arrived). Keeps attempts.

        Raises LeaseLost.
        """
        self._give_back(claim, until, reasons=error_code)

    def leave(self, claim: Claim) -> None:
        """Give the patient back as not begun: still due, for the same reasons, and this attempt does not count.

        Raises LeaseLost.
        """
        released: dict[str, object] = {"lease_owner": None, "lease_until": None, "broken_off": 0}
        with self._database.writing() as connection:
            check_fence(connection, claim)
            connection.execute(sa.update(agenda).where(_of(claim)).values(attempts=_c.attempts - 1, **released))

    def hasten(self, target: str) -> None:
        """Make due at once whoever of a target is tried again later: its EHR is back."""
        now = self._clock()
        later = sa.and_(_c.target == target, _c.attempts > 0, _c.due_at > now, _c.lease_owner.is_(None))
        with self._database.writing() as connection:
            connection.execute(sa.update(agenda).where(later).values(due_at=now))
        self._wake.ring()

    def outstanding(self, since: datetime) -> list[AgendaRow]:
        """Whose work was due at ``since`` or before and is not done: retried, kept waiting, or given up."""
        chosen = sa.select(agenda).where(sa.or_(_c.first_due_at <= since, _c.parked.is_not(None)))
        with self._database.reading() as connection:
            return [_row(row) for row in connection.execute(chosen.order_by(_c.target, _c.patient)).mappings()]

    def escalate(self, target: str, patient: str, step: int) -> bool:
        """Note that a step of escalation is alarmed; False where another process has done so."""
        mine = sa.and_(_c.target == target, _c.patient == patient, _c.escalated < step)
        with self._database.writing() as connection:
            return connection.execute(sa.update(agenda).where(mine).values(escalated=step)).rowcount == 1

    def escalated_count(self) -> int:
        """How many patients have work that was escalated and is not done."""
        with self._database.reading() as connection:
            return connection.execute(sa.select(sa.func.count()).where(_c.escalated > 0)).scalar_one()

    def park(self, claim: Claim, reason: str) -> None:
        """Give the patient up until something arrives or a person replays it. Raises LeaseLost."""
        self._give_back(claim, None, reasons=reason, first_due_at=None, attempts=0, parked=reason)

    def put(self, target: str, patient: str, due_at: datetime, reason: str) -> None:
        """Make a patient due at ``due_at``, or earlier where it already is; ``reason`` is a code without spaces."""
        self.put_all([AgendaEntry(target=target, patient=patient, due_at=due_at, reason=reason)])

    def put_all(self, entries: Iterable[AgendaEntry]) -> None:
        """Put many patients on the agenda in one transaction; of two wishes for one patient the earlier counts."""
        earliest: dict[tuple[str, str], AgendaEntry] = {}
        for entry in sorted(entries, key=lambda entry: entry.due_at):
            earliest.setdefault((entry.target, entry.patient), entry)
        with self._database.writing() as connection:
            put = put_sqlite if self._database.path is not None else put_postgres
            driver: Any = connection.connection.driver_connection
            put(driver, earliest.values())
        self._wake.ring()

    def due_count(self, now: datetime) -> int:
        """How many patients are due, claimed ones included."""
        with self._database.reading() as connection:
            return connection.execute(sa.select(sa.func.count()).where(_c.due_at <= now)).scalar_one()

    def oldest_due(self, now: datetime) -> datetime | None:
        """Since when the longest-waiting due patient has been due, retries included; None where nobody is due."""
        with self._database.reading() as connection:
            return connection.execute(sa.select(sa.func.min(_c.first_due_at)).where(_c.due_at <= now)).scalar()

    def find(self, target: str, patient: str) -> AgendaRow | None:
        """The row of one patient."""
        with self._database.reading() as connection:
            chosen = sa.select(agenda).where(_c.target == target, _c.patient == patient)
            row = connection.execute(chosen).mappings().first()
        return _row(row) if row is not None else None

    def parked(self) -> list[AgendaRow]:
        """Everyone who was given up, for the alarm and for the replay."""
        with self._database.reading() as connection:
            chosen = sa.select(agenda).where(_c.parked.is_not(None)).order_by(_c.target, _c.patient)
            return [_row(row) for row in connection.execute(chosen).mappings()]

    def everybody(self) -> list[tuple[str, str]]:
        """Target and patient key of every row."""
        with self._database.reading() as connection:
            chosen = sa.select(_c.target, _c.patient).order_by(_c.target, _c.patient)
            return [(row.target, row.patient) for row in connection.execute(chosen)]

    def release_all(self) -> None:
        """Take every patient from whoever held it: nobody who did is still there."""
        with self._database.writing() as connection:
            connection.execute(sa.update(agenda).values(lease_owner=None, lease_until=None, fence=_c.fence + 1))

    def patients(self, target: str) -> list[str]:
        """Every patient key of a target, for a change that concerns all."""
        with self._database.reading() as connection:
            return list(
                connection.execute(sa.select(_c.patient).where(_c.target == target).order_by(_c.patient)).scalars()
            )

    def wait(self, timeout: float) -> bool:
        """Sleep until somebody may be due: at most ``timeout`` seconds and never more than one. Whether woken."""
        return self._wake.wait(timeout)

    def _give_back(
        self, claim: Claim, due_at: datetime | None, audit: Sequence[AuditEntry] = (), *, reasons: str, **values: object
    ) -> None:
        now = self._clock()
        whose = {"whose_target": claim.target, "whose_patient": claim.patient}
        with self._database.telling() as driver:
            check_fence(driver, claim)
            append_entries(driver, audit, now)
            told = {"due_at": due_at, "reasons": reasons, **values}
            if _give_back(tuple(told), unchanged=True).run(driver, told | whose | {"claimed": claim.seq}):
                return
            # what arrived is a new piece of work: due now, with the attempts of the old one only if that failed
            told = {"due_at": now, "parked": None}
            told |= {"first_due_at": now, "attempts": 0} if "attempts" in values else {}
            _give_back(tuple(told), unchanged=False).run(driver, told | whose)
        self._wake.ring()


@cache
def _first_due(excepted: int, *, latest: bool) -> Statement:
    """The patient that has been due longest, or became due last, and that nobody holds, of all but some targets."""
    now = sa.bindparam("now", type_=_c.due_at.type)
    free = sa.and_(
        _c.due_at <= now,
        sa.or_(_c.lease_until.is_(None), _c.lease_until <= now),
        _c.target.not_in(sa.select(pauses.c.target)),
        sa.not_(one_of(_c.target, "target", excepted)),
    )
    order = _c.due_at.desc() if latest else _c.due_at
    first = sa.select(_c.target, _c.patient).where(free).order_by(order).limit(1)
    return Statement(first.with_for_update(skip_locked=True))


_TAKE = Statement(
    sa.update(agenda)
    .where(_c.target == sa.bindparam("target"), _c.patient == sa.bindparam("patient"))
    .values(
        fence=_c.fence + 1,
        attempts=_c.attempts + 1,
        broken_off=_c.broken_off + 1,
        lease_owner=sa.bindparam("worker"),
        lease_until=sa.bindparam("until"),
    )
    .returning(_c.seq, _c.fence, _c.attempts, _c.reasons, _c.first_due_at, _c.broken_off, _c.escalated)
)


@cache
def _give_back(told: tuple[str, ...], *, unchanged: bool) -> Statement:
    """Nobody holds a patient any more, and some columns change; ``unchanged``: only where nothing has arrived."""
    mine = [_c.target == sa.bindparam("whose_target"), _c.patient == sa.bindparam("whose_patient")]
    mine += [_c.seq == sa.bindparam("claimed")] if unchanged else []
    released = sa.update(agenda).where(*mine).values(lease_owner=None, lease_until=None, broken_off=0)
    return Statement(released.values({name: sa.bindparam(name) for name in told}))


def _of(claim: Claim) -> sa.ColumnElement[bool]:
    return sa.and_(_c.target == claim.target, _c.patient == claim.patient)


def _row(row: Mapping[Any, Any]) -> AgendaRow:
    names = AgendaRow.__dataclass_fields__
    return AgendaRow(**{name: row[name] for name in names} | {"reasons": tuple(row["reasons"].split())})
