"""The database of this process: transactions that read, that write, and that bypass SQLAlchemy for speed.

What differs between the two databases is in ``sqlite`` and in ``postgres``.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, make_url

from afterdose.core.errors import StoreUnusable
from afterdose.store import postgres, schema, sqlite
from afterdose.store.checkpoints import Checkpoints
from afterdose.store.errors import MIGRATE, translated
from afterdose.store.statements import Driver


class Database:
    """One database as this process sees it: a pool of connections, and the writer's lock of an SQLite file."""

    def __init__(self, url: str) -> None:
        parsed = _known_driver(url)
        self.url = parsed
        self.path = sqlite.path_of(parsed) if parsed.get_backend_name() == "sqlite" else None
        if self.path is not None:
            sqlite.make_private(self.path)
            self._in_use: int | None = sqlite.join(self.path)
            self._lock: sqlite.WriterLock | None = sqlite.WriterLock(sqlite.beside(self.path, "writer-lock"))
            self.engine = sqlite.engine(parsed)
            self._checkpoints: Checkpoints | None = Checkpoints(self.connect_sqlite, self.writer_lock)
            self.place: sqlite.Place | None = sqlite.Place(self.path)
        else:
            self._lock = self._in_use = self._checkpoints = self.place = None
            self.engine = postgres.engine(parsed)
        self._writing = self.engine.execution_options(**{sqlite.WRITES: True})
        self._idle: list[sqlite3.Connection] = []

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection in a transaction that only reads."""
        with translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a transaction that writes; committed durably at the end of the block."""
        with translated(), self.writer_lock(), self._writing.begin() as connection:
            yield connection
        self.committed()

    def committed(self) -> None:
        """Say that a transaction was committed on a connection that wrote."""
        if self._checkpoints is not None:
            self._checkpoints.committed()

    @contextmanager
    def asking(self) -> Iterator[Driver]:
        """Like ``reading``, for :mod:`~afterdose.store.statements`: a connection of the driver."""
        with translated(), self._lent("BEGIN") as driver:
            yield driver

    @contextmanager
    def telling(self) -> Iterator[Driver]:
        """Like ``writing``, for :mod:`~afterdose.store.statements`; committed durably at the end of the block."""
        with translated(), self.writer_lock(), self._lent("BEGIN IMMEDIATE") as driver:
            yield driver
            driver.commit()
        self.committed()

    @contextmanager
    def _lent(self, begin: str) -> Iterator[Driver]:
        """A connection in a transaction, of which what was not committed in the block is rolled back.

        Of SQLite they are kept here, because SQLAlchemy's pool would take longer than what is asked.
        """
        if self.path is None:
            with self._lent_by_pool() as pooled:
                yield pooled
            return
        try:
            driver = self._idle.pop()
        except IndexError:
            driver = self.connect_sqlite()
        try:
            driver.execute(begin)
            yield driver
        finally:
            if driver.in_transaction:
                driver.rollback()
            self._idle.append(driver)

    @contextmanager
    def _lent_by_pool(self) -> Iterator[Driver]:
        lent = self.engine.raw_connection()
        driver: Any = lent.driver_connection
        try:
            yield driver
        except BaseException as error:
            if driver.broken:
                lent.invalidate(error)
            raise
        finally:
            lent.close()

    @contextmanager
    def writer_lock(self) -> Iterator[None]:
        """Hold the right to write; at once on PostgreSQL."""
        if self._lock is None:
            yield
        else:
            with self._lock.held():
                yield

    def connect_sqlite(self) -> sqlite3.Connection:
        """A connection of the driver itself, outside the pool."""
        with translated():
            return sqlite.connect(sqlite.path_of(self.url))

    def connect_postgres(self) -> psycopg.Connection[tuple[object, ...]]:
        """A connection of the driver itself, outside the pool, in autocommit."""
        with translated():
            return postgres.connect(self.url)

    def revision(self) -> str | None:
        """The Alembic revision of the schema, None where there is none."""
        with self.reading() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()

    def check_encoding(self) -> None:
        """Raise StoreUnusable where a PostgreSQL database could not keep every text that an EHR sends."""
        if self.path is not None:
            return
        with self.reading() as connection:
            encoding = connection.execute(sa.text("SELECT current_setting('server_encoding')")).scalar()
        if encoding != "UTF8":
            raise StoreUnusable(
                f"the database has the encoding {encoding}, this program needs UTF8: create the database with "
                "`createdb --encoding=UTF8 --template=template0`"
            )

    def check_schema(self) -> None:
        """Raise StoreUnusable where the schema is not the one that this program knows."""
        self.check_encoding()
        found = self.revision()
        if found is not None and found > schema.REVISION:
            raise StoreUnusable(
                f"the database has schema {found} of a newer program, this one knows {schema.REVISION}: use that one"
            )
        if found != schema.REVISION:
            raise StoreUnusable(
                f"the database has schema {found or 'none'}, this program needs {schema.REVISION}: {MIGRATE}"
            )

    def check_writable(self) -> None:
        """Raise StoreBusy or StoreUnusable where nothing can be stored now: locked, full, read-only, replaced."""
        if self.place is not None:
            self.place.check()
        with self.telling() as driver:
            driver.execute("DELETE FROM agenda WHERE 1 = 0" if self.path is None else "PRAGMA user_version = 0")

    def close(self) -> None:
        """Close every connection."""
        if self._checkpoints is not None:
            self._checkpoints.close()
        self.engine.dispose()
        while self._idle:
            self._idle.pop().close()
        if self._lock is not None:
            self._lock.close()
        if self._in_use is not None:
            os.close(self._in_use)


def database_path(url: str) -> Path | None:
    """The file of an SQLite database, None for another one."""
    parsed = _known_driver(url)
    return sqlite.path_of(parsed) if parsed.get_backend_name() == "sqlite" else None


def _known_driver(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ValueError, sa.exc.ArgumentError):  # their texts hold the password
        raise StoreUnusable(
            "the database URL cannot be read; special characters of a password are written as %XX"
        ) from None
    driver = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}.get(parsed.get_backend_name())
    if driver is None:
        raise StoreUnusable("the database URL must begin with sqlite:/// or postgresql://")
    return parsed.set(drivername=driver)
