"""INSERT ... ON CONFLICT DO UPDATE, which SQLAlchemy spells by dialect."""

from collections.abc import Sequence
from functools import cache

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from afterdose.store.statements import Driver, Statement


def upsert(connection: Connection | Driver, table: sa.Table, rows: Sequence[dict[str, object]]) -> None:
    """Insert rows, or replace the columns named in them where the primary key exists."""
    if rows:
        _statement(table, tuple(rows[0])).run_all(connection, rows)


@cache
def _statement(table: sa.Table, columns: tuple[str, ...]) -> Statement:
    keys = {column.name for column in table.primary_key}
    others = [name for name in columns if name not in keys]
    lite, pg = sqlite.insert(table), postgresql.insert(table)
    return Statement(
        lite.on_conflict_do_update(table.primary_key, set_={name: lite.excluded[name] for name in others}),
        postgres=pg.on_conflict_do_update(table.primary_key, set_={name: pg.excluded[name] for name in others}),
        columns=columns,
    )
