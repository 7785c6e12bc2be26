"""Which deliveries of a sender were taken: what is sent again under the same id is the same event."""

import hashlib
from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa

from afterdose.store.engine import Database
from afterdose.store.schema import deliveries
from afterdose.store.upsert import upsert

_c = deliveries.c


class Deliveries:
    """Ids with what was sent under them, for as long as they are to be known again."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def taken(self, source: str, delivery: str) -> str | None:
        """The digest of what was taken under this id; None where nothing was, or too long ago."""
        chosen = sa.select(_c.digest).where(_c.source == source, _c.delivery == delivery, _c.until > self._clock())
        with self._database.reading() as connection:
            return connection.execute(chosen).scalar()

    def keep(self, source: str, delivery: str, digest: str, until: datetime) -> None:
        """Remember what was taken, and forget what is over."""
        row = {"source": source, "delivery": delivery, "digest": digest, "until": until}
        with self._database.writing() as connection:
            connection.execute(sa.delete(deliveries).where(_c.until <= self._clock()))
            upsert(connection, deliveries, [row])


def digest_of(*parts: bytes) -> str:
    """SHA-256 over parts of which none can be taken for the end of another."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
