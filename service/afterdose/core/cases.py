"""Dose sessions on their way to a verdict: whose they are, whether eligible, and under which ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from uuid import UUID

from afterdose.core.care import Membership, Snapshot, local_day
from afterdose.core.course import courses
from afterdose.core.dose import Dose, DoseKey, Family
from afterdose.core.eligibility import Assessment, assess
from afterdose.core.identity import course_id, dose_session_id
from afterdose.core.membership import settle
from afterdose.core.orders import Upcoming, attached, upcoming
from afterdose.core.protocol import Rules
from afterdose.core.reasons import Eligibility, Reason
from afterdose.core.session import DoseSession, begins
from afterdose.core.standing import Standings


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One dose session on its way to its verdict. ``assessment`` is None while the dose is not over.

    ``day``: the clinic's day on which it began, or on which we heard of it where nobody says.
    """

    session: DoseSession
    rules: Rules
    assessment: Assessment | None
    day: date
    member: Membership | None = None

    @property
    def eligible(self) -> bool:
        """Whether a plan may follow."""
        return self.assessment is not None and self.assessment.eligibility is Eligibility.ELIGIBLE

    @property
    def relevant(self) -> bool:
        """Whether anything follows or may follow: a plan, a decision, an end of the waiting."""
        return self.assessment is None or self.assessment.eligibility is not Eligibility.NOT_ELIGIBLE

    @property
    def founder(self) -> DoseKey:
        """The administration from which the session's id was minted; the first where that one is gone."""
        keys = self.session.keys
        if len(keys) == 1:
            return keys[0]
        named = (key for key in keys if self.member and dose_session_id(key) == self.member.session_id)
        return next(named, keys[0])


def rules_at(snapshot: Snapshot, family: Family | None, moment: datetime) -> Rules:
    """The numbers in force at a moment; for what is of no known family those of the first protocol."""
    protocol = snapshot.protocols[family or min(snapshot.protocols)]
    return protocol.rules_on(local_day(moment, snapshot.clinic))


def rules_of(snapshot: Snapshot, dose: Dose) -> Rules:
    """The numbers in force when an administration began."""
    return rules_at(snapshot, dose.drug.family, begins(dose) or dose.heard_at)


def marked(dose: Dose, snapshot: Snapshot) -> Dose:
    """The dose with what its patient says against it among its problems."""
    found = dose.problems
    if snapshot.patient is None or dose.patient is None:
        found = (*found, Reason.PATIENT_UNRESOLVED)
    elif dose.patient != snapshot.patient:
        found = (*found, Reason.PATIENT_CHANGED)
    if snapshot.person.hold is not None:
        found = (*found, snapshot.person.hold)
    if _was_given_after_death(dose, snapshot):
        found = (*found, Reason.PATIENT_DECEASED)
    return dose if found == dose.problems else replace(dose, problems=tuple(dict.fromkeys(found)))


def _was_given_after_death(dose: Dose, snapshot: Snapshot) -> bool:
    began, died_by = begins(dose), snapshot.person.died_by
    return began is not None and died_by is not None and began > died_by


def apart(doses: Sequence[Dose], snapshot: Snapshot) -> frozenset[DoseKey]:
    """Administrations that must not form a session with others: it is not sure whose they are.

    One that shared its session with others before stays with them, so that all of it is held.
    """
    if snapshot.patient is None:
        return frozenset(dose.key for dose in doses)
    known = snapshot.known.memberships
    sessions = [known[dose.key].session_id for dose in doses if dose.key in known]
    return frozenset(
        dose.key
        for dose in doses
        if {Reason.PATIENT_CHANGED, Reason.PATIENT_UNRESOLVED}.intersection(dose.problems)
        and (dose.key not in known or sessions.count(known[dose.key].session_id) < 2)
    )


