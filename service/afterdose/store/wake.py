"""Waking sleeping workers when something became due. Only a hint: workers look again within a second anyway.

SQLite: bytes in a named pipe beside the database, readable by every process of the host. PostgreSQL: NOTIFY, heard by
every host.
"""

import os
import select
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import psycopg

from afterdose.core.errors import StoreError

FALLBACK = 1.0
"""Seconds after which a waiting worker looks again, woken or not."""

_CHANNEL = "afterdose_agenda"


class Wake(Protocol):
    """How workers are woken."""

    def ring(self) -> None:
        """Wake the waiting workers. Never raises: losing a hint costs FALLBACK at most."""

    def wait(self, timeout: float) -> bool:
        """Sleep until woken, at most ``timeout`` seconds and never longer than FALLBACK; whether it was woken."""

    def close(self) -> None:
        """Give up what was opened."""


class PipeWake:
    """A named pipe. Every sleeper sees it become readable; whoever reads first empties it for all."""

    def __init__(self, path: Path) -> None:
        _make_pipe(path)
        # opened for both: never blocks, and the pipe is never without a reader
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def ring(self) -> None:
        """Put a byte in; a full pipe wakes just as well."""
        try:
            os.write(self._pipe, b"!")
        except BlockingIOError:
            return

    def wait(self, timeout: float) -> bool:
        """Sleep until the pipe has something in it."""
        readable, _, _ = select.select([self._pipe], [], [], min(timeout, FALLBACK))
        if not readable:
            return False
        try:
            os.read(self._pipe, 65536)
        except BlockingIOError:
            return True  # another sleeper emptied it; we were woken all the same
        return True

    def close(self) -> None:
        """Close the pipe; it stays for the other processes."""
        os.close(self._pipe)


def _make_pipe(path: Path) -> None:
    """See to a named pipe at ``path``, whoever of several processes that start at the same moment makes it."""
    while True:
        try:
            os.mkfifo(path, 0o600)
        except FileExistsError:
            if not stat.S_ISFIFO(path.stat().st_mode):
                path.unlink(missing_ok=True)
                continue
        return


class NotifyWake:
    """NOTIFY and LISTEN, each on a connection of its own that is opened at first use and again after a failure."""

    def __init__(self, connect: Callable[[], "psycopg.Connection[Any]"]) -> None:
        self._connect = connect
        self._sender: psycopg.Connection[Any] | None = None
        self._sending = threading.Lock()
        self._woken = threading.Condition()
        self._rings = 0
        self._listener: threading.Thread | None = None
        self._closed = threading.Event()

    def ring(self) -> None:
        """NOTIFY outside every transaction that writes: inside one, commits of all hosts would queue for its lock."""
        with self._sending:
            try:
                if self._sender is None:
                    self._sender = self._connect()
                self._sender.execute(f"NOTIFY {_CHANNEL}")
            except (psycopg.Error, StoreError):
                self._sender = None

    def wait(self, timeout: float) -> bool:
        """Sleep until the listening thread hears something."""
        with self._woken:
            if self._listener is None:
                self._listener = threading.Thread(target=self._listen, name="afterdose-wake", daemon=True)
                self._listener.start()
            before = self._rings
            return self._woken.wait_for(lambda: self._rings != before, min(timeout, FALLBACK))

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                with self._connect() as connection:
                    connection.execute(f"LISTEN {_CHANNEL}")
                    while not self._closed.is_set():
                        for _ in connection.notifies(timeout=FALLBACK, stop_after=1):
                            self._heard()
            except (psycopg.Error, StoreError):
                self._closed.wait(FALLBACK)

    def _heard(self) -> None:
        with self._woken:
            self._rings += 1
            self._woken.notify_all()

    def close(self) -> None:
        """Stop listening and close both connections."""
        self._closed.set()
        with self._sending:
            if self._sender is not None:
                self._sender.close()
        if self._listener is not None:
            self._listener.join(2 * FALLBACK)
