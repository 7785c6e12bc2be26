"""One patient brought into line: facts -> decide -> desired care -> difference to the ledger -> writes -> next wake-up.

The loop is level-triggered: it never asks what happened, only what is known and what stands in the
EHR. Running it again, later, twice or after a crash gives the same result.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from afterdose.content.content import Content
from afterdose.core.clinic import Clinic
from afterdose.core.errors import EhrConflict, EhrError
from afterdose.fhir.encode.care import Letterhead
from afterdose.fhir.encode.rungs import Artifact
from afterdose.fhir.encode.sentences import Wording
from afterdose.store.due import ARRIVED, PUT_BACK
from afterdose.store.rows import Claim
from afterdose.store.store import Store
from afterdose.work.deciding import Case, Decider, Decision, Rows
from afterdose.work.delivery.attribution import attribute, resume
from afterdose.work.delivery.deliver import Delivery
from afterdose.work.delivery.doubt import earliest, heard_late, in_doubt
from afterdose.work.delivery.drafts import drafts
from afterdose.work.delivery.former import find_under_former_records
from afterdose.work.delivery.journal import Journal
from afterdose.work.delivery.ledger_view import still_open, written
from afterdose.work.delivery.stands import StandsOtherwise, next_proof
from afterdose.work.delivery.touched import was_touched
from afterdose.work.delivery.unwritten import Refusal
from afterdose.work.rehearsal import rehearse
from afterdose.work.snapshot.gather import Gatherer
from afterdose.work.snapshot.identity import Identities
from afterdose.work.snapshot.on_file import OnFile
from afterdose.work.target import Target

_ROUNDS = 4
"""How often a decision is made anew because the EHR stood otherwise, before the patient is put off. A round that found
something of ours there is progress, and does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of it: when to look again (None = when facts change)."""

    next_due_at: datetime | None


@dataclass(slots=True, kw_only=True)
class _Questions:
    """What is still to be asked of the EHR, once in all rounds, and what was answered."""

    put_back: bool
    """Is what was written still there, after the EHR was put back from a copy?"""
    doubt: bool
    """Is more there than the ledger knows?"""
    look: bool
    """What have people done with ours?"""
    on_file: OnFile | None = None
    unread: Sequence[Refusal] = ()


class Reconciler:
    """Reconciles patients, one claim at a time. One instance serves all workers of a process."""

    def __init__(
        self,
        *,
        store: Store,
        content: Content,
        targets: Mapping[str, Target],
        identities: Identities,
        gatherer: Gatherer,
        decider: Decider,
        dose_bases: Mapping[str, Mapping[str, str]],
        clock: Callable[[], datetime],
        software: str,
        release: str,
    ) -> None:
        self._store = store
        self._content = content
        self._targets = targets
        self._identities = identities
        self._gatherer = gatherer
        self._decider = decider
        self._dose_bases = dose_bases
        self._clock = clock
        self._software = software
        self._release = release

    def reconcile(self, claim: Claim, hold: Callable[[], None]) -> Done:
        """Bring the claimed patient into line. ``hold`` is called before every call of an EHR and keeps the lease.

        Raises EhrUnavailable (try later), EhrConflict (somebody keeps writing), LeaseLost.
        """
        case = self._case(claim, hold)
        if case is None:
            return Done(next_due_at=None)
        reasons = claim.reasons
        questions = _Questions(put_back=PUT_BACK in reasons, doubt=in_doubt(reasons), look=ARRIVED not in reasons)
        for _ in self._rounds(claim):
            with suppress(StandsOtherwise):
                return self._round(case, questions)
        raise EhrConflict("the resources of one patient kept changing while they were written")

    def _rounds(self, claim: Claim) -> Iterator[None]:
        """One round for each artifact of ours that is found in the EHR, and ``_ROUNDS`` more."""
        left, known = _ROUNDS, 0
        while left:
            yield
            found = sum(row.ehr_id is not None for row in self._store.ledger.load(claim.target, claim.patient))
            left, known = left - (found <= known), max(found, known)

    def _case(self, claim: Claim, hold: Callable[[], None]) -> Case | None:
        """Who the claimed patient is, and what is known; None where that is looked after under another patient.

        A Patient that was read on the way may say that it is somebody else; then it is gathered anew.
        """
        for _ in range(_ROUNDS):
            identity = self._identities.settle(claim, hold)
            if identity.elsewhere:
                return None
            gathered = self._gatherer.gather(claim, identity, hold)
            if not gathered.persons_read or self._identities.settle(claim, hold) == identity:
                target = self._targets[claim.target]
                return Case(claim=claim, target=target, identity=identity, gathered=gathered, hold=hold)
        raise EhrConflict("who a patient is kept changing while it was found out")

    def _round(self, case: Case, questions: _Questions) -> Done:
        """Decide, and bring the EHR to it. Raises StandsOtherwise where it stood otherwise than was decided on."""
        claim, now = case.claim, self._clock()
        rows = {row.key: row for row in self._store.ledger.load(claim.target, claim.patient)}
        questions.look = questions.look or self._was_told_of(rows, case)
        decision = self._decider.decide(case, rows, now, questions.on_file)
        questions.on_file = decision.on_file
        if case.target.shadow:
            return Done(next_due_at=decision.care.wake_up)
        if decision.broken is not None:
            raise decision.broken
        delivery = self._delivery(decision)
        _ask(questions, delivery, decision.rows, now)
        self._write(decision, delivery, now)
        refusals = list(dict.fromkeys([*questions.unread, *delivery.refusals]))
        self._decider.correct(decision, delivery.journal.rows, refusals)
        return Done(next_due_at=earliest(decision.care.wake_up, next_proof(delivery.journal.rows.values(), now)))

    def _was_told_of(self, rows: Rows, case: Case) -> bool:
        """Whether the EHR told us that one of ours was changed."""
        same_server = [fact for fact in case.gathered.others if not self._dose_bases[case.claim.target][fact.source]]
        return any(was_touched(row, same_server) for row in rows.values())

    def _write(self, decision: Decision, delivery: Delivery, now: datetime) -> None:
        """Write what differs from what is wanted, and of what it was made. Raises StandsOtherwise."""
        claim = decision.case.claim
        find_under_former_records(delivery)
        head = self._letterhead(claim.patient, decision.case.target, decision.clinic)
        delivery.deliver(drafts(decision.care, head, decision.ladder, written(decision.rows)))
        resume(delivery, head, release=self._release, now=now)
        for plan in decision.care.plans:
            attribute(plan, delivery, head, release=self._release, now=now)
        if delivery.stands.prove(now):
            raise StandsOtherwise

    def _delivery(self, decision: Decision) -> Delivery:
        case, ladder = decision.case, decision.ladder
        return Delivery(
            journal=Journal(store=self._store, claim=case.claim, clock=self._clock, rows=decision.rows),
            client=case.target.client,
            hold=case.hold,
            identifier_system=self._content.canonicals.identifier_system,
            profiles=self._content.profiles,
            clock=self._clock,
            facts=case.target.facts,
            attributes=ladder is not None and ladder.type_of(Artifact.PROVENANCE) is not None,
            search_first=in_doubt(case.claim.reasons) or heard_late(decision.care),
        )

    def rehearse(self) -> None:
        """Do for a made-up dose what needs no answer, and ask every EHR what it can: the first dose need not wait."""
        for target in self._targets.values():
            rehearse(self._content, self._letterhead("rehearsal", target, target.clinic), self._clock())
            with suppress(EhrError):
                target.client.capabilities()

    def _letterhead(self, patient: str, target: Target, clinic: Clinic) -> Letterhead:
        return Letterhead(
            patient=patient,
            canonicals=self._content.canonicals,
            codes=self._content.codes,
            words=Wording(
                clinic=clinic,
                protocols=self._content.protocols,
                plan=self._content.words,
                reason_text=self._content.reason_text,
                software=self._software,
                name_drug=target.name_drug,
            ),
            dose_bases=self._dose_bases[target.name],
            references={},
            accept_auto=target.accept_auto,
            sender=target.sender,
        )


def _ask(questions: _Questions, delivery: Delivery, rows: Rows, now: datetime) -> None:
    """Ask the EHR what is still to be asked. Raises StandsOtherwise where the answer is news."""
    if questions.put_back:
        questions.put_back = False
        delivery.stands.put_back()
        raise StandsOtherwise
    if questions.doubt:
        questions.doubt = False
        delivery.stands.doubt(now)
    if questions.look:
        questions.look = False
        news = delivery.stands.look(still_open(rows))
        questions.unread = tuple(delivery.refusals)
        if news:
            raise StandsOtherwise
