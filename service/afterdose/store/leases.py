"""The fence: whether a claim still holds, asked inside the transaction that writes under it."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from afterdose.core.errors import LeaseLost
from afterdose.store.rows import Claim
from afterdose.store.schema import agenda


def check_fence(connection: Connection, claim: Claim) -> None:
    """Raise LeaseLost unless ``claim`` is the newest claim of its patient and not finished.

    Locks the agenda row until the transaction ends, so that nobody can take the patient over in between.
    """
    statement = (
        sa.select(agenda.c.fence)
        .where(agenda.c.target == claim.target, agenda.c.patient == claim.patient, agenda.c.lease_owner.is_not(None))
        .with_for_update()
    )
    if connection.execute(statement).scalar() != claim.fence:
        raise LeaseLost("another worker has taken the patient over, or the work was finished")


def check_owner(claim: Claim, target: str, patient: str) -> None:
    """Raise ValueError where a row of another patient is written under the claim."""
    if (claim.target, claim.patient) != (target, patient):
        raise ValueError("the row belongs to another patient than the claim")
