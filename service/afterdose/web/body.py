"""Reads the body of a request within a limit of size and of time."""

import threading
import time
from datetime import timedelta
from queue import SimpleQueue
from typing import Protocol

from werkzeug.wrappers import Request

from afterdose.core.errors import BadInput, Problem

_PIECE = 65_536
# A sender that is cut off while it still sends does not see our answer; up to here we let it finish.
_MOST_DISCARDED = 67_108_864
# Where the body of a request is kept in its environment once it has been read.
_READ = "afterdose.body"


class _Stream(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class BodyReader:
    """Reads bodies in threads of its own: the server's stream has no timeout, and a silent sender must not hold one.

    A thread that waits for a silent sender is free again when our answer closes the connection. Threads are started
    when all that there are wait for senders: ordinary bodies need very few.
    """

    def __init__(self, limit: int, timeout: timedelta, threads: int) -> None:
        """``threads``: at most."""
        self._limit = limit
        self._seconds = timeout.total_seconds()
        self._to_start = threads
        self._starting = threading.Lock()
        self._idle = threading.Semaphore(0)
        self._asked: SimpleQueue[_Reading] = SimpleQueue()

    def read(self, request: Request, *, limit: int | None = None) -> bytes:
        """The body, the same to whoever asks again. ``limit``: of its sender, where that is less than ours.

        Raises BadInput with 413 (too large), 408 (too slow), 400 (shorter than declared) or 501 (packed on the way).
        """
        environ = request.environ
        most = self._limit if limit is None else min(limit, self._limit)
        if _READ not in environ:
            environ[_READ] = self._read(request, most)
        body: bytes = environ[_READ]
        if len(body) > most:
            raise _too_large(most)
        return body

    def _read(self, request: Request, most: int) -> bytes:
        environ = request.environ
        if environ.get("HTTP_TRANSFER_ENCODING", "chunked").strip().lower() != "chunked":
            raise BadInput(Problem("not-supported", "", "no transfer coding but chunked is understood"), status=501)
        declared = request.content_length
        stream: _Stream = environ["wsgi.input"]
        if declared is None and not environ.get("wsgi.input_terminated"):
            return b""
        if declared is not None and declared > most:
            if declared <= _MOST_DISCARDED:
                self._within_time(stream, declared, discard=True)
            raise _too_large(most)
        body = self._within_time(stream, most + 1 if declared is None else declared)
        if len(body) > most:
            self._within_time(stream, _MOST_DISCARDED - len(body), discard=True)
            raise _too_large(most)
        if declared is not None and len(body) < declared:
            raise BadInput(Problem("structure", "", "the body is shorter than its Content-Length"))
        return body

    def _within_time(self, stream: _Stream, size: int, *, discard: bool = False) -> bytes:
        reading, end = _Reading(stream, size, discard=discard), time.monotonic() + self._seconds
        if not self._handed_over(reading) or not reading.done.acquire(timeout=max(0.0, end - time.monotonic())):
            reading.given_up = True
            raise BadInput(Problem("timeout", "", "the body did not arrive in time"), status=408)
        if isinstance(reading.answer, Exception):
            raise reading.answer
        return reading.answer

    def _handed_over(self, reading: "_Reading") -> bool:
        """Give it to a thread that waits for one, or to a new one; where there may be no more, to the next that does.

        Whoever puts something into the queue has taken one of ``_idle`` for it, so nothing there is without its thread.
        """
        if not self._idle.acquire(blocking=False):
            if self._start(reading):
                return True
            if not self._idle.acquire(timeout=self._seconds):
                return False
        self._asked.put(reading)
        return True

    def _start(self, first: "_Reading") -> bool:
        with self._starting:
            if not self._to_start:
                return False
            self._to_start -= 1
        threading.Thread(target=self._run, args=(first,), name="afterdose-body", daemon=True).start()
        return True

    def _run(self, reading: "_Reading") -> None:
        while True:
            if not reading.given_up:
                reading.run()
            self._idle.release()
            reading = self._asked.get()


def _too_large(most: int) -> BadInput:
    return BadInput(Problem("too-long", "", f"the body is larger than {most} bytes"), status=413)


class _Reading:
    """One body on its way: a queue and a lock are all that a request costs (a future costs several times as much)."""

    __slots__ = ("answer", "discard", "done", "given_up", "size", "stream")

    def __init__(self, stream: _Stream, size: int, *, discard: bool) -> None:
        self.stream = stream
        self.size = size
        self.discard = discard
        self.given_up = False
        self.answer: bytes | Exception = b""
        self.done = threading.Lock()
        self.done.acquire()

    def run(self) -> None:
        """Read, then let the request go on."""
        try:
            self.answer = _discard(self.stream, self.size) if self.discard else self.stream.read(self.size)
        except Exception as error:  # noqa: BLE001 - it is raised where the request waits
            self.answer = error
        finally:
            self.done.release()


def _discard(stream: _Stream, size: int) -> bytes:
    while size > 0 and (piece := stream.read(min(size, _PIECE))):
        size -= len(piece)
    return b""
