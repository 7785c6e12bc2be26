"""What the EHRs say of Patients as persons: the links between their records, and who is in use, gone or dead."""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from afterdose.core.links import MOST_LINKS, Link
from afterdose.store.append import put_postgres, put_sqlite
from afterdose.store.due import MOVED
from afterdose.store.engine import Database
from afterdose.store.leases import check_fence, check_owner
from afterdose.store.rows import AgendaEntry, Claim, PersonRow
from afterdose.store.schema import agenda, patient_links, persons
from afterdose.store.statements import Statement, numbered, one_of
from afterdose.store.upsert import upsert
from afterdose.store.wake import Wake

_l, _p = patient_links.c, persons.c


class Persons:
    """One row a Patient of whom something is known; written only under that Patient's claim."""

    def __init__(self, database: Database, wake: Wake, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._wake = wake
        self._clock = clock

    def find(self, target: str, patient: str) -> PersonRow | None:
        """What is known of a Patient, None where nothing was ever said."""
        with self._database.asking() as driver:
            row = _ONE.first(driver, {"target": target, "patient": patient})
        return PersonRow(**row) if row is not None else None

    def kept_with(self, target: str, patient: str) -> list[str]:
        """The other patients of whom everything is kept under this one, in the order of their ids."""
        with self._database.asking() as driver:
            rows = _KEPT_WITH.rows(driver, {"target": target, "patient": patient})
        return [row["patient"] for row in rows]

    def said_by(self, target: str, patient: str) -> frozenset[Link]:
        """The links that the resource of one Patient names."""
        with self._database.asking() as driver:
            rows = _SAID_BY.rows(driver, {"target": target, "patient": patient})
        return frozenset((row["former"], row["successor"]) for row in rows)

    def links_around(self, target: str, patient: str) -> frozenset[Link]:
        """Every link of everybody who is linked with a patient, directly or through others; bounded."""
        found: set[Link] = set()
        seen, here = {patient}, {patient}
        with self._database.asking() as driver:
            while here and len(seen) <= 2 * MOST_LINKS:
                rows = _links_of(len(here)).rows(driver, {"target": target} | numbered("patient", sorted(here)))
                links = {(row["former"], row["successor"]) for row in rows}
                found |= links
                here = {one for link in links for one in link} - seen
                seen |= here
        return frozenset(found)

    def note(self, claim: Claim, row: PersonRow, links: Collection[Link]) -> None:
        """Store what the claimed patient's own resource says now; whoever is linked with it, or was, is due.

        Raises LeaseLost.
        """
        check_owner(claim, row.target, row.patient)
        concerned = {one for link in (*links, *self.said_by(row.target, row.patient)) for one in link}
        with self._database.writing() as connection:
            in_hand(connection, claim, concerned)
            said: dict[str, object] = {"target": row.target, "patient": row.patient}
            told: dict[str, object] = {"active": row.active, "gone": row.gone, "died_by": row.died_by}
            upsert(connection, persons, [said | told])
            connection.execute(sa.delete(patient_links).where(_l.target == row.target, _l.patient == row.patient))
            if links:
                named = [said | {"former": former, "successor": successor} for former, successor in sorted(links)]
                connection.execute(sa.insert(patient_links), named)
            due(self._database, connection, claim.target, concerned - {claim.patient}, self._clock())
        self._wake.ring()


_ONE = Statement(sa.select(persons).where(_p.target == sa.bindparam("target"), _p.patient == sa.bindparam("patient")))
_KEPT_WITH = Statement(
    sa.select(_p.patient)
    .where(_p.target == sa.bindparam("target"), _p.kept_with == sa.bindparam("patient"))
    .order_by(_p.patient)
)
_SAID_BY = Statement(
    sa.select(_l.former, _l.successor).where(_l.target == sa.bindparam("target"), _l.patient == sa.bindparam("patient"))
)


@cache
def _links_of(count: int) -> Statement:
    """The links that name one of ``count`` Patients."""
    named = sa.or_(one_of(_l.former, "patient", count), one_of(_l.successor, "patient", count))
    return Statement(sa.select(_l.former, _l.successor).where(_l.target == sa.bindparam("target"), named))


def in_hand(connection: Connection, claim: Claim, others: Iterable[str]) -> None:
    """Check the fence, with the agenda rows of others locked too: everybody in one order, so that nobody waits in a
    circle. Raises LeaseLost."""
    patients = sorted({claim.patient, *others})
    locked = sa.select(agenda.c.patient).where(agenda.c.target == claim.target, agenda.c.patient.in_(patients))
    connection.execute(locked.order_by(agenda.c.patient).with_for_update()).all()
    check_fence(connection, claim)


def due(database: Database, connection: Connection, target: str, patients: Iterable[str], now: datetime) -> None:
    """Put patients on the agenda in the caller's transaction."""
    entries = [AgendaEntry(target=target, patient=one, due_at=now, reason=MOVED) for one in sorted(patients)]
    if entries:
        put = put_sqlite if database.path is not None else put_postgres
        driver: Any = connection.connection.driver_connection
        put(driver, entries)
