"""Connections: how this process reaches the database, and who may write when.

SQLite: write-ahead log, ``synchronous=FULL`` (a commit that returned has been synced to disk), and one writer at a time
on the host. Writers queue at a file lock before ``BEGIN IMMEDIATE``, because writers that race for SQLite's own lock
sleep and starve (measured: 99th percentile above 300 ms instead of below 35). PostgreSQL locks rows by itself.
"""

import fcntl
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url

from afterdose.core.errors import StoreBusy, StoreUnusable
from afterdose.store import schema
from afterdose.store.checkpoints import Checkpoints
from afterdose.store.errors import MIGRATE, translated
from afterdose.store.statements import Driver

PATIENCE = 5.0
"""Seconds that a statement waits for somebody else's lock before StoreBusy."""

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    f"PRAGMA busy_timeout={int(PATIENCE * 1000)}",
    "PRAGMA foreign_keys=ON",
    # A log of 64 MB, should `Checkpoints` not keep up.
    "PRAGMA wal_autocheckpoint=16000",
)
_WRITES = "afterdose_writes"


class WriterLock:
    """Lets one writer of this host at a time at an SQLite file: threads by a lock, processes by a locked file.

    The kernel wakes the process that waits for the file, so writers take turns; whoever polls instead starves.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._threads = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock for the block. Raises StoreBusy where a thread of this process kept it for PATIENCE."""
        if not self._threads.acquire(timeout=PATIENCE):
            raise StoreBusy("another writer kept the database")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)


class Database:
    """One database as this process sees it: a pool of connections, and the writer's lock of an SQLite file."""

    def __init__(self, url: str) -> None:
        parsed = _known_driver(url)
        self.url = parsed
        self.path = _sqlite_path(parsed) if parsed.get_backend_name() == "sqlite" else None
        if self.path is not None:
            _make_private(self.path)
            self._in_use: int | None = _join(self.path)
            self._lock: WriterLock | None = WriterLock(beside(self.path, "writer-lock"))
            self.engine = _sqlite_engine(parsed)
            self._checkpoints: Checkpoints | None = Checkpoints(self.connect_sqlite, self.writer_lock)
        else:
            self._lock = self._in_use = self._checkpoints = None
            self.engine = _postgres_engine(parsed)
        self._writing = self.engine.execution_options(**{_WRITES: True})
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
            connection = sqlite3.connect(str(self.path), isolation_level=None, check_same_thread=False)
            for pragma in _PRAGMAS:
                connection.execute(pragma)
            return connection

    def connect_postgres(self) -> psycopg.Connection[tuple[object, ...]]:
        """A connection of the driver itself, outside the pool, in autocommit."""
        with translated():
            return psycopg.connect(_libpq(self.url), autocommit=True, **_POSTGRES_OPTIONS)

    def revision(self) -> str | None:
        """The Alembic revision of the schema, None where there is none."""
        with self.reading() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()

    def check_schema(self) -> None:
        """Raise StoreUnusable where the schema is not the one that this program knows."""
        found = self.revision()
        if found != schema.REVISION:
            raise StoreUnusable(
                f"the database has schema {found or 'none'}, this program needs {schema.REVISION}: {MIGRATE}"
            )

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


@contextmanager
def kept_from_others(path: Path) -> Iterator[None]:
    """Nobody can open the SQLite database during the block. Raises StoreUnusable where somebody has it open."""
    _make_private(path)
    handle = _in_use(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StoreUnusable("the database is in use: stop every process of afterdose first") from None
    finally:
        os.close(handle)


def database_path(url: str) -> Path | None:
    """The file of an SQLite database, None for another one."""
    parsed = _known_driver(url)
    return _sqlite_path(parsed) if parsed.get_backend_name() == "sqlite" else None


def _join(path: Path) -> int:
    """Be one of those who use the database, until the file is closed."""
    handle = _in_use(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StoreBusy("the database is being restored") from None
    return handle


def _in_use(path: Path) -> int:
    try:
        return os.open(beside(path, "in-use"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnusable(f"the database file cannot be opened ({error.strerror})") from None


def _known_driver(url: str) -> URL:
    parsed = make_url(url)
    driver = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}.get(parsed.get_backend_name())
    if driver is None:
        raise StoreUnusable("the database URL must begin with sqlite:/// or postgresql://")
    return parsed.set(drivername=driver)


def beside(path: Path, suffix: str) -> Path:
    """A file of ours next to the database file."""
    return path.with_name(f"{path.name}.{suffix}")


def _sqlite_path(url: URL) -> Path:
    if not url.database or url.database == ":memory:":
        raise StoreUnusable("the store needs a database file: a database in memory does not outlive a crash")
    return Path(url.database)


def _make_private(path: Path) -> None:
    """Make directory (0700) and file (0600) before SQLite does; its -wal and -shm take over the file's mode."""
    try:
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, parents=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise StoreUnusable(f"the database file cannot be opened ({error.strerror})") from None
    if mode & 0o077:
        raise StoreUnusable("the database file can be read by others: give it mode 0600")


def _sqlite_engine(url: URL) -> Engine:
    engine = sa.create_engine(
        url,
        connect_args={"isolation_level": None, "check_same_thread": False},
        pool_size=16,
        max_overflow=-1,
        hide_parameters=True,
    )

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # the driver starts no transaction by itself (isolation_level None), so that a writer can say IMMEDIATE
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


_POSTGRES_OPTIONS: dict[str, Any] = {
    "connect_timeout": 5,
    "options": f"-c lock_timeout={int(PATIENCE * 1000)} -c timezone=UTC",
    "application_name": "afterdose",
}


def _postgres_engine(url: URL) -> Engine:
    return sa.create_engine(
        url,
        connect_args=_POSTGRES_OPTIONS,
        pool_pre_ping=True,
        pool_size=8,
        max_overflow=24,
        pool_timeout=PATIENCE,
        hide_parameters=True,
    )


def _libpq(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)
