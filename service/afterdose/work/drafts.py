"""From desired care to the resources to write, in the order in which they are written.

Pure. A draft knows its resource for any set of references, and a fingerprint of what is wanted that
does not depend on the ids that the EHR gives out.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from afterdose.core.care import (
    ArtifactKey,
    Care,
    DesiredActivity,
    DesiredAppointment,
    DesiredGoal,
    DesiredPlan,
    DesiredPreparation,
    DesiredTask,
    PlanStatus,
)
from afterdose.core.dose import Coding
from afterdose.core.identity import artifact_id
from afterdose.fhir.encode import Letterhead, appointment, care_plan
from afterdose.fhir.encode_activities import activity, goal
from afterdose.fhir.encode_preparation import preparation
from afterdose.fhir.encode_tasks import task
from afterdose.work.merge import fingerprint

Resource = dict[str, Any]
References = Mapping[ArtifactKey, str]

_OPEN = frozenset({PlanStatus.DRAFT, PlanStatus.ACTIVE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One artifact as we want it. ``withdrawn``: it is to be ended, and need not be made for that.

    ``mentioned``: the artifacts that it refers to as far as they are there. ``optional``: an EHR that does not
    take it goes without. ``begin_by``: it is not begun later; None where there is no such time.
    """

    key: ArtifactKey
    mentioned: tuple[ArtifactKey, ...]
    withdrawn: bool
    build: Callable[[References], Resource]
    optional: bool = False
    begin_by: datetime | None = None

    def wanted(self, there: Container[ArtifactKey]) -> str:
        """The fingerprint of what is wanted while ``there`` can be referred to, the same whatever their ids."""
        return fingerprint(self.build({key: placeholder(key) for key in self.mentioned if key in there}))


def placeholder(key: ArtifactKey) -> str:
    """How an artifact without an id in the EHR is referred to inside a transaction (RFC 4122 URN)."""
    return f"urn:uuid:{artifact_id(key)}"


def drafts(care: Care, head: Letterhead) -> tuple[Draft, ...]:
    """Every artifact of ``care``: Goals, Appointments, Tasks and ServiceRequests, then the plans that refer to them.

    What is people's now is only referred to, and what waits for a clinician is not made.
    """
    labels = {plan.key: plan.labels for plan in care.plans}
    made = [_goal(desired, head) for desired in care.goals]
    made += [
        _appointment(desired, head, labels.get(desired.course, ())) for desired in care.appointments if not desired.hold
    ]
    made += [
        _preparation(desired, head, labels.get(desired.course, ())) for desired in care.preparations if not desired.hold
    ]
    made += [_task(desired, head) for desired in care.tasks]
    made += [_activity(desired, head) for desired in care.activities if not desired.hold and not desired.waits]
    made += [_plan(desired, head) for desired in care.plans]
    return tuple(made)


def _appointment(desired: DesiredAppointment, head: Letterhead, labels: tuple[Coding, ...]) -> Draft:
    return Draft(
        key=desired.key,
        mentioned=(),
        withdrawn=desired.cancelled,
        build=lambda _: appointment(desired, head, labels),
    )


def _preparation(desired: DesiredPreparation, head: Letterhead, labels: tuple[Coding, ...]) -> Draft:
    return Draft(
        key=desired.key,
        mentioned=(),
        withdrawn=desired.cancelled,
        build=lambda _: preparation(desired, head, labels),
    )


def _task(desired: DesiredTask, head: Letterhead) -> Draft:
    def build(references: References) -> Resource:
        return task(desired, replace(head, references=references))

    mentioned = (desired.focus,) if desired.focus else ()
    return Draft(key=desired.key, mentioned=mentioned, withdrawn=desired.cancelled, build=build)


def _goal(desired: DesiredGoal, head: Letterhead) -> Draft:
    return Draft(
        key=desired.key, mentioned=(), withdrawn=desired.ended, build=lambda _: goal(desired, head), optional=True
    )


def _activity(desired: DesiredActivity, head: Letterhead) -> Draft:
    def build(references: References) -> Resource:
        return activity(desired, replace(head, references=references))

    return Draft(
        key=desired.key,
        mentioned=(desired.focus,) if desired.focus else (),
        withdrawn=desired.cancelled,
        build=build,
        optional=True,
        begin_by=desired.due if desired.dose is not None else None,
    )


def _plan(desired: DesiredPlan, head: Letterhead) -> Draft:
    def build(references: References) -> Resource:
        return care_plan(desired, replace(head, references=references))

    ended = desired.status not in _OPEN
    mentioned = [desired.goal] if desired.goal is not None else []
    mentioned += [entry.key for entry in desired.preparations]
    mentioned += [entry.key for entry in desired.appointments]
    mentioned += [entry.key for entry in desired.activities]
    return Draft(key=desired.key, mentioned=tuple(mentioned), withdrawn=ended, build=build)
