"""What a death changes: what was to come ends, what was before it stays as it was (decision 0018).

A dose that is said to have been given after the death is a contradiction, which a person has to resolve.
"""

from dataclasses import replace
from datetime import datetime

from afterdose.core.care import ArtifactKind, DesiredPlan, DoseVerdict, PlanStatus, Session, SessionState, Snapshot
from afterdose.core.cases import rules_at
from afterdose.core.reasons import Eligibility, Outcome, Reason
from afterdose.core.standing import Standings, is_behind

_TO_COME = frozenset({Outcome.PLANNED, Outcome.UNMET})
_CLOSED_BY_DEATH = frozenset({PlanStatus.DRAFT, PlanStatus.ACTIVE, PlanStatus.REVOKED})


def without_orders(snapshot: Snapshot) -> Snapshot:
    """The snapshot of one who died: no order stands, no dose is to come."""
    died_by = snapshot.person.died_by
    if died_by is None:
        return snapshot
    orders = tuple(replace(one, ended_at=one.ended_at or died_by) for one in snapshot.orders)
    planned = tuple(
        replace(one, dropped_at=one.dropped_at or died_by) if one.at > died_by else one for one in snapshot.planned
    )
    return replace(snapshot, orders=orders, planned=planned)


def laid_to_rest(verdicts: list[DoseVerdict], snapshot: Snapshot, standings: Standings) -> list[DoseVerdict]:
    """The verdicts, those whose follow-up care was still to come with the death as the reason why there is none."""
    died_by = snapshot.person.died_by
    if died_by is None:
        return verdicts
    return [_laid(one, died_by, snapshot, standings) for one in verdicts]


def ended(plans: list[DesiredPlan], snapshot: Snapshot, standings: Standings) -> list[DesiredPlan]:
    """The plans, revoked where they were open when the patient died; none is made any more."""
    died_by = snapshot.person.died_by
    if died_by is None:
        return plans
    there = [one for one in plans if standings.is_open(ArtifactKind.CARE_PLAN, one.key.subject)]
    return [_ended(one, died_by) for one in there]


def _ended(plan: DesiredPlan, died_by: datetime) -> DesiredPlan:
    if plan.status not in _CLOSED_BY_DEATH:
        return plan
    return replace(plan, status=PlanStatus.REVOKED, period_end=died_by, ended_because=Reason.PATIENT_DECEASED)


def _laid(verdict: DoseVerdict, died_by: datetime, snapshot: Snapshot, standings: Standings) -> DoseVerdict:
    if verdict.outcome is Outcome.REVIEW and (verdict.start is None or verdict.start <= died_by):
        reasons = (Reason.PATIENT_DECEASED, *verdict.reasons)
        return replace(verdict, outcome=Outcome.NOT_ELIGIBLE, eligibility=Eligibility.NOT_ELIGIBLE, reasons=reasons)
    if verdict.outcome not in _TO_COME or verdict.anchor is None or verdict.session_id is None:
        return verdict
    visit = standings.visit(verdict.session_id)
    if visit is not None and (is_behind(visit) or (visit.start is not None and visit.start <= died_by)):
        return verdict
    rules = rules_at(snapshot, verdict.family, verdict.anchor)
    if verdict.anchor + rules.post_window_until <= died_by:
        return verdict
    return replace(
        verdict,
        outcome=Outcome.UNMET,
        reasons=(*verdict.reasons, Reason.PATIENT_DECEASED),
        session=Session(state=SessionState.UNMET, reasons=(Reason.PATIENT_DECEASED,)),
    )
