"""Bodies are read by threads of their own, and whoever falls silent keeps none of them from the others."""

from collections.abc import Callable
from datetime import timedelta
from threading import Event, Thread

import pytest
from werkzeug.wrappers import Request

from afterdose.core.errors import BadInput
from afterdose.web.body import BodyReader

ROUNDS = 300
QUICK, LONG = timedelta(seconds=1), timedelta(seconds=20)


class Stream:
    """A body that comes when ``sent`` is set."""

    def __init__(self, sent: Event) -> None:
        self._sent = sent
        self.asked = Event()

    def read(self, _size: int = -1, /) -> bytes:
        self.asked.set()
        self._sent.wait()
        return b"body"


def read(reader: BodyReader, stream: Stream) -> bytes:
    return reader.read(Request({"CONTENT_LENGTH": "4", "wsgi.input": stream, "REQUEST_METHOD": "POST"}))


def started(work: Callable[..., object], *arguments: object) -> Thread:
    thread = Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def test_a_body_that_is_there_is_read_however_many_others_are_silent() -> None:
    """One sender is done just as the next comes: the thread that gets free may take what another was started for."""
    there = Event()
    there.set()
    for _ in range(ROUNDS):
        reader, first, never = BodyReader(10, LONG, 4), Event(), Event()
        before = Stream(first)
        waiting = [started(read, reader, before)]
        assert before.asked.wait(20)
        silent = [Stream(never), Stream(never)]
        started(first.set)
        waiting += [started(read, reader, one) for one in silent]
        assert all(one.asked.wait(20) for one in silent), "a sender waits although a thread could be started"
        ready = Stream(there)

        got = started(read, reader, ready)

        assert ready.asked.wait(20), "a body that is there is not read"
        never.set()
        for thread in (*waiting, got):
            thread.join()


def test_a_silent_sender_is_told_in_time_and_its_thread_serves_again_when_it_is_gone() -> None:
    reader, gone, there = BodyReader(10, QUICK, 1), Event(), Event()
    there.set()

    with pytest.raises(BadInput) as refused:
        read(reader, Stream(gone))
    gone.set()

    assert refused.value.status == 408
    assert read(reader, Stream(there)) == b"body"


def test_what_no_thread_is_left_for_waits_its_turn() -> None:
    reader, first, there = BodyReader(10, LONG, 1), Event(), Event()
    there.set()
    slow = Stream(first)
    waiting = started(read, reader, slow)
    assert slow.asked.wait(20)
    ready = [Stream(there) for _ in range(5)]
    later = [started(read, reader, one) for one in ready]

    first.set()

    for thread in (waiting, *later):
        thread.join()
    assert all(one.asked.is_set() for one in ready)
