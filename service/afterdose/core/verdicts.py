"""What becomes of every administration: one verdict for each dose session, and for each that forms none."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from afterdose.core.cadence import predicted_next
from afterdose.core.care import (
    ArtifactKind,
    DoseVerdict,
    Membership,
    Session,
    SessionState,
    Snapshot,
    Window,
)
from afterdose.core.cases import Announced, Case, Identified, apart, case_of, identified, marked, rules_of
from afterdose.core.course import explicit_phase, phase_on, weekly_is_enough
from afterdose.core.death import laid_to_rest, without_orders
from afterdose.core.dose import Dose, DoseKey
from afterdose.core.orders import Upcoming
from afterdose.core.reasons import Eligibility, Outcome, Reason
from afterdose.core.session import begins, dose_sessions
from afterdose.core.slots import Occasion, booked, propose
from afterdose.core.standing import Standings, is_revoked
from afterdose.core.timeline import Timeline, timeline
from afterdose.core.window import NextDose, next_after, window_after, window_after_day

_HOLDING = frozenset(
    {
        Reason.PATIENT_CHANGED,
        Reason.PATIENT_UNRESOLVED,
        Reason.PATIENT_INACTIVE,
        Reason.PATIENT_GONE,
        Reason.PATIENT_LINKS_UNCLEAR,
        Reason.SOURCE_UNREADABLE,
        Reason.MEDICATION_UNRESOLVED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The verdicts of a patient, and what writing needs to know beside them.

    ``held``: dose sessions about which nothing can be decided now; what is written for them stays.
    ``merged``: ids of dose sessions and of courses that went up in another, with that other's id.
    ``doses``: every dose given or to come, by time. ``announced``: courses that have orders and no dose yet.
    ``orders``: standing orders that are clearly psychiatric.
    """

    verdicts: tuple[DoseVerdict, ...]
    memberships: Mapping[DoseKey, Membership]
    held: frozenset[UUID]
    merged: Mapping[UUID, UUID]
    doses: tuple[NextDose, ...] = ()
    announced: tuple[Announced, ...] = ()
    orders: tuple[Upcoming, ...] = ()


def judge(snapshot: Snapshot, standings: Standings) -> Judged:
    """A verdict for every administration of the snapshot; none is left out, whatever it holds."""
    snapshot = without_orders(snapshot)
    doses = [marked(dose, snapshot) for dose in snapshot.doses]
    withdrawn = [dose for dose in doses if _is_withdrawn(dose)]
    nothing = [dose for dose in doses if not _is_withdrawn(dose) and _is_nothing(dose)]
    rest = [dose for dose in doses if not _is_withdrawn(dose) and not _is_nothing(dose)]
    cases = [
        case_of(session, snapshot)
        for session in dose_sessions(rest, lambda dose: rules_of(snapshot, dose), apart=apart(rest, snapshot))
    ]
    found = identified(cases, snapshot, standings) if snapshot.patient is not None else Identified(cases=cases)
    cases, merged, line = found.cases, found.merged, timeline(found.cases, snapshot)
    courses: dict[UUID, list[Case]] = {}
    for case in cases:
        if case.eligible and case.member is not None:
            courses.setdefault(case.member.course_id, []).append(case)
    verdicts = [_verdict(case, courses, line, snapshot, standings) for case in cases]
    verdicts = laid_to_rest(verdicts, snapshot, standings)
    verdicts += [_nothing(dose) for dose in nothing]
    verdicts = _with_withdrawn(verdicts, withdrawn, snapshot, merged)
    known = {dose.key: snapshot.known.memberships.get(dose.key) for dose in snapshot.doses}
    memberships = {key: member for key, member in known.items() if member is not None}
    memberships |= {key: case.member for case in cases if case.member for key in case.session.keys}
    memberships |= found.orders
    held = frozenset(case.member.session_id for case in cases if case.member and _is_held(case))
    return Judged(
        verdicts=tuple(sorted(_told(verdicts, standings), key=_order)),
        memberships=memberships,
        held=held,
        merged=merged,
        doses=line.doses,
        announced=found.announced,
        orders=found.upcoming,
    )


