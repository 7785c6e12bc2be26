"""What belongs to a course besides its integration sessions: which of it is wanted now, from when, until when.

At most what follows the latest dose session is open. What patients are asked to do waits until a clinician has
activated the plan. Nothing is wanted whose deadline had passed when its dose was heard of; what is there stays until
facts change, and ends with its cause unless a person has acted on it. Nothing here depends on the present time.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from afterdose.core.care import (
    ArtifactKind,
    DesiredActivity,
    DesiredGoal,
    DesiredPlan,
    KnownArtifact,
    PlanStatus,
    Standing,
)
from afterdose.core.desk import Desk
from afterdose.core.standing import is_open
from afterdose.core.wishes import OPEN_PLANS, OPTIONAL, before_the_first, course_of, preferred_ways, wished

OF_PATIENT = (
    ArtifactKind.JOURNALING,
    ArtifactKind.MINDFULNESS,
    ArtifactKind.SLEEP,
    ArtifactKind.ACTIVATION,
    ArtifactKind.COMMITMENTS,
)
"""What the patient is asked to do."""
ACTIVITIES = (
    *OF_PATIENT,
    ArtifactKind.COMMITMENTS_REMINDER,
    ArtifactKind.OUTCOME_CHECK,
    ArtifactKind.LATER_OUTCOME_CHECK,
    ArtifactKind.RELAPSE_PLAN,
    ArtifactKind.PSYCHOTHERAPY,
    ArtifactKind.CRISIS_PLAN,
    *OPTIONAL,
)
BESIDES = frozenset({ArtifactKind.GOAL, *ACTIVITIES})
"""What a plan is whole without: an EHR that does not take it goes without, and the narrative tells it."""

# How we leave a Task, a ServiceRequest or a Goal (http://hl7.org/fhir/R4/valueset-task-status.html and its neighbours).
_UNTOUCHED = frozenset({None, "", "requested", "draft", "active", "proposed"})


def goals(desk: Desk, plans: Sequence[DesiredPlan]) -> list[DesiredGoal]:
    """One Goal for each open plan, and the end of those whose plan has ended."""
    found = [
        DesiredGoal(
            key=desk.standings.key(ArtifactKind.GOAL, plan.key.subject),
            family=plan.family,
            status=plan.status,
            start=plan.period_start,
            labels=plan.labels,
        )
        for plan in plans
        if plan.status in OPEN_PLANS
    ]
    kept = {one.key for one in found}
    named, held = {plan.key.subject: plan for plan in plans}, _held_courses(desk)
    for row in desk.standings.still_open(ArtifactKind.GOAL):
        if row.key not in kept and row.key.subject not in held and not _acted_on(row):
            of = named.get(row.key.subject)
            status = of.status if of is not None else PlanStatus.REVOKED
            family = of.family if of is not None else min(desk.snapshot.protocols)
            found.append(DesiredGoal(key=row.key, family=family, status=status, ended=True))
    return found


def activities(desk: Desk, plans: Sequence[DesiredPlan]) -> list[DesiredActivity]:
    """The activities to have, to go on naming and to end."""
    wanted: list[DesiredActivity] = []
    held = _held_courses(desk)
    for plan in plans:
        course = course_of(plan, desk)
        wishes = wished(course, desk) if course is not None else before_the_first(plan, desk)
        chosen = [_begun_later(one, held, desk) for one in wishes if _is_wanted(one, desk)]
        first = preferred_ways(plan, desk)
        wanted += sorted(chosen, key=lambda one: one.key.kind not in first)
    keys = {one.key for one in wanted}
    named = {plan.key.subject: plan for plan in plans}
    rest = [row for key, row in desk.snapshot.known.artifacts.items() if key.kind in ACTIVITIES and key not in keys]
    for row in sorted(rest, key=lambda row: row.key):
        if (course_id := _course_id(row, desk)) is not None:
            of = named.get(course_id)
            family = of.family if of is not None else min(desk.snapshot.protocols)
            one = DesiredActivity(
                key=row.key,
                course=desk.standings.key(ArtifactKind.CARE_PLAN, course_id),
                family=family,
                for_patient=row.key.kind in OF_PATIENT,
            )
            if _is_kept(row, course_id, held):
                wanted.append(replace(one, hold=True))
            elif is_open(row):
                wanted.append(replace(one, cancelled=True, dose=desk.verdict_of(row.key.subject)))
    return wanted


def look_for_activation(plan: DesiredPlan, desk: Desk, now: datetime) -> datetime | None:
    """When to see whether a clinician has activated a plan that patients' activities wait for."""
    course = course_of(plan, desk) if plan.status is PlanStatus.DRAFT else None
    step = course.rules.look_for_activation if course is not None else None
    if course is None or step is None or course.latest.anchor is None:
        return None
    anchor, practices = course.latest.anchor, course.rules.practices
    passed = max(now - anchor, timedelta()) // step
    look = anchor + (passed + 1) * step
    until = max(practices.journal_due, practices.mindfulness_until, practices.activation_due[1])
    return look if look < anchor + until else None


def _is_wanted(one: DesiredActivity, desk: Desk) -> bool:
    """Whether to have it: people have not ended it, and there was time for it when its dose was heard of.

    What belongs to the whole course is counted from when that was heard of, and wanted for as long as it lasts.
    """
    if desk.standings.is_tombstone(one.key.kind, one.key.subject):
        return False
    if one.starts is not None and one.due is not None and one.starts >= one.due:
        return False
    heard_at = one.dose.heard_at if one.dose is not None else None
    return heard_at is None or one.due is None or one.due > heard_at


def _begun_later(one: DesiredActivity, held: Collection[UUID], desk: Desk) -> DesiredActivity:
    """The activity, made to wait where it would be begun while a dose session of its course cannot be decided."""
    if one.waits or one.course.subject not in held or desk.standings.is_open(one.key.kind, one.key.subject):
        return one
    return replace(one, waits=True)


def _held_courses(desk: Desk) -> frozenset[UUID]:
    """Courses of which a dose session cannot be decided now: nothing of theirs is begun or ended."""
    return frozenset(
        one.course_id
        for one in desk.judged.verdicts
        if one.course_id is not None and one.session_id in desk.judged.held
    )


def _course_id(row: KnownArtifact, desk: Desk) -> UUID | None:
    """The course that an artifact belongs to, by its dose session or as the course itself."""
    course = desk.course_of(row.key.subject)
    return course.subject if course is not None else desk.judged.merged.get(row.key.subject, row.key.subject)


def _is_kept(row: KnownArtifact, course_id: UUID, held: Collection[UUID]) -> bool:
    """Whether the plan goes on naming it although it is not wanted: done, begun by a person, or undecided."""
    if row.standing is Standing.REMOVED_BY_PERSON:
        return row.ehr_status == "completed"
    return is_open(row) and (_acted_on(row) or course_id in held)


def _acted_on(row: KnownArtifact) -> bool:
    """Whether a person has begun it or ended it."""
    return row.ehr_status not in _UNTOUCHED
