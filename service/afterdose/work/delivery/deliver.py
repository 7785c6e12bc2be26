"""Bringing one patient's resources in the EHR to what is wanted: the difference to the ledger, written once.

Order without transactions: Goal, Appointment, Task and ServiceRequest, CarePlan, Provenance; re-entrant
from any point. The intent stands in the ledger before the first byte leaves. After an answer that cannot
be trusted the EHR is searched by identifier before anything is sent again. What stands there is read
before it is changed; where a person was faster, the decision is made anew.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from afterdose.core.care import ArtifactKey, Standing
from afterdose.core.errors import EhrConflict, EhrError, EhrGone, EhrRefused, EhrUnavailable
from afterdose.core.reasons import Reason
from afterdose.ehr.answers import Written
from afterdose.ehr.client import EhrClient
from afterdose.ehr.interactions import INTERACTIONS, Interaction
from afterdose.ehr.versions import same_version
from afterdose.ehr.wire import TransactionEntry, identifier_query
from afterdose.fhir.conform.profile_rules import ProfileRules
from afterdose.fhir.encode.care import status_element
from afterdose.fhir.encode.rungs import GENERIC, EhrFacts
from afterdose.logs import get_logger
from afterdose.store.rows import LedgerRow
from afterdose.work.delivery.adopt import Finder
from afterdose.work.delivery.drafts import Draft, References, placeholder
from afterdose.work.delivery.flaws import flaw
from afterdose.work.delivery.journal import Journal, Write
from afterdose.work.delivery.merge import Merged, fingerprint, merge
from afterdose.work.delivery.repoint import is_left
from afterdose.work.delivery.stands import Stands, StandsOtherwise
from afterdose.work.delivery.unwritten import Refusal

_log = get_logger()
_HANDS_OFF = frozenset({Standing.TAKEN_OVER, Standing.REMOVED_BY_PERSON})


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
        search_first: bool = False,
    ) -> None:
        """``attributes``: the EHR takes Provenance; ``facts``: what is known of it. ``search_first``: the ledger may
        know less than the EHR, so that nothing is created before it was searched for."""
        self.journal = journal
        self.client = client
        self.hold = hold
        self._system = identifier_system
        self._profiles = profiles
        self._clock = clock
        self._finder = Finder(client=client, facts=facts, system=identifier_system, hold=hold, clock=clock)
        self.attributes = attributes
        self._search_first = search_first
        self.stands = Stands(journal=journal, client=client, finder=self._finder, hold=hold, clock=clock)

    @property
    def refusals(self) -> list[Refusal]:
        """What could not be written or looked at."""
        return self.stands.refusals

    def deliver(self, drafts: Sequence[Draft]) -> None:
        """Write what differs. Raises EhrUnavailable (try later), StandsOtherwise (decide again) or LeaseLost."""
        pending = [draft for draft in drafts if self._differs(draft)]
        if len(pending) > 1 and self.client.capabilities().transaction:
            self._send_together(self._prepared_together(pending))
        refused = {refusal.key for refusal in self.refusals if not refusal.written}
        for draft in drafts:
            if draft.key not in refused and self._differs(draft):
                write = self._prepared(draft, ())
                if write is not None:
                    self._send(write)

    def _prepared_together(self, pending: Sequence[Draft]) -> list[Write]:
        """What to send in one transaction. What refers to a create that will not be in it is prepared anew."""
        company = {draft.key for draft in pending if self._is_new(draft)}
        writes: dict[ArtifactKey, Write | None] = {}
        todo = list(pending)
        while todo:
            writes |= {draft.key: self._prepared(draft, company) for draft in todo}
            begun = {key for key, write in writes.items() if write is not None and write.row.ehr_id is None}
            gone, company = company - begun, begun
            todo = [draft for draft in pending if writes[draft.key] is not None and gone & set(draft.mentioned)]
        return [write for write in writes.values() if write is not None and not write.alone]

    def _is_new(self, draft: Draft) -> bool:
        row = self.journal.rows.get(draft.key)
        return row is None or row.ehr_id is None

    def _differs(self, draft: Draft) -> bool:
        row = self.journal.rows.get(draft.key)
        if row is None:
            return not draft.withdrawn and self._can_begin(draft)
        if row.standing in _HANDS_OFF or is_left(row):
            return False
        unsure = row.standing is Standing.INTENDED or row.attempts > 0
        return unsure or row.desired_hash != draft.wanted(self.journal.references())

    def _can_begin(self, draft: Draft) -> bool:
        """Whether there is still time for it."""
        return draft.begin_by is None or self._clock() < draft.begin_by

    def _prepared(self, draft: Draft, together_with: Collection[ArtifactKey]) -> Write | None:
        try:
            return self._prepare(draft, together_with)
        except EhrRefused as refused:
            self.refusals.append(Refusal(key=draft.key, reason=Reason.EHR_REFUSED, code=refused.shown))
            return None

    def _prepare(self, draft: Draft, together_with: Collection[ArtifactKey]) -> Write | None:
        """What to send for a draft, or None where there is nothing to send. Reads or searches first as needed."""
        row = self.journal.rows.get(draft.key) or self.journal.new_row(draft.key, draft.type)
        if row.ehr_id is None and (self._search_first or row.attempts > 0 or not self._conditional(row.resource_type)):
            row = self.stands.find(row)
        references = {key: placeholder(key) for key in together_with} | dict(self.journal.references())
        wish = draft.wanted(references)
        if row.ehr_id is None and draft.withdrawn and not self._has_to_say_so(draft):
            self.journal.keep(replace(row, standing=Standing.WITHDRAWN, desired_hash=wish, attempts=0))
            return None
        if row.ehr_id is None:
            merged = merge(draft.build(references), None, {})
            provable, atomic = self._finder.can_find(row.resource_type), self._atomic(row.resource_type)
            write = Write(draft=draft, wish=wish, row=row, merged=merged, provable=provable, atomic=atomic)
            return self._sound(write)
        if not draft.updates and row.desired_hash is not None:
            return self._instead_of_a_change(draft, row, wish)
        return self._change(draft, row, wish, references)

    def _change(self, draft: Draft, row: LedgerRow, wish: str, references: References) -> Write | None:
        """What stands there, brought to what is wanted as far as it is ours."""
        found, news = self.stands.read(row)
        if found is None or news:
            raise StandsOtherwise
        row, current = self.journal.rows[draft.key], dict(found.resource)
        merged = merge(draft.build(references), current, row.elements.get("owned", {}))
        if not merged.changed:
            standing = Standing.WITHDRAWN if draft.withdrawn else Standing.WRITTEN
            self.journal.keep(replace(row, desired_hash=wish, standing=standing))
            return None
        write = Write(draft=draft, wish=wish, row=row, merged=merged, current=current, if_match=found.etag)
        return self._sound(write)

    def _instead_of_a_change(self, draft: Draft, row: LedgerRow, wish: str) -> Write | None:
        """What stands there is out of date. Where it may be written again, the next generation takes its place; where
        its end can be said, it is ended; else a person is told. Raises StandsOtherwise."""
        if draft.again:
            follower = draft.key._replace(generation=draft.key.generation + 1)
            self.journal.keep(
                replace(row, standing=Standing.WITHDRAWN, attempts=0), self.journal.new_row(follower, draft.type)
            )
            raise StandsOtherwise
        found, news = self.stands.read(row)
        if found is None or news:
            raise StandsOtherwise
        if draft.ends_as is None:
            self.refusals.append(Refusal(key=draft.key, reason=Reason.EHR_KEEPS_OLD))
            return None
        row, current = self.journal.rows[draft.key], dict(found.resource)
        element, end = draft.ends_as
        ours = {**row.elements.get("owned", {}), element: fingerprint(end)}
        merged = Merged(resource={**current, element: end}, ours=ours)
        return Write(
            draft=draft,
            wish=wish,
            row=row,
            merged=merged,
            current=current,
            if_match=found.etag,
            patch={element: end},
        )

    def _sound(self, write: Write) -> Write | None:
        """The write, unless what it would send does not conform."""
        problem = flaw(write.merged.resource, write.current, self._profiles)
        if problem is None:
            return write
        told = {"target": write.row.target, "resource_type": write.row.resource_type}
        _log.error("what was to be sent does not conform", code=problem.code, element=problem.path, **told)
        code = f"{problem.code} {problem.path}"
        self.refusals.append(Refusal(key=write.draft.key, reason=Reason.CONFORMANCE_FAILED, code=code))
        return None

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

    def _conditional(self, type_: str) -> bool:
        """Whether this EHR says that it heeds If-None-Exist."""
        return self.client.capabilities().conditional_create.get(type_, False)

    def _atomic(self, type_: str) -> bool:
        """Whether of several such creates at once one is carried out and the others meet a conflict."""
        return self._finder.facts.atomic_create and self._conditional(type_)

    def _unless_there(self, row: LedgerRow) -> str | None:
        """The condition of a create: only where no resource carries our identifier."""
        if row.ehr_id is not None or not self._conditional(row.resource_type):
            return None
        return identifier_query(self._system, str(row.identifier))

    def _send(self, write: Write) -> None:
        self.hold()
        write = self.journal.intend([write])[0]
        try:
            done = self._sent(write)
        except (EhrConflict, EhrGone) as conflict:
            if isinstance(conflict, EhrConflict):
                self.journal.failed([(write, conflict)])
            raise StandsOtherwise from conflict
        except EhrUnavailable as error:
            self.journal.failed([(write, error)])
            raise
        except EhrRefused as refused:
            told = {"target": write.row.target, "resource_type": write.row.resource_type, "status": refused.status}
            _log.warning("the EHR refused what was sent", code=refused.shown, element=refused.element, **told)
            self.journal.refused(write, refused.shown)
            self.refusals.append(Refusal(key=write.draft.key, reason=Reason.EHR_REFUSED, code=refused.shown))
            return
        self.journal.record([(write, self._with_body(write, done))])
        if (write.row.ehr_id is None and not done.created) or (write.ends and not write.draft.withdrawn):
            raise StandsOtherwise

    def _sent(self, write: Write) -> Written:
        """The answer to one write. Where no ETag guards a person's change, it is looked for at the last moment."""
        row = write.row
        if row.ehr_id is None:
            return self.client.create(write.merged.resource, if_none_exist=self._unless_there(row))
        if write.if_match is None:
            self.hold()
            if self.client.read(row.resource_type, row.ehr_id).resource != write.current:
                raise StandsOtherwise
        if write.patch:
            return self.client.patch(row.resource_type, row.ehr_id, write.patch, if_match=write.if_match)
        return self.client.update(row.resource_type, row.ehr_id, write.merged.resource, if_match=write.if_match)

    def _with_body(self, write: Write, done: Written) -> Written:
        """What an EHR stored that answered with nothing but an id, where it can be read and nobody changed it since.

        A resource without the status that each of ours must have is no more than an id.
        """
        type_ = write.row.resource_type
        if done.resource is not None and status_element(type_) in done.resource:
            return done
        done = replace(done, resource=None)
        if Interaction.READ not in INTERACTIONS.get(type_, ()):
            return done
        self.hold()
        try:
            found = self.client.read(type_, done.id)
        except EhrError:
            return done
        if done.etag is not None and not same_version(found.etag, done.etag):
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
                if_match=write.if_match,
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
        both = list(zip(begun, results, strict=True))
        done = [(write, self._with_body(write, one)) for write, one in both if isinstance(one, Written)]
        self.journal.record(done, settled=len(done) == len(begun))
        self.journal.failed([(write, one) for write, one in both if isinstance(one, EhrError)])
        if any(write.row.ehr_id is None and not one.created for write, one in done):
            raise StandsOtherwise
