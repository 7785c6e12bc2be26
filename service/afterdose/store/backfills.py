"""How far each export has been taken in, so that a backfill that was stopped goes on where it was."""

from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa

from afterdose.store.engine import Database
from afterdose.store.schema import backfills
from afterdose.store.upsert import upsert

_c = backfills.c


class Backfills:
    """One row a file and source; a file is known by the SHA-256 of its bytes, in hexadecimal."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def position(self, source: str, file: str) -> int:
        """How many lines of a file are stored."""
        chosen = sa.select(_c.lines).where(_c.source == source, _c.file == file)
        with self._database.reading() as connection:
            return connection.execute(chosen).scalar() or 0

    def reached(self, source: str, file: str, lines: int) -> None:
        """Remember that so many lines of a file are stored."""
        row: dict[str, object] = {"source": source, "file": file, "lines": lines, "updated_at": self._clock()}
        with self._database.writing() as connection:
            upsert(connection, backfills, [row])
