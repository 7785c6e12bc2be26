"""Bytes of authenticated senders that were refused: the sender will not try again, a person may have to look."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from afterdose.core.errors import Problem
from afterdose.store.engine import Database
from afterdose.store.rows import Refused
from afterdose.store.schema import quarantine

_c = quarantine.c


class Quarantine:
    """Bounded in number and bytes; the oldest entry makes room for the newest, and is counted."""

    def __init__(self, database: Database, *, max_entries: int = 1_000, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._database = database
        self._max_entries = max_entries
        self._max_bytes = max_bytes

    def keep(
        self, source: str, received_at: datetime, media_type: str | None, body: bytes, problems: Iterable[Problem]
    ) -> None:
        """Keep one refused body. The newest is always kept, so bodies have to be bounded before.

        One that is kept already takes the newest place: senders that try for ever shall not push out the others.
        """
        row = {
            "source": source,
            "received_at": received_at,
            "media_type": media_type,
            "body": body,
            "size": len(body),
            "problems": [asdict(problem) for problem in problems],
        }
        with self._database.writing() as connection:
            dropped = self._dropped(connection)
            same = sa.and_(_c.source == source, _c.size == len(body), _c.body == body)
            connection.execute(sa.delete(quarantine).where(same))
            dropped += self._make_room(connection, len(body))
            connection.execute(sa.insert(quarantine).values(row | {"dropped": dropped}))

    def newest(self, limit: int) -> list[Refused]:
        """The newest entries, newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(quarantine).order_by(_c.id.desc()).limit(limit)).mappings()
            return [_refused(row) for row in rows]

    def find(self, id_: int) -> Refused | None:
        """One entry; None where there is none under that number."""
        with self._database.reading() as connection:
            row = connection.execute(sa.select(quarantine).where(_c.id == id_)).mappings().first()
            return _refused(row) if row is not None else None

    def drop(self, id_: int) -> None:
        """Forget one entry that is done with. How many were dropped for lack of room stays known while any is kept."""
        with self._database.writing() as connection:
            dropped = self._dropped(connection)
            connection.execute(sa.delete(quarantine).where(_c.id == id_))
            newest = sa.select(sa.func.max(_c.id)).scalar_subquery()
            connection.execute(sa.update(quarantine).where(_c.id == newest).values(dropped=dropped))

    def counts(self) -> tuple[int, int]:
        """How many entries are kept, and how many were ever dropped to make room."""
        with self._database.reading() as connection:
            kept = connection.execute(sa.select(sa.func.count()).select_from(quarantine)).scalar_one()
            return kept, self._dropped(connection)

    def _dropped(self, connection: Connection) -> int:
        newest = sa.select(_c.dropped).order_by(_c.id.desc()).limit(1)
        return connection.execute(newest).scalar() or 0

    def _make_room(self, connection: Connection, size: int) -> int:
        kept, total = connection.execute(sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(_c.size), 0))).one()
        drop: list[int] = []
        for row in connection.execute(sa.select(_c.id, _c.size).order_by(_c.id)):
            if kept - len(drop) < self._max_entries and total + size <= self._max_bytes:
                break
            drop.append(row.id)
            total -= row.size
        connection.execute(sa.delete(quarantine).where(_c.id.in_(drop)))
        return len(drop)


def _refused(row: Mapping[Any, Any]) -> Refused:
    return Refused(
        id=row["id"],
        source=row["source"],
        received_at=row["received_at"],
        media_type=row["media_type"],
        body=row["body"],
        problems=tuple(Problem(**problem) for problem in row["problems"]),
    )
