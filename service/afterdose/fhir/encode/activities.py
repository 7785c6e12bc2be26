"""A course's Goal and its activities as FHIR R4 resources: Task where somebody does one thing by a deadline,
ServiceRequest where something repeats or is offered.

Pure. Every text is neutral (no drug, no diagnosis), and what a patient may read carries the limits of its evidence.
"""

from collections.abc import Mapping
from datetime import timedelta

from afterdose.core.care import ArtifactKind, DesiredActivity, DesiredGoal, PlanStatus, Repetition
from afterdose.fhir.encode.care import RESOURCE_TYPE, Letterhead, Resource, coding, period
from afterdose.fhir.encode.sentences import activity_title
from afterdose.fhir.encode.words import ActivityWords
from afterdose.fhir.times import format_instant

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_BEDTIME = "HS"  # http://terminology.hl7.org/CodeSystem/v3-TimingEvent
_NO_LONGER = "No longer needed"

# http://hl7.org/fhir/R4/valueset-goal-status.html
_GOAL_STATUS: Mapping[PlanStatus, str] = {
    PlanStatus.DRAFT: "proposed",
    PlanStatus.ACTIVE: "active",
    PlanStatus.COMPLETED: "completed",
    PlanStatus.REVOKED: "cancelled",
    PlanStatus.ENTERED_IN_ERROR: "entered-in-error",
}


def goal(desired: DesiredGoal, head: Letterhead) -> Resource:
    """The Goal of a course (https://hl7.org/fhir/R4/goal.html); its description promises nothing."""
    resource: Resource = {
        "resourceType": "Goal",
        "meta": head.meta(labels=desired.labels),
        "identifier": [head.identifier(desired.key)],
        "lifecycleStatus": _GOAL_STATUS[desired.status],
        "description": {"text": head.words.plan.goal},
        "subject": {"reference": f"Patient/{head.patient}"},
        "note": [{"text": _limits(desired, head)}],
    }
    if desired.start is not None:
        resource["startDate"] = desired.start.astimezone(head.words.clinic.zone).date().isoformat()
    return resource


def activity(desired: DesiredActivity, head: Letterhead) -> Resource:
    """The Task or the ServiceRequest of an activity."""
    if RESOURCE_TYPE[desired.key.kind] == "ServiceRequest":
        return _service_request(desired, head)
    return _task(desired, head)


def _task(desired: DesiredActivity, head: Letterhead) -> Resource:
    """https://hl7.org/fhir/R4/task.html; the deadline is restriction.period.end."""
    words = head.words.plan.activities[desired.key.kind]
    patient = {"reference": f"Patient/{head.patient}"}
    resource: Resource = {
        "resourceType": "Task",
        "meta": head.meta(labels=desired.labels),
        "identifier": [head.identifier(desired.key)],
        "basedOn": [head.logical(desired.course)],
        "status": "cancelled" if desired.cancelled else "requested",
        "intent": "plan" if desired.for_patient else "proposal",
        "priority": "routine",
        "code": _code(desired, head, words),
        "description": activity_title(desired, head.words),
        "for": patient,
        "requester": head.author(),
        "note": _notes(desired, head, words),
    }
    if desired.for_patient:
        resource["owner"] = patient
    elif (pool := head.pool()) is not None:
        resource["owner"] = pool
    if desired.focus is not None and desired.focus in head.references:
        resource["focus"] = {"reference": head.references[desired.focus]}
    elif desired.dose is not None:
        resource["focus"] = head.dose(desired.dose.founder)
    if desired.dose is not None and desired.dose.heard_at is not None:
        resource["authoredOn"] = format_instant(desired.dose.heard_at)
    if desired.starts is not None:
        resource["executionPeriod"] = period(desired.starts, desired.due)
    if desired.due is not None:
        resource["restriction"] = {"period": period(None, desired.due)}
    if desired.cancelled:
        resource["statusReason"] = {"text": _NO_LONGER}
    inputs: list[Resource] = [
        {"type": {"text": f"Prompt {place}"}, "valueString": prompt} for place, prompt in enumerate(words.prompts, 1)
    ]
    if words.questionnaire is not None:
        inputs.append({"type": {"text": "Questionnaire"}, "valueCanonical": words.questionnaire})
    return resource | ({"input": inputs} if inputs else {})


def _service_request(desired: DesiredActivity, head: Letterhead) -> Resource:
    """https://hl7.org/fhir/R4/servicerequest.html; what staff have to decide on is a draft until they do."""
    words = head.words.plan.activities[desired.key.kind]
    patient = {"reference": f"Patient/{head.patient}"}
    resource: Resource = {
        "resourceType": "ServiceRequest",
        "meta": head.meta(labels=desired.labels),
        "identifier": [head.identifier(desired.key)],
        "status": "revoked" if desired.cancelled else "active" if desired.for_patient else "draft",
        "intent": "plan" if desired.for_patient else "proposal",
        "priority": "routine",
        "code": _code(desired, head, words),
        "subject": patient,
        "requester": head.author(),
        "note": _notes(desired, head, words),
    }
    if desired.for_patient:
        resource["performer"] = [patient]
        resource["patientInstruction"] = words.description
    doses = [head.dose(key) for key in desired.dose.administrations] if desired.dose is not None else []
    course = head.logical(desired.course)
    if head.plan_type in (None, RESOURCE_TYPE[ArtifactKind.CARE_PLAN]):
        resource["basedOn"] = [course]
    else:  # an order is never based on a note or a message
        doses.append(course)
    if doses:
        resource["supportingInfo"] = doses
    if desired.repeats is not None:
        bounds = period(desired.starts, desired.due)
        resource["occurrenceTiming"] = {
            "repeat": ({"boundsPeriod": bounds} if bounds else {}) | _repeat(desired.repeats)
        }
    return resource


def _repeat(how: Repetition) -> Resource:
    unit = "d" if not how.every % _DAY else "h"
    repeat: Resource = {"frequency": 1, "period": how.every // {"d": _DAY, "h": _HOUR}[unit], "periodUnit": unit}
    if how.count is not None:
        repeat["count"] = how.count
    if how.length is not None:
        least, most = how.length
        repeat |= {"duration": least // _MINUTE, "durationMax": most // _MINUTE, "durationUnit": "min"}
    if how.at_bedtime:
        repeat["when"] = [_BEDTIME]
    return repeat


def _code(desired: DesiredActivity, head: Letterhead, words: ActivityWords) -> Resource:
    """Our own code, and those of other systems where mappings/codes knows any."""
    own = {
        "system": head.canonicals.activity_code_system,
        "code": "outcome-check" if desired.key.kind is ArtifactKind.LATER_OUTCOME_CHECK else str(desired.key.kind),
        "display": words.title,
    }
    others = [coding(one) for one in head.codes.outbound.get(str(desired.key.kind), ())]
    return {"coding": [own, *others], "text": words.title}


def _notes(desired: DesiredActivity, head: Letterhead, words: ActivityWords) -> list[Resource]:
    """What to do, how sure its use is, and whom to turn to."""
    said = [words.description, words.evidence]
    if desired.due_assumed:
        said.append("The date is assumed, because no next treatment is known.")
    if desired.for_patient:
        said.append(_limits(desired, head))
        if head.words.clinic.crisis_text:
            said.append(head.words.clinic.crisis_text)
    return [{"text": sentence} for sentence in dict.fromkeys(said)]


def _limits(desired: DesiredActivity | DesiredGoal, head: Letterhead) -> str:
    return " ".join(head.words.protocols[desired.family].evidence)
