"""What we intend to have, and have, in the EHR."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from afterdose.core.care import ArtifactKey, ArtifactKind, Standing
from afterdose.store.audit import append_entries
from afterdose.store.engine import Database
from afterdose.store.leases import check_fence, check_owner
from afterdose.store.rows import AuditEntry, Claim, LedgerRow
from afterdose.store.schema import ledger
from afterdose.store.statements import Statement
from afterdose.store.upsert import upsert


class Ledger:
    """One row an artifact and patient; written only under a claim."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def load(self, target: str, patient: str) -> list[LedgerRow]:
        """Every artifact of a patient, in the order of their keys."""
        whose = {"target": target, "patient": patient}
        with self._database.asking() as driver:
            return [_row(row) for row in _OF_PATIENT.rows(driver, whose)]

    def record(self, claim: Claim, rows: Sequence[LedgerRow], audit: Sequence[AuditEntry] = ()) -> None:
        """Store how artifacts stand now: what is about to be written before its first byte leaves, and what came of it.

        All rows, and what the audit trail has to say of them, in one transaction. Raises LeaseLost.
        """
        for row in rows:
            check_owner(claim, row.target, row.patient)
        now = self._clock()
        with self._database.telling() as driver:
            check_fence(driver, claim)
            upsert(driver, ledger, [_columns(row) | {"updated_at": now} for row in rows])
            append_entries(driver, audit, now)

    def believe_again(self, target: str, since: datetime) -> None:
        """Take back that people removed what was found to be removed since then: the next look says how it stands.

        Without a claim: nobody may be writing to the target.
        """
        with self._database.writing() as connection:
            connection.execute(_BELIEVE_AGAIN, {"whose": target, "since": since, "at": self._clock()})


_BELIEVE_AGAIN = (
    sa.update(ledger)
    .where(
        ledger.c.target == sa.bindparam("whose"),
        ledger.c.standing == Standing.REMOVED_BY_PERSON.value,
        ledger.c.closed_at >= sa.bindparam("since"),
    )
    .values(standing=Standing.WRITTEN.value, closed_at=None, desired_hash=None, updated_at=sa.bindparam("at"))
)
_OF_PATIENT = Statement(
    sa.select(ledger)
    .where(ledger.c.target == sa.bindparam("target"), ledger.c.patient == sa.bindparam("patient"))
    .order_by(ledger.c.kind, ledger.c.subject, ledger.c.generation)
)


def _columns(row: LedgerRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in _PLAIN} | {
        "kind": row.key.kind.value,
        "subject": row.key.subject,
        "generation": row.key.generation,
        "standing": row.standing.value,
        "elements": dict(row.elements),
    }


_PLAIN = tuple(name for name in LedgerRow.__dataclass_fields__ if name not in ("key", "standing", "elements"))


def _row(row: Mapping[Any, Any]) -> LedgerRow:
    columns = dict(row)
    key = ArtifactKey(ArtifactKind(columns.pop("kind")), columns.pop("subject"), columns.pop("generation"))
    return LedgerRow(**columns | {"key": key, "standing": Standing(row["standing"])})
