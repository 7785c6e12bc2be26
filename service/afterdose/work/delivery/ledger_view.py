"""What a decision asks of the ledger: what was written, what people may still act on, what they have answered. Pure."""

from collections.abc import Mapping
from uuid import UUID

from afterdose.core.care import ArtifactKey, ArtifactKind, Care, ReviewItem, Standing
from afterdose.store.rows import LedgerRow

_ENDED = frozenset(
    {"cancelled", "entered-in-error", "fulfilled", "noshow", "completed", "revoked", "rejected", "failed"}
)
"""Statuses of Appointments, CarePlans and Tasks after which people act on them no more."""


def written(rows: Mapping[ArtifactKey, LedgerRow]) -> dict[tuple[ArtifactKind, UUID], str]:
    """What artifacts were written as, or may have been: the newest generation counts."""
    sent = [row for row in rows.values() if row.ehr_id is not None or row.sent_at is not None]
    return {(row.key.kind, row.key.subject): row.resource_type for row in sorted(sent, key=lambda row: row.key)}


def still_open(rows: Mapping[ArtifactKey, LedgerRow]) -> list[ArtifactKey]:
    """Artifacts that people may still act on."""
    return [
        key
        for key, row in rows.items()
        if row.ehr_id is not None
        and key.kind is not ArtifactKind.PROVENANCE
        and row.standing in (Standing.WRITTEN, Standing.TAKEN_OVER)
        and row.ehr_status not in _ENDED
    ]


def has_plan(rows: Mapping[ArtifactKey, LedgerRow]) -> bool:
    """Whether a plan stands in the EHR that people may still act on."""
    return any(key.kind is ArtifactKind.CARE_PLAN for key in still_open(rows))


def resolved(item: ReviewItem, care: Care, rows: Mapping[ArtifactKey, LedgerRow]) -> bool:
    """Whether a person has closed the Task that asked for this review."""
    return any(
        task.verdict is not None
        and task.verdict.founder == item.founder
        and task.key in rows
        and rows[task.key].standing is Standing.REMOVED_BY_PERSON
        for task in care.tasks
        if task.key.kind is ArtifactKind.REVIEW_TASK
    )
