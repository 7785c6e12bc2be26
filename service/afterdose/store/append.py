"""Appending facts and putting their patients on the agenda, in one transaction of the driver itself.

This is the path that a sender waits for, so it bypasses SQLAlchemy: a handful of prepared statements for a group of
arrivals. What becomes of an arrival is decided once, in ``newcomers.plan``; the functions here differ only in how a
database is asked.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from hashlib import blake2b
from typing import Any, TypeVar

import psycopg

from afterdose.fhir import strict_json
from afterdose.store.columns import instant_text
from afterdose.store.due import ARRIVED
from afterdose.store.newcomers import Latest, NewFact, Owned, Resource, concerned_by, plan, resource_of, unowned
from afterdose.store.rows import AgendaEntry, Arrival, Receipt

_T = TypeVar("_T")


# --- SQLite: one statement a step for the whole group too, because the driver hands Python's lock round at each

_LATEST = (
    """
SELECT facts.source, facts.resource_type, facts.resource_id, facts.seq, version, content_hash, interaction, via, patient
FROM (VALUES """,
    "(?, ?, ?)",
    """) AS wanted
JOIN facts ON facts.seq = (
  SELECT max(seq) FROM facts AS each
  WHERE each.source = wanted.column1 AND each.resource_type = wanted.column2 AND each.resource_id = wanted.column3)
""",
)
_NAMED = "SELECT DISTINCT target, patient FROM facts WHERE source = ? AND resource_type = ? AND resource_id = ?"
_OWNERS = (
    """
SELECT ledger.target, resource_type, ehr_id, max(patient) FROM ledger
WHERE ehr_id IS NOT NULL AND (ledger.target, resource_type, ehr_id) IN (VALUES """,
    "(?, ?, ?)",
    ") GROUP BY ledger.target, resource_type, ehr_id",
)
_INSERT = (
    """
INSERT INTO facts (source, resource_type, resource_id, target, patient, interaction, via, version, last_updated,
  content_hash, received_at, raw)
VALUES """,
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "",
)
_ON_CONFLICT = """
ON CONFLICT (target, patient) DO UPDATE SET
  seq = agenda.seq + 1,
  due_at = CASE WHEN agenda.due_at < excluded.due_at THEN agenda.due_at ELSE excluded.due_at END,
  first_due_at =
    CASE WHEN agenda.first_due_at < excluded.first_due_at THEN agenda.first_due_at ELSE excluded.first_due_at END,
  reasons = CASE WHEN ' ' || agenda.reasons || ' ' LIKE '% ' || excluded.reasons || ' %' THEN agenda.reasons
    ELSE ltrim(agenda.reasons || ' ' || excluded.reasons) END,
  parked = NULL
"""
_PUT = (
    """
INSERT INTO agenda (target, patient, seq, due_at, first_due_at, reasons, attempts, fence)
VALUES """,
    "(?, ?, 1, ?, ?, ?, 0, 0)",
    _ON_CONFLICT,
)
_ROWS = 500
"""Rows in one statement: SQLite takes 32,766 parameters."""


def append_sqlite(
    connection: sqlite3.Connection,
    arrivals: Sequence[Arrival],
    now: datetime,
    *,
    spare: frozenset[tuple[str, str]] = frozenset(),
) -> list[Receipt]:
    """Append to SQLite inside the caller's transaction, which must hold the writer's lock.

    ``spare``: agenda keys that stay as they are (of the claim under which a worker stores what it read itself).
    """
    decided = plan(arrivals, _latest_sqlite(connection, arrivals), _owners_sqlite(connection, arrivals))
    if not decided.new:
        return decided.receipts(())
    moment = instant_text(now)
    seqs: list[int] = []
    for rows in _parts([_row(fact, moment) for fact in decided.new]):
        last = _execute(connection, _INSERT, rows).lastrowid or 0
        seqs += range(last - len(rows) + 1, last + 1)  # nobody else writes, so the numbers follow each other
    due = [
        (target, patient, moment, moment, ARRIVED) for target, patient in decided.due if (target, patient) not in spare
    ]
    for rows in _parts(due):
        _execute(connection, _PUT, rows)
    return decided.receipts(seqs)


def put_sqlite(connection: sqlite3.Connection, entries: Iterable[AgendaEntry]) -> None:
    """Put patients on the agenda inside the caller's transaction."""
    moments = ((entry, instant_text(entry.due_at)) for entry in entries)
    for rows in _parts([(entry.target, entry.patient, at, at, entry.reason) for entry, at in moments]):
        _execute(connection, _PUT, rows)


def _latest_sqlite(connection: sqlite3.Connection, arrivals: Iterable[Arrival]) -> dict[Resource, Latest]:
    found: dict[Resource, Latest] = {}
    for resources in _parts(list({resource_of(arrival) for arrival in arrivals})):
        for source, type_, id_, *row in _execute(connection, _LATEST, resources).fetchall():
            resource = (source, type_, id_)
            found[resource] = _latest(resource, row, connection.execute(_NAMED, resource).fetchall())
    return found


def _owners_sqlite(connection: sqlite3.Connection, arrivals: Iterable[Arrival]) -> dict[Owned, str]:
    found: dict[Owned, str] = {}
    for wanted in _parts(list(unowned(arrivals))):
        for target, type_, id_, patient in _execute(connection, _OWNERS, wanted).fetchall():
            found[target, type_, id_] = patient
    return found


def _execute(
    connection: sqlite3.Connection, statement: tuple[str, str, str], rows: Sequence[Sequence[object]]
) -> sqlite3.Cursor:
    return connection.execute(_of_rows(statement, len(rows)), [value for row in rows for value in row])


@cache
def _of_rows(statement: tuple[str, str, str], count: int) -> str:
    beginning, row, end = statement
    return "".join((beginning, ", ".join([row] * count), end))


def _parts(rows: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS))


