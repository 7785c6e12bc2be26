"""What is written where an EHR takes no CarePlan, Appointment or Task: a note, an order, a message. Pure.

A note says the whole plan (https://hl7.org/fhir/R4/documentreference.html), an order asks for a session between two
times (https://hl7.org/fhir/R4/servicerequest.html), a message tells the coordinators
(https://hl7.org/fhir/R4/communication.html). Titles and messages are neutral, as everywhere.
"""

import base64
from collections.abc import Mapping
from dataclasses import replace

from afterdose.core.care import ArtifactKey, DesiredPlan, PlanStatus
from afterdose.fhir.encode.care import Letterhead, Resource, concept, period
from afterdose.fhir.encode.narrative import course_title, plan_narrative
from afterdose.fhir.encode.plain import plain_text
from afterdose.fhir.times import format_local, parse_instant

_NEWEST = "Of several messages about this course the newest counts."
_ENDED = frozenset({PlanStatus.ENTERED_IN_ERROR, PlanStatus.REVOKED})


def plan_note(plan: DesiredPlan, head: Letterhead) -> Resource:
    """The plan of a course as one readable note, in HTML and in plain text."""
    title = course_title(plan, head.words.clinic)
    narrative = plan_narrative(plan, head.words)
    ends = [verdict.window.closes for verdict in plan.verdicts if verdict.window is not None]
    ends += [moment for moment in (plan.period_end, plan.first_dose) if moment is not None]
    doses = [key for verdict in plan.verdicts for key in verdict.administrations]
    page = f"<!DOCTYPE html><html><head><title>{title}</title></head><body>{narrative}</body></html>"
    resource: Resource = {
        "resourceType": "DocumentReference",
        "meta": head.meta(labels=plan.labels),
        "identifier": [head.identifier(plan.key)],
        "status": "entered-in-error" if plan.status in _ENDED else "current",
        "docStatus": "entered-in-error" if plan.status in _ENDED else "final",
        "type": concept(head.codes.outbound["note-type"]),
        "category": [concept(head.codes.outbound["note-category"])],
        "subject": _patient(head),
        "description": title,
        "content": [
            _content("text/html;charset=utf-8", page, title),
            _content("text/plain;charset=utf-8", plain_text(narrative), title),
        ],
        "context": {"period": period(plan.period_start, max(ends, default=plan.period_start))},
    }
    if doses:
        resource["context"]["related"] = [head.dose(key) for key in doses]
    return resource


def plan_message(plan: DesiredPlan, head: Letterhead) -> Resource:
    """The plan of a course as a message: the whole text without the drug's name."""
    neutral = replace(head.words, name_drug=False)
    title = course_title(plan, head.words.clinic)
    told = f"{title}\n{_NEWEST}\n{plain_text(plan_narrative(plan, neutral))}"
    return _message(plan.key, told, head) | {"meta": head.meta(labels=plan.labels)}


def session_order(visit: Resource, head: Letterhead) -> Resource:
    """The proposed visit of an Appointment as an order: a session between two times."""
    ended = visit["status"] == "cancelled"
    place = visit["participant"][1]["actor"]
    resource: Resource = {
        "resourceType": "ServiceRequest",
        "meta": {name: value for name, value in visit["meta"].items() if name != "profile"},
        "identifier": visit["identifier"],
        "status": "revoked" if ended else "active" if head.accept_auto else "draft",
        "intent": "proposal",
        "priority": "routine",
        "code": visit["serviceType"][0],
        "subject": visit["participant"][0]["actor"],
        "requester": head.author(),
        "reasonCode": [visit["cancelationReason"]] if ended else visit["reasonCode"],
        "supportingInfo": visit["supportingInformation"],
        "note": [{"text": visit["comment"]}],
    }
    if "reference" in place:
        resource["locationReference"] = [place]
    if "requestedPeriod" in visit:
        resource["occurrencePeriod"] = visit["requestedPeriod"][0]
    return resource


def task_message(task: Resource, key: ArtifactKey, head: Letterhead) -> Resource:
    """What a Task asks of staff, as a message."""
    said = [task["description"]]
    if task["status"] == "cancelled":
        said.insert(0, "No longer needed:")
    elif (reason := task.get("reasonCode", {}).get("text")) is not None:
        said.append(f"Why: {reason}.")
    for former in task.get("input", []):
        said.append(f"{former['type']['text']}: {former['valueReference']['reference']}.")
    due = task.get("restriction", {}).get("period", {}).get("end")
    if due is not None and task["status"] != "cancelled":
        said.append(f"By {format_local(parse_instant(due), head.words.clinic.zone)}.")
    return _message(key, " ".join(said), head) | {"meta": task["meta"]}


def as_attachment(message: Mapping[str, object], text: str) -> Resource:
    """A message with its text as an attachment."""
    data = base64.b64encode(text.encode()).decode("ascii")
    return {**message, "payload": [{"contentAttachment": {"contentType": "text/plain", "data": data}}]}


def _message(key: ArtifactKey, text: str, head: Letterhead) -> Resource:
    resource: Resource = {
        "resourceType": "Communication",
        "identifier": [head.identifier(key)],
        "status": "completed",
        "category": [concept(head.codes.outbound["message-category"])],
        "subject": _patient(head),
        "payload": [{"contentString": text}],
    }
    if (pool := head.pool()) is not None:
        resource["recipient"] = [pool]
    if head.sender is not None:
        resource["sender"] = {"reference": head.sender}
    return as_attachment(resource, text) if head.attach_messages else resource


def _content(kind: str, text: str, title: str) -> Resource:
    data = base64.b64encode(text.encode()).decode("ascii")
    return {"attachment": {"contentType": kind, "data": data, "title": title}}


def _patient(head: Letterhead) -> Resource:
    return {"reference": f"Patient/{head.patient}"}
