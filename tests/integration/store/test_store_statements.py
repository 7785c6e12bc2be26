"""Statements that are compiled once and given to the driver itself, on both databases."""

import pytest
import sqlalchemy as sa

from afterdose.store.engine import Database
from afterdose.store.schema import pauses
from afterdose.store.statements import Statement, numbered, one_of

PAUSE = Statement(sa.insert(pauses))
WHICH = Statement(sa.select(pauses.c.target).order_by(pauses.c.target))


@pytest.fixture
def database(url: str):
    opened = Database(url)
    yield opened
    opened.close()


def paused(database: Database) -> list[str]:
    with database.asking() as driver:
        return [row["target"] for row in WHICH.rows(driver)]


def pause(database: Database, *targets: str, clock) -> None:
    with database.telling() as driver:
        PAUSE.run_all(driver, [{"target": target, "since": clock()} for target in targets])


def test_a_value_that_is_not_given_is_an_error_and_not_null(database: Database, clock) -> None:
    with pytest.raises(KeyError), database.telling() as driver:
        PAUSE.run(driver, {"target": "ehr"})
    assert paused(database) == []


def test_what_fails_halfway_leaves_nothing_and_the_connection_serves_again(database: Database, clock) -> None:
    with pytest.raises(KeyError), database.telling() as driver:
        assert [PAUSE.run(driver, values) for values in ({"target": "ehr", "since": clock()}, {})]
    assert paused(database) == []
    pause(database, "ehr", clock=clock)
    assert paused(database) == ["ehr"]


def test_one_of_no_values_is_nothing_and_values_keep_their_types(database: Database, clock) -> None:
    pause(database, "a", "b", "c", clock=clock)
    for count, wanted in ((0, []), (1, ["a"]), (2, ["a", "c"])):
        chosen = Statement(sa.select(pauses).where(one_of(pauses.c.target, "target", count)).order_by(pauses.c.target))
        with database.asking() as driver:
            rows = chosen.rows(driver, numbered("target", wanted))
        assert rows == [{"target": target, "since": clock()} for target in wanted]


def test_a_statement_takes_part_in_a_transaction_of_sqlalchemy(database: Database, clock) -> None:
    with database.writing() as connection:
        PAUSE.run(connection, {"target": "ehr", "since": clock()})
        assert WHICH.scalar(connection) == "ehr"
    assert paused(database) == ["ehr"]


def test_the_number_of_rows_that_changed_is_told(database: Database, clock) -> None:
    pause(database, "a", "b", clock=clock)
    resume = Statement(sa.delete(pauses).where(pauses.c.target == sa.bindparam("target")))
    with database.telling() as driver:
        assert [resume.run(driver, {"target": target}) for target in ("a", "z")] == [1, 0]
    assert paused(database) == ["b"]
