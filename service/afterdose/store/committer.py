"""Group commit: what several senders wait for is written and synced to disk once.

One thread a process writes. While it waits for the disk (or for another process of the host), arrivals collect; then
it takes them all in one transaction and answers every sender after the commit. Nobody is answered before.
"""

import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Protocol

import psycopg

from afterdose.core.errors import StoreBusy, StoreError, StoreUnusable
from afterdose.store.append import append_postgres, append_sqlite, lock_postgres
from afterdose.store.engine import Database
from afterdose.store.errors import PATIENCE, translated
from afterdose.store.rows import Arrival, Receipt
from afterdose.store.sqlite import Place
from afterdose.store.wake import Wake

GROUP = 256
"""Arrivals in one transaction, about: a bundle is never split."""


class _Submission:
    """The arrivals of one sender and where its answer will stand."""

    __slots__ = ("answer", "arrivals", "done")

    def __init__(self, arrivals: Sequence[Arrival]) -> None:
        self.arrivals = arrivals
        self.answer: list[Receipt] | StoreError | None = None
        self.done = threading.Lock()
        self.done.acquire()


class Committer:
    """Stores arrivals durably. Safe for many threads; the writing thread starts with the first submit."""

    def __init__(self, database: Database, wake: Wake, clock: Callable[[], datetime]) -> None:
        self._database = database
        place = database.place
        self._group: _Group = _PostgresGroup(database) if place is None else _SqliteGroup(database, place)
        self._wake = wake
        self._clock = clock
        self._waiting: queue.SimpleQueue[_Submission | None] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, arrivals: Sequence[Arrival]) -> list[Receipt]:
        """Return when the arrivals are on disk, all or none of them; one receipt each.

        Raises StoreBusy or StoreUnusable; then the sender must not be told that anything was kept. It may have been
        kept all the same, which does no harm: the same arrival again is a duplicate.
        """
        if not arrivals:
            return []
        if self._thread is None or self._closed or not self._thread.is_alive():
            self._start()
        submission = _Submission(arrivals)
        self._waiting.put(submission)
        if not submission.done.acquire(timeout=2 * PATIENCE):
            raise StoreBusy("the database took too long")
        if isinstance(submission.answer, list):
            return submission.answer
        raise submission.answer or StoreError("the store was closed")

    def close(self) -> None:
        """Write what waits, then stop."""
        with self._starting:
            self._closed = True
            thread = self._thread
        if thread is not None:
            self._waiting.put(None)
            thread.join()

    def _start(self) -> None:
        with self._starting:
            if self._closed:
                raise StoreError("the store was closed")
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name="afterdose-committer", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        running = True
        while running:
            first = self._waiting.get()
            if first is None:
                break
            group = [first]
            try:
                with self._database.writer_lock():
                    running = self._collect(group)
                    answers = self._store(group)
            except StoreError as error:
                answers = [_again(error) for _ in group]
            for submission, answer in zip(group, answers, strict=True):
                submission.answer = answer
                submission.done.release()
            if any(isinstance(answer, list) for answer in answers):
                self._wake.ring()
        self._group.close()

    def _collect(self, group: list[_Submission]) -> bool:
        """Add everything that waits; False where the store was closed meanwhile."""
        arrivals = len(group[0].arrivals)
        while arrivals < GROUP:
            try:
                submission = self._waiting.get_nowait()
            except queue.Empty:
                return True
            if submission is None:
                return False
            group.append(submission)
            arrivals += len(submission.arrivals)
        return True

    def _store(self, group: Sequence[_Submission]) -> list[list[Receipt] | StoreError]:
        """Store a group in one transaction; where one arrival spoils it, each submission in its own."""
        arrivals = [arrival for submission in group for arrival in submission.arrivals]
        try:
            with translated():
                receipts = iter(self._group.write(arrivals, self._clock()))
        except (StoreBusy, StoreUnusable) as error:
            return [_again(error) for _ in group]
        except (StoreError, ValueError, ArithmeticError) as error:
            if len(group) == 1:
                return [StoreError(f"an arrival cannot be stored ({type(error).__name__})")]
            return [answer for submission in group for answer in self._store([submission])]
        return [list(islice(receipts, len(submission.arrivals))) for submission in group]


def _again(error: StoreError) -> StoreError:
    """The same error for one more sender: an exception belongs to the thread that raises it."""
    return type(error)(*error.args)


class _Group(Protocol):
    """How one database takes a group of arrivals."""

    def write(self, arrivals: Sequence[Arrival], now: datetime) -> list[Receipt]:
        """Append and commit. After an error nothing of the group is stored, as far as can be known."""

    def close(self) -> None:
        """Close the connection."""


class _SqliteGroup:
    def __init__(self, database: Database, place: Place) -> None:
        self._database = database
        self._place = place
        self._connection: sqlite3.Connection | None = None

    def write(self, arrivals: Sequence[Arrival], now: datetime) -> list[Receipt]:
        self._place.check()
        if self._connection is None:
            self._connection = self._database.connect_sqlite()
            self._log = self._place.log()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            receipts = append_sqlite(self._connection, arrivals, now)
            self._connection.execute("COMMIT")
            self._place.check(self._log)
        except BaseException:
            self.close()
            raise
        self._database.committed()
        return receipts

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()  # ends what was not committed
            self._connection = None


class _PostgresGroup:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: psycopg.Connection[Any] | None = None

    def write(self, arrivals: Sequence[Arrival], now: datetime) -> list[Receipt]:
        if self._connection is not None:
            try:
                return self._once(self._connection, arrivals, now)
            except psycopg.OperationalError:
                # the server may have been restarted; what was stored all the same is found as a duplicate
                self.close()
        self._connection = self._database.connect_postgres()
        return self._once(self._connection, arrivals, now)

    def _once(self, connection: psycopg.Connection[Any], arrivals: Sequence[Arrival], now: datetime) -> list[Receipt]:
        try:
            with connection.pipeline():
                connection.execute("BEGIN")
                lock_postgres(connection, arrivals)
                receipts = append_postgres(connection, arrivals, now)
                connection.execute("COMMIT")
        except BaseException:
            self.close()
            raise
        return receipts

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
