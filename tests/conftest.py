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
