"""Bringing a database to the schema of this program."""

from pathlib import Path

import sqlalchemy as sa

from afterdose.store import schema
from afterdose.store.engine import Database

_LOCK = 0x61667464
"""Advisory lock of PostgreSQL that keeps two migrations apart: "aftd"."""


def migrate(url: str) -> None:
    """Apply every migration that is missing, making the database file first where there is none (SQLite).

    All in one transaction: it happens whole or not at all. Safe to run again and from several hosts at once. Raises
    StoreBusy or StoreUnusable.
    """
    database = Database(url)
    try:
        database.check_encoding()
        found = database.revision()
        if found is not None and found >= schema.REVISION:
            database.check_schema()
            return
        with database.writing() as connection:
            if database.path is None:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            _upgrade(connection)
    finally:
        database.close()


def _upgrade(connection: sa.Connection) -> None:
    """Alembic is loaded here alone: at most starts nothing is missing, and a service would hold it till its end."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
