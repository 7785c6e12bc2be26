"""Questions to a person: opened while a decision needs them, closed when it does not any more or a person answered."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from afterdose.core.care import ReviewItem
from afterdose.core.dose import DoseKey
from afterdose.core.reasons import Reason
from afterdose.store.engine import Database
from afterdose.store.rows import Claim, ReviewRow
from afterdose.store.schema import reviews
from afterdose.store.statements import Driver, Statement

_c = reviews.c


class Reviews:
    """One open review an administration that founds one."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def ask(self, target: str, patient: str, item: ReviewItem) -> None:
        """Open a question beside the work for the patient, unless its founder has one open.

        The next decision about the patient closes it where it does not ask for it too.
        """
        founder = {"source": item.founder.source, "resource_id": item.founder.id}
        mine = sa.and_(_c.target == target, _c.patient == patient, *(_c[name] == it for name, it in founder.items()))
        owner = {"target": target, "patient": patient, "opened_at": self._clock()}
        with self._database.writing() as connection:
            if connection.execute(sa.select(_c.id).where(mine, _c.closed_at.is_(None))).first() is None:
                connection.execute(sa.insert(reviews).values(owner | founder | _question(item)))

    def resolve(self, review_id: int, person: str) -> bool:
        """A person answered. Returns whether the review was still open."""
        statement = sa.update(reviews).where(_c.id == review_id, _c.closed_at.is_(None))
        with self._database.writing() as connection:
            return connection.execute(statement.values(closed_at=self._clock(), closed_by=person)).rowcount == 1

    def open(self, limit: int) -> list[ReviewRow]:
        """Open reviews, the most urgent first, those without a deadline last."""
        urgency = (_c.due.is_(None), _c.due, _c.opened_at, _c.id)
        chosen = sa.select(reviews).where(_c.closed_at.is_(None)).order_by(*urgency).limit(limit)
        with self._database.reading() as connection:
            return [_row(row) for row in connection.execute(chosen).mappings()]

    def open_of(self, key: DoseKey) -> ReviewRow | None:
        """The open review that asks about an administration, whether it founded its dose session or is a part of it."""
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(reviews).where(_c.closed_at.is_(None)).order_by(_c.id)).mappings()
            return next((row for row in map(_row, rows) if key in row.administrations), None)

    def find(self, source: str, resource_id: str) -> ReviewRow | None:
        """The newest review that an administration founded, open or closed."""
        chosen = (
            sa.select(reviews).where(_c.source == source, _c.resource_id == resource_id).order_by(_c.id.desc()).limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(chosen).mappings().first()
        return _row(row) if row is not None else None


def sync(driver: Driver, claim: Claim, items: Sequence[ReviewItem], now: datetime) -> None:
    """Open what is new, bring up to date what is open, close what is not wanted any more, in the caller's transaction.

    What a person resolved stays resolved while the same administrations are asked about for the same reasons.
    """
    mine = _MINE.rows(driver, {"target": claim.target, "patient": claim.patient})
    newest = {row.founder: row for row in map(_row, mine)}
    for item in items:
        row = newest.pop(item.founder, None)
        if row is not None and row.closed_at is None:
            if (item.administrations, item.reasons, item.due) != (row.administrations, row.reasons, row.due):
                _ASK_OTHERWISE.run(driver, {"review": row.id} | _question(item))
        elif row is None or row.closed_by is None or _asks_more(item, row):
            owner = {"target": claim.target, "patient": claim.patient, "opened_at": now}
            founder = {"source": item.founder.source, "resource_id": item.founder.id}
            _OPEN.run(driver, owner | founder | _question(item))
    for row in newest.values():
        if row.closed_at is None:
            _CLOSE.run(driver, {"review": row.id, "now": now})


_ASKED = ("administrations", "reasons", "codes", "due")
_MINE = Statement(
    sa.select(reviews).where(_c.target == sa.bindparam("target"), _c.patient == sa.bindparam("patient")).order_by(_c.id)
)
_OPEN = Statement(sa.insert(reviews), columns=("target", "patient", "opened_at", "source", "resource_id", *_ASKED))
_ASK_OTHERWISE = Statement(
    sa.update(reviews).where(_c.id == sa.bindparam("review")).values({name: sa.bindparam(name) for name in _ASKED})
)
_CLOSE = Statement(sa.update(reviews).where(_c.id == sa.bindparam("review")).values(closed_at=sa.bindparam("now")))


def _asks_more(item: ReviewItem, row: ReviewRow) -> bool:
    return (set(item.administrations), set(item.reasons)) != (set(row.administrations), set(row.reasons))


def _question(item: ReviewItem) -> dict[str, object]:
    return {
        "administrations": [[key.source, key.id] for key in item.administrations],
        "reasons": [reason.value for reason in item.reasons],
        "codes": list(item.codes),
        "due": item.due,
    }


def _row(row: Mapping[Any, Any]) -> ReviewRow:
    columns = dict(row)
    founder = DoseKey(columns.pop("source"), columns.pop("resource_id"))
    administrations = tuple(DoseKey(source, id_) for source, id_ in row["administrations"])
    reasons = tuple(Reason(reason) for reason in row["reasons"])
    told = {"administrations": administrations, "reasons": reasons, "codes": tuple(row["codes"])}
    return ReviewRow(**columns | {"founder": founder} | told)
