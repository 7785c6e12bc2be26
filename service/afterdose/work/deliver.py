"""Bringing one patient's resources in the EHR to what is wanted: the difference to the ledger, written once.

Order without transactions: Appointment, Task, CarePlan, Provenance; re-entrant from any point. The
intent stands in the ledger before the first byte leaves. After an answer that cannot be trusted the
EHR is searched by identifier before anything is sent again. What stands there is read before it is
changed; where a person was faster, the decision is made anew.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from afterdose.core.care import ArtifactKey, Standing
from afterdose.core.errors import EhrConflict, EhrError, EhrGone, EhrRefused, Problem
from afterdose.core.identity import artifact_id
from afterdose.core.reasons import Reason
from afterdose.ehr.answers import Found, Written
from afterdose.ehr.client import EhrClient
from afterdose.ehr.wire import TransactionEntry, identifier_query
from afterdose.fhir import conform
from afterdose.fhir.encode import RESOURCE_TYPE
from afterdose.fhir.profile_rules import ProfileRules
from afterdose.store.rows import AuditEntry, Claim, LedgerRow
from afterdose.store.store import Store
from afterdose.work.drafts import Draft, References, Resource, placeholder
from afterdose.work.merge import Merged, merge, settle, still_ours
from afterdose.work.observe import sight

_HANDS_OFF = frozenset({Standing.TAKEN_OVER, Standing.REMOVED_BY_PERSON})


class StandsOtherwise(Exception):
    """The EHR does not hold what the ledger says; the ledger has been corrected, decide again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An artifact that cannot be written: the reason, and the EHR's own code where it gave one."""

    key: ArtifactKey
    reason: Reason
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Write:
    """One write that is about to happen."""

    draft: Draft
    row: LedgerRow
    merged: Merged


