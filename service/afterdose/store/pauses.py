"""Targets that people have paused: what is received for them is kept, and nothing is read or written for them."""

from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa

from afterdose.store.engine import Database
from afterdose.store.schema import pauses
from afterdose.store.statements import Statement
from afterdose.store.wake import Wake

_c = pauses.c


class Pauses:
    """One row a paused target; it holds for every process, and outlasts them."""

    def __init__(self, database: Database, wake: Wake, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._wake = wake
        self._clock = clock

    def pause(self, target: str) -> bool:
        """Pause a target; False where it was paused already."""
        with self._database.writing() as connection:
            if connection.execute(sa.select(_c.since).where(_c.target == target)).first() is not None:
                return False
            connection.execute(sa.insert(pauses).values(target=target, since=self._clock()))
        return True

    def resume(self, target: str) -> bool:
        """Let the work for a target go on; False where it was not paused."""
        with self._database.writing() as connection:
            gone = connection.execute(sa.delete(pauses).where(_c.target == target)).rowcount
        self._wake.ring()
        return gone == 1

    def all(self) -> dict[str, datetime]:
        """The paused targets, and since when they are."""
        with self._database.asking() as driver:
            return {row["target"]: row["since"] for row in _ALL.rows(driver)}


_ALL = Statement(sa.select(pauses).order_by(_c.target))
