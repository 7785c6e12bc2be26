"""Short ways to say what arrives."""

from datetime import datetime, timedelta

from afterdose.store.rows import Arrival, Claim, Interaction, Via
from afterdose.store.store import Store

LEASE = timedelta(seconds=60)


def arrival(
    resource_id: str = "dose-1",
    patient: str | None = "ann",
    *,
    raw: bytes = b"A",
    version: str | None = None,
    interaction: Interaction = "upsert",
    via: Via = "push",
    last_updated: datetime | None = None,
    resource_type: str = "MedicationAdministration",
) -> Arrival:
    """One version of a dose, or of a resource of another type."""
    return Arrival(
        source="ehr",
        resource_type=resource_type,
        resource_id=resource_id,
        target="main",
        patient=patient,
        interaction=interaction,
        via=via,
        version=version,
        last_updated=last_updated,
        raw=raw,
    )


def claim(store: Store, clock: object, worker: str = "worker") -> Claim:
    """Claim the one patient who must be due."""
    assert callable(clock)
    claimed = store.agenda.claim(worker, lease=LEASE, now=clock())
    assert claimed is not None
    return claimed
