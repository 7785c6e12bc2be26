"""Who did what with patient data: appended to, never changed, and every entry bound to the one before it.

The database refuses to change or delete an entry (triggers, see the first migration). Each entry carries a hash of
itself and of the hash before it, so that an entry which somebody changed in the database's files shows. A cut at the
end shows only to those who have kept a later hash elsewhere.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from afterdose.store.columns import instant_text
from afterdose.store.engine import Database
from afterdose.store.rows import AuditEntry
from afterdose.store.schema import audit
from afterdose.store.statements import Driver, Statement, speaks_postgres

BEGINNING = "0" * 64
"""The hash before the first entry."""

_LOCK = 0x61756474
"""Advisory lock of PostgreSQL that lets one writer at a time continue the chain: "audt"."""
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An entry as it is kept. ``at``: when, by the store's clock."""

    id: int
    at: datetime
    entry: AuditEntry
    prev_hash: str
    hash: str


class Audit:
    """The local audit trail, in the shape of FHIR's AuditEvent. Entries name resources, never their content."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def append(self, *entries: AuditEntry) -> None:
        """Add entries, durably, at the time of the store's clock."""
        if entries:
            with self._database.writing() as connection:
                append_entries(connection, entries, self._clock())

    def newest(self, limit: int) -> list[tuple[datetime, AuditEntry]]:
        """The newest entries with their times, newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(audit).order_by(audit.c.id.desc()).limit(limit)).mappings()
            return [(row["at"], AuditEntry(**{name: row[name] for name in _NAMES})) for row in rows]

    def entries(self, since: datetime | None = None) -> Iterator[Kept]:
        """Every entry in the order of the chain, those before ``since`` left out."""
        last = 0
        while True:
            chosen = sa.select(audit).where(audit.c.id > last).order_by(audit.c.id).limit(_AT_ONCE)
            if since is not None:
                chosen = chosen.where(audit.c.at >= since)
            with self._database.reading() as connection:
                rows = [_kept(row) for row in connection.execute(chosen).mappings()]
            yield from rows
            if len(rows) < _AT_ONCE:
                return
            last = rows[-1].id

    def first_broken(self) -> Kept | None:
        """The first entry that is not what was written after the one before it; None where the chain is whole."""
        before = BEGINNING
        for kept in self.entries():
            if kept.prev_hash != before or kept.hash != _hash(before, kept.at, kept.entry):
                return kept
            before = kept.hash
        return None


def append_entries(connection: Connection | Driver, entries: Sequence[AuditEntry], now: datetime) -> None:
    """Add entries in a transaction that writes something else too; nobody else adds any until it ends."""
    if not entries:
        return
    if speaks_postgres(connection):
        _CONTINUE_ALONE.rows(connection)
    before = _NEWEST_HASH.scalar(connection) or BEGINNING
    rows = []
    for entry in entries:
        digest = _hash(before, now, entry)
        rows.append({"at": now, "prev_hash": before, "hash": digest} | _told(entry))
        before = digest
    _ADD.run_all(connection, rows)


_CONTINUE_ALONE = Statement(sa.select(sa.cast(sa.func.pg_advisory_xact_lock(_LOCK), sa.Text)))
_NEWEST_HASH = Statement(sa.select(audit.c.hash).order_by(audit.c.id.desc()).limit(1))


def _hash(before: str, at: datetime, entry: AuditEntry) -> str:
    told = {"prev_hash": before, "at": instant_text(at)} | _told(entry)
    return sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _told(entry: AuditEntry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in _NAMES}


def _kept(row: Any) -> Kept:
    entry = AuditEntry(**{name: row[name] for name in _NAMES})
    return Kept(id=row["id"], at=row["at"], entry=entry, prev_hash=row["prev_hash"], hash=row["hash"])


_NAMES = tuple(AuditEntry.__dataclass_fields__)
_ADD = Statement(sa.insert(audit), columns=("at", "prev_hash", "hash", *_NAMES))
