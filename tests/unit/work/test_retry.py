"""When an EHR is tried again, and when it is left alone."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterdose.work.retry import FAILURES_THAT_OPEN, PROBE_LASTS, Circuit, next_attempt

DUE = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
ALMOST_ONE = 0.999999


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 2), (2, 4), (5, 32), (9, 512), (10, 600), (5000, 600)])
def test_waits_double_up_to_ten_minutes(attempts: int, seconds: int) -> None:
    at = next_attempt(attempts, DUE, DUE, None, ALMOST_ONE)
    assert at is not None
    assert at - DUE == pytest.approx(timedelta(seconds=seconds), abs=timedelta(seconds=0.01))


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True), st.none() | st.integers(0, 3600))
def test_an_attempt_is_never_earlier_than_asked_and_never_at_once(
    attempts: int, jitter: float, retry_after: int | None
) -> None:
    wait = None if retry_after is None else timedelta(seconds=retry_after)
    at = next_attempt(attempts, DUE, DUE, wait, jitter)
    assert at is not None
    assert at >= DUE + max(timedelta(seconds=1), wait or timedelta(0))
    assert at <= DUE + max(timedelta(minutes=10), (wait or timedelta(0)) + timedelta(seconds=2))


def test_after_96_hours_it_is_parked() -> None:
    assert next_attempt(900, DUE, DUE + timedelta(hours=96), None, 0.5) is None
    assert next_attempt(900, DUE, DUE + timedelta(hours=96) - timedelta(microseconds=1), None, 0.5) is not None


def test_a_site_may_set_other_limits() -> None:
    assert next_attempt(3, DUE, DUE + timedelta(hours=2), None, 0.5, retry_for=timedelta(hours=1)) is None
    at = next_attempt(20, DUE, DUE, None, ALMOST_ONE, longest_wait=timedelta(minutes=1))
    assert at is not None
    assert at <= DUE + timedelta(minutes=1)


def test_an_outage_of_eight_hours_is_bridged_with_bounded_attempts() -> None:
    now, attempts = DUE, 0
    while now < DUE + timedelta(hours=8):
        attempts += 1
        at = next_attempt(attempts, DUE, now, None, 0.5)
        assert at is not None
        now = at
    assert 90 <= attempts <= 120


def test_failures_in_a_row_open_the_circuit_and_one_probe_is_let_through() -> None:
    circuit = Circuit()
    for _ in range(FAILURES_THAT_OPEN):
        assert circuit.admits(DUE)
        circuit = circuit.failed(DUE, None, 0.5)
    assert not circuit.admits(DUE)
    later = DUE + timedelta(minutes=10)
    assert circuit.admits(later)
    probing = circuit.probing(later)
    assert not probing.admits(later)
    assert probing.admits(later + PROBE_LASTS)
    assert probing.succeeded() == Circuit()
    assert not probing.failed(later, None, 0.5).admits(later)


def test_single_failures_do_not_open_it() -> None:
    circuit = Circuit()
    for _ in range(FAILURES_THAT_OPEN * 3):
        circuit = circuit.failed(DUE, None, 0.5).succeeded()
    assert circuit.admits(DUE)
    assert circuit.probing(DUE) == circuit


def test_what_no_other_call_can_escape_opens_it_at_once() -> None:
    circuit = Circuit().failed(DUE, None, 0.5, at_once=True)
    assert circuit.is_broken
    assert not circuit.admits(DUE)


def test_a_pause_that_the_ehr_asked_for_is_no_failure() -> None:
    assert not Circuit().failed(DUE, timedelta(minutes=5), 0.5).is_broken


def test_a_retry_after_holds_for_the_whole_ehr_at_once() -> None:
    circuit = Circuit().failed(DUE, timedelta(minutes=5), 0.0)
    assert not circuit.admits(DUE + timedelta(minutes=5) - timedelta(seconds=1))
    assert circuit.admits(DUE + timedelta(minutes=5))
