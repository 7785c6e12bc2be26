"""INSERT ... ON CONFLICT DO UPDATE, which SQLAlchemy spells by dialect."""

from collections.abc import Sequence
from functools import cache

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection


def upsert(connection: Connection, table: sa.Table, rows: Sequence[dict[str, object]]) -> None:
    """Insert rows, or replace the columns named in them where the primary key exists."""
    if rows:
        connection.execute(_statement(connection.dialect.name, table, tuple(rows[0])), rows)


@cache
def _statement(dialect: str, table: sa.Table, columns: tuple[str, ...]) -> sa.Insert:
    keys = {column.name for column in table.primary_key}
    others = [name for name in columns if name not in keys]
    if dialect == "sqlite":
        lite = sqlite.insert(table)
        return lite.on_conflict_do_update(table.primary_key, set_={name: lite.excluded[name] for name in others})
    pg = postgresql.insert(table)
    return pg.on_conflict_do_update(table.primary_key, set_={name: pg.excluded[name] for name in others})
