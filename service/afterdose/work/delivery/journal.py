"""The ledger of one patient during one delivery: what is there, what is begun, what came of it.

Every change is committed under the claim, together with what the audit trail has to say of it, before
and after a write leaves.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from afterdose.core.care import ArtifactKey, ArtifactKind, KnownArtifact, Standing
from afterdose.core.errors import EhrAmbiguous, EhrConflict, EhrError
from afterdose.core.identity import artifact_id
from afterdose.ehr.answers import Written
from afterdose.ehr.waits import INDEX_LAG
from afterdose.fhir.encode.care import status_element
from afterdose.store.rows import AuditEntry, Claim, LedgerRow
from afterdose.store.store import Store
from afterdose.work.delivery.drafts import Draft, References, Resource
from afterdose.work.delivery.merge import Merged, settle

_PLANS = frozenset({ArtifactKind.CARE_PLAN, ArtifactKind.DOSE_PLAN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One write that is about to happen: the draft, its ledger row, and what is sent.

    ``wish``: the fingerprint of what is wanted, as far as what it refers to is there. ``current``: what was read, and
    ``if_match`` its ETag. ``patch``: the elements that are replaced, where the EHR takes no more than an end.
    ``provable``: a search can find it. ``atomic``: it is a create of which a conflict says that it did not happen.
    """

    draft: Draft
    wish: str
    row: LedgerRow
    merged: Merged
    current: Resource = field(default_factory=dict)
    if_match: str | None = None
    patch: Mapping[str, str] = field(default_factory=dict)
    provable: bool = False
    atomic: bool = False

    @property
    def ends(self) -> bool:
        """Whether the artifact has ended after it."""
        return self.draft.withdrawn or bool(self.patch)

    @property
    def alone(self) -> bool:
        """Whether it cannot be part of a transaction: a patch, or a change that no ETag guards."""
        return bool(self.patch) or (self.row.ehr_id is not None and self.if_match is None)


class Journal:
    """The ledger rows of the claimed patient, as committed."""

    def __init__(
        self,
        *,
        store: Store,
        claim: Claim,
        clock: Callable[[], datetime],
        rows: Mapping[ArtifactKey, LedgerRow],
    ) -> None:
        self.patient = claim.patient
        self._store = store
        self._claim = claim
        self._clock = clock
        self.rows = dict(rows)
        self._references: References | None = None

    def references(self) -> References:
        """How each artifact that is in the EHR can be referred to."""
        if self._references is None:
            self._references = {
                key: f"{row.resource_type}/{row.ehr_id}"
                for key, row in self.rows.items()
                if row.ehr_id is not None and row.ehr_status is not None
            }
        return self._references

    def new_row(self, key: ArtifactKey, type_: str) -> LedgerRow:
        """The row of an artifact that was never thought of before, to be written as ``type_``."""
        return LedgerRow(
            target=self._claim.target,
            patient=self._claim.patient,
            key=key,
            identifier=artifact_id(key),
            resource_type=type_,
            standing=Standing.INTENDED,
        )

    def doubt_absence(self, row: LedgerRow) -> None:
        """Raise EhrUnavailable where it is not to be believed that a person has removed an artifact."""
        if row.key.kind in _PLANS and row.standing is not Standing.REMOVED_BY_PERSON:
            self._store.vanished.note(row.target, row.patient)

    def intend(self, writes: Sequence[Write]) -> list[Write]:
        """Commit that these writes begin. What is sent is remembered, to know it again should no answer come."""
        now = self._clock()
        begun = []
        for write in writes:
            memory = {"owned": write.row.elements.get("owned", {}), "sent": settle(write.merged, write.merged.resource)}
            row = replace(write.row, attempts=write.row.attempts + 1, sent_at=now, elements=memory)
            begun.append(replace(write, row=row))
        self.keep(*(write.row for write in begun), audit=[_audited(write.row, "begun") for write in begun])
        return begun

    def record(self, done: Sequence[tuple[Write, Written]], *, settled: bool = True) -> None:
        """Commit what the EHR answered. Not ``settled``: look at these artifacts again, their company was refused."""
        rows, audit, now = [], [], self._clock()
        for write, written in done:
            resource: Any = written.resource
            sent = write.row.elements["sent"]
            ours = written.created or write.row.ehr_id is not None
            status = (resource or write.merged.resource).get(status_element(write.row.resource_type))
            is_new = write.row.ehr_id is None
            rows.append(
                replace(
                    write.row,
                    ehr_id=written.id,
                    etag=written.etag if ours else None,
                    standing=Standing.WITHDRAWN if write.ends else Standing.WRITTEN,
                    ehr_status=str(status) if status is not None else "",
                    was_active=write.row.was_active or status == "active",
                    desired_hash=write.wish if ours and settled else None,
                    elements={
                        "owned": settle(write.merged, dict(resource)) if ours and resource is not None else sent,
                        "sent": {} if resource is not None else sent,
                    }
                    | ({"unread": True} if is_new and ours else {}),
                    attempts=0,
                    check_at=now + INDEX_LAG if is_new and write.provable else write.row.check_at,
                )
            )
            audit.append(_audited(rows[-1], "done" if ours else "found", created=is_new))
        if rows:
            self.keep(*rows, audit=audit)

    def refused(self, write: Write, code: str) -> None:
        """Commit that the EHR refused a write."""
        self.keep(replace(write.row, sent_at=None), audit=[_audited(write.row, f"refused {code}")])

    def failed(self, failures: Sequence[tuple[Write, EhrError]]) -> None:
        """Commit which writes surely did not happen; what nobody knows of stays begun."""
        rows = [
            replace(write.row, sent_at=None)
            for write, error in failures
            if not isinstance(error, EhrAmbiguous | EhrConflict) or (write.atomic and isinstance(error, EhrConflict))
        ]
        if rows:
            self.keep(*rows)

    def keep(self, *rows: LedgerRow, audit: Sequence[AuditEntry] = ()) -> None:
        """Commit rows, and what the audit trail has to say of them, under the claim. Raises LeaseLost."""
        self._store.ledger.record(self._claim, rows, audit)
        self.rows.update({row.key: row for row in rows})
        self._references = None


def known_artifact(row: LedgerRow) -> KnownArtifact:
    """A ledger row as the rules see it."""
    return KnownArtifact(
        key=row.key,
        standing=row.standing,
        ehr_status=row.ehr_status,
        booked=row.booked,
        start=row.visit_start,
        end=row.visit_end,
        closed_at=row.closed_at,
        was_active=row.was_active,
        reference=f"{row.resource_type}/{row.ehr_id}" if row.ehr_id is not None else None,
        named=row.named,
    )


def _audited(row: LedgerRow, outcome: str, *, created: bool | None = None) -> AuditEntry:
    """The audit trail's entry for a write: before it is sent, and when its answer is known."""
    return AuditEntry(
        actor="afterdose",
        action="C" if (row.ehr_id is None if created is None else created) else "U",
        entity_type=row.resource_type,
        entity_id=row.ehr_id or str(row.identifier),
        outcome=outcome,
        target=row.target,
        patient=row.patient,
    )
