"""One decision about one patient: what is known is put to the rules, and their answer is committed before any write."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from afterdose.content.content import Content
from afterdose.core.activities import BESIDES
from afterdose.core.care import ArtifactKey, ArtifactKind, Care, Known, ReviewItem, Snapshot
from afterdose.core.clinic import Clinic
from afterdose.core.dose import Dose
from afterdose.core.errors import EhrError
from afterdose.core.person import Person
from afterdose.core.plan import decide
from afterdose.core.wishes import OPEN_PLANS
from afterdose.ehr.ladder import Ladder
from afterdose.store.rows import Claim, LedgerRow, OutcomeRow
from afterdose.store.store import Store
from afterdose.work.delivery.journal import known_artifact
from afterdose.work.delivery.ledger_view import has_plan, resolved
from afterdose.work.delivery.unwritten import Refusal, merged, on_worklist, refused_items, said
from afterdose.work.late import missed_sessions
from afterdose.work.reports.report import outcome_rows
from afterdose.work.snapshot.gather import Gathered, Gatherer
from afterdose.work.snapshot.identity import Identity
from afterdose.work.snapshot.on_file import OnFile
from afterdose.work.snapshot.surroundings import KEPT_FOR
from afterdose.work.target import Target
from afterdose.work.watch import missed

Rows = Mapping[ArtifactKey, LedgerRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A claimed patient: who it is, and what was gathered. ``hold`` is called before every call of an EHR."""

    claim: Claim
    target: Target
    identity: Identity
    gathered: Gathered
    hold: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What should be, and what the store was told of it."""

    case: Case
    rows: Rows
    """The ledger, as it was decided on."""
    care: Care
    clinic: Clinic
    on_file: OnFile | None
    """What the target's EHR has on file about the patient, once that was asked for."""
    ladder: Ladder | None
    """The rungs of the target, where there is anything that it may have to be told."""
    broken: EhrError | None
    """Why the rungs of the target are not known."""
    outcomes: Sequence[OutcomeRow] = ()
    reviews: Sequence[ReviewItem] = ()


class Decider:
    """Decides about patients. One instance serves all workers of a process."""

    def __init__(
        self,
        *,
        store: Store,
        content: Content,
        gatherer: Gatherer,
        clinic_for: Callable[[str, tuple[Dose, ...]], Clinic],
    ) -> None:
        self._store = store
        self._content = content
        self._gatherer = gatherer
        self._clinic_for = clinic_for

    def decide(self, case: Case, rows: Rows, now: datetime, on_file: OnFile | None) -> Decision:
        """Decide, and commit what was decided, so that ids survive a crash; an EHR may be asked what is ``on_file``.

        Raises EhrUnavailable and LeaseLost.
        """
        snapshot = self._snapshot(case, rows)
        if on_file is None and (has_plan(rows) or _plans(decide(snapshot, now))):
            source = case.target.as_source(snapshot.clinic)
            on_file = self._gatherer.on_file(case.claim, case.identity, source, case.hold)
        if on_file is not None:
            snapshot = replace(snapshot, crisis_plans=on_file.crisis_plans, preferences=on_file.preferences)
        care = decide(snapshot, now)
        ladder, broken = _ladder(case.target, snapshot.clinic) if _reaches(care) else (None, None)
        if too_late := missed_sessions(care, rows, ladder, now):
            care = decide(replace(snapshot, missed=too_late), now)
        care = replace(care, wake_up=_with_look_at_person(care, case.identity.person, now))
        decision = Decision(
            case=case, rows=rows, care=care, clinic=snapshot.clinic, on_file=on_file, ladder=ladder, broken=broken
        )
        outcomes, reviews = self._told(decision, rows, ())
        if case.claim.escalated:
            reviews = merged([*reviews, *missed(care, rows)])
        read = on_file.readings if on_file is not None else ()
        self._store.outcomes.replace(case.claim, outcomes, care.memberships, reviews, read)
        return replace(decision, outcomes=outcomes, reviews=reviews)

    def correct(self, decision: Decision, rows: Rows, refusals: Sequence[Refusal]) -> None:
        """Commit what became of a decision in the EHR, where that is not what was said before."""
        outcomes, reviews = self._told(decision, rows, refusals)
        if (outcomes, reviews) != (decision.outcomes, decision.reviews):
            care = decision.care
            self._store.outcomes.replace(decision.case.claim, outcomes, care.memberships, reviews)

    def _told(
        self, decision: Decision, rows: Rows, refusals: Sequence[Refusal]
    ) -> tuple[list[OutcomeRow], list[ReviewItem]]:
        """The outcomes of a decision and its questions to people, after what an EHR refused of it."""
        claim, care, ladder = decision.case.claim, decision.care, decision.ladder
        refused = {one.key for one in refusals if one.key.kind not in BESIDES and not one.written}
        outcomes = outcome_rows(care, target=claim.target, patient=claim.patient, refused=refused)
        reviews = [item for item in care.reviews if not resolved(item, care, rows)]
        reviews += refused_items(care, refusals)
        if decision.case.target.shadow:
            outcomes = [replace(row, shadow=True) for row in outcomes]
        if ladder is not None:
            outcomes = said(outcomes, care, ladder)
            reviews = merged([*reviews, *on_worklist(care, ladder)])
        return outcomes, reviews

    def _snapshot(self, case: Case, rows: Rows) -> Snapshot:
        claim, gathered = case.claim, case.gathered
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
            accept_auto=case.target.accept_auto,
            person=case.identity.person,
        )


def _ladder(target: Target, clinic: Clinic) -> tuple[Ladder | None, EhrError | None]:
    try:
        return target.ladder(clinic), None
    except EhrError as error:
        return None, error


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
