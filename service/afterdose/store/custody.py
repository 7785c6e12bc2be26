"""Under whom everything of a patient is kept: handed over when two records are merged, given back when they part.

Ledger, memberships and questions move as a whole, in one transaction, under the claim of whoever has them. So one
worker at a time looks after each course, before a merge, during it and after it. What stands in the EHR is not touched:
a ledger row remembers whom its resource names.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from afterdose.core.dose import DoseKey
from afterdose.store.audit import append_entries
from afterdose.store.engine import Database
from afterdose.store.persons import due, in_hand
from afterdose.store.rows import AuditEntry, Claim
from afterdose.store.schema import ledger, memberships, outcomes, persons, reviews
from afterdose.store.wake import Wake

_g, _m, _o, _p, _r = ledger.c, memberships.c, outcomes.c, persons.c, reviews.c


class Custody:
    """Moves what belongs to a patient from one agenda key to another."""

    def __init__(self, database: Database, wake: Wake, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._wake = wake
        self._clock = clock

    def hand_over(self, claim: Claim, successor: str) -> None:
        """Keep everything of the claimed patient, and what was handed to it, with ``successor``, who is due now.

        Raises LeaseLost.
        """
        with self._database.writing() as connection:
            in_hand(connection, claim, [successor])
            self._move(connection, claim, successor, None, None)
            target, patient = claim.target, claim.patient
            follow = sa.update(persons).where(_p.target == target, _p.kept_with == patient, _p.patient != successor)
            connection.execute(follow.values(kept_with=successor))
            home = sa.update(persons).where(_p.target == target, _p.patient == successor)
            connection.execute(home.values(kept_with=None))
            self._settle(connection, claim, patient, successor)
        self._wake.ring()

    def give_back(
        self, claim: Claim, patient: str, to: str, keys: Collection[DoseKey], subjects: Collection[UUID]
    ) -> None:
        """Keep what the claimed patient has of ``patient`` with ``to``, who is due now; mostly that is ``patient``.

        ``keys``: its doses and orders; ``subjects``: the courses and dose sessions that these founded.
        Raises LeaseLost.
        """
        with self._database.writing() as connection:
            in_hand(connection, claim, [patient, to])
            self._move(connection, claim, to, keys, subjects)
            self._settle(connection, claim, patient, to)
        self._wake.ring()

    def _settle(self, connection: Connection, claim: Claim, patient: str, to: str) -> None:
        """Remember with whom a patient is kept now; both are due, and the audit trail tells."""
        now, home = self._clock(), to if to != patient else None
        whose = sa.and_(_p.target == claim.target, _p.patient == patient)
        if not connection.execute(sa.update(persons).where(whose).values(kept_with=home)).rowcount:
            unknown = {"target": claim.target, "patient": patient, "active": True, "gone": False, "kept_with": home}
            connection.execute(sa.insert(persons).values(unknown))
        moved = AuditEntry(
            actor="afterdose",
            action="U",
            entity_type="Patient",
            entity_id=patient,
            outcome="identity-moved",
            target=claim.target,
            patient=to,
        )
        append_entries(connection, [moved], now)
        due(self._database, connection, claim.target, {patient, to} - {claim.patient}, now)

    def _move(
        self,
        connection: Connection,
        claim: Claim,
        to: str,
        keys: Collection[DoseKey] | None,
        subjects: Collection[UUID] | None,
    ) -> None:
        """Ledger rows, memberships and answered questions; all of them, or those of some doses.

        What is open is decided anew, so outcomes go and questions are closed.
        """

        def mine(table: sa.Table) -> sa.ColumnElement[bool]:
            c = table.c
            whose = sa.and_(c.target == claim.target, c.patient == claim.patient)
            if keys is None:
                return whose
            named = [(key.source, key.id) for key in keys]
            return sa.and_(whose, sa.tuple_(c.source, c.resource_id).in_(named))

        rows = sa.and_(_g.target == claim.target, _g.patient == claim.patient)
        self._move_rows(connection, sa.and_(rows, _g.subject.in_(list(subjects))) if subjects is not None else rows, to)
        self._move_memberships(connection, mine(memberships), to, subjects)
        if subjects is not None:
            whose = sa.and_(_m.target == claim.target, _m.patient == claim.patient)
            parted = sa.or_(_m.session_id.in_(list(subjects)), _m.course_id.in_(list(subjects)))
            connection.execute(sa.delete(memberships).where(whose, parted))
        connection.execute(sa.delete(outcomes).where(mine(outcomes)))
        still_open = sa.and_(mine(reviews), _r.closed_at.is_(None))
        connection.execute(sa.update(reviews).where(still_open).values(closed_at=self._clock()))
        answered = sa.and_(mine(reviews), _r.closed_by.is_not(None))
        connection.execute(sa.update(reviews).where(answered).values(patient=to))

    def _move_memberships(
        self, connection: Connection, mine: sa.ColumnElement[bool], to: str, subjects: Collection[UUID] | None
    ) -> None:
        """Where both know an administration, the one to whom it goes is right.

        With ``subjects`` a course or a dose session is parted: it stays with its founder, and who was a member on the
        other side founds another.
        """
        found = [dict(row) for row in connection.execute(sa.select(memberships).where(mine)).mappings()]
        connection.execute(sa.delete(memberships).where(mine))
        for row in found:
            whose = sa.and_(*(_m[name] == row[name] for name in ("target", "source", "resource_id")), _m.patient == to)
            stays = subjects is not None and not {row["session_id"], row["course_id"]} <= set(subjects)
            if not stays and connection.execute(sa.select(_m.patient).where(whose)).first() is None:
                connection.execute(sa.insert(memberships).values(row | {"patient": to}))

    def _move_rows(self, connection: Connection, mine: sa.ColumnElement[bool], to: str) -> None:
        """What was written, or may have been, goes on naming whom it names in the EHR.

        Where both have a row of one artifact, the one that is in the EHR counts.
        """
        found = [dict(row) for row in connection.execute(sa.select(ledger).where(mine)).mappings()]
        connection.execute(sa.delete(ledger).where(mine))
        for row in found:
            same = (_g[name] == row[name] for name in ("target", "kind", "subject", "generation"))
            whose = sa.and_(*same, _g.patient == to)
            there = connection.execute(sa.select(_g.ehr_id).where(whose)).first()
            if there is not None and (there.ehr_id is not None or row["ehr_id"] is None):
                continue
            connection.execute(sa.delete(ledger).where(whose))
            written = row["ehr_id"] is not None or row["sent_at"] is not None
            named = (row["named"] or row["patient"]) if written else None
            connection.execute(sa.insert(ledger).values(row | {"patient": to, "named": named if named != to else None}))
