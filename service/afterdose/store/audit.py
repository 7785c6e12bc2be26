"""Who did what with patient data: appended to, never changed."""

from collections.abc import Callable, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from afterdose.store.engine import Database
from afterdose.store.rows import AuditEntry
from afterdose.store.schema import audit


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


def append_entries(connection: Connection, entries: Sequence[AuditEntry], now: datetime) -> None:
    """Add entries in a transaction that writes something else too."""
    if entries:
        rows = [{"at": now} | {name: getattr(entry, name) for name in _NAMES} for entry in entries]
        connection.execute(sa.insert(audit), rows)


_NAMES = tuple(AuditEntry.__dataclass_fields__)
