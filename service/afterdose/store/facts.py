"""What was received, version by version."""

import sqlite3
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from afterdose.core.dose import DoseKey
from afterdose.fhir.decode.administration import TYPE as ADMINISTRATION
from afterdose.store.append import append_postgres, append_sqlite, lock_postgres
from afterdose.store.engine import Database
from afterdose.store.leases import check_fence
from afterdose.store.rows import Arrival, Claim, Fact, Receipt
from afterdose.store.schema import facts
from afterdose.store.statements import Statement, numbered, one_of


class Facts:
    """Received versions of administrations and of what hangs on them. What is sent comes in through the committer."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def history(self, target: str, *patients: str) -> dict[DoseKey, list[Fact]]:
        """All versions, in order of receipt, of every administration of which any version named one of the patients.

        For a pseudo key ``~source/id``, which stands alone: of that one administration.
        """
        chosen, whose = _doses(len(patients)), {"target": target} | numbered("patient", patients)
        if patients[0].startswith("~"):
            source, _, resource_id = patients[0][1:].rpartition("/")
            chosen, whose = _OF_NOBODY, {"target": target, "source": source, "resource_id": resource_id}
        versions: dict[DoseKey, list[Fact]] = {}
        with self._database.asking() as driver:
            for row in chosen.rows(driver, whose):
                fact = _fact(row)
                versions.setdefault(fact.key, []).append(fact)
        return versions

    def others(self, target: str, *patients: str) -> tuple[Fact, ...]:
        """The version that counts of every other resource that is about one of the patients now, deletions among them.

        By the sender's ``lastUpdated``, else by receipt, so in any order of arrival the same; ordered by their keys.
        """
        with self._database.asking() as driver:
            rows = _others(len(patients)).rows(driver, {"target": target} | numbered("patient", patients))
        return tuple(_fact(row) for row in rows)

    def origins(self) -> tuple[list[str], list[str]]:
        """The sources that facts came from, and the targets that they are for; one look into an index for each."""
        with self._database.reading() as connection:
            return _each(connection, facts.c.source), _each(connection, facts.c.target)

    def latest(self, source: str, resource_id: str, resource_type: str = ADMINISTRATION) -> Fact | None:
        """The fact of a resource that was received last, None where nothing ever was."""
        statement = (
            sa.select(facts)
            .where(facts.c.source == source, facts.c.resource_type == resource_type, facts.c.resource_id == resource_id)
            .order_by(facts.c.seq.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(statement).mappings().first()
        return _fact(row) if row is not None else None

    def versions(self, source: str, resource_id: str, resource_type: str = ADMINISTRATION) -> list[Fact]:
        """All facts of one resource, in order of receipt."""
        which = {"source": source, "resource_type": resource_type, "resource_id": resource_id}
        with self._database.asking() as driver:
            return [_fact(row) for row in _VERSIONS.rows(driver, which)]

    def record_read(self, claim: Claim, arrival: Arrival, *, known_to: Collection[str] = ()) -> Receipt:
        """Store what an authoritative re-read answered (``via="read"``; a delete where the EHR has it no more).

        Puts other patients whom the resource names or named on the agenda, but not the claimed one, nor those of
        ``known_to``, whose records went up in the claimed one: its worker knows. Raises LeaseLost.
        """
        if arrival.via != "read":
            raise ValueError("only a re-read is stored under a claim")
        spare = frozenset((claim.target, patient) for patient in (claim.patient, *known_to))
        with self._database.telling() as driver:
            if isinstance(driver, sqlite3.Connection):
                check_fence(driver, claim)
                return append_sqlite(driver, [arrival], self._clock(), spare=spare)[0]
            lock_postgres(driver, [arrival])
            check_fence(driver, claim)
            return append_postgres(driver, [arrival], self._clock(), spare=spare)[0]

    def count(self) -> int:
        """How many facts are stored."""
        with self._database.reading() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(facts)).scalar_one()


def _each(connection: sa.Connection, column: sa.Column[str]) -> list[str]:
    """The different values of an indexed column, in order; DISTINCT would read the index as a whole."""
    found: list[str] = []
    following = sa.select(sa.func.min(column)).where(column > sa.bindparam("last"))
    while (name := connection.scalar(following, {"last": found[-1] if found else ""})) is not None:
        found.append(name)
    return found


@cache
def _others(count: int) -> Statement:
    c, key = facts.c, (facts.c.source, facts.c.resource_type, facts.c.resource_id)
    target, mine = sa.bindparam("target", type_=sa.Text), one_of(c.patient, "patient", count)
    named = sa.select(*key).where(c.target == target, mine, c.resource_type != ADMINISTRATION)
    newest_first = (sa.func.coalesce(c.last_updated, c.received_at), c.received_at, c.seq)
    place = sa.func.row_number().over(partition_by=key, order_by=[one.desc() for one in newest_first])
    ranked = sa.select(facts, place.label("place")).where(sa.tuple_(*key).in_(named)).subquery()
    counts = sa.select(*(ranked.c[column.name] for column in c)).where(
        ranked.c.place == 1, ranked.c.target == target, one_of(ranked.c.patient, "patient", count)
    )
    return Statement(counts.order_by(ranked.c.source, ranked.c.resource_type, ranked.c.resource_id))


@cache
def _doses(count: int) -> Statement:
    c = facts.c
    of_a_dose = c.resource_type == ADMINISTRATION
    named = sa.select(c.source, c.resource_id).where(
        c.target == sa.bindparam("target"), one_of(c.patient, "patient", count), of_a_dose
    )
    return Statement(sa.select(facts).where(of_a_dose, sa.tuple_(c.source, c.resource_id).in_(named)).order_by(c.seq))


def _where(*names: str) -> sa.Select[Any]:
    return sa.select(facts).where(*(facts.c[name] == sa.bindparam(name) for name in names)).order_by(facts.c.seq)


_OF_NOBODY = Statement(_where("source", "resource_id", "target").where(facts.c.resource_type == ADMINISTRATION))
_VERSIONS = Statement(_where("source", "resource_type", "resource_id"))


def _fact(row: Mapping[Any, Any]) -> Fact:
    return Fact(**row)
