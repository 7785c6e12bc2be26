"""A sandbox EHR of its own for each test, with a client that speaks plain HTTP to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from afterdose.sandbox import SandboxEHR

START = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ehr(clock: Clock) -> Iterator[SandboxEHR]:
    with SandboxEHR(clock=clock) as sandbox:
        yield sandbox


@pytest.fixture
def call(ehr: SandboxEHR) -> Callable[..., requests.Response]:
    """`call("GET", "/Patient/1", json=..., headers=...)` on the sandbox's base."""

    def send(method: str, path: str, **more: Any) -> requests.Response:
        return requests.request(method, f"{ehr.base_url}{path}", timeout=more.pop("timeout", 10), **more)

    return send
