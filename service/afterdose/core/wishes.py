"""What a course would have besides its sessions if people and time had no say: what, from when, until when.

Counted from the latest dose session, what belongs to the whole course from its first; all of it over by the next dose.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from afterdose.core.care import (
    ArtifactKey,
    ArtifactKind,
    DesiredActivity,
    DesiredPlan,
    DoseVerdict,
    PlanStatus,
    Repetition,
    Standing,
)
from afterdose.core.cases import rules_at
from afterdose.core.desk import Desk, doses_of
from afterdose.core.dose import PlannedKind
from afterdose.core.protocol import Rules
from afterdose.core.reasons import Outcome
from afterdose.core.window import NextDose, next_after

OPTIONAL = (ArtifactKind.COGNITIVE_WORK, ArtifactKind.SOMATIC_WORK, ArtifactKind.ART_WORK)
"""Ways of working that are proposed by stated preference only."""
MODALITIES = (ArtifactKind.MINDFULNESS, ArtifactKind.JOURNALING, *OPTIONAL)
"""All ways of working that a patient may prefer: what is in every plan anyway is put first then."""
OPEN_PLANS = frozenset({PlanStatus.DRAFT, PlanStatus.ACTIVE})

_A_DAY = timedelta(days=1)
_PLANNED = frozenset({Outcome.PLANNED, Outcome.UNMET})
_GIVEN = _PLANNED | {Outcome.REVIEW, Outcome.WAITING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One course with what its activities are counted from. ``limit``: the next dose less its buffer, where known."""

    plan: DesiredPlan
    first: DoseVerdict
    latest: DoseVerdict
    rules: Rules
    limit: datetime | None
    last_planned: datetime | None


def course_of(plan: DesiredPlan, desk: Desk) -> Course | None:
    """A course that is open and has a dose session with an end; None where there is nothing to count from."""
    eligible = [one for one in plan.verdicts if one.outcome in _PLANNED and one.anchor is not None]
    if plan.status not in OPEN_PLANS or not eligible:
        return None
    latest = max(eligible, key=lambda one: (one.anchor or plan.period_start, one.founder))
    anchor, clinic = latest.anchor or plan.period_start, desk.snapshot.clinic
    rules = rules_at(desk.snapshot, plan.family, anchor)
    coming = next_after(anchor, _doses(desk, anchor + rules.cluster_gap))
    coming_doses = [one for one in desk.snapshot.planned if one.at > anchor and one.dropped_at is None]
    planned = [one.at for one in coming_doses if one.family in (None, plan.family)]
    return Course(
        plan=plan,
        first=min(eligible, key=lambda one: (one.anchor or plan.period_start, one.founder)),
        latest=latest,
        rules=rules,
        limit=coming.at - clinic.next_dose_buffer if coming is not None else None,
        last_planned=max(planned, default=None),
    )


def _doses(desk: Desk, beyond: datetime) -> Iterator[NextDose]:
    """Doses given, and doses announced for later than ``beyond``: an announced one before it is the given one."""
    for verdict in desk.judged.verdicts:
        if verdict.outcome in _GIVEN and verdict.start is not None:
            yield NextDose(verdict.start, PlannedKind.GIVEN)
    for dose in desk.snapshot.planned:
        if dose.at > beyond and dose.dropped_at is None:
            yield NextDose(dose.at, PlannedKind.PLANNED)


def wished(course: Course, desk: Desk) -> list[DesiredActivity]:
    """What a course would have if people and time had no say."""
    return [*_of_course(course, desk), *_checks(course, desk), *_of_patient(course, desk)]


