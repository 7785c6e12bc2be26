"""Whom a source is asked about, patient by patient, and until when the doses of each are known."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from afterdose.store.engine import Database
from afterdose.store.schema import cohort
from afterdose.store.upsert import upsert

_c = cohort.c


@dataclass(frozen=True, slots=True)
class Due:
    """A patient whose turn it is. ``member``: in the cohort now; the others only have doses that are tracked.

    ``known_until``: what was charted by then was found, None where nobody asked yet; then ``joined_at`` counts.
    """

    patient: str
    member: bool
    joined_at: datetime
    known_until: datetime | None


class Cohorts:
    """The cohort of each source, and how far it is with each patient."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def replace(self, source: str, members: Collection[str], tracked: Collection[str]) -> None:
        """Let the cohort be ``members``. Who left it stays as long as there are doses of theirs (``tracked``)."""
        now = self._clock()
        wanted = dict.fromkeys(tracked, False) | dict.fromkeys(members, True)
        own = _c.source == source
        with self._database.writing() as connection:
            known = {row.patient: row.member for row in connection.execute(sa.select(_c.patient, _c.member).where(own))}
            for patient in known.keys() - wanted.keys():
                connection.execute(sa.delete(cohort).where(own, _c.patient == patient))
            changed = [patient for patient, member in wanted.items() if known.get(patient) is not member]
            upsert(connection, cohort, [_row(source, patient, wanted[patient], now) for patient in sorted(changed)])

    def members(self, source: str) -> set[str]:
        """The patients in the cohort."""
        chosen = sa.select(_c.patient).where(_c.source == source, _c.member)
        with self._database.reading() as connection:
            return set(connection.execute(chosen).scalars())

    def size(self, source: str) -> int:
        """How many patients there are to ask about, those with tracked doses among them."""
        counted = sa.select(sa.func.count()).select_from(cohort).where(_c.source == source)
        with self._database.reading() as connection:
            return connection.execute(counted).scalar_one()

    def due(self, source: str, *, asked_before: datetime, most: int) -> list[Due]:
        """Whose turn it is: who was never asked about, then who has waited longest."""
        waits = sa.or_(_c.asked_at.is_(None), _c.asked_at <= asked_before)
        order = (_c.asked_at.is_not(None), _c.asked_at, _c.patient)
        chosen = sa.select(_c.patient, _c.member, _c.joined_at, _c.known_until).where(_c.source == source, waits)
        with self._database.reading() as connection:
            rows = connection.execute(chosen.order_by(*order).limit(most))
            return [Due(row.patient, row.member, row.joined_at, row.known_until) for row in rows]

    def asked(self, source: str, patient: str, *, known_until: datetime | None) -> None:
        """The turn is over; ``known_until`` None: it failed, and what was known stays."""
        reached = {"known_until": known_until} if known_until is not None else {}
        own = sa.and_(_c.source == source, _c.patient == patient)
        with self._database.writing() as connection:
            connection.execute(sa.update(cohort).where(own).values(asked_at=self._clock(), **reached))

    def known_until(self, source: str) -> datetime | None:
        """Until when everything about the cohort is known; a new member counts from joining. None: it is empty."""
        reached = sa.func.min(sa.func.coalesce(_c.known_until, _c.joined_at), type_=_c.joined_at.type)
        chosen = sa.select(reached).where(_c.source == source, _c.member)
        with self._database.reading() as connection:
            until: datetime | None = connection.execute(chosen).scalar_one()
        return until


def _row(source: str, patient: str, member: bool, now: datetime) -> dict[str, object]:
    return {"source": source, "patient": patient, "member": member, "joined_at": now}
