"""Copies of an SQLite database: made while it is in use, and put back while it is not."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path

from afterdose.core.errors import StoreUnusable
from afterdose.store import schema
from afterdose.store.due import RESTORED
from afterdose.store.engine import database_path
from afterdose.store.migrate import migrate
from afterdose.store.rows import AgendaEntry
from afterdose.store.sqlite import kept_from_others
from afterdose.store.store import Store, open_store

_PG_DUMP = "on PostgreSQL use its own tools: pg_dump --format=custom, and pg_restore --clean"


def backup(url: str, copy: Path) -> None:
    """Copy the whole database as it stands at one moment into a new file that only its owner can read.

    Raises StoreUnusable, also on PostgreSQL.
    """
    path = _sqlite(url)
    part = copy.with_name(f"{copy.name}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        if copy.exists():
            raise StoreUnusable(f"{copy}: is there already")
        with closing(_open(path, "rw")) as source, closing(sqlite3.connect(part)) as made:
            source.backup(made)
            made.execute("PRAGMA journal_mode=DELETE")
        _sync(part)
        part.rename(copy)
        _sync(copy.parent)
    except FileExistsError:
        raise StoreUnusable(f"{part}: is there already") from None
    except (OSError, sqlite3.Error) as error:
        part.unlink(missing_ok=True)
        raise StoreUnusable(f"the copy could not be made ({type(error).__name__})") from None
    except StoreUnusable:
        part.unlink(missing_ok=True)
        raise


def restore(url: str, copy: Path, *, clock: Callable[[], datetime]) -> int:
    """Put a copy in the place of the database, and every patient on the agenda; how many there are.

    What was written into the EHRs after the copy was made is found there by its identifiers. Raises StoreUnusable
    where the database is in use, or the copy is damaged, no copy, or of a newer program.
    """
    path = _sqlite(url)
    _check(copy)
    with kept_from_others(path):
        try:
            with closing(_open(copy, "ro")) as source, closing(sqlite3.connect(path)) as place:
                source.backup(place)
        except sqlite3.Error as error:
            raise StoreUnusable(f"the copy could not be put back ({type(error).__name__})") from None
    migrate(url)
    store = open_store(url, clock=clock)
    try:
        return _due_again(store, clock())
    finally:
        store.close()


def _due_again(store: Store, now: datetime) -> int:
    everybody = store.agenda.everybody()
    store.agenda.release_all()
    store.agenda.put_all(
        AgendaEntry(target=target, patient=patient, due_at=now, reason=RESTORED) for target, patient in everybody
    )
    return len(everybody)


def _sqlite(url: str) -> Path:
    path = database_path(url)
    if path is None:
        raise StoreUnusable(_PG_DUMP)
    return path


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True)


def _check(copy: Path) -> None:
    try:
        with closing(_open(copy, "ro")) as source:
            (sound,) = source.execute("PRAGMA integrity_check(1)").fetchone()
            (revision,) = source.execute("SELECT version_num FROM alembic_version").fetchone()
    except (sqlite3.Error, TypeError):
        raise StoreUnusable(f"{copy}: is no copy of a database of afterdose") from None
    if sound != "ok":
        raise StoreUnusable(f"{copy}: is damaged")
    if revision > schema.REVISION:
        raise StoreUnusable(f"{copy}: has schema {revision}, this program knows {schema.REVISION}: use the newer one")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
