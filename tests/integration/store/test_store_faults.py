"""What happens when the disk, the server, another program or a process fails."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url
from store_examples import LEASE, arrival

from afterdose.core.errors import StoreBusy, StoreError, StoreUnusable
from afterdose.store import engine, sqlite
from afterdose.store.engine import Database
from afterdose.store.migrate import migrate
from afterdose.store.store import Store, open_store

HERE = Path(__file__).parent


def file_of(url: str) -> Path:
    return Path(str(make_url(url).database))


def fill(store: Store) -> None:
    for number in range(1000):
        store.committer.submit([arrival(f"dose-{number}", raw=b"SECRET" * 500)])


def test_every_file_is_private_whatever_the_umask(sqlite_url: str, clock) -> None:
    before = os.umask(0)
    try:
        migrate(sqlite_url)
        store = open_store(sqlite_url, clock=clock)
        store.committer.submit([arrival()])
        folder = file_of(sqlite_url).parent
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {"afterdose.db", "afterdose.db-wal", "afterdose.db-shm"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_a_database_file_that_others_can_read_is_refused(sqlite_url: str, clock) -> None:
    migrate(sqlite_url)
    file_of(sqlite_url).chmod(0o640)
    with pytest.raises(StoreUnusable, match="0600"):
        open_store(sqlite_url, clock=clock)


def test_commits_are_synced_to_disk(sqlite_url: str) -> None:
    migrate(sqlite_url)
    database = engine.Database(sqlite_url)
    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    assert database.connect_sqlite().execute("PRAGMA synchronous").fetchone() == (2,)
    database.close()


def test_a_full_disk_refuses_and_the_store_goes_on_when_there_is_space(
    sqlite_url: str, clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(sqlite_url)
    with monkeypatch.context() as small:
        small.setattr(sqlite, "_PRAGMAS", (*sqlite._PRAGMAS, "PRAGMA max_page_count=80"))
        store = open_store(sqlite_url, clock=clock)
        with pytest.raises(StoreUnusable, match="no space") as caught:
            fill(store)
        assert "SECRET" not in str(caught.value)
        stored = store.facts.count()
        assert stored > 0
        with pytest.raises(StoreUnusable):
            store.quarantine.keep("ehr", clock.now, None, b"x" * 500_000, [])
    # the connection that failed was given up; the next one finds the disk grown
    store.committer.submit([arrival("after", raw=b"x" * 5000)])
    assert store.facts.count() == stored + 1
    store.close()


def test_a_locked_database_is_busy_and_then_goes_on(sqlite_url: str, clock, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(sqlite_url)
    pragmas = tuple(p if "busy_timeout" not in p else "PRAGMA busy_timeout=100" for p in sqlite._PRAGMAS)
    monkeypatch.setattr(sqlite, "_PRAGMAS", pragmas)
    store = open_store(sqlite_url, clock=clock)
    stranger = sqlite3.connect(file_of(sqlite_url), isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy):
        store.committer.submit([arrival()])
    with pytest.raises(StoreBusy):
        store.agenda.put("main", "ann", clock.now, "timer")
    stranger.execute("ROLLBACK")
    store.committer.submit([arrival()])
    assert store.facts.count() == 1
    stranger.close()
    store.close()


@pytest.mark.parametrize("what", ["", "-wal"])
@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_what_is_committed_into_files_that_nobody_finds_again_is_not_acknowledged(
    sqlite_url: str, clock, what: str, how: str
) -> None:
    migrate(sqlite_url)
    store = open_store(sqlite_url, clock=clock)
    store.committer.submit([arrival("before")])
    file = file_of(f"{sqlite_url}{what}")
    copy = file.with_name("copy")
    copy.write_bytes(file.read_bytes())
    copy.chmod(0o600)
    file.unlink()
    if how == "replaced":
        copy.rename(file)

    with pytest.raises(StoreUnusable, match="replaced or deleted"):
        store.committer.submit([arrival("after")])
    with pytest.raises(StoreUnusable, match="replaced or deleted"):
        store.check_ready()
    if not what:
        assert file.exists() == (how == "replaced"), "no other file is made in its place"
    store.close()


def test_a_store_in_which_nothing_can_be_stored_is_not_ready(
    sqlite_url: str, clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(sqlite_url)
    pragmas = tuple(p if "busy_timeout" not in p else "PRAGMA busy_timeout=100" for p in sqlite._PRAGMAS)
    monkeypatch.setattr(sqlite, "_PRAGMAS", pragmas)
    store = open_store(sqlite_url, clock=clock)
    store.check_ready()
    stranger = sqlite3.connect(file_of(sqlite_url), isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy, match="locked"):
        store.check_ready()
    stranger.close()
    store.check_ready()
    store.close()


@pytest.mark.postgres
def test_a_replica_that_only_reads_is_not_ready(postgres, clock) -> None:
    url = postgres.fresh_database()
    migrate(url)
    store = open_store(url, clock=clock)
    store.check_ready()
    database = Database(url)
    with database.writing() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar()
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    database.close()
    store.close()
    store = open_store(url, clock=clock)
    with pytest.raises(StoreUnusable, match="read-only"):
        store.check_ready()
    store.close()


def test_a_damaged_file_is_unusable(sqlite_url: str, clock) -> None:
    migrate(sqlite_url)
    file_of(sqlite_url).write_bytes(b"this is no database " * 1000)
    with pytest.raises(StoreUnusable, match="no SQLite database"):
        open_store(sqlite_url, clock=clock)


def test_a_missing_table_names_the_command_to_run(store: Store, url: str) -> None:
    database = engine.Database(url)
    with database.writing() as connection:
        connection.exec_driver_sql("DROP TABLE facts")
    database.close()
    with pytest.raises(StoreUnusable, match="run `afterdose migrate`"):
        store.committer.submit([arrival()])
    with pytest.raises(StoreUnusable, match="run `afterdose migrate`"):
        store.facts.count()


@pytest.mark.postgres
def test_connections_that_the_server_ended_are_replaced(postgres, clock) -> None:
    url = postgres.fresh_database()
    migrate(url)
    store = open_store(url, clock=clock)
    store.committer.submit([arrival("before")])
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    store.committer.submit([arrival("after")])
    assert store.facts.count() == 2
    store.close()


@pytest.mark.postgres
def test_a_server_that_does_not_answer_is_busy(clock) -> None:
    with pytest.raises(StoreBusy):
        open_store("postgresql://postgres@127.0.0.1:1/nothing", clock=clock)


def test_a_closed_store_refuses(store: Store) -> None:
    store.committer.submit([arrival()])
    store.committer.close()
    with pytest.raises(StoreError, match="closed"):
        store.committer.submit([arrival("dose-2")])


def submitting(url: str, name: str) -> "subprocess.Popen[str]":
    """A process that submits from four threads and prints each receipt when it has it."""
    command = [sys.executable, "-u", str(HERE / "submitter.py"), url, name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def killed_while_submitting(url: str, name: str, receipts: int) -> list[str]:
    process = submitting(url, name)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip() for _ in range(receipts)]
    process.kill()
    rest = process.stdout.read()
    process.wait()
    return acknowledged + rest.split("\n")[:-1]


def assert_all_are_stored(store: Store, acknowledged: list[str]) -> None:
    assert acknowledged
    stored = {key.id for number in range(4) for key in store.facts.history("main", f"patient-{number}")}
    assert set(acknowledged) <= stored
    rows = [store.agenda.find("main", f"patient-{number}") for number in range(4)]
    assert all(row is not None and row.due_at is not None for row in rows)


def test_what_was_acknowledged_survives_kill_9(store: Store, url: str) -> None:
    assert_all_are_stored(store, killed_while_submitting(url, "one", 200))


@pytest.mark.kill
def test_what_was_acknowledged_survives_kill_9_again_and_again(store: Store, url: str) -> None:
    acknowledged = [
        receipt for turn in range(50) for receipt in killed_while_submitting(url, f"turn-{turn}", 5 + turn * 3)
    ]
    assert_all_are_stored(store, acknowledged)


def test_two_processes_submit_at_once_and_lose_nothing(store: Store, url: str) -> None:
    processes = [submitting(url, name) for name in ("one", "two")]
    acknowledged: list[list[str]] = [[], []]
    for process, receipts in zip(processes, acknowledged, strict=True):
        assert process.stdout is not None
        receipts += [process.stdout.readline().strip() for _ in range(100)]
    for process, receipts in zip(processes, acknowledged, strict=True):
        process.terminate()
        assert process.stdout is not None
        receipts += process.stdout.read().split("\n")[:-1]
        process.wait()
    assert_all_are_stored(store, [receipt for receipts in acknowledged for receipt in receipts])


def test_two_processes_that_hear_the_same_store_it_once(store: Store, url: str) -> None:
    processes = [submitting(url, "same") for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        for _ in range(100):
            process.stdout.readline()
        process.terminate()
        process.stdout.read()
        process.wait()
    for number in range(4):
        for versions in store.facts.history("main", f"patient-{number}").values():
            assert len(versions) == 1


def test_a_worker_of_another_process_never_gets_a_claimed_patient(store: Store, url: str, clock) -> None:
    store.committer.submit([arrival(f"dose-{number}", f"patient-{number}") for number in range(40)])
    other = open_store(url, clock=clock)
    claimed: list[str] = []

    def work(mine: Store) -> None:
        while (one := mine.agenda.claim("worker", lease=LEASE, now=clock.now)) is not None:
            claimed.append(one.patient)
            mine.agenda.finish(one, None, "done")

    threads = [threading.Thread(target=work, args=(mine,)) for mine in (store, other, store, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert sorted(claimed) == sorted({f"patient-{number}" for number in range(40)})


def test_eight_threads_share_one_commit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[int] = []
    write = store.committer._group.write

    def slow(arrivals, now):
        groups.append(len(arrivals))
        time.sleep(0.05)
        return write(arrivals, now)

    monkeypatch.setattr(store.committer._group, "write", slow)
    threads = [
        threading.Thread(target=store.committer.submit, args=([arrival(f"dose-{number}")],)) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(groups) == 8
    assert len(groups) <= 3