def _is_withdrawn(dose: Dose) -> bool:
    return dose.removed or dose.status == "entered-in-error"


def _is_nothing(dose: Dose) -> bool:
    """Whether there is nothing to follow up: another drug, or nothing given."""
    other = dose.drug.family is None and not dose.drug.unresolved and not dose.drug.conflicting
    return other or dose.status == "not-done" or Reason.NOT_GIVEN_METHOD in dose.problems


def _is_held(case: Case) -> bool:
    return case.assessment is None or not _HOLDING.isdisjoint(case.assessment.reasons)


def _verdict(
    case: Case, courses: Mapping[UUID, Sequence[Case]], line: Timeline, snapshot: Snapshot, standings: Standings
) -> DoseVerdict:
    session, member = case.session, case.member
    verdict = partial(
        DoseVerdict,
        administrations=session.keys,
        founder=case.founder,
        family=session.family,
        eligibility=case.assessment.eligibility if case.assessment else None,
        reasons=case.assessment.reasons if case.assessment else (session.waiting or Reason.STATUS_UNKNOWN,),
        session_id=member.session_id if member else None,
        course_id=member.course_id if member else None,
        start=session.start,
        anchor=session.anchor,
        anchor_basis=session.basis,
        heard_at=session.heard_at,
    )
    if case.assessment is None:
        return verdict(outcome=Outcome.WAITING)
    if case.assessment.eligibility is Eligibility.NOT_ELIGIBLE:
        return verdict(outcome=Outcome.NOT_ELIGIBLE)
    next_dose = next_after(session.anchor, line.doses) if session.anchor else None
    window = _window(case, next_dose, snapshot)
    if not case.eligible or window is None or member is None:
        return verdict(outcome=Outcome.REVIEW, window=window)
    course = courses[member.course_id]
    so_far = sorted(one.session.start for one in course if one.session.start and one.session.start <= window.opens)
    predicted = predicted_next(so_far, snapshot.clinic) if next_dose is None else None
    proposed = _session(case, member, window, next_dose, line, snapshot, predicted, standings)
    days, gone = [one.day for one in course], min(session.heard_at, window.closes) - window.opens
    return verdict(
        outcome=Outcome.PLANNED if proposed.state is SessionState.PROPOSED else Outcome.UNMET,
        window=window,
        session=proposed,
        phase=explicit_phase(session, snapshot.codes) or phase_on(case.day, days, case.rules),
        window_gone=gone if gone > timedelta() else None,
        predicted_next=predicted,
    )


def _window(case: Case, next_dose: NextDose | None, snapshot: Snapshot) -> Window | None:
    """The window of a dose whose end is known; on a day only, what is right for every time of that day."""
    session, buffer = case.session, snapshot.clinic.next_dose_buffer
    if session.anchor is None:
        return None
    if not session.time_problems:
        return window_after(session.anchor, case.rules, next_dose=next_dose, buffer=buffer)
    if session.time_problems == (Reason.DATE_ONLY,) and session.start is not None:
        return window_after_day(session.start, session.anchor, case.rules, next_dose=next_dose, buffer=buffer)
    return None


def _session(
    case: Case,
    member: Membership,
    window: Window,
    next_dose: NextDose | None,
    line: Timeline,
    snapshot: Snapshot,
    predicted: datetime | None,
    standings: Standings,
) -> Session:
    """What is proposed, as far as people have not decided otherwise in the EHR."""
    session, clinic = case.session, snapshot.clinic
    if session.anchor is None:
        raise ValueError("an eligible dose session has an end")
    occasion = Occasion(
        anchor=session.anchor,
        heard_at=session.heard_at,
        window=window,
        next_dose=next_dose,
        dosing_days=line.days,
        predicted=predicted,
    )
    if theirs := standings.visit(member.session_id):
        return booked(occasion, theirs.start, theirs.end, case.rules, clinic)
    if standings.lost_visit(member.session_id) is not None:
        return Session(state=SessionState.UNMET, reasons=(Reason.VISIT_MISSED,))
    if standings.is_tombstone(ArtifactKind.APPOINTMENT, member.session_id):
        return Session(state=SessionState.UNMET, reasons=(Reason.CANCELLED_BY_PERSON,))
    ended, there = (
        standings.ended_plan(member.course_id),
        standings.is_open(ArtifactKind.APPOINTMENT, member.session_id),
    )
    if ended is not None and (is_revoked(ended) or not there):
        return Session(state=SessionState.UNMET, reasons=(Reason.COURSE_ENDED_BY_PERSON,))
    if member.session_id in snapshot.missed:
        return Session(state=SessionState.UNMET, reasons=(Reason.TOO_LATE, Reason.RETRIES_EXHAUSTED))
    proposed = propose(line.freed(occasion, case.rules, clinic), case.rules, clinic)
    if proposed.reasons == (Reason.WINDOW_CUT,) and weekly_is_enough(session, snapshot):
        return replace(proposed, reasons=(Reason.WINDOW_CUT, Reason.WEEKLY_IS_ENOUGH))
    return proposed


