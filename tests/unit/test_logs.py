"""The log: one line an event, closed to whatever was received."""

import io
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from afterdose import logs

CANARY = "PHICANARY-Doe-Jane"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    yield stream
    logs.configure("warning", "json")


def test_a_key_that_is_not_on_the_list_is_dropped(log: io.StringIO) -> None:
    logs.get_logger().info("a dose came", source="ehr", patient=CANARY, body=CANARY, id=CANARY)

    line = json.loads(log.getvalue())
    assert line.keys() == {"event", "source", "level", "timestamp"}
    assert CANARY not in log.getvalue()


def test_no_key_is_for_what_was_received() -> None:
    assert not logs.ALLOWED & {"patient", "id", "resource_id", "body", "url", "path", "name", "text", "reference"}


@pytest.mark.parametrize("hostile", ["a\r\nb", "a\x1b[2Jb", "a\u202eb", "a\u2028b", "a\x00b", "a\ud800b", "\u200f"])
def test_what_could_forge_or_hide_a_line_is_escaped(log: io.StringIO, hostile: str) -> None:
    logs.get_logger().info("something", reason=hostile, code=[hostile])
    logs.configure("info", "text", log)
    logs.get_logger().info("something", reason=hostile, code=[hostile])

    assert len(log.getvalue().splitlines()) == 2
    assert log.getvalue().isascii()
    assert all(character.isprintable() or character == "\n" for character in log.getvalue())


def test_of_an_exception_only_its_class_and_its_place_are_kept(log: io.StringIO) -> None:
    try:
        raise RuntimeError(CANARY)
    except RuntimeError:
        logs.get_logger().exception("it failed")

    line = json.loads(log.getvalue())
    assert line["error"] == "RuntimeError"
    assert line["at"][-1].startswith("test_logs.py:")
    assert CANARY not in log.getvalue()


@pytest.mark.parametrize("broken", ["/dev/full", "a reader that has gone", "closed"])
def test_a_line_that_cannot_be_written_stops_nobody(broken: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(os.open("/dev/full", os.O_WRONLY) if broken == "/dev/full" else writing, "w")
    if broken == "closed":
        stream.close()
    logs.configure("info", "json", stream)

    logs.get_logger().info("a dose came", source="ehr")
    logging.getLogger("library").warning("something")

    logs.configure("warning", "json")
    with suppress(OSError):
        stream.close()


def test_what_ends_a_thread_or_the_process_is_one_line_without_values(log: io.StringIO) -> None:
    def fails() -> None:
        raise RuntimeError(CANARY)

    thread = threading.Thread(target=fails)
    thread.start()
    thread.join()
    error = RuntimeError(CANARY)
    sys.excepthook(RuntimeError, error, None)

    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["error"] for line in lines] == ["RuntimeError", "RuntimeError"]
    assert CANARY not in log.getvalue()


def test_a_library_cannot_log_values(log: io.StringIO) -> None:
    library = logging.getLogger("sqlalchemy.engine")
    library.warning("parameters: %s", CANARY)
    library.warning(f"parameters: {CANARY}")
    try:
        raise RuntimeError(CANARY)
    except RuntimeError:
        library.exception("failed with %s", CANARY)

    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["parameters: %s", "a library's message", "failed with %s"]
    assert lines[0]["logger"] == "sqlalchemy.engine"
    assert lines[2]["error"] == "RuntimeError"
    assert CANARY not in log.getvalue()


def test_the_level_is_kept_to(log: io.StringIO) -> None:
    logs.get_logger().debug("too much")

    assert log.getvalue() == ""


def test_text_is_for_people(log: io.StringIO) -> None:
    logs.configure("info", "text", log)
    logs.get_logger().info("a dose came", source="ehr")

    assert log.getvalue().endswith("info    a dose came source=ehr\n")
