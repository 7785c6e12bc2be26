"""Fixtures that several test folders share."""

from collections.abc import Iterator

import pytest

from servers import MissingTool, RunningPostgres, RunningServer, start_hapi, start_postgres


@pytest.fixture(scope="session")
def hapi() -> Iterator[RunningServer]:
    """A HAPI FHIR server; mark the tests that use it `hapi`."""
    try:
        with start_hapi() as server:
            yield server
    except MissingTool as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture(scope="session")
def postgres() -> Iterator[RunningPostgres]:
    """A PostgreSQL cluster; mark the tests that use it `postgres` and give each its own `fresh_database()`."""
    try:
        with start_postgres() as cluster:
            yield cluster
    except MissingTool as missing:
        pytest.fail(str(missing), pytrace=False)


_SLOW = {
    "service": "of whole services, senders and vendors over real sockets (a minute or two)",
    "hapi": "against HAPI FHIR JPA (needs Java 17 and Maven)",
    "postgres": "on PostgreSQL (needs its server programs)",
    "faults": "with faults at every step and in every order (minutes)",
    "kill": "with processes killed at work (minutes)",
}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the slow suites that this run left out, and how to run them."""
    left_out = [marker for marker in _SLOW if f"not {marker}" in config.option.markexpr]
    if left_out:
        terminalreporter.section("slow suites left out")
        for marker in left_out:
            terminalreporter.line(f"tests {_SLOW[marker]}: .venv/bin/pytest -m {marker}")
