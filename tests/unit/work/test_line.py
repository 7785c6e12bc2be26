"""The line to one EHR: left alone after failures, and told of once when it goes and once when it is back."""

import io
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from afterdose import logs
from afterdose.core.errors import EhrUnavailable
from afterdose.ehr.wire import Answer, Request
from afterdose.work.line import Line

REQUEST = Request(method="GET", url="https://ehr.example.org/fhir/metadata", template="metadata", headers={})
OK = Answer(status=200, headers={"content-type": "application/fhir+json"})
AWAY = Answer(status=503, headers={})


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    yield stream
    logs.configure("warning", "json")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def line(clock: Clock) -> Line:
    return Line("ehr", clock=clock, at_once=2, per_second=1000, jitter=lambda: 0.5)


def lines(log: io.StringIO) -> list[tuple[str, str | None]]:
    told = [json.loads(line) for line in log.getvalue().splitlines()]
    return [(line["level"], line.get("alarm")) for line in told]


def fail(line: Line, answer: Answer, times: int = 1) -> None:
    for _ in range(times):
        line.send(REQUEST, lambda _: answer)


def test_after_five_failures_in_a_row_nothing_is_sent_and_it_is_alarmed_once(
    line: Line, clock: Clock, log: io.StringIO
) -> None:
    fail(line, AWAY, times=5)
    with pytest.raises(EhrUnavailable, match="left alone"):
        line.send(REQUEST, lambda _: pytest.fail("was sent"))
    until = line.shut_until()
    assert until is not None
    clock.now = until
    fail(line, AWAY)  # the one that asks whether it is back

    assert line.shut_until() is not None
    assert lines(log) == [("error", "away")]


def test_when_it_serves_again_that_is_said_once_and_whoever_waits_is_told(
    line: Line, clock: Clock, log: io.StringIO
) -> None:
    told: list[str] = []
    line.on_return = lambda: told.append("back")
    fail(line, AWAY, times=5)
    until = line.shut_until()
    assert until is not None
    clock.now = until
    fail(line, OK, times=3)

    assert line.shut_until() is None
    assert lines(log) == [("error", "away"), ("warning", "away")]
    assert told == ["back"]


def test_while_one_call_asks_whether_it_is_back_no_other_is_sent(line: Line, clock: Clock) -> None:
    fail(line, AWAY, times=5)
    until = line.shut_until()
    assert until is not None
    clock.now = until

    def meanwhile(_: Request) -> Answer:
        with pytest.raises(EhrUnavailable, match="left alone"):
            line.send(REQUEST, lambda _: OK)
        return OK

    line.send(REQUEST, meanwhile)


@pytest.mark.parametrize("answer", [Answer(status=401, headers={})])
def test_refused_credentials_concern_every_call_at_once(line: Line, answer: Answer) -> None:
    fail(line, answer)
    assert line.shut_until() is not None


def test_a_pause_that_the_ehr_asks_for_holds_for_everybody_and_is_no_alarm(
    line: Line, clock: Clock, log: io.StringIO
) -> None:
    fail(line, Answer(status=429, headers={"x-ms-retry-after-ms": "90000"}))
    assert line.shut_until() == clock.now + timedelta(seconds=90)
    assert lines(log) == [("warning", None)]


def test_a_web_page_is_no_answer_of_an_ehr(line: Line) -> None:
    fail(line, Answer(status=200, headers={"content-type": "text/html; charset=utf-8"}), times=5)
    assert line.shut_until() is not None


@pytest.mark.parametrize("status", [200, 403, 404, 409, 412, 422, 501])
def test_an_answer_of_the_ehr_itself_shows_that_it_is_at_work(line: Line, status: int) -> None:
    fail(line, AWAY, times=4)
    fail(line, Answer(status=status, headers={}))
    fail(line, AWAY, times=4)
    assert line.shut_until() is None


def test_no_answer_counts_like_a_bad_one_and_the_log_says_why_there_is_none(line: Line, log: io.StringIO) -> None:
    def nobody(_: Request) -> Answer:
        raise EhrUnavailable("ehr.example.org: no connection (SSLCertVerificationError)")

    for _ in range(5):
        with pytest.raises(EhrUnavailable):
            line.send(REQUEST, nobody)
    assert line.shut_until() is not None
    reasons = [json.loads(told)["reason"] for told in log.getvalue().splitlines()]
    assert reasons == ["ehr.example.org: no connection (SSLCertVerificationError)"]


def test_calls_keep_to_the_rate(clock: Clock) -> None:
    slow = Line("ehr", clock=clock, at_once=2, per_second=100)
    fail(slow, OK, times=100)
    began = time.monotonic()
    fail(slow, OK, times=30)
    assert time.monotonic() - began > 0.2