def _row(fact: NewFact, moment: str) -> tuple[object, ...]:
    return (*_head(fact, moment), fact.arrival.raw)


def _head(fact: NewFact, moment: str) -> tuple[object, ...]:
    """A fact without its bytes."""
    a = fact.arrival
    last_updated = instant_text(a.last_updated) if a.last_updated is not None else None
    head = (*resource_of(a), a.target, fact.patient, a.interaction, a.via, a.version)
    return (*head, last_updated, fact.content_hash, moment)


def _latest(resource: Resource, row: Sequence[Any], named: Iterable[Sequence[Any]]) -> Latest:
    seq, version, content_hash, interaction, via, patient = row
    return Latest(version, content_hash, interaction, via, patient, concerned_by(resource, named), seq=seq)


# --- PostgreSQL: one statement a step for the whole group, because each costs a round trip; it takes the rows as one
# --- JSON array, so that groups of every size share a prepared statement and the driver writes no array item by item

_PG_LOCK = "SELECT pg_advisory_xact_lock(number) FROM unnest(%s::bigint[]) AS number"
_PG_LATEST = """
SELECT wanted.source, wanted.resource_type, wanted.resource_id, newest.*, (
  SELECT jsonb_agg(DISTINCT jsonb_build_array(named.target, named.patient)) FROM facts AS named
  WHERE named.source = wanted.source AND named.resource_type = wanted.resource_type
    AND named.resource_id = wanted.resource_id)
FROM json_to_recordset(%s::json) AS wanted (source text, resource_type text, resource_id text)
CROSS JOIN LATERAL (
  SELECT seq, version, content_hash, interaction, via, patient FROM facts
  WHERE facts.source = wanted.source AND facts.resource_type = wanted.resource_type
    AND facts.resource_id = wanted.resource_id
  ORDER BY seq DESC LIMIT 1) AS newest
"""
_RESOURCE = ("source", "resource_type", "resource_id")
_PG_OWNERS = """
SELECT ledger.target, ledger.resource_type, ledger.ehr_id, max(patient) FROM ledger
JOIN json_to_recordset(%s::json) AS wanted (target text, resource_type text, ehr_id text)
  ON ledger.target = wanted.target AND ledger.resource_type = wanted.resource_type AND ledger.ehr_id = wanted.ehr_id
GROUP BY ledger.target, ledger.resource_type, ledger.ehr_id
"""
_OWNED = ("target", "resource_type", "ehr_id")
_PG_INSERT = """
INSERT INTO facts (source, resource_type, resource_id, target, patient, interaction, via, version, last_updated,
  content_hash, received_at, raw)
SELECT source, resource_type, resource_id, target, patient, interaction, via, version, last_updated, content_hash,
  received_at, raw
FROM ROWS FROM (
  json_to_recordset(%s::json) AS (source text, resource_type text, resource_id text, target text, patient text,
    interaction text, via text, version text, last_updated timestamptz, content_hash text, received_at timestamptz),
  unnest(%b::bytea[])) WITH ORDINALITY AS arrived (source, resource_type, resource_id, target, patient, interaction,
    via, version, last_updated, content_hash, received_at, raw, place)
ORDER BY place
RETURNING seq
"""
_FACT = (
    *_RESOURCE,
    "target",
    "patient",
    "interaction",
    "via",
    "version",
    "last_updated",
    "content_hash",
    "received_at",
)
_PG_PUT = """
INSERT INTO agenda (target, patient, seq, due_at, first_due_at, reasons, attempts, fence)
SELECT target, patient, 1, due_at, due_at, reason, 0, 0
FROM ROWS FROM (json_to_recordset(%s::json) AS (target text, patient text, due_at timestamptz, reason text))
  WITH ORDINALITY AS due (target, patient, due_at, reason, place)
ORDER BY place
""" + _ON_CONFLICT.replace("%", "%%")
_DUE = ("target", "patient", "due_at", "reason")


