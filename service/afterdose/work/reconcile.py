"""One patient brought into line: facts -> decide -> desired care -> difference to the ledger -> writes -> next wake-up.

The loop is level-triggered: it never asks what happened, only what is known and what stands in the
EHR. Running it again, later, twice or after a crash gives the same result.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from afterdose.content.content import Content
from afterdose.core.activities import BESIDES
from afterdose.core.care import (
    ArtifactKey,
    ArtifactKind,
    Care,
    Known,
    ReviewItem,
    Snapshot,
)
from afterdose.core.clinic import Clinic
from afterdose.core.dose import Dose
from afterdose.core.errors import EhrConflict, EhrError
from afterdose.core.person import Person
from afterdose.core.plan import decide
from afterdose.core.wishes import OPEN_PLANS
from afterdose.ehr.ladder import Ladder
from afterdose.fhir.encode.care import Letterhead
from afterdose.fhir.encode.rungs import Artifact
from afterdose.fhir.encode.sentences import Wording
from afterdose.store.due import ARRIVED, PUT_BACK
from afterdose.store.rows import Claim, LedgerRow, OutcomeRow, Reading
from afterdose.store.store import Store
from afterdose.work.delivery.attribution import attribute, resume
from afterdose.work.delivery.deliver import Delivery
from afterdose.work.delivery.doubt import earliest, heard_late, in_doubt
from afterdose.work.delivery.drafts import drafts
from afterdose.work.delivery.former import find_under_former_records
from afterdose.work.delivery.journal import Journal, known_artifact
from afterdose.work.delivery.ledger_view import has_plan, resolved, still_open, written
from afterdose.work.delivery.stands import StandsOtherwise, next_proof
from afterdose.work.delivery.touched import was_touched
from afterdose.work.delivery.unwritten import Refusal, merged, on_worklist, refused_items, said
from afterdose.work.late import missed_sessions
from afterdose.work.rehearsal import rehearse
from afterdose.work.reports.report import outcome_rows
from afterdose.work.snapshot.gather import Gathered, Gatherer
from afterdose.work.snapshot.identity import Identities, Identity
from afterdose.work.snapshot.on_file import OnFile
from afterdose.work.snapshot.surroundings import KEPT_FOR
from afterdose.work.target import Target
from afterdose.work.watch import missed

_ROUNDS = 4
"""How often a decision is made anew because the EHR stood otherwise, before the patient is put off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of it: when to look again (None = when facts change)."""

    next_due_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Remembered:
    """What the store was told of a decision."""

    outcomes: Sequence[OutcomeRow]
    reviews: Sequence[ReviewItem]


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
        dose_bases: Mapping[str, Mapping[str, str]],
        clinic_for: Callable[[str, tuple[Dose, ...]], Clinic],
        clock: Callable[[], datetime],
        software: str,
        release: str,
    ) -> None:
        self._store = store
        self._content = content
        self._targets = targets
        self._identities = identities
        self._gatherer = gatherer
        self._dose_bases = dose_bases
        self._clinic_for = clinic_for
        self._clock = clock
        self._software = software
        self._release = release

    def reconcile(self, claim: Claim, hold: Callable[[], None]) -> Done:
        """Bring the claimed patient into line. ``hold`` is called before every call of an EHR and keeps the lease.

        Raises EhrUnavailable (try later), EhrConflict (somebody keeps writing), LeaseLost.
        """
        target = self._targets[claim.target]
        identity, gathered = self._gathered(claim, hold)
        if gathered is None:
            return Done(next_due_at=None)
        same_server = [fact for fact in gathered.others if not self._dose_bases[claim.target][fact.source]]
        look, unread = ARRIVED not in claim.reasons, list[Refusal]()
        on_file: OnFile | None = None
        doubt, put_back = in_doubt(claim.reasons), PUT_BACK in claim.reasons
        for _ in range(_ROUNDS):
            now = self._clock()
            rows = {row.key: row for row in self._store.ledger.load(claim.target, claim.patient)}
            look = look or any(was_touched(row, same_server) for row in rows.values())
            snapshot = self._snapshot(claim, target, gathered, rows, identity.person)
            if on_file is None and (has_plan(rows) or _plans(decide(snapshot, now))):
                on_file = self._gatherer.on_file(claim, identity, target.as_source(snapshot.clinic), hold)
            if on_file is not None:
                snapshot = replace(snapshot, crisis_plans=on_file.crisis_plans, preferences=on_file.preferences)
            care = decide(snapshot, now)
            ladder, broken = self._ladder(target, snapshot.clinic) if _reaches(care) else (None, None)
            if missed_now := missed_sessions(care, rows, ladder, now):
                care = decide(replace(snapshot, missed=missed_now), now)
            read = on_file.readings if on_file is not None else ()
            remembered = self._remember(claim, care, rows, ladder=ladder, read=read)
            next_due_at = _with_look_at_person(care, identity.person, now)
            if target.shadow:
                return Done(next_due_at=next_due_at)
            if broken is not None:
                raise broken
            delivery = Delivery(
                journal=Journal(store=self._store, claim=claim, clock=self._clock, rows=rows),
                client=target.client,
                hold=hold,
                identifier_system=self._content.canonicals.identifier_system,
                profiles=self._content.profiles,
                clock=self._clock,
                facts=target.facts,
                attributes=ladder is not None and ladder.type_of(Artifact.PROVENANCE) is not None,
                search_first=in_doubt(claim.reasons) or heard_late(care),
            )
            head = self._letterhead(claim.patient, target, snapshot.clinic)
            try:
                if put_back:
                    put_back = False
                    delivery.stands.put_back()
                    continue
                if doubt:
                    doubt = False
                    delivery.stands.doubt(now)
                if look:
                    look, news = False, delivery.stands.look(still_open(rows))
                    unread = delivery.refusals
                    if news:
                        continue
                find_under_former_records(delivery)
                delivery.deliver(drafts(care, head, ladder, written(rows)))
                resume(delivery, head, release=self._release, now=now)
                for plan in care.plans:
                    attribute(plan, delivery, head, release=self._release, now=now)
                if delivery.stands.prove(now):
                    continue
            except StandsOtherwise:
                continue
            refusals = list(dict.fromkeys([*unread, *delivery.refusals]))
            self._remember(claim, care, delivery.journal.rows, refusals, ladder=ladder, before=remembered)
            return Done(next_due_at=earliest(next_due_at, next_proof(delivery.journal.rows.values(), now)))
        raise EhrConflict("the resources of one patient kept changing while they were written")

    def _gathered(self, claim: Claim, hold: Callable[[], None]) -> tuple[Identity, Gathered | None]:
        """Who the claimed patient is, and what is known; None where that is looked after under another patient.

        A Patient that was read on the way may say that it is somebody else; then it is gathered anew.
        """
        for _ in range(_ROUNDS):
            identity = self._identities.settle(claim, hold)
            if identity.elsewhere:
                return identity, None
            gathered = self._gatherer.gather(claim, identity, hold)
            if not gathered.persons_read:
                return identity, gathered
            again = self._identities.settle(claim, hold)
            if again == identity:
                return identity, gathered
        raise EhrConflict("who a patient is kept changing while it was found out")

    def _ladder(self, target: Target, clinic: Clinic) -> tuple[Ladder | None, EhrError | None]:
        try:
            return target.ladder(clinic), None
        except EhrError as error:
            return None, error

    def rehearse(self) -> None:
        """Do for a made-up dose what needs no answer, and ask every EHR what it can: the first dose need not wait."""
        for target in self._targets.values():
            rehearse(self._content, self._letterhead("rehearsal", target, target.clinic), self._clock())
            with suppress(EhrError):
                target.client.capabilities()

    def _snapshot(
        self,
        claim: Claim,
        target: Target,
        gathered: Gathered,
        rows: Mapping[ArtifactKey, LedgerRow],
        person: Person,
    ) -> Snapshot:
        known = Known(
            memberships=self._store.outcomes.memberships(claim.target, claim.patient),
            artifacts={
                key: known_artifact(row) for key, row in rows.items() if key.kind is not ArtifactKind.PROVENANCE
            },
        )
        return Snapshot(
            patient=None if claim.patient.startswith("~") else claim.patient,
            doses=gathered.doses,
            planned=gathered.planned,
            orders=gathered.orders,
            known=known,
            protocols=self._content.protocols,
            clinic=self._clinic_for(claim.target, gathered.doses),
            codes=self._content.codes,
            accept_auto=target.accept_auto,
            person=person,
        )

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

    def _remember(
        self,
        claim: Claim,
        care: Care,
        rows: Mapping[ArtifactKey, LedgerRow],
        refusals: Sequence[Refusal] = (),
        *,
        ladder: Ladder | None,
        before: _Remembered | None = None,
        read: Sequence[Reading] = (),
    ) -> _Remembered:
        """Commit what was decided, and what was ``read`` for it.

        Before writing, so that ids survive a crash; and after, where that changed it.
        """
        refused = {one.key for one in refusals if one.key.kind not in BESIDES and not one.written}
        outcomes = outcome_rows(care, target=claim.target, patient=claim.patient, refused=refused)
        reviews = [item for item in care.reviews if not resolved(item, care, rows)]
        reviews += refused_items(care, refusals)
        if self._targets[claim.target].shadow:
            outcomes = [replace(row, shadow=True) for row in outcomes]
        if claim.escalated and before is None:
            reviews = merged([*reviews, *missed(care, rows)])
        if ladder is not None:
            outcomes = said(outcomes, care, ladder)
            reviews = merged([*reviews, *on_worklist(care, ladder)])
        told = _Remembered(outcomes, reviews)
        if told != before:
            self._store.outcomes.replace(claim, told.outcomes, care.memberships, told.reviews, read)
        return told


def _reaches(care: Care) -> bool:
    """Whether there is anything that an EHR may have to be told."""
    return bool(care.plans or care.appointments or care.preparations or care.tasks or care.goals or care.activities)


def _plans(care: Care) -> bool:
    """Whether a plan is to stand that people may act on."""
    return any(plan.status in OPEN_PLANS for plan in care.plans)


def _with_look_at_person(care: Care, person: Person, now: datetime) -> datetime | None:
    """When to look again; at a record that is out of use as often as Patients are read, for as long as that matters."""
    if person.hold is None or care.wake_up is None:
        return care.wake_up
    return min(care.wake_up, now + KEPT_FOR)
