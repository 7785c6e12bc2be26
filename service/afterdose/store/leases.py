"""The fence: whether a claim still holds, asked inside the transaction that writes under it."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from afterdose.core.errors import LeaseLost
from afterdose.store.rows import Claim
from afterdose.store.schema import agenda
from afterdose.store.statements import Driver, Statement


def check_fence(connection: Connection | Driver, claim: Claim) -> None:
    """Raise LeaseLost unless ``claim`` is the newest claim of its patient and not finished.

    Locks the agenda row until the transaction ends, so that nobody can take the patient over in between.
    """
    held = _FENCE.scalar(connection, {"target": claim.target, "patient": claim.patient})
    if held != claim.fence:
        raise LeaseLost("another worker has taken the patient over, or the work was finished")


_FENCE = Statement(
    sa.select(agenda.c.fence)
    .where(
        agenda.c.target == sa.bindparam("target"),
        agenda.c.patient == sa.bindparam("patient"),
        agenda.c.lease_owner.is_not(None),
    )
    .with_for_update()
)


def check_owner(claim: Claim, target: str, patient: str) -> None:
    """Raise ValueError where a row of another patient is written under the claim."""
    if (claim.target, claim.patient) != (target, patient):
        raise ValueError("the row belongs to another patient than the claim")
