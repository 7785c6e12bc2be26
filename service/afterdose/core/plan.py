"""The one question of the product: what care should this patient have now, given all that is known?

``decide`` is a pure function of the snapshot. It may be asked again at any time and gives the same
desired artifacts as long as facts, calendar and people's edits are the same (decision 0008, rule 16); ``now``
moves only the next look, the end of a course that has gone quiet, and the question about a record that was begun
and never ended.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from afterdose.core.activities import activities, goals, look_for_activation
from afterdose.core.alarms import alarms, look_for_stuck
from afterdose.core.artifacts import appointments, plans, quiet_from, reviews
from afterdose.core.care import ArtifactKind, Care, DesiredActivity, DesiredPlan, DesiredTask, DoseVerdict, Snapshot
from afterdose.core.cases import rules_at
from afterdose.core.death import ended
from afterdose.core.desk import Desk
from afterdose.core.former import merge_tasks
from afterdose.core.looks import next_look
from afterdose.core.preparation import announced_plans, preparations
from afterdose.core.preparation import quiet_from as quiet_from_orders
from afterdose.core.standing import Standings
from afterdose.core.tasks import tasks
from afterdose.core.verdicts import Judged, judge
from afterdose.core.wishes import OPEN_PLANS


def decide(snapshot: Snapshot, now: datetime) -> Care:
    """The desired care of one patient; every administration of the snapshot is in exactly one verdict."""
    standings = Standings(snapshot.known)
    judged = judge(snapshot, standings)
    judged = replace(judged, verdicts=tuple(_with_look(verdict, snapshot, now) for verdict in judged.verdicts))
    desk = Desk(snapshot, judged, standings)
    looks = [verdict.wake_up for verdict in judged.verdicts]
    if snapshot.person.hold is not None:
        return _held(judged, desk, _next(looks, now))
    wanted = appointments(desk)
    before = preparations(desk)
    course_plans = ended(plans(desk, wanted, announced_plans(desk, before, now), now), snapshot, standings)
    looks += [_ends(plan, judged.verdicts, snapshot) for plan in course_plans]
    looks += [quiet_from_orders(course, desk) for course in judged.announced]
    looks += [look_for_stuck(verdict, desk) for verdict in judged.verdicts]
    looks += [look_for_activation(plan, desk, now) for plan in course_plans]
    besides, asked = activities(desk, course_plans), alarms(desk, now)
    return Care(
        verdicts=judged.verdicts,
        plans=tuple(_whole(plan, besides, asked, desk) for plan in course_plans),
        goals=tuple(goals(desk, course_plans)),
        activities=tuple(besides),
        appointments=tuple(wanted),
        preparations=tuple(before),
        tasks=(*tasks(desk), *asked, *merge_tasks(desk)),
        reviews=tuple(reviews(desk)),
        memberships=judged.memberships,
        wake_up=_next(looks, now),
    )


def _held(judged: Judged, desk: Desk, wake_up: datetime | None) -> Care:
    """What is decided while nothing may be written for the patient: what stands in the EHR stays, a person is asked."""
    return Care(
        verdicts=judged.verdicts,
        plans=(),
        appointments=(),
        tasks=(),
        reviews=tuple(reviews(desk)),
        memberships=judged.memberships,
        wake_up=wake_up,
    )


def _next(looks: Iterable[datetime | None], now: datetime) -> datetime | None:
    return min((look for look in looks if look is not None and look > now), default=None)


def _with_look(verdict: DoseVerdict, snapshot: Snapshot, now: datetime) -> DoseVerdict:
    if verdict.heard_at is None:
        return verdict
    rules = rules_at(snapshot, verdict.family, verdict.anchor or verdict.start or verdict.heard_at)
    look = next_look(verdict, rules, now)
    return verdict if look is None else replace(verdict, wake_up=look)


def _whole(
    plan: DesiredPlan, besides: Sequence[DesiredActivity], asked: Sequence[DesiredTask], desk: Desk
) -> DesiredPlan:
    """The plan with its goal, the activities that it names, and what is asked about its course.

    A plan that ends keeps the goal that it had.
    """
    mine = tuple(one for one in besides if one.course == plan.key and not one.cancelled)
    course, open_ = plan.key.subject, plan.status in OPEN_PLANS
    had = None if open_ else desk.standings.latest(ArtifactKind.GOAL, course)
    goal = had.key if had is not None else desk.standings.key(ArtifactKind.GOAL, course)
    on_file = (desk.snapshot.crisis_plans or ()) if open_ else ()
    warnings = tuple(one for one in asked if open_ and one.course == plan.key and not one.cancelled)
    return replace(plan, goal=goal, activities=mine, crisis_plans=on_file, warnings=warnings)


def _ends(plan: DesiredPlan, verdicts: tuple[DoseVerdict, ...], snapshot: Snapshot) -> datetime | None:
    """When an open plan will have gone quiet."""
    if plan.status not in OPEN_PLANS:
        return None
    return quiet_from([one for one in verdicts if one.course_id == plan.key.subject], snapshot)
