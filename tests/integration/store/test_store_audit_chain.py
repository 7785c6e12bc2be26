"""The audit: nobody can change it through the database, and whoever changes its files is seen."""

import threading

import pytest
import sqlalchemy as sa

from afterdose.core.errors import StoreError
from afterdose.store.audit import BEGINNING
from afterdose.store.engine import Database
from afterdose.store.rows import AuditEntry
from afterdose.store.store import Store


def entry(id_: str) -> AuditEntry:
    return AuditEntry(actor="afterdose", action="R", entity_type="Patient", entity_id=id_, outcome="200")


def test_every_entry_is_bound_to_the_one_before_it(store: Store) -> None:
    store.audit.append(entry("1"), entry("2"))
    store.audit.append(entry("3"))

    kept = list(store.audit.entries())

    assert [one.entry.entity_id for one in kept] == ["1", "2", "3"]
    assert [one.prev_hash for one in kept] == [BEGINNING, kept[0].hash, kept[1].hash]
    assert store.audit.first_broken() is None


@pytest.mark.parametrize("statement", ["UPDATE audit SET outcome = 'other'", "DELETE FROM audit"])
def test_the_database_refuses_to_change_an_entry(store: Store, url: str, statement: str) -> None:
    store.audit.append(entry("1"))
    database = Database(url)
    with pytest.raises((StoreError, sa.exc.DBAPIError)), database.writing() as connection:
        connection.execute(sa.text(statement))
    database.close()
    assert [one.entry.outcome for one in store.audit.entries()] == ["200"]


@pytest.mark.parametrize(
    "statement", ["UPDATE audit SET outcome = 'other' WHERE entity_id = '2'", "DELETE FROM audit WHERE entity_id = '2'"]
)
def test_an_entry_that_was_changed_all_the_same_is_seen(store: Store, url: str, statement: str) -> None:
    store.audit.append(entry("1"), entry("2"), entry("3"))
    database = Database(url)
    with database.writing() as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(sa.text("DROP TRIGGER audit_no_update"))
            connection.execute(sa.text("DROP TRIGGER audit_no_delete"))
        else:
            connection.execute(sa.text("ALTER TABLE audit DISABLE TRIGGER ALL"))
        connection.execute(sa.text(statement))
    database.close()

    broken = store.audit.first_broken()

    assert broken is not None
    assert broken.entry.entity_id in ("2", "3")


def test_writers_at_the_same_time_make_one_chain(store: Store) -> None:
    threads = [
        threading.Thread(target=lambda name=name: [store.audit.append(entry(f"{name}-{n}")) for n in range(20)])
        for name in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(list(store.audit.entries())) == 80
    assert store.audit.first_broken() is None
