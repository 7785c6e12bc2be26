"""From desired care to the resources to write, in the order in which they are written.

Pure. A draft knows its resource for any set of references, and a fingerprint of what is wanted that
does not depend on the ids that the EHR gives out.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

from afterdose.core.care import ArtifactKey, Care, DesiredAppointment, DesiredPlan, DesiredTask, PlanStatus
from afterdose.core.dose import Coding
from afterdose.core.identity import artifact_id
from afterdose.fhir.encode import Letterhead, appointment, care_plan, task
from afterdose.work.merge import fingerprint

Resource = dict[str, Any]
References = Mapping[ArtifactKey, str]

_OPEN = frozenset({PlanStatus.DRAFT, PlanStatus.ACTIVE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One artifact as we want it. ``withdrawn``: it is to be ended, and need not be made for that.

    ``mentioned``: the artifacts that it refers to as far as they are there.
    """

    key: ArtifactKey
    mentioned: tuple[ArtifactKey, ...]
    withdrawn: bool
    build: Callable[[References], Resource]

    def wanted(self, there: Container[ArtifactKey]) -> str:
        """The fingerprint of what is wanted while ``there`` can be referred to, the same whatever their ids."""
        return fingerprint(self.build({key: placeholder(key) for key in self.mentioned if key in there}))


def placeholder(key: ArtifactKey) -> str:
    """How an artifact without an id in the EHR is referred to inside a transaction (RFC 4122 URN)."""
    return f"urn:uuid:{artifact_id(key)}"


def drafts(care: Care, head: Letterhead) -> tuple[Draft, ...]:
    """Every artifact of ``care``: Appointments, then Tasks, then the plans that refer to them.

    Appointments that are people's now are only referred to.
    """
    labels = {plan.key: plan.labels for plan in care.plans}
    made = [
        _appointment(desired, head, labels.get(desired.course, ())) for desired in care.appointments if not desired.hold
    ]
    made += [_task(desired, head) for desired in care.tasks]
    made += [_plan(desired, head) for desired in care.plans]
    return tuple(made)


def _appointment(desired: DesiredAppointment, head: Letterhead, labels: tuple[Coding, ...]) -> Draft:
    return Draft(
        key=desired.key,
        mentioned=(),
        withdrawn=desired.cancelled,
        build=lambda _: appointment(desired, head, labels),
    )


def _task(desired: DesiredTask, head: Letterhead) -> Draft:
    def build(references: References) -> Resource:
        return task(desired, replace(head, references=references), ())

    mentioned = (desired.focus,) if desired.focus else ()
    return Draft(key=desired.key, mentioned=mentioned, withdrawn=desired.cancelled, build=build)


def _plan(desired: DesiredPlan, head: Letterhead) -> Draft:
    def build(references: References) -> Resource:
        there = tuple(entry for entry in desired.appointments if entry.key in references)
        return care_plan(replace(desired, appointments=there), replace(head, references=references))

    ended = desired.status not in _OPEN
    mentioned = tuple(entry.key for entry in desired.appointments)
    return Draft(key=desired.key, mentioned=mentioned, withdrawn=ended, build=build)
