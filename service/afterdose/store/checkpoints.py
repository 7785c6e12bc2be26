"""Moving what SQLite has committed from its write-ahead log into the database file, while nobody waits.

SQLite by itself does so inside the commit that makes the log too long, and whoever waits for that commit waits for
tens of milliseconds more (https://www.sqlite.org/wal.html, "Checkpointing"). Here a thread of its own does it: a
passive checkpoint lets others write on. What they wrote meanwhile is moved by a second one that nobody can write
beside; it is short, and after it the log begins anew.
"""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, suppress

from afterdose.core.errors import StoreError

COMMITS = 64
"""After so many commits of this process the log is looked after."""


class Checkpoints:
    """Looks after the log of one database. Safe for many threads; its own starts when it is first needed."""

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], writer_lock: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._connect = connect
        self._writer_lock = writer_lock
        self._commits = 0
        self._due = threading.Event()
        self._stopped = False
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def committed(self) -> None:
        """A transaction that wrote has been committed."""
        self._commits += 1
        if self._commits % COMMITS == 0:
            if self._thread is None:
                self._start()
            self._due.set()

    def close(self) -> None:
        """Finish what is under way. What is left in the log stays there, durable, for whoever opens the database."""
        with self._starting:
            self._stopped = True
            thread = self._thread
        if thread is not None:
            self._due.set()
            thread.join()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._stopped:
                self._thread = threading.Thread(target=self._run, name="afterdose-checkpoints", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while self._due.wait() and not self._stopped:
            self._due.clear()
            # What hinders it (another process that does so now, a full disk) is told to who commits; this waits for the
            # next time.
            with suppress(sqlite3.Error, StoreError):
                self._move()

    def _move(self) -> None:
        """Move what is in the log."""
        with closing(self._connect()) as connection:
            if _is_left(connection):
                with self._writer_lock():
                    _is_left(connection)


def _is_left(connection: sqlite3.Connection) -> bool:
    """Move what can be moved without disturbing anybody; whether something is left in the log."""
    busy, in_log, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return not busy and moved < in_log
