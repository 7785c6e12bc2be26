"""What is told where the database cannot be reached: enough to put it right."""

import socket
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from afterdose.core.errors import StoreBusy, StoreUnusable
from afterdose.store.errors import store_error
from afterdose.store.migrate import migrate
from afterdose.store.store import open_store

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def test_a_database_server_that_is_not_there_is_told_as_the_driver_says_it() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]

    with pytest.raises(StoreBusy) as told:
        open_store(f"postgresql://afterdose:secret-word@127.0.0.1:{port}/afterdose", clock=lambda: NOW)

    assert str(told.value) == "the database server cannot be reached: Connection refused"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            'connection failed: connection to server at "10.0.0.5", port 5432 failed: FATAL:  password authentication '
            'failed for user "afterdose"\nmore',
            ': FATAL: password authentication failed for user "afterdose"',
        ),
        (
            'connection failed: connection to server at "db", port 5432 failed: FATAL:  database "x" does not exist',
            ': FATAL: database "x" does not exist',
        ),
        (
            "failed to resolve host 'db.invalid': [Errno -2] Name or service not known",
            ": failed to resolve host 'db.invalid': [Errno -2] Name or service not known",
        ),
        ("consuming input failed: something about a row", ""),
    ],
)
def test_what_the_driver_says_is_told_only_where_no_connection_came_about(said: str, told: str) -> None:
    assert str(store_error(psycopg.OperationalError(said))) == f"the database server cannot be reached{told}"


def test_a_database_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreUnusable, match=rf"the database file {tmp_path}/file/x\.db cannot be opened"):
        migrate(f"sqlite:///{tmp_path}/file/x.db")


def test_a_database_file_that_others_can_read_is_named(tmp_path: Path) -> None:
    database = tmp_path / "x.db"
    migrate(f"sqlite:///{database}")
    database.chmod(0o644)

    with pytest.raises(StoreUnusable, match=rf"the database file {database} can be read by others"):
        open_store(f"sqlite:///{database}", clock=lambda: NOW)
