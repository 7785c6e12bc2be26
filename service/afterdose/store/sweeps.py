"""How far each source has been polled: one row a source and resource type, held by one poller at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from afterdose.core.reasons import Outcome
from afterdose.store.engine import Database
from afterdose.store.schema import cohort, outcomes, sweeps

_c = sweeps.c
_SETTLED = (Outcome.UNRELATED.value, Outcome.WITHDRAWN.value)

LOOKING = "(looking)"
"""In the place of a resource type: the right to look at the Subscriptions of a source."""
FOLLOWING = "(following)"
"""The same: the right to recover what they did not tell."""
READING = "(reading)"
"""The same: the right to read what was named."""
_NO_POLLS = (LOOKING, FOLLOWING, READING)


@dataclass(frozen=True, slots=True)
class Sweep:
    """The right to poll one resource type of one source. ``watermark``: up to which change it is known, None at first.

    The watermark is the source's own time.
    """

    source: str
    resource_type: str
    owner: str
    watermark: datetime | None


class Sweeps:
    """Leases and watermarks. A poller that lost its lease has done no harm: what it found is stored once."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def begin(
        self, source: str, resource_type: str, *, owner: str, interval: timedelta, lease: timedelta
    ) -> Sweep | None:
        """Take the poll that is due; None where none is due, or somebody else has it."""
        now = self._clock()
        own = sa.and_(_c.source == source, _c.resource_type == resource_type)
        free = sa.and_(
            own,
            sa.or_(_c.tried_at.is_(None), _c.tried_at <= now - interval),
            sa.or_(_c.lease_until.is_(None), _c.lease_until <= now),
        )
        with self._database.reading() as connection:
            known = connection.execute(sa.select(_c.source).where(own)).first() is not None
            if known and connection.execute(sa.select(_c.source).where(free)).first() is None:
                return None
        with self._database.writing() as connection:
            insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
            connection.execute(
                insert(sweeps).values(source=source, resource_type=resource_type).on_conflict_do_nothing()
            )
            taken = connection.execute(
                sa.update(sweeps)
                .where(free)
                .values(tried_at=now, lease_owner=owner, lease_until=now + lease)
                .returning(_c.watermark)
            ).first()
        return Sweep(source, resource_type, owner, taken.watermark) if taken is not None else None

    def hurry(self, source: str) -> None:
        """Let every poll of a source be due now; one that is under way is followed by another."""
        with self._database.writing() as connection:
            polls = sa.and_(_c.source == source, _c.resource_type.not_in(_NO_POLLS))
            connection.execute(sa.update(sweeps).where(polls).values(tried_at=None))
            connection.execute(sa.update(cohort).where(cohort.c.source == source).values(asked_at=None))

    def look_now(self, source: str) -> None:
        """Let the Subscriptions of a source be looked at now."""
        own = sa.and_(_c.source == source, _c.resource_type == LOOKING)
        with self._database.writing() as connection:
            connection.execute(sa.update(sweeps).where(own).values(tried_at=None))

    def keep(self, sweep: Sweep, watermark: datetime | None, *, lease: timedelta) -> bool:
        """Remember how far it came, and hold it for another ``lease``; False where somebody else has it now."""
        return self._update(sweep, watermark=watermark, lease_until=self._clock() + lease)

    def finish(self, sweep: Sweep, watermark: datetime | None, *, known_since: datetime | None = None) -> bool:
        """Give it back as done; False where somebody else has it now.

        ``known_since``: until when everything is known, where that is not the present.
        """
        freed: dict[str, object] = {"lease_owner": None, "lease_until": None}
        return self._update(sweep, watermark=watermark, polled_at=known_since or self._clock(), **freed)

    def release(self, sweep: Sweep) -> None:
        """Give it back as failed; what was remembered stays."""
        self._update(sweep, lease_owner=None, lease_until=None)

    def polled(self) -> dict[str, datetime | None]:
        """Source -> since when everything of it is known; None where something was never polled successfully."""
        found: dict[str, datetime | None] = {}
        with self._database.reading() as connection:
            polls = sa.select(_c.source, _c.polled_at).where(_c.resource_type.not_in(_NO_POLLS))
            for row in connection.execute(polls.order_by(_c.source)):
                before = found.get(row.source, row.polled_at)
                found[row.source] = min(before, row.polled_at) if before and row.polled_at else None
        return found

    def tracked(self, source: str, *, heard_since: datetime) -> list[tuple[str, str]]:
        """Patient key and id of each administration of a source that may still be corrected to some effect, in order.

        Those whose window is still open, and those without one about which was last decided after ``heard_since``.
        """
        o = outcomes.c
        closes = o.details["window"]["closes"].as_string()
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        open_ = sa.or_(closes >= now, sa.and_(closes.is_(None), o.updated_at >= heard_since))
        named = (o.patient, o.resource_id)
        chosen = sa.select(*named).where(o.source == source, o.outcome.not_in(_SETTLED), open_).distinct()
        with self._database.reading() as connection:
            return [(row.patient, row.resource_id) for row in connection.execute(chosen.order_by(*named))]

    def _update(self, sweep: Sweep, **values: object) -> bool:
        own = sa.and_(_c.source == sweep.source, _c.resource_type == sweep.resource_type, _c.lease_owner == sweep.owner)
        with self._database.writing() as connection:
            return connection.execute(sa.update(sweeps).where(own).values(**values)).rowcount == 1