def _nothing(dose: Dose) -> DoseVerdict:
    """The verdict of an administration that nothing follows."""
    verdict = DoseVerdict(
        administrations=(dose.key,),
        founder=dose.key,
        family=dose.drug.family,
        outcome=Outcome.UNRELATED,
        eligibility=Eligibility.NOT_ELIGIBLE,
        reasons=(Reason.NOT_KETAMINE,),
        start=begins(dose),
        heard_at=dose.heard_at,
    )
    if dose.drug.family is None and not dose.drug.unresolved and not dose.drug.conflicting:
        return verdict
    reason = Reason.NOT_DONE if dose.status == "not-done" else Reason.NOT_GIVEN_METHOD
    return replace(verdict, outcome=Outcome.NOT_ELIGIBLE, reasons=(reason,))


def _with_withdrawn(
    verdicts: Sequence[DoseVerdict], withdrawn: Iterable[Dose], snapshot: Snapshot, merged: Mapping[UUID, UUID]
) -> list[DoseVerdict]:
    """The verdicts, with withdrawn members named at the session they belonged to, the others on their own."""
    known = snapshot.known.memberships
    alive = {verdict.session_id: verdict for verdict in verdicts if verdict.session_id is not None}
    gone: dict[UUID | DoseKey, list[Dose]] = {}
    for dose in sorted(withdrawn, key=lambda dose: (begins(dose) or dose.heard_at, dose.key)):
        member = known.get(dose.key)
        place = dose.key if member is None else merged.get(member.session_id, member.session_id)
        gone.setdefault(place, []).append(dose)
    result = {verdict.founder: verdict for verdict in verdicts}
    for home_id, doses in gone.items():
        keys = tuple(dose.key for dose in doses)
        home = alive.get(home_id) if isinstance(home_id, UUID) else None
        if home is not None:
            result[home.founder] = replace(home, withdrawn=keys)
            continue
        first, member = doses[0], known.get(doses[0].key)
        result[first.key] = DoseVerdict(
            administrations=keys,
            founder=first.key,
            family=first.drug.family,
            outcome=Outcome.WITHDRAWN,
            eligibility=None,
            reasons=tuple(dict.fromkeys(_why_gone(dose) for dose in doses)),
            session_id=home_id if isinstance(home_id, UUID) else None,
            course_id=member.course_id if member else None,
            start=begins(first),
            heard_at=first.heard_at,
        )
    return list(result.values())


def _told(verdicts: list[DoseVerdict], standings: Standings) -> list[DoseVerdict]:
    """The verdicts, those of which something stands under a former record of the patient saying so."""
    left = {row.key.subject for row in standings.under_former_records()}
    if not left:
        return verdicts
    return [
        replace(one, reasons=(*one.reasons, Reason.PATIENT_MERGED)) if left & {one.session_id, one.course_id} else one
        for one in verdicts
    ]


def _why_gone(dose: Dose) -> Reason:
    return Reason.DELETED if dose.removed else Reason.ENTERED_IN_ERROR


def _order(verdict: DoseVerdict) -> tuple[bool, float, DoseKey]:
    return verdict.start is None, verdict.start.timestamp() if verdict.start else 0.0, verdict.founder
