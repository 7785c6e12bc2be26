"""The border where errors of the drivers become errors of afterdose.

Texts are made from the driver's code: a driver's own message can quote the row, except while it connects.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy.exc

from afterdose.core.errors import StoreBusy, StoreError, StoreUnusable

MIGRATE = "run `afterdose migrate`"
PATIENCE = 5.0
"""Seconds that a statement waits for somebody else's lock before StoreBusy."""

_SQLITE_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT}
_SQLITE_UNUSABLE = {
    sqlite3.SQLITE_FULL: "there is no space left",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_CORRUPT: "it is damaged; restore a backup",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database",
    sqlite3.SQLITE_IOERR: "reading or writing failed",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_PERM: "access is denied",
    sqlite3.SQLITE_NOMEM: "there is no memory left",
    sqlite3.SQLITE_NOLFS: "the file is too large for this host",
}
# SQLSTATE classes and codes: https://www.postgresql.org/docs/15/errcodes-appendix.html
_PG_BUSY = ("08", "40", "53300", "55P03", "57014", "57P01", "57P02", "57P03")
_PG_UNUSABLE = {
    "25006": "it is read-only",
    "42501": "access is denied",
    "53": "there is no space or memory left",
    "58": "reading or writing failed",
    "XX": "it is damaged or failed inside",
}
_PG_WRONG_SCHEMA = {"42P01", "42703", "3F000"}


def store_error(error: BaseException) -> StoreError:
    """The error of afterdose that a driver's (or SQLAlchemy's) error means."""
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        error = error.orig
    if isinstance(error, sqlalchemy.exc.TimeoutError):
        return StoreBusy("no connection to the database became free in time")
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error)
    if isinstance(error, psycopg.Error):
        return _of_postgres(error)
    return StoreError(f"the database refused a statement ({type(error).__name__})")


def _of_sqlite(error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", None)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    primary = code & 0xFF if code is not None else None
    if primary in _SQLITE_BUSY:
        return StoreBusy(f"the database stayed locked ({name})")
    if primary in _SQLITE_UNUSABLE:
        return StoreUnusable(f"the database cannot be used: {_SQLITE_UNUSABLE[primary]} ({name})")
    if primary == sqlite3.SQLITE_ERROR and str(error).startswith(("no such table", "no such column")):
        return StoreUnusable(f"the database has not the schema of this program: {MIGRATE}")
    return StoreError(f"the database refused a statement ({name})")


def _of_postgres(error: psycopg.Error) -> StoreError:
    state = error.sqlstate
    if state is None and isinstance(error, psycopg.OperationalError):
        return StoreBusy(f"the database server cannot be reached{_why_no_connection(str(error))}")
    if state is None:
        return StoreError(f"the database refused a statement ({type(error).__name__})")
    if state.startswith(_PG_BUSY):
        return StoreBusy(f"the database is busy or going away (SQLSTATE {state})")
    if state in _PG_WRONG_SCHEMA:
        return StoreUnusable(f"the database has not the schema of this program: {MIGRATE}")
    for beginning, meaning in _PG_UNUSABLE.items():
        if state.startswith(beginning):
            return StoreUnusable(f"the database cannot be used: {meaning} (SQLSTATE {state})")
    return StoreError(f"the database refused a statement (SQLSTATE {state})")


def _why_no_connection(said: str) -> str:
    """Where no connection came about, what libpq says of it: there is no code, and no statement yet that held a row."""
    if not said.startswith(("connection failed:", "failed to resolve host")):
        return ""
    first = said.partition("\n")[0]
    return f": {' '.join(first.rpartition(' failed: ')[2].split())}"


@contextmanager
def translated() -> Iterator[None]:
    """Raise StoreBusy, StoreUnusable or StoreError for every error of a driver inside the block."""
    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, psycopg.Error) as error:
        raise store_error(error) from None
