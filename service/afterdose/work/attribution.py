"""Provenance: after a course's resources were written, one record of what was written from which doses.

Level-triggered like everything else: the ledger remembers for which state of our wishes the last
Provenance was written; when they have moved on, the next one names what is new. Provenance has no
identifier in R4, so our key stands in ``entity`` and is looked for there before anything is sent again.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from afterdose.core.care import ArtifactKey, ArtifactKind, DesiredPlan, Standing
from afterdose.core.errors import EhrConflict, EhrGone, EhrRefused
from afterdose.ehr.wire import Interaction
from afterdose.fhir.encode import Letterhead, provenance
from afterdose.store.rows import LedgerRow
from afterdose.work.adopt import await_index
from afterdose.work.deliver import Delivery


def attribute(plan: DesiredPlan, delivery: Delivery, head: Letterhead, *, now: datetime) -> None:
    """Write the Provenance that is due for a course, where the EHR takes any. Raises EhrUnavailable."""
    if not delivery.client.capabilities().allows("Provenance", Interaction.CREATE):
        return
    state = _state(plan, delivery)
    written, begun = _earlier(plan, delivery)
    if begun is not None and _found(begun, plan, delivery, now):
        delivery.journal.keep(replace(begun, standing=Standing.WRITTEN, attempts=0))
        written, begun = _earlier(plan, delivery)
    before = written.elements if written is not None else {}
    changed = [key for key, wanted in state.items() if before.get(str(key)) != wanted]
    if not changed:
        return
    row = begun or delivery.journal.new_row(
        ArtifactKey(ArtifactKind.PROVENANCE, plan.key.subject, written.key.generation + 1 if written else 0)
    )
    told = {str(key): wanted for key, wanted in state.items()}
    row = replace(row, elements=told, attempts=row.attempts + 1, sent_at=now)
    references = delivery.journal.references()
    resource = provenance(
        row.key,
        targets=tuple(references[key] for key in changed),
        doses=tuple(dose for verdict in plan.verdicts for dose in verdict.administrations),
        recorded=now,
        head=head,
    )
    delivery.hold()
    delivery.journal.keep(row)
    try:
        made = delivery.client.create(resource, if_none_exist=None)
    except (EhrRefused, EhrConflict, EhrGone) as refused:
        delivery.journal.keep(replace(row, standing=Standing.WRITTEN, ehr_status=refused.code, attempts=0))
        return
    delivery.journal.keep(replace(row, standing=Standing.WRITTEN, ehr_id=made.id, etag=made.etag, attempts=0))


def _state(plan: DesiredPlan, delivery: Delivery) -> Mapping[ArtifactKey, str | None]:
    references = delivery.journal.references()
    keys = (plan.key, *(appointment.key for appointment in plan.appointments))
    return {key: delivery.journal.rows[key].desired_hash for key in keys if key in references}


def _earlier(plan: DesiredPlan, delivery: Delivery) -> tuple[LedgerRow | None, LedgerRow | None]:
    """The last Provenance that was written for the course, and one that was begun and has no sure end."""
    rows = sorted(
        (
            row
            for key, row in delivery.journal.rows.items()
            if key.kind is ArtifactKind.PROVENANCE and key.subject == plan.key.subject
        ),
        key=lambda row: row.key.generation,
    )
    written = [row for row in rows if row.standing is Standing.WRITTEN]
    begun = [row for row in rows if row.standing is Standing.INTENDED]
    return (written[-1] if written else None), (begun[-1] if begun else None)


def _found(begun: LedgerRow, plan: DesiredPlan, delivery: Delivery, now: datetime) -> bool:
    """Whether the EHR has the Provenance whose sending had no sure answer. EhrUnavailable: too early to know."""
    target = delivery.journal.references().get(plan.key)
    if target is None:
        return False
    delivery.hold()
    found: list[dict[str, Any]] = list(delivery.client.search("Provenance", {"target": target}))
    marks = [entity.get("what", {}).get("identifier", {}) for one in found for entity in one.get("entity", [])]
    if any(mark.get("value") == str(begun.identifier) for mark in marks):
        return True
    await_index(begun, now)
    return False