def _of_patient(course: Course, desk: Desk) -> Iterator[DesiredActivity]:
    """What the patient does after the latest dose: nothing before monitoring is over, all over by the next dose."""
    rules, practices = course.rules, course.rules.practices
    anchor = course.latest.anchor or course.plan.period_start
    from_now = max(anchor + rules.nothing_before, course.latest.heard_at or anchor)
    later = max(anchor + rules.opens_after, from_now)

    def own(
        kind: ArtifactKind, starts: datetime, due: datetime, repeats: Repetition | None = None, *, assumed: bool = False
    ) -> DesiredActivity:
        return _after_dose(
            kind,
            course,
            desk,
            for_patient=True,
            starts=starts,
            due=_cut(due, course.limit),
            due_assumed=assumed,
            repeats=repeats,
            waits=course.plan.status is not PlanStatus.ACTIVE,
        )

    yield own(ArtifactKind.JOURNALING, from_now, anchor + practices.journal_due)
    practice = Repetition(
        every=_A_DAY, count=_days(practices.mindfulness_until, course), length=practices.mindfulness_length
    )
    yield own(ArtifactKind.MINDFULNESS, from_now, anchor + practices.mindfulness_until, practice)
    nights = Repetition(every=_A_DAY, count=_days(practices.sleep_support, course), at_bedtime=True)
    yield own(ArtifactKind.SLEEP, from_now, anchor + practices.sleep_support, nights)
    yield own(ArtifactKind.ACTIVATION, later, anchor + practices.activation_due[1])
    until = course.limit or anchor + practices.commitments_due
    yield own(ArtifactKind.COMMITMENTS, later, until, assumed=course.limit is None)


def _checks(course: Course, desk: Desk) -> Iterator[DesiredActivity]:
    """What staff do after the latest dose. A check that the next dose comes before belongs to that dose.

    A check that is open moves on with each dose, so that there is never more than one of a kind. One that a person
    ended after the latest dose, be it before its day, was that dose's and is not asked for again.
    """
    anchor = course.latest.anchor or course.plan.period_start
    kinds = (ArtifactKind.OUTCOME_CHECK, ArtifactKind.LATER_OUTCOME_CHECK)
    for kind, after in zip(kinds, course.rules.practices.outcome_checks, strict=False):
        if (course.limit is None or anchor + after < course.limit) and not _is_done(kind, course, desk):
            yield _after_dose(kind, course, desk, key=_carried(kind, course, desk), due=anchor + after)
    subject = course.latest.session_id
    visit = desk.standings.visit(subject) if subject is not None else None
    asked = desk.standings.latest(ArtifactKind.COMMITMENTS, subject) if subject is not None else None
    if visit is None or asked is None or (visit.ehr_status, asked.ehr_status) != ("fulfilled", "requested"):
        return
    yield _after_dose(
        ArtifactKind.COMMITMENTS_REMINDER,
        course,
        desk,
        due=course.limit or anchor + course.rules.practices.commitments_due,
        due_assumed=course.limit is None,
        focus=visit.key,
    )


def _carried(kind: ArtifactKind, course: Course, desk: Desk) -> ArtifactKey | None:
    """The artifact of an earlier dose session of the course that is still open."""
    sessions = _sessions(course)
    return next((row.key for row in desk.standings.still_open(kind) if row.key.subject in sessions), None)


def _is_done(kind: ArtifactKind, course: Course, desk: Desk) -> bool:
    """Whether a person has ended one of this kind since the latest dose, under whichever dose it was begun."""
    sessions, anchor = _sessions(course), course.latest.anchor
    return any(
        row.key.kind is kind and row.key.subject in sessions and row.closed_at >= anchor
        for row in desk.snapshot.known.artifacts.values()
        if row.closed_at is not None and anchor is not None and row.standing is Standing.REMOVED_BY_PERSON
    )


def _sessions(course: Course) -> set[UUID | None]:
    return {one.session_id for one in course.plan.verdicts if one.outcome in _PLANNED}


