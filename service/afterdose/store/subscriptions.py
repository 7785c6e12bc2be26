"""What is known of the Subscriptions by which sources notify us: how far their events are known, and what is wrong.

What is heard is written by whoever takes a notification in, in any process and any order; the rest by who watches.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, RowMapping

from afterdose.core.numbering import Numbering
from afterdose.store.columns import instant_of, instant_text
from afterdose.store.engine import Database
from afterdose.store.schema import subscriptions

_c = subscriptions.c
MOST = 200
"""So many Subscriptions of one source are kept: a sender who makes names up must not fill the disk."""

Heard = Callable[[Numbering | None], Numbering | None]
"""What a notification makes of what was known before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionRow:
    """One Subscription. ``mark`` and ``resource_type`` are there where we made it. ``troubles``: code -> since when.

    ``unnamed``: the lowest number of those events that came without saying of what, and have not been asked about.
    """

    source: str
    id: str
    mark: str | None
    resource_type: str | None
    numbering: Numbering | None
    gap_at: datetime | None
    unnamed: int | None
    heard_at: datetime | None
    heartbeat: timedelta | None
    status: str | None
    looked_at: datetime | None
    activations: int
    activated_at: datetime | None
    troubles: Mapping[str, datetime]


class Subscriptions:
    """One row a Subscription; rows are locked while what was heard is added to them."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def hear(
        self, source: str, id_: str, heard: Heard, *, status: str | None = None, unnamed: int | None = None
    ) -> None:
        """Add a notification to what is known, and remember that it came. Durable on return."""
        now = self._clock()
        with self._database.writing() as connection:
            row = _locked(connection, source, id_)
            if row is None:
                return
            numbering = heard(_numbering(row["numbering"]))
            values: dict[str, object] = {"heard_at": now, **_numbered(numbering, row, now)}
            if status is not None:
                values["status"] = status
            if unnamed is not None:
                values["unnamed"] = min(unnamed, row["unnamed"]) if row["unnamed"] is not None else unnamed
            connection.execute(sa.update(subscriptions).where(_is(source, id_)).values(values))

    def recount(self, source: str, id_: str, heard: Heard) -> Numbering | None:
        """The same for what the source answered when it was asked: nothing came by itself."""
        with self._database.writing() as connection:
            row = _locked(connection, source, id_)
            if row is None:
                return None
            numbering = heard(_numbering(row["numbering"]))
            values = _numbered(numbering, row, self._clock())
            connection.execute(sa.update(subscriptions).where(_is(source, id_)).values(values))
            return numbering

    def keep(self, source: str, id_: str, **values: object) -> None:
        """Set columns of a Subscription, which is made where it is not known; a length of time in seconds."""
        with self._database.writing() as connection:
            if _locked(connection, source, id_) is not None:
                connection.execute(sa.update(subscriptions).where(_is(source, id_)).values(values))

    def trouble(self, source: str, id_: str, troubles: Mapping[str, datetime]) -> None:
        """Remember what is wrong with it, and since when."""
        self.keep(source, id_, troubles={code: instant_text(since) for code, since in troubles.items()})

    def forget(self, source: str, id_: str) -> None:
        """Know it no more."""
        with self._database.writing() as connection:
            connection.execute(sa.delete(subscriptions).where(_is(source, id_)))

    def of(self, source: str) -> list[SubscriptionRow]:
        """Those of one source, in the order of their ids."""
        return [row for row in self.all() if row.source == source]

    def all(self) -> list[SubscriptionRow]:
        """Everything known, by source and id."""
        with self._database.reading() as connection:
            found = connection.execute(sa.select(subscriptions).order_by(_c.source, _c.subscription)).mappings()
            return [_row(row) for row in found]


def _is(source: str, id_: str) -> sa.ColumnElement[bool]:
    return sa.and_(_c.source == source, _c.subscription == id_)


def _locked(connection: Connection, source: str, id_: str) -> RowMapping | None:
    """The row, held until the transaction ends; None where there is no room for one more."""
    chosen = sa.select(subscriptions).where(_is(source, id_)).with_for_update()
    row = connection.execute(chosen).mappings().first()
    if row is not None:
        return row
    known = connection.execute(sa.select(sa.func.count()).where(_c.source == source)).scalar_one()
    if known >= MOST:
        return None
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    fresh = {"source": source, "subscription": id_, "activations": 0, "troubles": {}}
    connection.execute(insert(subscriptions).values(fresh).on_conflict_do_nothing())
    return connection.execute(chosen).mappings().one()


def _numbered(numbering: Numbering | None, row: RowMapping, now: datetime) -> dict[str, object]:
    """The columns that hold it. A gap is as old as its lowest number is missing: later ones may be on their way."""
    if numbering is None:
        return {}
    told = {
        "reached": numbering.reached,
        "exists": numbering.exists,
        "beyond": [list(one) for one in numbering.beyond],
        "at": instant_text(numbering.at) if numbering.at else None,
    }
    same = row["gap_at"] is not None and row["numbering"]["reached"] == numbering.reached
    return {"numbering": told, "gap_at": (row["gap_at"] if same else now) if numbering.missing else None}


def _numbering(told: Mapping[str, Any] | None) -> Numbering | None:
    if told is None:
        return None
    return Numbering(
        reached=told["reached"],
        exists=told["exists"],
        beyond=tuple((first, last) for first, last in told["beyond"]),
        at=instant_of(told["at"]) if told["at"] else None,
    )


def _row(row: RowMapping) -> SubscriptionRow:
    return SubscriptionRow(
        source=row["source"],
        id=row["subscription"],
        mark=row["mark"],
        resource_type=row["resource_type"],
        numbering=_numbering(row["numbering"]),
        gap_at=row["gap_at"],
        unnamed=row["unnamed"],
        heard_at=row["heard_at"],
        heartbeat=timedelta(seconds=row["heartbeat"]) if row["heartbeat"] is not None else None,
        status=row["status"],
        looked_at=row["looked_at"],
        activations=row["activations"],
        activated_at=row["activated_at"],
        troubles={code: instant_of(since) for code, since in row["troubles"].items()},
    )
