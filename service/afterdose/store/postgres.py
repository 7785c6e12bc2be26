"""How a connection to a PostgreSQL server is made. It locks rows by itself, so nobody has to queue before it."""

from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine

from afterdose.store.errors import PATIENCE

_OPTIONS: dict[str, Any] = {
    "connect_timeout": 5,
    "options": f"-c lock_timeout={int(PATIENCE * 1000)} -c timezone=UTC",
    "application_name": "afterdose",
    "client_encoding": "UTF8",
}


def connect(url: URL) -> psycopg.Connection[tuple[object, ...]]:
    """A connection of the driver itself, in autocommit."""
    server = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(server, autocommit=True, **_OPTIONS)


def engine(url: URL) -> Engine:
    """A pool of connections, each tried before it is lent."""
    return sa.create_engine(
        url,
        connect_args=_OPTIONS,
        pool_pre_ping=True,
        pool_size=8,
        max_overflow=24,
        pool_timeout=PATIENCE,
        hide_parameters=True,
    )
