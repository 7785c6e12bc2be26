"""Resources that a source named and that are still to be read: orders, visits, encounters, people."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from afterdose.store.engine import Database
from afterdose.store.schema import unread
from afterdose.store.upsert import upsert

_c = unread.c


@dataclass(frozen=True, slots=True)
class Unread:
    """One of them. ``told_at``: when it was named last; ``attempts``: to read it, since then."""

    source: str
    resource_type: str
    resource_id: str
    told_at: datetime
    attempts: int


class UnreadNames:
    """One row a resource, however often it is named."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def keep(self, source: str, names: Collection[tuple[str, str]]) -> None:
        """Remember that resources (type, id) were named; durable on return."""
        if not names:
            return
        now = self._clock()
        rows: list[dict[str, object]] = [
            {"source": source, "resource_type": type_, "resource_id": id_, "told_at": now, "due_at": now, "attempts": 0}
            for type_, id_ in names
        ]
        with self._database.writing() as connection:
            upsert(connection, unread, rows)

    def due(self, source: str, limit: int) -> list[Unread]:
        """What is to be read now, what was named first at the beginning."""
        chosen = sa.select(unread).where(_c.source == source, _c.due_at <= self._clock())
        with self._database.reading() as connection:
            rows = connection.execute(chosen.order_by(_c.told_at, _c.resource_type, _c.resource_id).limit(limit))
            return [Unread(r.source, r.resource_type, r.resource_id, r.told_at, r.attempts) for r in rows]

    def done(self, one: Unread) -> None:
        """Forget it, if it was not named again meanwhile."""
        with self._database.writing() as connection:
            connection.execute(sa.delete(unread).where(_is(one)))

    def later(self, one: Unread, until: datetime) -> None:
        """Try again then."""
        with self._database.writing() as connection:
            connection.execute(sa.update(unread).where(_is(one)).values(due_at=until, attempts=one.attempts + 1))


def _is(one: Unread) -> sa.ColumnElement[bool]:
    named = sa.and_(_c.source == one.source, _c.resource_type == one.resource_type, _c.resource_id == one.resource_id)
    return sa.and_(named, _c.told_at == one.told_at)