def _of_course(course: Course, desk: Desk) -> Iterator[DesiredActivity]:
    """What belongs to the course as a whole; the relapse plan exists before the active phase can end (R1)."""
    practices, plan = course.rules.practices, course.plan
    anchor = course.first.anchor or plan.period_start
    heard = min((one.heard_at for one in plan.verdicts if one.heard_at is not None), default=anchor)
    in_time = heard < anchor + practices.relapse_plan_due
    due = _cut((anchor if in_time else heard) + practices.relapse_plan_due, course.last_planned)
    yield replace(_of_plan(ArtifactKind.RELAPSE_PLAN, plan, desk), due=due)
    yield replace(
        _of_plan(ArtifactKind.PSYCHOTHERAPY, plan, desk),
        starts=anchor + course.rules.opens_after,
        repeats=Repetition(every=practices.psychotherapy_every),
    )
    preferred = preferred_ways(plan, desk)
    for kind in OPTIONAL:
        if kind in preferred or _stays(kind, plan, desk):
            yield _of_plan(kind, plan, desk)
    if _lacks_crisis_plan(plan, desk):
        opens = anchor + course.rules.opens_after
        due = opens if heard < opens else heard + course.rules.opens_after
        yield replace(_of_plan(ArtifactKind.CRISIS_PLAN, plan, desk), due=due)


def before_the_first(plan: DesiredPlan, desk: Desk) -> Iterator[DesiredActivity]:
    """What a course has before its first dose, besides preparation: the crisis plan is made by then."""
    if plan.status in OPEN_PLANS and plan.orders and _lacks_crisis_plan(plan, desk):
        yield replace(_of_plan(ArtifactKind.CRISIS_PLAN, plan, desk), due=plan.first_dose)


def preferred_ways(plan: DesiredPlan, desk: Desk) -> set[ArtifactKind]:
    """The ways of working that are stated as preferred, by the patient or on what hangs together with a dose.

    Never inferred from a diagnosis. Only what the site offers.
    """
    codes = desk.snapshot.codes
    marks = [mark for dose in doses_of(plan.verdicts, desk.snapshot) for mark in dose.context.marks]
    said = [(mark.system, mark.code) for mark in (*marks, *(desk.snapshot.preferences or ()))]
    return {codes.preferences[one] for one in said if one in codes.preferences} & codes.modalities


def _stays(kind: ArtifactKind, plan: DesiredPlan, desk: Desk) -> bool:
    """Whether a proposal stands only because nobody can tell at present what the patient prefers."""
    return desk.snapshot.preferences is None and desk.standings.is_open(kind, plan.key.subject)


def _lacks_crisis_plan(plan: DesiredPlan, desk: Desk) -> bool:
    """Whether none is on file; where that cannot be known at present, what was asked before is still asked."""
    on_file = desk.snapshot.crisis_plans
    return on_file == () or (on_file is None and desk.standings.is_open(ArtifactKind.CRISIS_PLAN, plan.key.subject))


def _after_dose(
    kind: ArtifactKind,
    course: Course,
    desk: Desk,
    *,
    due: datetime,
    key: ArtifactKey | None = None,
    for_patient: bool = False,
    starts: datetime | None = None,
    due_assumed: bool = False,
    repeats: Repetition | None = None,
    focus: ArtifactKey | None = None,
    waits: bool = False,
) -> DesiredActivity:
    """What follows the latest dose of a course, under its own ``key`` where none is given."""
    subject = course.latest.session_id
    if subject is None:
        raise ValueError("a dose session of a course has an id")
    return DesiredActivity(
        key=key or desk.standings.key(kind, subject),
        course=course.plan.key,
        family=course.plan.family,
        dose=course.latest,
        for_patient=for_patient,
        starts=starts,
        due=due,
        due_assumed=due_assumed,
        repeats=repeats,
        focus=focus,
        labels=course.plan.labels,
        waits=waits,
    )


def _of_plan(kind: ArtifactKind, plan: DesiredPlan, desk: Desk) -> DesiredActivity:
    return DesiredActivity(
        key=desk.standings.key(kind, plan.key.subject), course=plan.key, family=plan.family, labels=plan.labels
    )


def _cut(due: datetime, limit: datetime | None) -> datetime:
    return due if limit is None else min(due, limit)


def _days(until: timedelta, course: Course) -> int | None:
    """How many daily times there are; None where the next dose, or having heard of the dose late, cuts them short."""
    anchor, heard = course.latest.anchor, course.latest.heard_at
    cut = anchor is not None and course.limit is not None and course.limit < anchor + until
    late = anchor is not None and heard is not None and heard >= anchor + _A_DAY
    return None if cut or late else until // _A_DAY
