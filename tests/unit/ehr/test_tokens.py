"""One token for all threads: asked for by one of them, early enough, and never more than once in ten seconds."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from afterdose.core.errors import EhrUnavailable
from afterdose.ehr.smart import Token
from afterdose.ehr.token_endpoint import Grant
from afterdose.ehr.tokens import AccessTokens


class Counter:
    """Gives tokens that are numbered, or fails with what it is told to; ``now`` is the time in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked: list[float] = []
        self.lasts = 300.0
        self.failure: EhrUnavailable | None = None
        self.before: Callable[[], object] = lambda: None

    def __call__(self, within: float) -> Grant:
        assert within > 0
        self.asked.append(self.now)
        self.before()
        if self.failure:
            raise self.failure
        token = Token(value=f"t{len(self.asked)}", lasts=timedelta(seconds=self.lasts), scopes=None)
        return Grant(token=token, token_url="https://x/token", asked=(), missing=(), clock_error=None)


@pytest.fixture
def endpoint() -> Counter:
    return Counter()


@pytest.fixture
def tokens(endpoint: Counter) -> AccessTokens:
    return AccessTokens(endpoint, monotonic=lambda: endpoint.now)


def bearer(number: int) -> dict[str, str]:
    return {"Authorization": f"Bearer t{number}"}


def test_a_token_serves_until_shortly_before_its_end(endpoint: Counter, tokens: AccessTokens) -> None:
    assert tokens.headers(5) == bearer(1)
    endpoint.now += 239
    assert tokens.headers(5) == bearer(1)
    endpoint.now += 2
    assert tokens.headers(5) == bearer(2)


def test_fifty_threads_ask_once(endpoint: Counter, tokens: AccessTokens) -> None:
    together = threading.Barrier(50)

    def go(_: int) -> object:
        together.wait(10)
        return tokens.headers(5)

    endpoint.before = lambda: threading.Event().wait(0.05)
    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(go, range(50))) == [bearer(1)] * 50
    assert len(endpoint.asked) == 1


def test_fifty_threads_with_a_refused_token_ask_once(endpoint: Counter, tokens: AccessTokens) -> None:
    tokens.headers(5)
    endpoint.now += 60
    together = threading.Barrier(50)

    def go(_: int) -> object:
        together.wait(10)
        return tokens.renew(bearer(1), 5)

    endpoint.before = lambda: threading.Event().wait(0.05)
    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(go, range(50))) == [bearer(2)] * 50
    assert len(endpoint.asked) == 2


def test_while_one_thread_fetches_the_next_token_the_others_go_on_with_the_last(
    endpoint: Counter, tokens: AccessTokens
) -> None:
    tokens.headers(5)
    endpoint.now += 250
    fetching, enough = threading.Event(), threading.Event()
    endpoint.before = lambda: (fetching.set(), enough.wait(10))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(tokens.headers, 5)
        fetching.wait(10)
        assert tokens.headers(5) == bearer(1)
        enough.set()
        assert first.result(10) == bearer(2)


def test_who_waits_for_a_token_waits_no_longer_than_the_call_may_take(endpoint: Counter, tokens: AccessTokens) -> None:
    fetching, enough = threading.Event(), threading.Event()
    endpoint.before = lambda: (fetching.set(), enough.wait(10))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(tokens.headers, 5)
        fetching.wait(10)
        with pytest.raises(EhrUnavailable):
            tokens.headers(0.05)
        enough.set()
        assert first.result(10) == bearer(1)


@pytest.mark.parametrize("lasts", [10, 300, 3600])
def test_an_hour_of_calls_costs_no_more_requests_than_tokens_live(
    endpoint: Counter, tokens: AccessTokens, lasts: float
) -> None:
    endpoint.lasts = lasts
    for _ in range(3600):
        tokens.headers(5)
        endpoint.now += 1
    gaps = [later - earlier for earlier, later in zip(endpoint.asked, endpoint.asked[1:], strict=False)]
    assert all(gap >= 10 for gap in gaps)
    assert len(endpoint.asked) <= 3600 / (lasts * 0.8) + 1


def test_a_token_endpoint_that_is_down_is_asked_once_in_ten_seconds(endpoint: Counter, tokens: AccessTokens) -> None:
    endpoint.failure = EhrUnavailable("the token endpoint answered 503", status=503)
    for _ in range(100):
        with pytest.raises(EhrUnavailable) as raised:
            tokens.headers(5)
        assert raised.value.status == 503
        endpoint.now += 1
    assert len(endpoint.asked) == 10
    assert raised.value.retry_after == timedelta(seconds=1)


def test_a_failed_renewal_leaves_the_token_that_still_lives(endpoint: Counter, tokens: AccessTokens) -> None:
    tokens.headers(5)
    endpoint.now += 250
    endpoint.failure = EhrUnavailable("down")
    assert tokens.headers(5) == bearer(1)
    endpoint.now += 60
    with pytest.raises(EhrUnavailable):
        tokens.headers(5)


def test_a_token_that_is_refused_at_once_is_not_replaced_at_once(endpoint: Counter, tokens: AccessTokens) -> None:
    tokens.headers(5)
    endpoint.now += 1
    with pytest.raises(EhrUnavailable) as raised:
        tokens.renew(bearer(1), 5)
    assert raised.value.retry_after == timedelta(seconds=9)
    endpoint.now += 9
    assert tokens.renew(bearer(1), 5) == bearer(2)
    assert len(endpoint.asked) == 2


def test_a_refusal_of_an_older_token_is_answered_with_the_present_one(endpoint: Counter, tokens: AccessTokens) -> None:
    tokens.headers(5)
    endpoint.now += 20
    assert tokens.renew(bearer(1), 5) == bearer(2)
    assert tokens.renew(bearer(1), 5) == bearer(2)
    assert len(endpoint.asked) == 2
