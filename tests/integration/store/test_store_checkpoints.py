"""The log of an SQLite database is moved into the database file beside the commits, not within one."""

import itertools
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from store_examples import arrival

from afterdose.core.errors import StoreBusy
from afterdose.store.checkpoints import COMMITS, Checkpoints
from afterdose.store.engine import Database
from afterdose.store.migrate import migrate
from afterdose.store.store import Store, open_store

SENT = b"x" * 10_000


@pytest.fixture
def file(sqlite_url: str) -> Path:
    migrate(sqlite_url)
    return Path(sqlite_url.removeprefix("sqlite:///"))


@pytest.fixture
def opened(sqlite_url: str, file: Path, clock: Callable[[], object]) -> Iterator[Store]:
    with closing(open_store(sqlite_url, clock=clock)) as store:
        yield store


def commit(store: Store, times: int, *, first: int = 0) -> None:
    for number in range(first, first + times):
        store.committer.submit([arrival(f"dose-{number}", raw=SENT)])


def grown(file: Path, size: int) -> bool:
    until = time.monotonic() + 20
    while file.stat().st_size < size and time.monotonic() < until:
        time.sleep(0.01)
    return file.stat().st_size >= size


def test_what_was_committed_reaches_the_database_file_while_the_store_is_open(opened: Store, file: Path) -> None:
    before = file.stat().st_size

    commit(opened, COMMITS)

    assert grown(file, before + COMMITS // 2 * len(SENT))


def test_the_log_begins_anew_instead_of_growing_with_everything_that_is_written(opened: Store, file: Path) -> None:
    log = file.with_name(f"{file.name}-wal")
    commit(opened, COMMITS)
    until = time.monotonic() + 20
    for number in itertools.count(COMMITS):
        size = log.stat().st_size
        commit(opened, 1, first=number)
        if log.stat().st_size == size:
            break
        assert time.monotonic() < until, "the log only grew"


def test_a_checkpoint_that_could_not_be_made_is_made_the_next_time(file: Path, sqlite_url: str) -> None:
    asked, made = threading.Event(), threading.Event()
    with closing(Database(sqlite_url)) as database:

        def connect() -> sqlite3.Connection:
            if not asked.is_set():
                asked.set()
                raise StoreBusy("the database is busy")
            made.set()
            return database.connect_sqlite()

        with closing(Checkpoints(connect, database.writer_lock)) as checkpoints:
            for done in (asked, made):
                for _ in range(COMMITS):
                    checkpoints.committed()
                assert done.wait(20)


def test_who_reads_meanwhile_sees_what_was_there_and_stops_nobody(opened: Store, file: Path, sqlite_url: str) -> None:
    commit(opened, 1)
    with closing(Database(sqlite_url)) as other, other.reading() as connection:
        count = "SELECT count(*) FROM facts"
        assert connection.exec_driver_sql(count).scalar() == 1
        commit(opened, COMMITS, first=1)
        assert connection.exec_driver_sql(count).scalar() == 1
    assert opened.facts.count() == COMMITS + 1
