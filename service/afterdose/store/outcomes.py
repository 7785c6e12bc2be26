"""What became of every administration, and to which dose session and course it belongs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from afterdose.core.care import Membership, ReviewItem
from afterdose.core.dose import DoseKey
from afterdose.core.reasons import Outcome, Reason
from afterdose.fhir.decode.administration import TYPE as ADMINISTRATION
from afterdose.store.engine import Database
from afterdose.store.leases import check_fence, check_owner
from afterdose.store.readings import keep_readings
from afterdose.store.reviews import sync
from afterdose.store.rows import Claim, OutcomeRow, Reading
from afterdose.store.schema import facts, memberships, outcomes, patient_key
from afterdose.store.statements import Statement
from afterdose.store.upsert import upsert


class Outcomes:
    """Outcomes are replaced as a whole by each look at a patient; memberships, once minted, stay."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def replace(
        self,
        claim: Claim,
        rows: Sequence[OutcomeRow],
        members: Mapping[DoseKey, Membership] | None = None,
        questions: Sequence[ReviewItem] = (),
        read: Sequence[Reading] = (),
    ) -> None:
        """Store what was decided about the claimed patient, all of it in one transaction. Raises LeaseLost.

        All outcomes, the memberships that the decision gave, all questions that persons are asked (``reviews``), and
        what was ``read`` for it.
        """
        for row in rows:
            check_owner(claim, row.target, row.patient)
        owner: dict[str, object] = {"target": claim.target, "patient": claim.patient}
        now = self._clock()
        with self._database.telling() as driver:
            check_fence(driver, claim)
            _FORGET.run(driver, owner)
            if rows:
                _ADD.run_all(driver, [_columns(row, now) for row in rows])
            upsert(
                driver,
                memberships,
                [
                    owner
                    | {"source": key.source, "resource_id": key.id}
                    | {"session_id": member.session_id, "course_id": member.course_id}
                    for key, member in (members or {}).items()
                ],
            )
            sync(driver, claim, questions, now)
            keep_readings(driver, read)

    def park(self, claim: Claim, administrations: Iterable[DoseKey], reason: Reason | None) -> None:
        """Store that the claimed patient was given up: every administration is parked until the next decision.

        What had been decided stays beside it, with ``reason`` added; what had not been is parked too. Raises LeaseLost.
        """
        parked = Outcome.PARKED
        known = {row.key: row for row in self.of_patient(claim.target, claim.patient)}
        for key in administrations:
            new = OutcomeRow(target=claim.target, patient=claim.patient, key=key, outcome=parked)
            known.setdefault(key, new)
        added = (reason,) if reason is not None else ()
        rows = [
            replace(row, outcome=parked, reasons=tuple(dict.fromkeys((*row.reasons, *added)))) for row in known.values()
        ]
        now = self._clock()
        with self._database.telling() as driver:
            check_fence(driver, claim)
            _FORGET.run(driver, {"target": claim.target, "patient": claim.patient})
            if rows:
                _ADD.run_all(driver, [_columns(row, now) for row in rows])

    def memberships(self, target: str, patient: str) -> dict[DoseKey, Membership]:
        """Dose session and course of every administration that was ever assigned to one for this patient."""
        with self._database.asking() as driver:
            rows = _MEMBERS.rows(driver, {"target": target, "patient": patient})
        return {
            DoseKey(row["source"], row["resource_id"]): Membership(
                session_id=row["session_id"], course_id=row["course_id"]
            )
            for row in rows
        }

    def find(self, source: str, resource_id: str) -> OutcomeRow | None:
        """What became of an administration: the word of the patient whom its newest fact names."""
        newest = (
            sa.select(facts.c.patient)
            .where(
                facts.c.source == source, facts.c.resource_type == ADMINISTRATION, facts.c.resource_id == resource_id
            )
            .order_by(facts.c.seq.desc())
            .limit(1)
        )
        chosen = (
            sa.select(outcomes)
            .where(outcomes.c.source == source, outcomes.c.resource_id == resource_id)
            .order_by(outcomes.c.updated_at.desc())
        )
        with self._database.reading() as connection:
            named = patient_key(connection.execute(newest).scalar(), source, resource_id)
            rows = [_row(row) for row in connection.execute(chosen).mappings()]
        return next((row for row in rows if row.patient == named), rows[0] if rows else None)

    def of_patient(self, target: str, patient: str) -> list[OutcomeRow]:
        """Every outcome of a patient, in the order of the administrations' keys."""
        o = outcomes.c
        chosen = sa.select(outcomes).where(o.target == target, o.patient == patient).order_by(o.source, o.resource_id)
        with self._database.reading() as connection:
            return [_row(row) for row in connection.execute(chosen).mappings()]

    def decided_in_shadow(self, target: str) -> list[str]:
        """The patients of a target about whom was last decided without writing anything."""
        o = outcomes.c
        chosen = sa.select(o.patient).distinct().where(o.target == target, o.shadow).order_by(o.patient)
        with self._database.reading() as connection:
            return list(connection.execute(chosen).scalars())

    def counts(self) -> dict[Outcome, int]:
        """How many administrations stand at each outcome."""
        statement = sa.select(outcomes.c.outcome, sa.func.count()).group_by(outcomes.c.outcome)
        with self._database.reading() as connection:
            return {Outcome(outcome): number for outcome, number in connection.execute(statement)}


_FORGET = Statement(
    sa.delete(outcomes).where(
        outcomes.c.target == sa.bindparam("target"), outcomes.c.patient == sa.bindparam("patient")
    )
)
_ADD = Statement(sa.insert(outcomes))
_MEMBERS = Statement(
    sa.select(memberships).where(
        memberships.c.target == sa.bindparam("target"), memberships.c.patient == sa.bindparam("patient")
    )
)


def _columns(row: OutcomeRow, now: datetime) -> dict[str, object]:
    return {
        "target": row.target,
        "patient": row.patient,
        "source": row.key.source,
        "resource_id": row.key.id,
        "outcome": row.outcome.value,
        "reasons": [reason.value for reason in row.reasons],
        "session_id": row.session_id,
        "course_id": row.course_id,
        "details": dict(row.details),
        "next_look": row.next_look,
        "shadow": row.shadow,
        "updated_at": now,
    }


def _row(row: Mapping[Any, Any]) -> OutcomeRow:
    columns = dict(row)
    key = DoseKey(columns.pop("source"), columns.pop("resource_id"))
    reasons = tuple(Reason(reason) for reason in columns.pop("reasons"))
    return OutcomeRow(**columns | {"key": key, "reasons": reasons, "outcome": Outcome(row["outcome"])})
