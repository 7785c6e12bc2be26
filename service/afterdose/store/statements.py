"""Statements of SQLAlchemy Core that are compiled once and then given to the driver itself.

A worker asks the same few dozen questions for every dose, and SQLAlchemy's way of executing a statement costs several
times what the driver takes for it. So the questions of a worker are made here: still written with the tables of
``schema``, whose column types say how instants, UUIDs and JSON are stored, and executed without anything in between.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect, make_url
from sqlalchemy.types import TypeEngine

Driver = sqlite3.Connection | psycopg.Connection[Any]
"""A connection of the driver itself, in a transaction."""
Values = Mapping[str, Any]
_Clause = sa.Select[Any] | sa.Insert | sa.Update | sa.Delete
_Processor = Callable[[Any], Any]

_SQLITE, _POSTGRES = (make_url(url).get_dialect()() for url in ("sqlite+pysqlite://", "postgresql+psycopg://"))


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement in the words of one database.

    ``names``: of the parameters in the text; ``sent``: of each the name by which it is given, or None, with the value
    that it always has, and what makes the driver's value of it. ``got``: of each column its name and what makes our
    value of it.
    """

    text: str
    names: Sequence[str]
    sent: Sequence[tuple[str | None, Any, _Processor | None]]
    got: Sequence[tuple[str, _Processor | None]]


class Statement:
    """A statement whose parameters are ``sa.bindparam``; safe to share between threads."""

    def __init__(
        self, clause: _Clause, *, postgres: _Clause | None = None, columns: Iterable[str] | None = None
    ) -> None:
        """``postgres``: where it is spelled in another way there; ``columns``: those that an INSERT is given."""
        self._clauses = {_SQLITE: clause, _POSTGRES: clause if postgres is None else postgres}
        self._columns = None if columns is None else list(columns)
        self._in_words: dict[Dialect, _Compiled] = {}

    def rows(self, on: Connection | Driver, values: Values | None = None) -> list[dict[str, Any]]:
        """Everything that it answers, row by row, by the names of the columns."""
        driver, compiled = self._for(on)
        got = compiled.got
        return [
            {name: make(value) if make else value for (name, make), value in zip(got, row, strict=True)}
            for row in _executed(driver, compiled, values or {}).fetchall()
        ]

    def first(self, on: Connection | Driver, values: Values | None = None) -> dict[str, Any] | None:
        """The first row of what it answers, None where there is none."""
        return next(iter(self.rows(on, values)), None)

    def scalar(self, on: Connection | Driver, values: Values | None = None) -> Any:
        """The first column of the first row, None where there is none."""
        return next(iter((self.first(on, values) or {}).values()), None)

    def run(self, on: Connection | Driver, values: Values | None = None) -> int:
        """Change something; how many rows were changed."""
        driver, compiled = self._for(on)
        return int(_executed(driver, compiled, values or {}).rowcount)

    def run_all(self, on: Connection | Driver, rows: Sequence[Values]) -> None:
        """Change something once for each of ``rows``."""
        driver, compiled = self._for(on)
        given = [_given(driver, compiled, values) for values in rows]
        cursor: Any = driver.cursor()
        cursor.executemany(compiled.text, given)

    def _for(self, on: Connection | Driver) -> tuple[Driver, _Compiled]:
        driver: Any = on.connection.driver_connection if isinstance(on, Connection) else on
        dialect = _SQLITE if isinstance(driver, sqlite3.Connection) else _POSTGRES
        compiled = self._in_words.get(dialect)
        if compiled is None:
            compiled = self._in_words[dialect] = _compiled(self._clauses[dialect], dialect, self._columns)
        return driver, compiled


def speaks_postgres(on: Connection | Driver) -> bool:
    """Whether a connection is one to PostgreSQL."""
    driver = on.connection.driver_connection if isinstance(on, Connection) else on
    return isinstance(driver, psycopg.Connection)


def one_of(column: sa.ColumnElement[Any], name: str, count: int) -> sa.ColumnElement[bool]:
    """Whether a column holds one of ``count`` values, which are given as ``numbered(name, values)``."""
    asked = [sa.bindparam(f"{name}_{number}", type_=column.type) for number in range(count)]
    return column.in_(asked) if asked else sa.false()


def numbered(name: str, values: Iterable[Any]) -> dict[str, Any]:
    """The values of :func:`one_of`."""
    return {f"{name}_{number}": value for number, value in enumerate(values)}


def _compiled(clause: _Clause, dialect: Dialect, columns: list[str] | None) -> _Compiled:
    if isinstance(clause, sa.Insert):
        clause = clause.inline()  # nobody asks for the keys that the database gives
    compiled: Any = clause.compile(dialect=dialect, column_keys=columns)
    parameters = {name: parameter for parameter, name in compiled.bind_names.items()}
    names = list(compiled.positiontup or parameters)
    return _Compiled(
        text=compiled.string,
        names=names,
        sent=[_sent(parameters[name], dialect) for name in names],
        got=[(str(column.key), _of(column.type, dialect).from_driver) for column in clause.exported_columns],
    )


def _sent(parameter: sa.BindParameter[Any], dialect: Dialect) -> tuple[str | None, Any, _Processor | None]:
    make = _of(parameter.type, dialect).to_driver
    if parameter.required:
        return parameter.key, None, make
    own = parameter.effective_value
    return None, make(own) if make else own, None


class _Makers(NamedTuple):
    """What makes a driver's values of a type of ours, and ours of the driver's; None where they are the same."""

    to_driver: _Processor | None
    from_driver: _Processor | None


def _of(type_: TypeEngine[Any], dialect: Dialect) -> _Makers:
    stored = type_.dialect_impl(dialect)
    return _Makers(stored.bind_processor(dialect), stored.result_processor(dialect, None))


def _executed(driver: Any, compiled: _Compiled, values: Values) -> Any:
    return driver.execute(compiled.text, _given(driver, compiled, values))


def _given(driver: Driver, compiled: _Compiled, values: Values) -> Sequence[Any] | Mapping[str, Any]:
    """The parameters as the driver wants them: in their order, or by their names."""
    made = [own if key is None else make(values[key]) if make else values[key] for key, own, make in compiled.sent]
    return made if isinstance(driver, sqlite3.Connection) else dict(zip(compiled.names, made, strict=True))
