"""Migrations make the schema that the program knows, and a database with another one is refused."""

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import afterdose.store.migrations
from afterdose.core.errors import StoreUnusable
from afterdose.store import schema
from afterdose.store.engine import Database
from afterdose.store.migrate import migrate
from afterdose.store.store import open_store


def test_migrations_make_the_schema_of_the_program(url: str) -> None:
    database = Database(url)
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
    database.close()


def test_columns_keys_and_comments_are_those_of_the_program(url: str) -> None:
    database = Database(url)
    with database.reading() as connection:
        found = sa.inspect(connection)
        for table in schema.metadata.tables.values():
            columns = found.get_columns(table.name)
            assert [column["name"] for column in columns] == [column.name for column in table.columns]
            key = found.get_pk_constraint(table.name)
            assert key["constrained_columns"] == [column.name for column in table.primary_key]
            if connection.dialect.name == "postgresql":
                assert [column["comment"] for column in columns] == [column.comment for column in table.columns]
    database.close()


def test_the_newest_migration_is_the_revision_of_the_program() -> None:
    script = ScriptDirectory(str(next(iter(afterdose.store.migrations.__path__))))
    assert script.get_heads() == [schema.REVISION]


def test_migrating_again_changes_nothing(url: str, clock) -> None:
    migrate(url)
    open_store(url, clock=clock).close()


def test_a_database_without_a_schema_is_refused_with_the_command_to_run(empty_url: str, clock) -> None:
    with pytest.raises(StoreUnusable, match="run `afterdose migrate`"):
        open_store(empty_url, clock=clock)


@pytest.mark.postgres
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_postgresql_database_that_cannot_keep_every_text_is_refused_with_the_command_that_makes_one(
    postgres, clock, encoding: str
) -> None:
    url = postgres.fresh_database(encoding)

    with pytest.raises(StoreUnusable, match=f"encoding {encoding}, .*createdb --encoding=UTF8"):
        migrate(url)
    with pytest.raises(StoreUnusable, match=f"encoding {encoding}, .*createdb --encoding=UTF8"):
        open_store(url, clock=clock)


@pytest.mark.parametrize(
    ("revision", "said"), [("0000", "schema 0000, .*run `afterdose migrate`"), ("9999", "9999 of a newer program")]
)
def test_an_older_schema_is_refused_with_the_command_to_run_and_a_newer_one_by_every_command(
    url: str, clock, revision: str, said: str
) -> None:
    database = Database(url)
    with database.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :it"), {"it": revision})
    database.close()
    with pytest.raises(StoreUnusable, match=said):
        open_store(url, clock=clock)
    if revision == "9999":
        with pytest.raises(StoreUnusable, match=said):
            migrate(url)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://localhost/x"])
def test_only_databases_that_outlive_a_crash_are_opened(url: str, clock) -> None:
    with pytest.raises(StoreUnusable):
        open_store(url, clock=clock)


@pytest.mark.parametrize("rest", ["u:SECRET@host:port/x", "u:SECRET@[::1/x"])
def test_a_url_that_cannot_be_read_is_said_without_its_password(clock, rest: str) -> None:
    with pytest.raises(StoreUnusable, match="database URL cannot be read") as caught:
        open_store(f"postgresql://{rest}", clock=clock)
    assert "SECRET" not in str(caught.value)
