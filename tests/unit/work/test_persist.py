"""Work in the background: it goes on after every error, and ends when it is told to."""

import io
import json
import threading
from collections.abc import Iterator

import pytest

from afterdose import logs
from afterdose.work.persist import persist


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    yield stream
    logs.configure("warning", "json")


def test_work_that_fails_begins_again_and_says_so(log: io.StringIO) -> None:
    tries = []

    def work() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("what a library was given")

    persist(work, threading.Event(), pause=0)

    assert len(tries) == 3
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["level"], line["error"]) for line in lines] == [("error", "ValueError")] * 2
    assert "was given" not in log.getvalue()


def test_work_that_fails_ends_when_it_is_told_to(log: io.StringIO) -> None:
    stop = threading.Event()

    def work() -> None:
        stop.set()
        raise OSError

    persist(work, stop, pause=3600)

    assert "OSError" in log.getvalue()
