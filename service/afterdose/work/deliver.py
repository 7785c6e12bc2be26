"""Bringing one patient's resources in the EHR to what is wanted: the difference to the ledger, written once.

Order without transactions: Goal, Appointment, Task and ServiceRequest, CarePlan, Provenance; re-entrant
from any point. The intent stands in the ledger before the first byte leaves. After an answer that cannot
be trusted the EHR is searched by identifier before anything is sent again. What stands there is read
before it is changed; where a person was faster, the decision is made anew.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from afterdose.core.care import ArtifactKey, Standing
from afterdose.core.errors import EhrConflict, EhrError, EhrGone, EhrRefused, EhrUnavailable
from afterdose.core.reasons import Reason
from afterdose.ehr.answers import Found, Written
from afterdose.ehr.client import EhrClient
from afterdose.ehr.wire import INTERACTIONS, Interaction, TransactionEntry, identifier_query
from afterdose.fhir.profile_rules import ProfileRules
from afterdose.fhir.rungs import GENERIC, EhrFacts
from afterdose.store.rows import LedgerRow
from afterdose.work.adopt import adopt
from afterdose.work.drafts import Draft, Resource, placeholder
from afterdose.work.flaws import flaw
from afterdose.work.journal import Journal, Write, known_artifact
from afterdose.work.merge import merge, took_effect
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


class Delivery:
    """The delivery of one patient's drafts under one claim."""

    def __init__(
        self,
        *,
        journal: Journal,
        client: EhrClient,
        hold: Callable[[], None],
        identifier_system: str,
        profiles: Mapping[str, ProfileRules],
        clock: Callable[[], datetime],
        facts: EhrFacts = GENERIC,
        attributes: bool = True,
    ) -> None:
        """``attributes``: the EHR takes Provenance; ``facts``: what is known of it."""
        self.journal = journal
        self.client = client
        self.hold = hold
        self._system = identifier_system
        self._profiles = profiles
        self._clock = clock
        self._facts = facts
        self.attributes = attributes
        self.refusals: list[Refusal] = []

    def deliver(self, drafts: Sequence[Draft]) -> None:
        """Write what differs. Raises EhrUnavailable (try later), StandsOtherwise (decide again) or LeaseLost."""
        pending = [draft for draft in drafts if self._differs(draft)]
        if len(pending) > 1 and self.client.capabilities().transaction:
            self._send_together([write for draft in pending if (write := self._prepared(draft, pending)) is not None])
        refused = {refusal.key for refusal in self.refusals}
        for draft in drafts:
            if draft.key not in refused and self._differs(draft):
                write = self._prepared(draft, [])
                if write is not None:
                    self._send(write)

    def look(self, keys: Sequence[ArtifactKey]) -> bool:
        """Read artifacts and note how they stand; whether anything was news."""
        news = [self._looked(self.journal.rows[key]) for key in keys]
        return any(news)

    def _differs(self, draft: Draft) -> bool:
        row = self.journal.rows.get(draft.key)
        if row is None:
            return not draft.withdrawn and self._can_begin(draft)
        if row.standing in _HANDS_OFF:
            return False
        unsure = row.standing is Standing.INTENDED or row.attempts > 0
        return unsure or row.desired_hash != draft.wanted(self.journal.references())

    def _can_begin(self, draft: Draft) -> bool:
        """Whether there is still time for it."""
        return draft.begin_by is None or self._clock() < draft.begin_by

    def _prepared(self, draft: Draft, together_with: Sequence[Draft]) -> Write | None:
        try:
            return self._prepare(draft, together_with)
        except EhrRefused as refused:
            self.refusals.append(Refusal(key=draft.key, reason=Reason.EHR_REFUSED, code=refused.shown))
            return None

    def _prepare(self, draft: Draft, together_with: Sequence[Draft]) -> Write | None:
        """What to send for a draft, or None where there is nothing to send. Reads or searches first as needed."""
        row = self.journal.rows.get(draft.key) or self.journal.new_row(draft.key, draft.type)
        if row.ehr_id is None and (row.attempts > 0 or not self._conditional(row.resource_type)):
            row = self._find(row)
        references = dict(self.journal.references())
        for other in together_with:
            references.setdefault(other.key, placeholder(other.key))
        wish = draft.wanted(references)
        if row.ehr_id is None and draft.withdrawn and not self._has_to_say_so(draft):
            self.journal.keep(replace(row, standing=Standing.WITHDRAWN, desired_hash=wish, attempts=0))
            return None
        if row.ehr_id is not None and not draft.updates and row.desired_hash is not None:
            self._cannot_change(draft, row)
            return None
        wanted = draft.build(references)
        if row.ehr_id is None:
            current: Resource = {}
            merged = merge(wanted, None, {})
        else:
            found, news = self._read(row)
            if found is None or news:
                raise StandsOtherwise
            row = replace(self.journal.rows[draft.key], etag=found.etag)
            current = dict(found.resource)
            merged = merge(wanted, current, row.elements.get("owned", {}))
            if not merged.changed:
                self.journal.keep(replace(row, desired_hash=wish, standing=self._standing(draft)))
                return None
        if problem := flaw(merged.resource, current, self._profiles):
            code = f"{problem.code} {problem.path}"
            self.refusals.append(Refusal(key=draft.key, reason=Reason.CONFORMANCE_FAILED, code=code))
            return None
        return Write(draft=draft, wish=wish, row=row, merged=merged)

    def _has_to_say_so(self, draft: Draft) -> bool:
        """Whether an end has to be told in a resource of its own, because the one before cannot be changed."""
        return (
            draft.again
            and not draft.updates
            and any(
                (key.kind, key.subject) == (draft.key.kind, draft.key.subject) and row.ehr_id is not None
                for key, row in self.journal.rows.items()
            )
        )

    def _cannot_change(self, draft: Draft, row: LedgerRow) -> None:
        """What stands there is out of date. Where it may be written again, the next generation takes its place; else
        a person is told. Raises StandsOtherwise."""
        if draft.again:
            follower = replace(draft.key, generation=draft.key.generation + 1)
            self.journal.keep(
                replace(row, standing=Standing.WITHDRAWN, attempts=0), self.journal.new_row(follower, draft.type)
            )
            raise StandsOtherwise
        found, news = self._read(row)
        if found is None or news:
            raise StandsOtherwise
        self.refusals.append(Refusal(key=draft.key, reason=Reason.EHR_KEEPS_OLD))

    def _standing(self, draft: Draft) -> Standing:
        return Standing.WITHDRAWN if draft.withdrawn else Standing.WRITTEN

    def _find(self, row: LedgerRow) -> LedgerRow:
        """Look for what an earlier attempt may have written."""
        try:
            found = adopt(
                row,
                client=self.client,
                facts=self._facts.of(row.resource_type),
                system=self._system,
                hold=self.hold,
                clock=self._clock,
            )
        except EhrConflict as conflict:
            raise StandsOtherwise from conflict
        if found.ehr_id is not None:
            found = replace(found, standing=Standing.WRITTEN)
            self.journal.keep(found)
        return found

    def _looked(self, row: LedgerRow) -> bool:
        try:
            return self._read(row)[1]
        except EhrRefused as refused:  # of this one; the others are looked at all the same
            self.refusals.append(Refusal(key=row.key, reason=Reason.EHR_REFUSED, code=refused.shown))
            return False

    def _read(self, row: LedgerRow) -> tuple[Found | None, bool]:
        """Read one artifact of ours and note how it stands. Second: whether that was news to the ledger."""
        if row.ehr_id is None:
            return None, False
        self.hold()
        try:
            found = self.client.read(row.resource_type, row.ehr_id)
        except EhrGone:
            gone = replace(row, standing=Standing.REMOVED_BY_PERSON, ehr_status=None, attempts=0)
            self.journal.keep(gone)
            return None, gone.standing is not row.standing
        owned, sent = row.elements.get("owned", {}), row.elements.get("sent", {})
        arrived = took_effect(dict(found.resource), owned=owned, sent=sent)
        if arrived:
            owned = sent
        seen = sight(
            row.key.kind,
            found.resource,
            owned=owned,
            standing=row.standing,
            was_booked=row.booked,
            was_active=row.was_active,
        )
        looked = replace(
            row,
            standing=seen.standing,
            ehr_status=seen.ehr_status,
            booked=seen.booked,
            visit_start=seen.visit_start,
            visit_end=seen.visit_end,
            was_active=seen.was_active,
            desired_hash=None if arrived else row.desired_hash,
            elements={"owned": owned, "sent": {}},
            attempts=0,
        )
        news = _told(looked) != _told(row)
        if looked != row:
            self.journal.keep(looked)
        return found, news

    def _conditional(self, type_: str) -> bool:
        """Whether this EHR says that it heeds If-None-Exist."""
        return self.client.capabilities().conditional_create.get(type_, False)

    def _unless_there(self, row: LedgerRow) -> str | None:
        """The condition of a create: only where no resource carries our identifier."""
        if row.ehr_id is not None or not self._conditional(row.resource_type):
            return None
        return identifier_query(self._system, str(row.identifier))

    def _send(self, write: Write) -> None:
        self.hold()
        write = self.journal.intend([write])[0]
        try:
            if write.row.ehr_id is None:
                done = self.client.create(write.merged.resource, if_none_exist=self._unless_there(write.row))
            else:
                done = self.client.update(
                    write.row.resource_type, write.row.ehr_id, write.merged.resource, if_match=write.row.etag
                )
        except (EhrConflict, EhrGone) as conflict:
            raise StandsOtherwise from conflict
        except EhrUnavailable as error:
            self.journal.failed([(write, error)])
            raise
        except EhrRefused as refused:
            self.journal.refused(write, refused.shown)
            self.refusals.append(Refusal(key=write.draft.key, reason=Reason.EHR_REFUSED, code=refused.shown))
            return
        self.journal.record([(write, self._with_body(write, done))])
        if write.row.ehr_id is None and not done.created:
            raise StandsOtherwise

    def _with_body(self, write: Write, done: Written) -> Written:
        """What an EHR stored that answered with nothing but an id, where it can be read."""
        type_ = write.row.resource_type
        if done.resource is not None or Interaction.READ not in INTERACTIONS.get(type_, ()):
            return done
        self.hold()
        try:
            found = self.client.read(type_, done.id)
        except EhrError:
            return done
        return replace(done, resource=found.resource, etag=found.etag or done.etag)

    def _send_together(self, writes: Sequence[Write]) -> None:
        """One transaction. What this EHR does not take that way is left to single writes."""
        if len(writes) < 2:
            return
        self.hold()
        begun = self.journal.intend(writes)
        entries = [
            TransactionEntry(
                resource=write.merged.resource,
                full_url=placeholder(write.draft.key) if write.row.ehr_id is None else None,
                id=write.row.ehr_id,
                if_none_exist=self._unless_there(write.row),
                if_match=write.row.etag,
            )
            for write in begun
        ]
        try:
            results = self.client.transaction(entries)
        except (EhrRefused, EhrConflict, EhrGone, EhrUnavailable) as error:
            self.journal.failed([(write, error) for write in begun])
            if isinstance(error, EhrUnavailable):
                raise
            return
        done = [(write, one) for write, one in zip(begun, results, strict=True) if isinstance(one, Written)]
        self.journal.record(done, settled=len(done) == len(begun))
        self.journal.failed(
            [(write, one) for write, one in zip(begun, results, strict=True) if isinstance(one, EhrError)]
        )
        if any(write.row.ehr_id is None and not one.created for write, one in done):
            raise StandsOtherwise


def _told(row: LedgerRow) -> tuple[object, ...]:
    """What the rules are told of an artifact: when it changes, the decision has to be made anew."""
    known = known_artifact(row)
    return (known.standing, known.booked, known.was_active, known.start, known.end, known.ehr_status)
