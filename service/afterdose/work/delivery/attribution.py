"""Provenance: after a course's resources were written, one record of what was written from which doses and orders.

Level-triggered like everything else: the ledger remembers for which state of our wishes the last
Provenance was written; when they have moved on, the next one names what is new. Provenance has no
identifier in R4, so our key stands in ``entity`` and is looked for there before anything is sent again.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from afterdose.core.care import ArtifactKey, ArtifactKind, DesiredPlan, Standing
from afterdose.core.dose import Coding, DoseKey
from afterdose.core.errors import EhrConflict, EhrGone, EhrRefused
from afterdose.core.reasons import Reason
from afterdose.fhir.encode.care import Letterhead
from afterdose.fhir.encode.provenance import Attribution, provenance
from afterdose.store.rows import LedgerRow
from afterdose.work.delivery.adopt import await_index
from afterdose.work.delivery.deliver import Delivery


def resume(delivery: Delivery, head: Letterhead, *, release: str, now: datetime) -> None:
    """Bring to its end every Provenance whose sending had no sure answer, also that of a plan that is no more.

    Raises EhrUnavailable.
    """
    for row in list(delivery.journal.rows.values()):
        unsure = row.standing is Standing.INTENDED and row.named is None
        if row.key.kind is ArtifactKind.PROVENANCE and unsure:
            try:
                found = _found(row, delivery, now)
            except EhrRefused as refused:  # nobody can tell; a second one would be worse than none
                delivery.journal.keep(replace(row, standing=Standing.WRITTEN, ehr_status=refused.code, attempts=0))
                continue
            if found:
                delivery.journal.keep(replace(row, standing=Standing.WRITTEN, attempts=0))
            else:
                _send(row, delivery, head, release, now)


def attribute(plan: DesiredPlan, delivery: Delivery, head: Letterhead, *, release: str, now: datetime) -> None:
    """Write the Provenance that is due for a course, where the EHR takes any. Raises EhrUnavailable."""
    if not delivery.attributes:
        return
    state = _state(plan, delivery)
    written = _written(plan, delivery)
    before = written.elements["state"] if written is not None else {}
    changed = [key for key, wanted in state.items() if before.get(str(key)) != wanted]
    if not changed:
        return
    references = delivery.journal.references()
    told = {
        "state": {str(key): wanted for key, wanted in state.items()},
        "targets": [references[key] for key in changed],
        "doses": [[dose.source, dose.id] for verdict in plan.verdicts for dose in verdict.administrations],
        "orders": [[order.source, order.id] for order in plan.orders],
        "protocol": head.canonicals.plan_definitions[plan.family],
        "reasons": list(dict.fromkeys(str(reason) for verdict in plan.verdicts for reason in verdict.reasons)),
        "labels": [[label.system, label.code, label.display] for label in plan.labels],
    }
    generation = written.key.generation + 1 if written is not None else 0
    row = delivery.journal.new_row(ArtifactKey(ArtifactKind.PROVENANCE, plan.key.subject, generation), "Provenance")
    _send(replace(row, elements=told), delivery, head, release, now)


def _send(row: LedgerRow, delivery: Delivery, head: Letterhead, release: str, now: datetime) -> None:
    told = row.elements
    attribution = Attribution(
        targets=tuple(told["targets"]),
        doses=tuple(DoseKey(source, id_) for source, id_ in told["doses"]),
        orders=tuple(DoseKey(source, id_) for source, id_ in told["orders"]),
        protocol=told["protocol"],
        reasons=tuple(Reason(code) for code in told["reasons"]),
        labels=tuple(Coding(*label) for label in told["labels"]),
    )
    resource = provenance(row.key, attribution, release=release, recorded=now, head=head)
    delivery.hold()
    row = replace(row, attempts=row.attempts + 1, sent_at=now)
    delivery.journal.keep(row)
    try:
        made = delivery.client.create(resource, if_none_exist=None)
    except (EhrRefused, EhrConflict, EhrGone) as refused:
        delivery.journal.keep(replace(row, standing=Standing.WRITTEN, ehr_status=refused.code, attempts=0))
        return
    delivery.journal.keep(replace(row, standing=Standing.WRITTEN, ehr_id=made.id, etag=made.etag, attempts=0))


def _state(plan: DesiredPlan, delivery: Delivery) -> Mapping[ArtifactKey, str | None]:
    references = delivery.journal.references()
    keys = [*(one.key for one in plan.preparations), *(one.key for one in plan.appointments)]
    keys += [plan.key, *(one.key for one in plan.activities)]
    if plan.goal is not None:
        keys.append(plan.goal)
    return {key: delivery.journal.rows[key].desired_hash for key in keys if key in references}


def _written(plan: DesiredPlan, delivery: Delivery) -> LedgerRow | None:
    """The last Provenance that was written for the course."""
    rows = [
        row
        for key, row in delivery.journal.rows.items()
        if key.kind is ArtifactKind.PROVENANCE and key.subject == plan.key.subject
    ]
    return max(rows, key=lambda row: row.key.generation, default=None)


def _found(begun: LedgerRow, delivery: Delivery, now: datetime) -> bool:
    """Whether the EHR has a Provenance whose sending had no sure answer. EhrUnavailable: too early to know."""
    delivery.hold()
    found: list[dict[str, Any]] = list(delivery.client.search("Provenance", {"target": begun.elements["targets"][0]}))
    marks = [entity.get("what", {}).get("identifier", {}) for one in found for entity in one.get("entity", [])]
    if any(mark.get("value") == str(begun.identifier) for mark in marks):
        return True
    await_index(begun, now)
    return False