def case_of(session: DoseSession, snapshot: Snapshot) -> Case:
    """The case of a session, judged by the numbers in force at its end."""
    rules = rules_at(snapshot, session.family, session.anchor or session.start or session.heard_at)
    day = local_day(session.start or session.heard_at, snapshot.clinic)
    if session.waiting is not None:
        return Case(session=session, rules=rules, assessment=None, day=day)
    assessment = assess(
        session.members,
        rules=rules,
        codes=snapshot.codes,
        clinic=snapshot.clinic,
        day=day if session.start is not None else None,
        more=session.time_problems,
        beside=[dose for dose in snapshot.doses if dose.drug.anaesthetic],
    )
    return Case(session=session, rules=rules, assessment=assessment, day=day)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """A course that orders announce and of which no dose was given yet."""

    course_id: UUID
    orders: tuple[Upcoming, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """Everything with its ids: the cases, the courses that are only announced, and where each order belongs.

    ``upcoming``: all standing orders that are clearly psychiatric.
    ``merged``: ids of dose sessions and of courses that went up in another, with that other's id.
    """

    cases: list[Case]
    announced: tuple[Announced, ...] = ()
    upcoming: tuple[Upcoming, ...] = ()
    orders: Mapping[DoseKey, Membership] = field(default_factory=dict)
    merged: Mapping[UUID, UUID] = field(default_factory=dict)


def identified(cases: Sequence[Case], snapshot: Snapshot, standings: Standings) -> Identified:
    """Dose sessions and courses with their ids.

    A session that is not eligible gets no id, but keeps one that it had. An order belongs to a course as its
    doses do, so that the course keeps its id when the first dose is given.
    """
    merged: dict[UUID, UUID] = {}
    known, weight = snapshot.known.memberships, standings.weight
    sessions = settle(
        [case.session.keys for case in cases],
        {key: member.session_id for key, member in known.items()},
        name=dose_session_id,
        weight=weight,
    )
    pairs = [
        (case, settled.id)
        for case, settled in zip(cases, sessions, strict=True)
        if case.relevant or any(key in known for key in case.session.keys)
    ]
    for settled in sessions:
        merged |= dict.fromkeys(settled.superseded, settled.id)
    place = {case.session.keys: number for number, (case, _) in enumerate(pairs)}
    groups = courses(
        [case.session for case, _ in pairs if case.relevant],
        lambda session: pairs[place[session.keys]][0].rules.course_gap,
    )
    orders = upcoming(snapshot, lambda order: rules_at(snapshot, order.drug.family, order.authored or order.heard_at))
    gap = rules_at(snapshot, None, orders[0].moment).course_gap if orders else timedelta()
    places, alone = attached(groups, orders, gap)
    places += [[] for case, _ in pairs if not case.relevant] + [[one.order.key for one in group] for group in alone]
    groups += [[case.session] for case, _ in pairs if not case.relevant] + [[] for _ in alone]
    founded = settle(
        [
            [*(key for session in group for key in session.keys), *own]
            for group, own in zip(groups, places, strict=True)
        ],
        {key: member.course_id for key, member in known.items()},
        name=course_id,
        weight=weight,
    )
    course_of: dict[tuple[DoseKey, ...], UUID] = {}
    of_orders: dict[DoseKey, Membership] = {}
    for group, own, settled in zip(groups, places, founded, strict=True):
        merged |= dict.fromkeys(settled.superseded, settled.id)
        course_of |= {session.keys: settled.id for session in group}
        of_orders |= {key: Membership(session_id=dose_session_id(key), course_id=settled.id) for key in own}
    ids = {
        case.session.keys: Membership(session_id=session_id, course_id=course_of[case.session.keys])
        for case, session_id in pairs
    }
    return Identified(
        cases=[replace(case, member=ids.get(case.session.keys)) for case in cases],
        announced=tuple(
            Announced(course_id=of_orders[group[0].order.key].course_id, orders=tuple(group)) for group in alone
        ),
        upcoming=orders,
        orders=of_orders,
        merged=merged,
    )