class Delivery:
    """The delivery of one patient's drafts under one claim."""

    def __init__(
        self,
        *,
        store: Store,
        client: EhrClient,
        claim: Claim,
        hold: Callable[[], None],
        identifier_system: str,
        profiles: Mapping[str, ProfileRules],
        clock: Callable[[], datetime],
        rows: Mapping[ArtifactKey, LedgerRow],
    ) -> None:
        self._store = store
        self.client = client
        self._claim = claim
        self._hold = hold
        self._system = identifier_system
        self._profiles = profiles
        self._clock = clock
        self.rows = dict(rows)
        self.refusals: list[Refusal] = []

    def deliver(self, drafts: Sequence[Draft]) -> None:
        """Write what differs. Raises EhrUnavailable (try later), StandsOtherwise (decide again) or LeaseLost."""
        pending = [draft for draft in drafts if self._differs(draft)]
        if not pending:
            return
        writes = [write for draft in pending if (write := self._prepare(draft, pending)) is not None]
        if len(writes) > 1 and self.client.capabilities().transaction and self._send_together(writes):
            return
        for draft in pending:
            write = self._prepare(draft, []) if self._differs(draft) else None
            if write is not None:
                self._send(write)

    def references(self) -> References:
        """How each artifact that is in the EHR can be referred to."""
        return {
            key: f"{row.resource_type}/{row.ehr_id}"
            for key, row in self.rows.items()
            if row.ehr_id is not None and row.ehr_status is not None
        }

    def look(self, keys: Sequence[ArtifactKey]) -> bool:
        """Read artifacts and note how they stand; whether anything was news."""
        news = [self._read(self.rows[key])[1] for key in keys]
        return any(news)

    def _differs(self, draft: Draft) -> bool:
        row = self.rows.get(draft.key)
        if row is None:
            return not draft.withdrawn
        if row.standing in _HANDS_OFF:
            return False
        return row.standing is Standing.INTENDED or row.desired_hash != draft.wanted

    def _prepare(self, draft: Draft, together_with: Sequence[Draft]) -> _Write | None:
        """What to send for a draft, or None where there is nothing to send. Reads or searches first as needed."""
        row = self.rows.get(draft.key) or self.new_row(draft.key)
        if row.ehr_id is None and row.attempts > 0:
            row = self._find(row)
        if row.ehr_id is None and draft.withdrawn:
            self.keep(replace(row, standing=Standing.WITHDRAWN, desired_hash=draft.wanted))
            return None
        references = dict(self.references())
        for other in together_with:
            references.setdefault(other.key, placeholder(other.key))
        wanted = draft.build(references)
        if row.ehr_id is None:
            current: Resource = {}
            merged = merge(wanted, None, {})
        else:
            found, news = self._read(row)
            if found is None or news:
                raise StandsOtherwise
            row = replace(self.rows[draft.key], etag=found.etag)
            current = dict(found.resource)
            merged = merge(wanted, current, row.elements.get("owned", {}))
            if not merged.changed:
                self.keep(replace(row, desired_hash=draft.wanted, standing=self._standing(draft)))
                return None
        if problem := self._flaw(merged.resource, current):
            code = f"{problem.code} {problem.path}"
            self.refusals.append(Refusal(key=draft.key, reason=Reason.CONFORMANCE_FAILED, code=code))
            return None
        return _Write(draft=draft, row=row, merged=merged)

    def _flaw(self, resource: Resource, current: Resource) -> Problem | None:
        """What our conformance check finds in what we are about to send and did not stand in the EHR before."""
        found = conform.problems(resource, profiles=self._profiles)
        if not found:
            return None
        there = {_kind(problem) for problem in conform.problems(current, profiles=self._profiles)} if current else set()
        return next((problem for problem in found if _kind(problem) not in there), None)

    def _standing(self, draft: Draft) -> Standing:
        return Standing.WITHDRAWN if draft.withdrawn else Standing.WRITTEN

    def new_row(self, key: ArtifactKey) -> LedgerRow:
        """The ledger row of an artifact that was never thought of before."""
        return LedgerRow(
            target=self._claim.target,
            patient=self._claim.patient,
            key=key,
            identifier=artifact_id(key),
            resource_type=RESOURCE_TYPE[key.kind],
            ehr_id=None,
            etag=None,
            standing=Standing.INTENDED,
            ehr_status=None,
            booked=False,
            was_active=False,
            desired_hash=None,
            elements={},
            sent_at=None,
            attempts=0,
            updated_at=self._clock(),
        )

    def _find(self, row: LedgerRow) -> LedgerRow:
        """Look for what an earlier attempt may have written; the oldest where there are several."""
        self._hold()
        found: list[dict[str, Any]] = list(
            self.client.find_by_identifier(row.resource_type, self._system, str(row.identifier))
        )
        if not found:
            return row
        oldest = min(found, key=lambda resource: str(resource.get("meta", {}).get("lastUpdated", "")))
        sent = row.elements.get("sent", {})
        row = replace(row, ehr_id=str(oldest["id"]), standing=Standing.WRITTEN, elements={"owned": sent, "sent": sent})
        self.keep(row)
        return row

    def _read(self, row: LedgerRow) -> tuple[Found | None, bool]:
        """Read one artifact of ours and note how it stands. Second: whether that was news to the ledger."""
        if row.ehr_id is None:
            return None, False
        self._hold()
        try:
            found = self.client.read(row.resource_type, row.ehr_id)
        except EhrGone:
            gone = replace(row, standing=Standing.REMOVED_BY_PERSON, ehr_status=None)
            self.keep(gone)
            return None, gone.standing is not row.standing
        owned, sent = row.elements.get("owned", {}), row.elements.get("sent", {})
        resource = dict(found.resource)
        if sent and sent != owned and (_same_version(found.etag, row.etag) or still_ours(resource, sent, list(sent))):
            owned = sent
        seen = sight(
            row.key.kind, found.resource, owned=owned, standing=row.standing, was_active=row.was_active
        )
        looked = replace(
            row,
            standing=seen.standing,
            ehr_status=seen.ehr_status,
            booked=seen.booked,
            was_active=seen.was_active,
            elements={"owned": owned, "sent": {}},
        )
        news = (looked.standing, looked.booked, looked.was_active) != (row.standing, row.booked, row.was_active)
        if news or looked.elements != row.elements or looked.ehr_status != row.ehr_status:
            self.keep(looked)
        return found, news

    def _send(self, write: _Write) -> None:
        write = self._intend([write])[0]
        try:
            if write.row.ehr_id is None:
                done = self.client.create(
                    write.merged.resource, if_none_exist=identifier_query(self._system, str(write.row.identifier))
                )
            else:
                done = self.client.update(
                    write.row.resource_type, write.row.ehr_id, write.merged.resource, if_match=write.row.etag
                )
        except EhrConflict as conflict:
            raise StandsOtherwise from conflict
        except EhrRefused as refused:
            self.keep(write.row, audit=[self._audited(write.row, f"refused {refused.code or refused.status}")])
            self.refusals.append(Refusal(key=write.draft.key, reason=Reason.EHR_REFUSED, code=refused.code))
            return
        self._record([(write, done)])
        if write.row.ehr_id is None and not done.created:
            raise StandsOtherwise

    def _send_together(self, writes: Sequence[_Write]) -> bool:
        """One transaction; False where this EHR does not take it as a whole and single writes have to do."""
        intended = self._intend(writes)
        entries = [
            TransactionEntry(
                resource=write.merged.resource,
                full_url=placeholder(write.draft.key) if write.row.ehr_id is None else None,
                id=write.row.ehr_id,
                if_none_exist=None
                if write.row.ehr_id
                else identifier_query(self._system, str(write.row.identifier)),
                if_match=write.row.etag,
            )
            for write in intended
        ]
        try:
            results = self.client.transaction(entries)
        except (EhrRefused, EhrConflict, EhrGone):
            return False
        pairs = list(zip(intended, results, strict=True))
        self._record([(write, result) for write, result in pairs if isinstance(result, Written)])
        return not any(isinstance(result, EhrError) for _, result in pairs)

    def _intend(self, writes: Sequence[_Write]) -> list[_Write]:
        now = self._clock()
        intended = []
        for write in writes:
            elements = {
                "owned": write.row.elements.get("owned", {}),
                "sent": settle(write.merged, write.merged.resource),
            }
            row = replace(
                write.row, attempts=write.row.attempts + 1, sent_at=now, elements=elements, updated_at=now
            )
            intended.append(replace(write, row=row))
        self._hold()
        self.keep(*(write.row for write in intended), audit=[self._audited(write.row, "begun") for write in intended])
        return intended

    def _record(self, done: Sequence[tuple[_Write, Written]]) -> None:
        rows, entries = [], []
        for write, written in done:
            resource: Any = written.resource
            sent = write.row.elements["sent"]
            owned = settle(write.merged, dict(resource)) if resource is not None else sent
            fresh = written.created or write.row.ehr_id is not None
            status = (resource or write.merged.resource).get("status")
            rows.append(
                replace(
                    write.row,
                    ehr_id=written.id,
                    etag=written.etag,
                    standing=self._standing(write.draft),
                    ehr_status=str(status) if status is not None else "",
                    was_active=write.row.was_active or status == "active",
                    desired_hash=write.draft.wanted if fresh else None,
                    elements={"owned": owned if fresh else sent, "sent": {} if resource is not None else sent},
                    attempts=0,
                    updated_at=self._clock(),
                )
            )
            entries.append(self._audited(rows[-1], "done" if fresh else "found", created=write.row.ehr_id is None))
        if rows:
            self.keep(*rows, audit=entries)

    def _audited(self, row: LedgerRow, outcome: str, *, created: bool | None = None) -> AuditEntry:
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

    def keep(self, *rows: LedgerRow, audit: Sequence[AuditEntry] = ()) -> None:
        """Commit ledger rows, and what the audit trail has to say of them, under the claim. Raises LeaseLost."""
        self._store.ledger.record(self._claim, rows, audit)
        self.rows.update({row.key: row for row in rows})


def _same_version(one: str | None, other: str | None) -> bool:
    """Whether two ETags name one version; some servers write ``1`` in a Bundle and ``W/"1"`` in a header."""
    return one is not None and other is not None and _bare(one) == _bare(other)


def _bare(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


def _kind(problem: Problem) -> tuple[str, str, str]:
    """A problem without the places in lists, which move when entries are added."""
    return problem.code, re.sub(r"\[\d+\]", "", problem.path), problem.text
