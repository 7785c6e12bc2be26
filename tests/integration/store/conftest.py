"""A store on each database, with a clock that the test sets."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from afterdose.store.migrate import migrate
from afterdose.store.store import Store, open_store


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 5, 15, 10, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **elapsed: float) -> datetime:
        """Move on and tell the new time."""
        self.now += timedelta(**elapsed)
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/data/afterdose.db"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    """The URL of a database without a schema."""
    if request.param == "sqlite":
        return sqlite_url
    url: str = request.getfixturevalue("postgres").fresh_database()
    return url


@pytest.fixture
def url(empty_url: str) -> str:
    """The URL of a database with the schema of this program."""
    migrate(empty_url)
    return empty_url


@pytest.fixture
def store(url: str, clock: Clock) -> Iterator[Store]:
    opened = open_store(url, clock=clock)
    yield opened
    opened.close()
