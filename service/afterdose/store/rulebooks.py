"""By which rules each target's patients were last put on the agenda as a whole."""

from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa

from afterdose.store.engine import Database
from afterdose.store.schema import rulebooks


class Rulebooks:
    """One row a target: the fingerprint of the rules in force, and since when they are."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def adopt(self, target: str, fingerprint: str) -> bool:
        """Put rules into force; whether others were before. Of several processes that ask, one is told so."""
        mine = rulebooks.c.target == target
        with self._database.writing() as connection:
            asked = sa.select(rulebooks.c.fingerprint).where(mine).with_for_update()
            before = connection.execute(asked).scalar()
            values = {"fingerprint": fingerprint, "since": self._clock()}
            if before is None:
                connection.execute(sa.insert(rulebooks).values(target=target, **values))
            elif before != fingerprint:
                connection.execute(sa.update(rulebooks).where(mine).values(values))
        return before not in (None, fingerprint)
