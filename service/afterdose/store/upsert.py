"""INSERT ... ON CONFLICT DO UPDATE, which SQLAlchemy spells by dialect."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection


def upsert(connection: Connection, table: sa.Table, rows: Sequence[dict[str, object]]) -> None:
    """Insert rows, or replace the columns named in them where the primary key exists."""
    if not rows:
        return
    keys = {column.name for column in table.primary_key}
    others = [name for name in rows[0] if name not in keys]
    if connection.dialect.name == "sqlite":
        lite = sqlite.insert(table)
        connection.execute(
            lite.on_conflict_do_update(table.primary_key, set_={name: lite.excluded[name] for name in others}), rows
        )
    else:
        pg = postgresql.insert(table)
        connection.execute(
            pg.on_conflict_do_update(table.primary_key, set_={name: pg.excluded[name] for name in others}), rows
        )
