"""Steps in the life of a patient's care, for the tests of decide()."""

from dataclasses import replace
from uuid import UUID

from afterdose.core.care import (
    ArtifactKey,
    ArtifactKind,
    Care,
    DesiredTask,
    PlanStatus,
    Snapshot,
)
from afterdose.core.dose import Dose, DoseKey
from afterdose.core.identity import course_id, dose_session_id
from afterdose.core.plan import decide
from afterdose.core.reasons import Reason
from builders import a_dose, after_writing, local

NOW = local("2026-01-05 12:00")
MONDAY, TUESDAY = a_dose("2026-01-05 10:00", id="mon"), a_dose("2026-01-06 10:00", id="tue")


def session_of(id: str) -> UUID:
    return dose_session_id(DoseKey("ehr", id))


def course_of(id: str) -> UUID:
    return course_id(DoseKey("ehr", id))


def written(snapshot: Snapshot, **changes: object) -> Snapshot:
    """The snapshot after all that it asks for was written; ``changes`` are what people did to the Appointments."""
    after = after_writing(snapshot, decide(snapshot, NOW))
    rows = {
        key: replace(row, **changes) if key.kind is ArtifactKind.APPOINTMENT else row
        for key, row in after.known.artifacts.items()
    }
    return replace(after, known=replace(after.known, artifacts=rows))


def people_did(snapshot: Snapshot, kind: ArtifactKind, subject: UUID, **changes: object) -> Snapshot:
    """The snapshot after people did something to one artifact."""
    rows = {
        key: replace(row, **changes) if (key.kind, key.subject) == (kind, subject) else row
        for key, row in snapshot.known.artifacts.items()
    }
    return replace(snapshot, known=replace(snapshot.known, artifacts=rows))


def with_doses(snapshot: Snapshot, *doses: Dose) -> Snapshot:
    """The snapshot with these doses in the place of those of the same id."""
    keys = {dose.key for dose in doses}
    return replace(snapshot, doses=(*(dose for dose in snapshot.doses if dose.key not in keys), *doses))


def tasks_of(care: Care, kind: ArtifactKind) -> list[DesiredTask]:
    return [task for task in care.tasks if task.key.kind is kind]


def cancellations(care: Care) -> list[tuple[ArtifactKey, Reason | None]]:
    return [(one.key, one.cancel_reason) for one in care.appointments if one.cancelled]


def plan_statuses(care: Care) -> list[PlanStatus]:
    return [plan.status for plan in care.plans]