def lock_postgres(connection: psycopg.Connection[Any], arrivals: Iterable[Arrival]) -> None:
    """Keep every other writer of these resources out until the transaction ends, always in the same order.

    Only so is the order of ``seq`` within one id the order of commits, and two hosts cannot both find an arrival new.
    """
    numbers = sorted({_lock_number(arrival) for arrival in arrivals})
    connection.execute(_PG_LOCK, [numbers], prepare=True)


def append_postgres(
    connection: psycopg.Connection[Any],
    arrivals: Sequence[Arrival],
    now: datetime,
    *,
    spare: frozenset[tuple[str, str]] = frozenset(),
) -> list[Receipt]:
    """Append to PostgreSQL inside the caller's transaction, which must hold :func:`lock_postgres`."""
    decided = plan(arrivals, _latest_postgres(connection, arrivals), _owners_postgres(connection, arrivals))
    if not decided.new:
        return decided.receipts(())
    rows = [_head(fact, instant_text(now)) for fact in decided.new]
    inserted = _execute_postgres(connection, _PG_INSERT, _FACT, rows, [fact.arrival.raw for fact in decided.new])
    due = (AgendaEntry(target=target, patient=patient, due_at=now, reason=ARRIVED) for target, patient in decided.due)
    put_postgres(connection, [entry for entry in due if (entry.target, entry.patient) not in spare])
    return decided.receipts([seq for (seq,) in inserted.fetchall()])


def put_postgres(connection: psycopg.Connection[Any], entries: Iterable[AgendaEntry]) -> None:
    """Put patients on the agenda inside the caller's transaction; rows are locked in the order of their keys."""
    rows = sorted((entry.target, entry.patient, instant_text(entry.due_at), entry.reason) for entry in entries)
    if rows:
        _execute_postgres(connection, _PG_PUT, _DUE, rows)


def _latest_postgres(connection: psycopg.Connection[Any], arrivals: Iterable[Arrival]) -> dict[Resource, Latest]:
    wanted = list({resource_of(arrival) for arrival in arrivals})
    found: dict[Resource, Latest] = {}
    for source, type_, id_, *row, named in _execute_postgres(connection, _PG_LATEST, _RESOURCE, wanted).fetchall():
        resource = (source, type_, id_)
        found[resource] = _latest(resource, row, named)
    return found


def _owners_postgres(connection: psycopg.Connection[Any], arrivals: Iterable[Arrival]) -> dict[Owned, str]:
    wanted = sorted(unowned(arrivals))
    if not wanted:
        return {}
    rows = _execute_postgres(connection, _PG_OWNERS, _OWNED, wanted).fetchall()
    return {(target, type_, id_): patient for target, type_, id_, patient in rows}


def _execute_postgres(
    connection: psycopg.Connection[Any],
    statement: str,
    names: Sequence[str],
    rows: Iterable[Sequence[object]],
    *more: Sequence[bytes],
) -> psycopg.Cursor[Any]:
    """Execute a statement that takes the rows as JSON objects with these names, and ``more`` as arrays."""
    objects = strict_json.dumps([dict(zip(names, row, strict=True)) for row in rows])
    return connection.execute(statement.encode(), [objects.decode(), *more], prepare=True)


def _lock_number(arrival: Arrival) -> int:
    digest = blake2b("\0".join(resource_of(arrival)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
