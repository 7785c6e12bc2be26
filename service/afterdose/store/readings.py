"""What was read for a decision, with its time: the requests, encounters and people that doses hang on."""

from collections.abc import Sequence

import sqlalchemy as sa

from afterdose.store.engine import Database
from afterdose.store.leases import check_fence
from afterdose.store.rows import Claim, Reading
from afterdose.store.schema import readings
from afterdose.store.statements import Driver, Statement
from afterdose.store.upsert import upsert


class Readings:
    """The newest reading of each resource; written only under a claim."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, source: str, resource_type: str, resource_id: str) -> Reading | None:
        """What was last read of a resource, None where it never was."""
        place = {"source": source, "resource_type": resource_type, "resource_id": resource_id}
        with self._database.asking() as driver:
            row = _ONE.first(driver, place)
        return Reading(**row) if row is not None else None

    def keep(self, claim: Claim, *read: Reading) -> None:
        """Store what was read, all of it in one transaction. Raises LeaseLost."""
        if not read:
            return
        with self._database.telling() as driver:
            check_fence(driver, claim)
            keep_readings(driver, read)


def keep_readings(driver: Driver, read: Sequence[Reading]) -> None:
    """Store what was read in the caller's transaction."""
    upsert(driver, readings, [{name: getattr(one, name) for name in _NAMES} for one in read])


_NAMES = tuple(Reading.__dataclass_fields__)
_ONE = Statement(
    sa.select(readings).where(
        *(readings.c[name] == sa.bindparam(name) for name in ("source", "resource_type", "resource_id"))
    )
)
