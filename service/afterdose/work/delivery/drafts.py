"""From desired care to the resources to write, in the order in which they are written, each on its rung.

Pure. A draft knows its resource for any set of references, and a fingerprint of what is wanted that
does not depend on the ids that the EHR gives out.
"""

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeVar
from uuid import UUID

from afterdose.core.care import (
    ArtifactKey,
    ArtifactKind,
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
from afterdose.ehr.ladder import Ladder, PlanMode, top
from afterdose.fhir.encode.activities import activity, goal
from afterdose.fhir.encode.care import Letterhead, appointment, care_plan
from afterdose.fhir.encode.fit import fit
from afterdose.fhir.encode.other_rungs import plan_message, plan_note, session_order, task_message
from afterdose.fhir.encode.preparation import preparation
from afterdose.fhir.encode.rungs import artifact_of
from afterdose.fhir.encode.tasks import task
from afterdose.work.delivery.merge import fingerprint

Resource = dict[str, Any]
References = Mapping[ArtifactKey, str]
Rungs = Mapping[tuple[ArtifactKind, UUID], str]
"""What artifacts were written as, by kind and subject."""

_Visit = TypeVar("_Visit", DesiredAppointment, DesiredPreparation)

_OPEN = frozenset({PlanStatus.DRAFT, PlanStatus.ACTIVE})
_NOTHING_WRITTEN: Rungs = MappingProxyType({})
_PARTS = "Each dose session has a plan of its own, which is a part of this one."
_PLANS: Mapping[str, Callable[[DesiredPlan, Letterhead], Resource]] = MappingProxyType(
    {"CarePlan": care_plan, "DocumentReference": plan_note, "Communication": plan_message}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One artifact as we want it, as a resource of ``type``. ``withdrawn``: it is to be ended, and need not be made
    for that.

    ``mentioned``: the artifacts that it refers to as far as they are there. ``begin_by``: it is not begun later; None
    where there is no such time. ``updates``: it can be changed; where not, a changed wish may be written ``again``, or
    what stands there is ended: ``ends_as`` is its status element and the value that can be given to that.
    ``make``: makes the resource; it is made once for all who ask, because the ids change nothing but the references.
    """

    key: ArtifactKey
    type: str
    mentioned: tuple[ArtifactKey, ...]
    withdrawn: bool
    make: Callable[[References], Resource]
    begin_by: datetime | None = None
    updates: bool = True
    again: bool = False
    ends_as: tuple[str, str] | None = None
    _made: dict[tuple[ArtifactKey, ...], tuple[Resource, str, References]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def wanted(self, there: Container[ArtifactKey]) -> str:
        """The fingerprint of what is wanted while ``there`` can be referred to, the same whatever their ids."""
        return self._once(there)[1]

    def build(self, references: References) -> Resource:
        """The resource with these references; not to be changed by who asked for it."""
        resource, _, placeholders = self._once(references)
        names = {place: references[key] for key, place in placeholders.items()}
        return resource if all(name == given for name, given in names.items()) else _named(resource, names)

    def _once(self, there: Container[ArtifactKey]) -> tuple[Resource, str, References]:
        """The resource with placeholders for references, its fingerprint, and the placeholders."""
        present = tuple(key for key in self.mentioned if key in there)
        made = self._made.get(present)
        if made is None:
            placeholders = {key: placeholder(key) for key in present}
            resource = self.make(placeholders)
            made = self._made[present] = resource, fingerprint(resource), placeholders
        return made


def _named(value: Any, names: Mapping[str, str]) -> Any:
    """A copy in which references are called by the names that they have in the EHR."""
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    copied = {name: _named(item, names) if isinstance(item, dict | list) else item for name, item in value.items()}
    if isinstance(reference := copied.get("reference"), str):
        copied["reference"] = names.get(reference, reference)
    return copied


def placeholder(key: ArtifactKey) -> str:
    """How an artifact without an id in the EHR is referred to inside a transaction (RFC 4122 URN)."""
    return f"urn:uuid:{artifact_id(key)}"


def drafts(
    care: Care, head: Letterhead, ladder: Ladder | None = None, written: Rungs = _NOTHING_WRITTEN
) -> tuple[Draft, ...]:
    """Every artifact of ``care``: Goals, Appointments, Tasks and ServiceRequests, then the plans that refer to them.

    What is people's now is only referred to, what waits for a clinician is not made, and what this EHR takes on no rung
    is left out. What was ``written`` stays on the rung that it has. Without a ``ladder`` the EHR takes everything.
    """
    return tuple(_Drafting(head, ladder or top(), written).all_of(care))


class _Drafting:
    """Makes the drafts for one patient of one EHR."""

    def __init__(self, head: Letterhead, ladder: Ladder, written: Rungs) -> None:
        self._head = replace(head, attach_messages=ladder.facts.of("Communication").attach)
        self._ladder = ladder
        self._written = written

    def all_of(self, care: Care) -> Iterator[Draft]:
        """In the order in which they are written."""
        labels = {plan.key: plan.labels for plan in care.plans}
        found = [self._goal(one) for one in care.goals]
        for visit in care.appointments:
            if not visit.hold:
                found.append(self._visit(visit, appointment, labels.get(visit.course, ())))
        for before in care.preparations:
            if not before.hold:
                found.append(self._visit(before, preparation, labels.get(before.course, ())))
        found += [self._task(one) for one in care.tasks]
        found += [self._activity(one) for one in care.activities if not one.hold and not one.waits]
        for plan in care.plans:
            found += self._plan_and_parts(plan)
        made = [draft for draft in found if draft is not None]
        yield from (*made, *self._left_behind({draft.key for draft in made}))

    def _type(self, key: ArtifactKey) -> str | None:
        """The rung of an artifact: the one that it has, else the one that is decided for its kind."""
        return self._written.get((key.kind, key.subject)) or self._ladder.type_of(artifact_of(key.kind))

    def _draft(
        self,
        key: ArtifactKey,
        build: Callable[[str, References], Resource],
        *,
        mentioned: tuple[ArtifactKey, ...] = (),
        withdrawn: bool,
        begin_by: datetime | None = None,
    ) -> Draft | None:
        type_ = self._type(key)
        if type_ is None:
            return None
        facts = self._ladder.facts.of(type_)
        return Draft(
            key=key,
            type=type_,
            mentioned=mentioned,
            withdrawn=withdrawn,
            make=lambda references: fit(build(type_, references), facts, artifact_id(key)),
            begin_by=begin_by,
            updates=self._ladder.can_update(type_),
            again=facts.again,
            ends_as=self._ladder.end_of(type_),
        )

    def _about(self, course: ArtifactKey | None) -> Letterhead:
        """The letterhead of what refers to a course's plan."""
        plan_type = self._type(course) if course is not None else self._head.plan_type
        return self._head if plan_type == self._head.plan_type else replace(self._head, plan_type=plan_type)

    def _goal(self, desired: DesiredGoal) -> Draft | None:
        return self._draft(desired.key, lambda *_: goal(desired, self._head), withdrawn=desired.ended)

    def _visit(
        self,
        desired: _Visit,
        encode: Callable[[_Visit, Letterhead, tuple[Coding, ...]], Resource],
        labels: tuple[Coding, ...],
    ) -> Draft | None:
        head = self._about(desired.course)

        def build(type_: str, _: References) -> Resource:
            visit = encode(desired, head, labels)
            return visit if type_ == "Appointment" else session_order(visit, head)

        return self._draft(desired.key, build, withdrawn=desired.cancelled)

    def _task(self, desired: DesiredTask) -> Draft | None:
        head = self._about(desired.course)

        def build(type_: str, references: References) -> Resource:
            asked = task(desired, replace(head, references=references if type_ == "Task" else {}))
            return asked if type_ == "Task" else task_message(asked, desired.key, head)

        mentioned = (desired.focus,) if desired.focus else ()
        return self._draft(desired.key, build, mentioned=mentioned, withdrawn=desired.cancelled)

    def _activity(self, desired: DesiredActivity) -> Draft | None:
        head = self._about(desired.course)
        return self._draft(
            desired.key,
            lambda _, references: activity(desired, replace(head, references=references)),
            mentioned=(desired.focus,) if desired.focus else (),
            withdrawn=desired.cancelled,
            begin_by=desired.due if desired.dose is not None else None,
        )

    def _plan_and_parts(self, desired: DesiredPlan) -> list[Draft | None]:
        if self._type(desired.key) == "CarePlan" and self._ladder.plan_mode is PlanMode.CHILD:
            return [self._frame(desired), *self._parts(desired)]
        return [self._plan(desired)]

    def _plan(self, desired: DesiredPlan) -> Draft | None:
        head = self._about(desired.key)
        mentioned = [desired.goal] if desired.goal is not None else []
        mentioned += [entry.key for entry in desired.preparations]
        mentioned += [entry.key for entry in desired.appointments]
        mentioned += [entry.key for entry in desired.activities]

        def build(type_: str, references: References) -> Resource:
            return _PLANS[type_](desired, replace(head, references=references))

        keys = tuple(mentioned) if self._type(desired.key) == "CarePlan" else ()
        return self._draft(desired.key, build, mentioned=keys, withdrawn=desired.status not in _OPEN)

    def _frame(self, desired: DesiredPlan) -> Draft | None:
        """The plan of a course that cannot be amended: it says nothing that changes with the next dose."""
        ended = desired.status not in _OPEN
        bare = replace(
            desired,
            verdicts=desired.verdicts[:1],
            appointments=(),
            preparations=(),
            activities=(),
            goal=None,
            conditions=(),
            period_end=None,
        )

        def build(_: str, references: References) -> Resource:
            plan = care_plan(bare, replace(self._head, references=references))
            said = {"status": "additional", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{_PARTS}</p></div>'}
            return {**plan, "text": said, "description": _PARTS, "supportingInfo": plan["supportingInfo"][:1]}

        return self._draft(desired.key, build, withdrawn=ended)

    def _parts(self, desired: DesiredPlan) -> Iterator[Draft | None]:
        for verdict in desired.verdicts:
            if verdict.session_id is None:
                continue
            key = ArtifactKey(ArtifactKind.DOSE_PLAN, verdict.session_id)
            visits = tuple(one for one in desired.appointments if one.verdict.session_id == verdict.session_id)
            part = replace(
                desired,
                key=key,
                verdicts=(verdict,),
                appointments=visits,
                preparations=(),
                activities=(),
                goal=None,
                replaces=None,
                period_start=verdict.start or desired.period_start,
            )
            yield self._draft(
                key,
                self._part(part, desired.key),
                mentioned=(desired.key, *(one.key for one in visits)),
                withdrawn=desired.status not in _OPEN,
            )

    def _left_behind(self, made: Container[ArtifactKey]) -> Iterator[Draft]:
        """The plans of dose sessions that are no more, where they cannot be changed: a person has to be told."""
        for (kind, subject), type_ in self._written.items():
            key = ArtifactKey(kind, subject)
            if kind is ArtifactKind.DOSE_PLAN and key not in made and not self._ladder.can_update(type_):
                yield Draft(key=key, type=type_, mentioned=(), withdrawn=True, make=lambda _: {}, updates=False)

    def _part(self, part: DesiredPlan, course: ArtifactKey) -> Callable[[str, References], Resource]:
        def build(_: str, references: References) -> Resource:
            plan = care_plan(part, replace(self._head, references=references))
            whole = {"reference": references[course]} if course in references else self._head.logical(course)
            return plan | {"partOf": [whole]}

        return build
