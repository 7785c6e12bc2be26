"""conform finds the one error in a resource, says where it is, and never repeats what it read."""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import date
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterdose.content.content import load_content
from afterdose.fhir import strict_json
from afterdose.fhir.conform import check
from afterdose.fhir.conform.findings import MOST
from afterdose.fhir.conform.profile_rules import ProfileRules, codes_of, profile_rules
from afterdose.fhir.conform.validate import validate_text

ROOT = Path(__file__).parents[3]
PROFILES: Mapping[str, ProfileRules] = load_content().profiles
BASE = "https://afterdose.org/fhir/StructureDefinition"
Resource = dict[str, Any]
GONE = object()


def html(inside: str) -> str:
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{inside}</div>'


def care_plan() -> Resource:
    """A valid CarePlan that claims our profile."""
    return {
        "resourceType": "CarePlan",
        "id": "course-1",
        "meta": {
            "profile": [f"{BASE}/integration-careplan|0.1.0"],
            "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "DEVAST"}],
            "tag": [{"system": "http://example.org/tags", "code": "demo"}],
        },
        "text": {
            "status": "additional",
            "div": html('<h2>Follow-up</h2><p class="x">A &amp; B &#160;<br/></p>'),
        },
        "contained": [
            {
                "resourceType": "Goal",
                "id": "goal",
                "lifecycleStatus": "proposed",
                "description": {"text": "May help to consolidate"},
                "subject": {"reference": "Patient/1"},
            }
        ],
        "extension": [{"url": "http://example.org/extension", "valueString": "text"}],
        "identifier": [{"system": "urn:ietf:rfc3986", "value": "urn:uuid:0b9d56e4-4cf2-5b5e-8a3c-0d7f6a2b1c3d"}],
        "instantiatesCanonical": ["https://afterdose.org/fhir/PlanDefinition/ketamine|1"],
        "status": "draft",
        "intent": "proposal",
        "category": [{"coding": [{"system": "http://example.org/category", "code": "assess-plan"}]}],
        "title": "Follow-up course",
        "subject": {"reference": "Patient/1"},
        "period": {"start": "2026-01-05T15:10:00Z", "end": "2026-04"},
        "created": "2026-01-05",
        "author": {"reference": "https://ehr.example.org/fhir/Device/7/_history/2", "type": "Device"},
        "contributor": [{"type": "Device", "display": "afterdose (software)"}],
        "addresses": [{"reference": "Condition/1"}],
        "supportingInfo": [{"reference": "MedicationAdministration/1"}],
        "goal": [{"reference": "#goal"}],
        "activity": [
            {
                "progress": [{"time": "2026-01-05T15:10:00+01:00", "text": "Proposed."}],
                "reference": {"reference": "urn:uuid:0b9d56e4-4cf2-5b5e-8a3c-0d7f6a2b1c3d", "type": "Appointment"},
            },
            {"reference": {"type": "Task", "identifier": {"system": "http://example.org/ids", "value": "1"}}},
        ],
        "note": [{"text": "A note."}],
    }


def plain_plan() -> Resource:
    """A valid CarePlan with a detailed activity, which R4 allows and our profile does not."""
    plan = care_plan()
    del plan["meta"]["profile"]
    plan["activity"] = [
        {
            "detail": {
                "kind": "Task",
                "status": "not-started",
                "doNotPerform": False,
                "scheduledTiming": {
                    "repeat": {
                        "boundsRange": {"low": {"value": 1, "unit": "d"}, "high": {"value": 2, "unit": "d"}},
                        "frequency": 1,
                        "period": strict_json.loads(b"1.0"),
                        "periodUnit": "d",
                        "dayOfWeek": ["mon"],
                        "timeOfDay": ["08:30:00"],
                    }
                },
                "performer": [{"reference": "Practitioner/1"}],
                "quantity": {"value": 1, "system": "http://unitsofmeasure.org", "code": "1"},
            }
        }
    ]
    return plan


def appointment() -> Resource:
    """A valid Appointment that claims our profile."""
    return {
        "resourceType": "Appointment",
        "meta": {"profile": [f"{BASE}/integration-appointment"]},
        "extension": [
            {"url": "http://hl7.org/fhir/StructureDefinition/timezone", "valueCode": "America/New_York"},
            {
                "url": f"{BASE}/plasticity-window",
                "extension": [
                    {"url": "anchor", "valueDateTime": "2026-01-05T15:10:00Z"},
                    {"url": "anchorBasis", "valueCode": "start+duration"},
                    {"url": "opens", "valueDateTime": "2026-01-06T15:10:00Z"},
                    {"url": "closes", "valueDateTime": "2026-01-08T15:10:00Z"},
                ],
            },
        ],
        "identifier": [{"use": "official", "system": "http://example.org/ids", "value": "1"}],
        "status": "proposed",
        "serviceType": [{"coding": [{"system": "http://example.org/types", "code": "follow-up"}]}],
        "reasonCode": [{"text": "Follow-up session after treatment"}],
        "priority": 5,
        "description": "Follow-up session",
        "minutesDuration": 50,
        "supportingInformation": [{"reference": "MedicationAdministration/1"}],
        "participant": [
            {"actor": {"reference": "Patient/1"}, "required": "required", "status": "needs-action"},
            {"actor": {"type": "Location", "display": "Room 2"}, "status": "needs-action"},
        ],
        "requestedPeriod": [{"start": "2026-01-06T15:10:00Z", "end": "2026-01-08T15:10:00Z"}],
    }


def booked() -> Resource:
    """A valid booked Appointment without our profile."""
    visit = appointment()
    del visit["meta"]
    visit |= {"status": "booked", "start": "2026-01-06T16:00:00Z", "end": "2026-01-06T16:50:00Z"}
    visit["participant"][0]["status"] = "accepted"
    return visit


def task() -> Resource:
    """A valid Task."""
    return {
        "resourceType": "Task",
        "status": "requested",
        "intent": "proposal",
        "priority": "routine",
        "for": {"reference": "Patient/1"},
        "focus": {"reference": "MedicationAdministration/1"},
        "authoredOn": "2026-01-05T15:10:00Z",
        "lastModified": "2026-01-05T15:10:00Z",
        "owner": {"reference": "Organization/1"},
        "restriction": {"period": {"end": "2026-01-08T15:10:00Z"}},
        "input": [{"type": {"text": "dose"}, "valueReference": {"reference": "MedicationAdministration/1"}}],
    }


def goal() -> Resource:
    """A valid Goal."""
    return {
        "resourceType": "Goal",
        "lifecycleStatus": "proposed",
        "description": {"text": "May help to consolidate"},
        "subject": {"reference": "Patient/1"},
        "startDate": "2026-01-05",
        "target": [{"measure": {"text": "score"}, "detailInteger": 3, "dueDate": "2026-02"}],
    }


def provenance() -> Resource:
    """A valid Provenance."""
    return {
        "resourceType": "Provenance",
        "target": [{"reference": "CarePlan/1"}],
        "recorded": "2026-01-05T15:10:00.000Z",
        "agent": [{"who": {"type": "Device", "display": "afterdose (software)"}}],
        "entity": [{"role": "source", "what": {"identifier": {"system": "http://example.org/ids", "value": "1"}}}],
        "signature": [
            {
                "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.5"}],
                "when": "2026-01-05T15:10:00Z",
                "who": {"reference": "Organization/1"},
                "data": "YWJj",
            }
        ],
    }


VALID: dict[str, Callable[[], Resource]] = {
    maker.__name__: maker for maker in (care_plan, plain_plan, appointment, booked, task, goal, provenance)
}

Row = tuple[Callable[[], Resource], str, object, str, str]


# builder, where to change it, the new value (GONE: taken away), the expected code, the expected path.
BROKEN: dict[str, Row] = {
    # cardinality
    "no status": (care_plan, "status", GONE, "required", "CarePlan.status"),
    "no intent": (care_plan, "intent", GONE, "required", "CarePlan.intent"),
    "no subject": (plain_plan, "subject", GONE, "required", "CarePlan.subject"),
    "status of a detail missing": (
        plain_plan,
        "activity.0.detail.status",
        GONE,
        "required",
        "CarePlan.activity[0].detail.status",
    ),
    "no text in a note": (care_plan, "note.0", {"time": "2026"}, "required", "CarePlan.note[0].text"),
    "two subjects": (
        care_plan,
        "subject",
        [{"reference": "Patient/1"}],
        "structure",
        "CarePlan.subject",
    ),
    "one category outside an array": (care_plan, "category", {"text": "x"}, "structure", "CarePlan.category"),
    "no participant": (booked, "participant", GONE, "required", "Appointment.participant"),
    "no participant status": (
        booked,
        "participant.1.status",
        GONE,
        "required",
        "Appointment.participant[1].status",
    ),
    "no status of an Appointment": (booked, "status", GONE, "required", "Appointment.status"),
    "no input value": (task, "input.0.valueReference", GONE, "required", "Task.input[0].value[x]"),
    "no target": (provenance, "target", GONE, "required", "Provenance.target"),
    "no description": (goal, "description", GONE, "required", "Goal.description"),
    "an extension in the place of a code": (
        booked,
        "participant.1._required",
        {"extension": [{"url": "http://example.org/x", "valueCode": "x"}]},
        "code-invalid",
        "Appointment.participant[1].required",
    ),
    "a profile of R4 for another type": (
        plain_plan,
        "meta.profile",
        ["http://hl7.org/fhir/StructureDefinition/Task"],
        "value",
        "CarePlan.meta.profile",
    ),
    "# outside of a contained resource": (
        task,
        "focus.reference",
        "#",
        "invariant",
        "Task.focus.reference",
    ),
    "no language": (task, "language", "en_US", "value", "Task.language"),
    "a line break in a code": (
        care_plan,
        "category.0.coding.0.code",
        "a\nb",
        "value",
        "CarePlan.category[0].coding[0].code",
    ),
    "extensions of a narrative": (
        care_plan,
        "text._div",
        {"extension": [{"url": "http://example.org/x", "valueCode": "x"}]},
        "structure",
        "CarePlan.text.div",
    ),
    # JSON types and emptiness
    "null": (plain_plan, "title", None, "structure", "CarePlan.title"),
    "an empty object": (plain_plan, "period", {}, "structure", "CarePlan.period"),
    "an empty array": (care_plan, "note", [], "structure", "CarePlan.note"),
    "an empty string": (plain_plan, "title", "", "value", "CarePlan.title"),
    "only white space": (care_plan, "description", " \n", "value", "CarePlan.description"),
    "a number for a string": (care_plan, "title", 7, "structure", "CarePlan.title"),
    "a string for a boolean": (
        plain_plan,
        "activity.0.detail.doNotPerform",
        "false",
        "structure",
        "CarePlan.activity[0].detail.doNotPerform",
    ),
    "a string for an object": (plain_plan, "subject", "Patient/1", "structure", "CarePlan.subject"),
    "a string for a number": (booked, "minutesDuration", "50", "structure", "Appointment.minutesDuration"),
    "a null in an array": (care_plan, "activity.1", None, "structure", "CarePlan.activity[1]"),
    "a control character": (care_plan, "title", "a\x07b", "value", "CarePlan.title"),
    # formats
    "an id with an underscore": (care_plan, "id", "a_b", "value", "CarePlan.id"),
    "an id of 65 characters": (care_plan, "id", "a" * 65, "value", "CarePlan.id"),
    "an element id with a space": (care_plan, "note.0.id", "a b", "value", "CarePlan.note[0].id"),
    "a code with two spaces": (
        care_plan,
        "category.0.coding.0.code",
        "a  b",
        "value",
        "CarePlan.category[0].coding[0].code",
    ),
    "a code with a space at its end": (care_plan, "status", "draft ", "value", "CarePlan.status"),
    "a system that is not absolute": (
        care_plan,
        "category.0.coding.0.system",
        "category",
        "value",
        "CarePlan.category[0].coding[0].system",
    ),
    "a URI with a space": (care_plan, "instantiatesUri", ["http://x y"], "value", "CarePlan.instantiatesUri[0]"),
    "a canonical that is not absolute": (
        care_plan,
        "instantiatesCanonical.0",
        "PlanDefinition/1",
        "value",
        "CarePlan.instantiatesCanonical[0]",
    ),
    "a urn:uuid that is none": (
        care_plan,
        "identifier.0.value",
        "urn:uuid:1",
        "value",
        "CarePlan.identifier[0].value",
    ),
    "an identifier that is no URI though its system says so": (
        care_plan,
        "identifier.0.value",
        "12",
        "value",
        "CarePlan.identifier[0].value",
    ),
    "30 February": (care_plan, "created", "2026-02-30", "value", "CarePlan.created"),
    "a time without a zone": (care_plan, "period.start", "2026-01-05T15:10:00", "value", "CarePlan.period.start"),
    "a time without seconds": (care_plan, "period.start", "2026-01-05T15:10Z", "value", "CarePlan.period.start"),
    "24:00": (care_plan, "period.start", "2026-01-05T24:00:00Z", "value", "CarePlan.period.start"),
    "a space instead of T": (care_plan, "created", "2026-01-05 15:10:00Z", "value", "CarePlan.created"),
    "a date for an instant": (booked, "start", "2026-01-06", "value", "Appointment.start"),
    "a time in a date": (goal, "startDate", "2026-01-05T15:10:00Z", "value", "Goal.startDate"),
    "a recorded without a zone": (provenance, "recorded", "2026-01-05T15:10:00", "value", "Provenance.recorded"),
    "zero minutes": (booked, "minutesDuration", 0, "value", "Appointment.minutesDuration"),
    "a negative priority": (appointment, "priority", -1, "value", "Appointment.priority"),
    "a fraction of a minute": (
        booked,
        "minutesDuration",
        strict_json.loads(b"50.5"),
        "structure",
        "Appointment.minutesDuration",
    ),
    "a time of day without seconds": (
        plain_plan,
        "activity.0.detail.scheduledTiming.repeat.timeOfDay.0",
        "08:30",
        "value",
        "CarePlan.activity[0].detail.scheduledTiming.repeat.timeOfDay[0]",
    ),
    "base64 that is none": (provenance, "signature.0.data", "YWJ", "value", "Provenance.signature[0].data"),
    # required codes
    "an unknown status": (care_plan, "status", "bogus", "code-invalid", "CarePlan.status"),
    "a status of another type": (booked, "status", "active", "code-invalid", "Appointment.status"),
    "an unknown intent": (care_plan, "intent", "directive", "code-invalid", "CarePlan.intent"),
    "an unknown kind": (
        plain_plan,
        "activity.0.detail.kind",
        "Goal",
        "code-invalid",
        "CarePlan.activity[0].detail.kind",
    ),
    "an unknown participant status": (
        booked,
        "participant.0.status",
        "maybe",
        "code-invalid",
        "Appointment.participant[0].status",
    ),
    "an unknown participant.required": (
        booked,
        "participant.0.required",
        "yes",
        "code-invalid",
        "Appointment.participant[0].required",
    ),
    "an unknown use": (booked, "identifier.0.use", "primary", "code-invalid", "Appointment.identifier[0].use"),
    "an unknown narrative status": (care_plan, "text.status", "done", "code-invalid", "CarePlan.text.status"),
    "an unknown unit of time": (
        plain_plan,
        "activity.0.detail.scheduledTiming.repeat.periodUnit",
        "day",
        "code-invalid",
        "CarePlan.activity[0].detail.scheduledTiming.repeat.periodUnit",
    ),
    "an unknown comparator": (
        plain_plan,
        "activity.0.detail.quantity.comparator",
        "~",
        "code-invalid",
        "CarePlan.activity[0].detail.quantity.comparator",
    ),
    "an unknown Task status": (task, "status", "done", "code-invalid", "Task.status"),
    "an unknown role": (provenance, "entity.0.role", "author", "code-invalid", "Provenance.entity[0].role"),
    "an unknown lifecycle status": (goal, "lifecycleStatus", "draft", "code-invalid", "Goal.lifecycleStatus"),
    # unknown elements and choices
    "an unknown element": (care_plan, "activitty", [], "structure", "CarePlan"),
    "an unknown element deep inside": (
        plain_plan,
        "activity.0.detail.scheduledTiming.repeat.every",
        1,
        "structure",
        "CarePlan.activity[0].detail.scheduledTiming.repeat",
    ),
    "an element of R5": (booked, "reason", [], "structure", "Appointment"),
    "an extension type of R4B": (
        care_plan,
        "extension.0",
        {"url": "http://example.org/x", "valueCodeableReference": {"concept": {"text": "x"}}},
        "structure",
        "CarePlan.extension[0]",
    ),
    "a comment of DSTU2": (care_plan, "fhir_comments", ["x"], "structure", "CarePlan"),
    "a resourceType inside": (care_plan, "note.0.resourceType", "Annotation", "structure", "CarePlan.note[0]"),
    "an underscore before a complex element": (care_plan, "_period", {"id": "x"}, "structure", "CarePlan"),
    "two types of a choice": (
        plain_plan,
        "activity.0.detail.scheduledString",
        "daily",
        "structure",
        "CarePlan.activity[0].detail.scheduled[x]",
    ),
    "a choice that R4 does not offer": (
        plain_plan,
        "activity.0.detail.scheduledDateTime",
        "2026",
        "structure",
        "CarePlan.activity[0].detail",
    ),
    "two values of an extension": (
        care_plan,
        "extension.0.valueCode",
        "x",
        "structure",
        "CarePlan.extension[0].value[x]",
    ),
    # invariants
    "cpl-3": (
        plain_plan,
        "activity.0.reference",
        {"reference": "Task/1"},
        "invariant",
        "CarePlan.activity[0]",
    ),
    "per-1": (care_plan, "period.end", "2025", "invariant", "CarePlan.period"),
    "per-1 within a day": (
        appointment,
        "requestedPeriod.0.end",
        "2026-01-06T10:00:00-05:00",
        "invariant",
        "Appointment.requestedPeriod[0]",
    ),
    "app-1": (booked, "participant.1.actor", GONE, "invariant", "Appointment.participant[1]"),
    "app-2": (booked, "end", GONE, "invariant", "Appointment"),
    "app-3": (appointment, "status", "booked", "invariant", "Appointment"),
    "app-4": (booked, "cancelationReason", {"text": "x"}, "invariant", "Appointment"),
    "an end before the start": (booked, "end", "2026-01-06T15:00:00Z", "business-rule", "Appointment"),
    "per-1 where nobody can tell": (
        care_plan,
        "period",
        {"start": "2026-01-05", "end": "2026-01-05T10:00:00Z"},
        "invariant",
        "CarePlan.period",
    ),
    "per-1 in UTC": (
        care_plan,
        "period",
        {"start": "2026-01-06T00:30:00+02:00", "end": "2026-01-05"},
        "invariant",
        "CarePlan.period",
    ),
    "inv-1 where nobody can tell": (task, "authoredOn", "2026-01", "invariant", "Task"),
    "inv-1": (task, "lastModified", "2026-01-05T15:09:59Z", "invariant", "Task"),
    "gol-1": (goal, "target.0.measure", GONE, "invariant", "Goal.target[0]"),
    "ext-1, both": (
        care_plan,
        "extension.0.extension",
        [{"url": "a", "valueCode": "b"}],
        "invariant",
        "CarePlan.extension[0]",
    ),
    "ext-1, neither": (care_plan, "extension.0.valueString", GONE, "invariant", "CarePlan.extension[0]"),
    "an extension without a url": (care_plan, "extension.0.url", GONE, "required", "CarePlan.extension[0].url"),
    "an extension with a local url": (care_plan, "extension.0.url", "mine", "value", "CarePlan.extension[0].url"),
    "ele-1": (care_plan, "note.0", {"id": "n"}, "required", "CarePlan.note[0].text"),
    "ele-1 of an optional element": (plain_plan, "period", {"id": "n"}, "invariant", "CarePlan.period"),
    "qty-3": (
        plain_plan,
        "activity.0.detail.quantity.system",
        GONE,
        "invariant",
        "CarePlan.activity[0].detail.quantity",
    ),
    "sqty-1": (
        plain_plan,
        "activity.0.detail.quantity.comparator",
        "<",
        "invariant",
        "CarePlan.activity[0].detail.quantity",
    ),
    "rng-2": (
        plain_plan,
        "activity.0.detail.scheduledTiming.repeat.boundsRange.low.value",
        3,
        "invariant",
        "CarePlan.activity[0].detail.scheduledTiming.repeat.boundsRange",
    ),
    "tim-2": (
        plain_plan,
        "activity.0.detail.scheduledTiming.repeat.periodUnit",
        GONE,
        "invariant",
        "CarePlan.activity[0].detail.scheduledTiming.repeat",
    ),
    "tim-5": (
        plain_plan,
        "activity.0.detail.scheduledTiming.repeat.period",
        -1,
        "invariant",
        "CarePlan.activity[0].detail.scheduledTiming.repeat",
    ),
    "tim-10": (
        plain_plan,
        "activity.0.detail.scheduledTiming.repeat.when",
        ["HS"],
        "invariant",
        "CarePlan.activity[0].detail.scheduledTiming.repeat",
    ),
    # narrative
    "a div without a namespace": (care_plan, "text.div", "<div>x</div>", "invariant", "CarePlan.text.div"),
    "plain text": (care_plan, "text.div", "x", "invariant", "CarePlan.text.div"),
    "no div": (care_plan, "text.div", GONE, "required", "CarePlan.text.div"),
    "a script": (care_plan, "text.div", html("<script>x</script>"), "invariant", "CarePlan.text.div"),
    "an event handler": (care_plan, "text.div", html('<p onclick="x">x</p>'), "invariant", "CarePlan.text.div"),
    "a form": (care_plan, "text.div", html("<form>x</form>"), "invariant", "CarePlan.text.div"),
    "a link that runs": (
        care_plan,
        "text.div",
        html('<a href=" JavaScript:x">x</a>'),
        "invariant",
        "CarePlan.text.div",
    ),
    "a style from elsewhere": (
        care_plan,
        "text.div",
        html('<p style="background:url(//x)">x</p>'),
        "invariant",
        "CarePlan.text.div",
    ),
    "an open tag": (care_plan, "text.div", html("<p>x"), "invariant", "CarePlan.text.div"),
    "a comment with two dashes": (care_plan, "text.div", html("<!-- a --->x"), "invariant", "CarePlan.text.div"),
    "a word among attributes": (care_plan, "text.div", html('<p id="a" b>x</p>'), "invariant", "CarePlan.text.div"),
    "a bare ampersand": (care_plan, "text.div", html("a & b"), "invariant", "CarePlan.text.div"),
    "an entity of HTML alone": (care_plan, "text.div", html("&nbsp;"), "invariant", "CarePlan.text.div"),
    "an entity definition": (
        care_plan,
        "text.div",
        '<!DOCTYPE d [<!ENTITY x "y">]>' + html("&x;"),
        "invariant",
        "CarePlan.text.div",
    ),
    "two roots": (care_plan, "text.div", html("x") + html("y"), "invariant", "CarePlan.text.div"),
    "an attribute twice": (care_plan, "text.div", html('<p id="a" id="b">x</p>'), "invariant", "CarePlan.text.div"),
    "a narrative that says nothing": (care_plan, "text.div", html(" <b> </b>"), "invariant", "CarePlan.text.div"),
    # contained resources
    "dom-2": (
        care_plan,
        "contained.0.contained",
        [{"resourceType": "Patient", "id": "p"}],
        "invariant",
        "CarePlan.contained[0]",
    ),
    "dom-3": (care_plan, "goal.0.reference", "Goal/1", "invariant", "CarePlan.contained[0]"),
    "dom-4": (care_plan, "contained.0.meta", {"versionId": "1"}, "invariant", "CarePlan.contained[0]"),
    "dom-5": (
        care_plan,
        "contained.0.meta",
        {"security": [{"code": "R"}]},
        "invariant",
        "CarePlan.contained[0]",
    ),
    "an invalid contained resource": (
        care_plan,
        "contained.0.lifecycleStatus",
        "x",
        "code-invalid",
        "CarePlan.contained[0].lifecycleStatus",
    ),
    "a contained resource of no type": (
        care_plan,
        "contained.0.resourceType",
        "Goals",
        "structure",
        "CarePlan.contained[0]",
    ),
    "ref-1": (
        care_plan,
        "addresses.0.reference",
        "#nothing",
        "invariant",
        "CarePlan.addresses[0].reference",
    ),
    # references
    "a subject of a wrong type": (care_plan, "subject.reference", "Practitioner/1", "value", "CarePlan.subject"),
    "a wrong type, absolute": (
        care_plan,
        "subject.reference",
        "https://ehr.example.org/fhir/Practitioner/1",
        "value",
        "CarePlan.subject",
    ),
    "a wrong type, stated only": (
        care_plan,
        "activity.1.reference.type",
        "Goal",
        "value",
        "CarePlan.activity[1].reference",
    ),
    "a wrong type behind a urn:uuid": (
        care_plan,
        "activity.0.reference.type",
        "MedicationAdministration",
        "value",
        "CarePlan.activity[0].reference",
    ),
    "a wrong type, contained": (care_plan, "addresses.0.reference", "#goal", "value", "CarePlan.addresses[0]"),
    "a dose as an activity": (
        care_plan,
        "activity.0.reference",
        {"reference": "MedicationAdministration/1"},
        "value",
        "CarePlan.activity[0].reference",
    ),
    "a type that contradicts the reference": (
        care_plan,
        "author.type",
        "Patient",
        "value",
        "CarePlan.author.type",
    ),
    "a type of no resource": (care_plan, "subject.reference", "Person1/1", "value", "CarePlan.subject.reference"),
    "a reference without an id": (care_plan, "subject.reference", "Patient", "value", "CarePlan.subject.reference"),
    "a conditional reference": (
        care_plan,
        "subject.reference",
        "Patient?identifier=x|1",
        "value",
        "CarePlan.subject.reference",
    ),
    "a reference with an illegal id": (
        care_plan,
        "subject.reference",
        "Patient/a_b",
        "value",
        "CarePlan.subject.reference",
    ),
    "a reference that names nothing": (care_plan, "subject", {"type": "Patient"}, "required", "CarePlan.subject"),
    "a reference type that is none": (
        care_plan,
        "activity.1.reference.type",
        "Visit",
        "value",
        "CarePlan.activity[1].reference.type",
    ),
    "an actor of a wrong type": (
        booked,
        "participant.0.actor.reference",
        "Organization/1",
        "value",
        "Appointment.participant[0].actor",
    ),
    # extensions of primitives
    "an extension that is no object": (care_plan, "_title", "x", "structure", "CarePlan.title"),
    "extensions of an array outside one": (
        care_plan,
        "_instantiatesCanonical",
        {"id": "x"},
        "structure",
        "CarePlan.instantiatesCanonical",
    ),
    "extensions that do not match their array": (
        care_plan,
        "_instantiatesCanonical",
        [None, {"extension": [{"url": "http://example.org/x", "valueCode": "x"}]}],
        "structure",
        "CarePlan.instantiatesCanonical",
    ),
    # our profiles
    "profile: no text": (care_plan, "text", GONE, "required", "CarePlan.text"),
    "profile: no identifier": (care_plan, "identifier", GONE, "required", "CarePlan.identifier"),
    "profile: no identifier value": (
        care_plan,
        "identifier.0.value",
        GONE,
        "required",
        "CarePlan.identifier[0].value",
    ),
    "profile: no category": (care_plan, "category", GONE, "required", "CarePlan.category"),
    "profile: no period": (care_plan, "period", GONE, "required", "CarePlan.period"),
    "profile: no start": (care_plan, "period.start", GONE, "required", "CarePlan.period.start"),
    "profile: an activity without a reference": (
        care_plan,
        "activity.0.reference",
        GONE,
        "required",
        "CarePlan.activity[0].reference",
    ),
    "profile: two service types": (
        appointment,
        "serviceType",
        [{"text": "a"}, {"text": "b"}],
        "structure",
        "Appointment.serviceType",
    ),
    "profile: no reason": (appointment, "reasonCode", GONE, "required", "Appointment.reasonCode"),
    "profile: a long reason": (
        appointment,
        "reasonCode.0.text",
        "x" * 256,
        "value",
        "Appointment.reasonCode[0].text",
    ),
    "profile: an anchor basis of another kind": (
        appointment,
        "extension.1.extension.1.valueCode",
        "guessed",
        "code-invalid",
        "Appointment.extension[1].extension[1].valueCode",
    ),
    "profile: no requested period": (appointment, "requestedPeriod", GONE, "invariant", "Appointment"),
    "profile: an answer in a proposal": (
        appointment,
        "participant.0.status",
        "accepted",
        "invariant",
        "Appointment",
    ),
    "profile: no zone": (
        appointment,
        "extension.0.url",
        "http://example.org/x",
        "required",
        "Appointment.extension",
    ),
    "profile: a window without an anchor": (
        appointment,
        "extension.1.extension.0.url",
        "begin",
        "required",
        "Appointment.extension[1].extension",
    ),
    "profile: an anchor of another type": (
        appointment,
        "extension.1.extension.0",
        {"url": "anchor", "valueInstant": "2026-01-05T15:10:00Z"},
        "structure",
        "Appointment.extension[1].extension[0].valueInstant",
    ),
    "profile of another type": (
        appointment,
        "meta.profile.0",
        f"{BASE}/integration-careplan",
        "value",
        "Appointment.meta.profile",
    ),
}


def changed(row: Row) -> Resource:
    """The resource of a row, with its one error."""
    builder, where, value, _, _ = row
    resource: Any = builder()
    *way, last = [int(step) if step.isdigit() else step for step in where.split(".")]
    place = resource
    for step in way:
        place = place[step]
    if value is GONE:
        del place[last]
    else:
        place[last] = deepcopy(value)
    return dict(resource)


def found(resource: Mapping[str, object]) -> list[tuple[str, str]]:
    """Code and path of every problem."""
    return [(problem.code, problem.path) for problem in check.problems(resource, profiles=PROFILES)]


@pytest.mark.parametrize("builder", VALID.values(), ids=VALID)
def test_a_valid_resource_passes(builder: Callable[[], Resource]) -> None:
    assert check.problems(builder(), profiles=PROFILES) == ()


@pytest.mark.parametrize("name", ["r4-CarePlan-f001.json", "r4-Appointment-examplereq.json"])
def test_an_official_example_passes(name: str) -> None:
    (checked,) = validate_text((ROOT / "tests" / "data" / name).read_bytes(), profiles=PROFILES)

    assert checked.problems == ()


@pytest.mark.parametrize("row", BROKEN.values(), ids=BROKEN)
def test_the_one_error_is_found_where_it_is(row: Row) -> None:
    assert (row[3], row[4]) in found(changed(row))


# Data types in an extension: member, a valid value, a value that breaks one invariant, the invariant.
UCUM = "http://unitsofmeasure.org"
DATA_TYPES: dict[str, tuple[str, Resource, Resource]] = {
    "age-1: ": ("valueAge", {"value": 3, "system": UCUM, "code": "a"}, {"value": 0, "system": UCUM, "code": "a"}),
    "age-1: a value": ("valueAge", {"value": 3, "code": "a", "system": UCUM}, {"value": 3}),
    "age-1: the system": ("valueAge", {"unit": "year"}, {"value": 3, "code": "a", "system": "http://example.org"}),
    "cnt-3: ": ("valueCount", {"value": 3, "system": UCUM, "code": "1"}, {"value": 3, "system": UCUM, "code": "a"}),
    "drt-1: ": ("valueDuration", {"value": 3, "system": UCUM, "code": "d"}, {"system": UCUM, "code": "d"}),
    "dis-1: ": ("valueDistance", {"value": 3, "system": UCUM, "code": "m"}, {"value": 3}),
    "qty-3: ": ("valueQuantity", {"value": 3, "unit": "m"}, {"value": 3, "code": "m"}),
    "rat-1: numerator": (
        "valueRatio",
        {"numerator": {"value": 1}, "denominator": {"value": 2}},
        {"numerator": {"value": 1}},
    ),
    "rat-1: a ratio": (
        "valueRatio",
        {"extension": [{"url": "http://example.org/x", "valueCode": "x"}]},
        {"id": "r", "_x": {}},
    ),
    "att-1: ": ("valueAttachment", {"contentType": "text/plain", "data": "YWJj"}, {"data": "YWJj"}),
    "is not the size": (
        "valueAttachment",
        {"contentType": "text/plain", "data": "YWJj", "size": 3},
        {"contentType": "text/plain", "data": "YWJj", "size": 4},
    ),
    "is not the hash": (
        "valueAttachment",
        {"contentType": "text/plain", "data": "YWJj", "hash": "qZk+NkcGgWq6PiVxeFDCbJzQ2J0="},
        {"contentType": "text/plain", "data": "YWJj", "hash": "YWJj"},
    ),
    "is not base64 in one piece": ("valueAttachment", {"hash": "YWJj"}, {"hash": "YW Jj"}),
    "is not the three letters": ("valueMoney", {"value": 1, "currency": "EUR"}, {"value": 1, "currency": "eur"}),
    "drq-1: ": (
        "valueDataRequirement",
        {"type": "Patient", "codeFilter": [{"path": "x"}]},
        {"type": "Patient", "codeFilter": [{"path": "x", "searchParam": "y"}]},
    ),
    "drq-2: ": (
        "valueDataRequirement",
        {"type": "Patient", "dateFilter": [{"searchParam": "x"}]},
        {"type": "Patient", "dateFilter": [{"valueDateTime": "2026"}]},
    ),
    "trd-1: ": (
        "valueTriggerDefinition",
        {"type": "periodic", "timingDate": "2026-01-05"},
        {"type": "periodic", "timingDate": "2026-01-05", "data": [{"type": "Patient"}]},
    ),
    "trd-2: ": (
        "valueTriggerDefinition",
        {"type": "named-event", "name": "x"},
        {"type": "named-event", "name": "x", "condition": {"language": "text/cql", "expression": "x"}},
    ),
    "trd-3: ": (
        "valueTriggerDefinition",
        {"type": "data-added", "data": [{"type": "Patient"}]},
        {"type": "data-added"},
    ),
    "cpt-2: ": ("valueContactPoint", {"system": "phone", "value": "1"}, {"value": "1"}),
    "exp-1: ": ("valueExpression", {"language": "text/cql", "expression": "x"}, {"language": "text/cql"}),
    "tim-1: ": (
        "valueTiming",
        {"repeat": {"duration": 1, "durationUnit": "h"}},
        {"repeat": {"duration": 1}},
    ),
    "tim-4: ": (
        "valueTiming",
        {"repeat": {"duration": 0, "durationUnit": "h"}},
        {"repeat": {"duration": -1, "durationUnit": "h"}},
    ),
    "tim-6: ": (
        "valueTiming",
        {"repeat": {"periodMax": 2, "period": 1, "periodUnit": "d"}},
        {"repeat": {"periodMax": 2}},
    ),
    "tim-7: ": (
        "valueTiming",
        {"repeat": {"durationMax": 2, "duration": 1, "durationUnit": "d"}},
        {"repeat": {"durationMax": 2}},
    ),
    "tim-8: ": ("valueTiming", {"repeat": {"count": 1, "countMax": 2}}, {"repeat": {"countMax": 2}}),
    "tim-9: ": ("valueTiming", {"repeat": {"offset": 5, "when": ["AC"]}}, {"repeat": {"offset": 5, "when": ["C"]}}),
}


@pytest.mark.parametrize(("rule", "row"), DATA_TYPES.items(), ids=DATA_TYPES)
def test_an_invariant_of_a_data_type_holds_wherever_it_stands(rule: str, row: tuple[str, Resource, Resource]) -> None:
    member, valid, broken = row
    plan = care_plan()

    plan["extension"] = [{"url": "http://example.org/x", member: valid}]
    assert check.problems(plan, profiles=PROFILES) == ()

    plan["extension"] = [{"url": "http://example.org/x", member: broken}]
    texts = [problem.text for problem in check.problems(plan, profiles=PROFILES)]
    assert [text for text in texts if text.startswith(rule)]


BAD_NARRATIVES = [
    "<ul>x<li>y</li></ul>",
    "<li>x</li>",
    "<table><td>x</td></table>",
    "<table><thead><th>x</th></thead></table>",
    "<p>a<p>b</p></p>",
    "<p><b><ul><li>x</li></ul></b></p>",
    "<span><div>x</div></span>",
    "<b><i><b>x</b></i></b>",
    "<br>x</br>",
    '<ol start="2"><li>x</li></ol>',
    '<p border="1">x</p>',
    '<a href="">x</a>',
    '<a href="http://example.org/a b">x</a>',
    '<a href="http://example.org/{a}">x</a>',
    '<a href="urn:uuid:0b9d56e4-4cf2-5b5e-8a3c-0d7f6a2b1c3d">x</a>',
    '<a href="#nowhere">x</a>',
    "&#x110000;",
]


@pytest.mark.parametrize("inside", BAD_NARRATIVES)
def test_a_narrative_is_held_to_what_may_stand_in_what(inside: str) -> None:
    plan = care_plan()
    plan["text"]["div"] = html(inside)

    assert [path for _, path in found(plan)] == ["CarePlan.text.div"]


def test_the_time_for_a_narrative_grows_with_its_length_and_not_with_its_depth() -> None:
    deep = {**plain_plan(), "text": {"status": "generated", "div": html("<div>" * 40_000 + "x" + "</div>" * 40_000)}}
    begun = process_time()

    assert check.problems(deep) == ()
    assert process_time() - begun < 2


def test_a_picture_of_the_narrative_may_be_contained() -> None:
    plan = care_plan()
    plan["contained"].append({"resourceType": "Binary", "id": "p", "contentType": "image/png", "data": "YWJj"})
    plan["text"]["div"] = html('<img src="#p" alt="x"/>')

    assert found(plan) == []


NARRATIVES = [
    "plain",
    "<dl><dt>a</dt><dd>b <kbd>c</kbd></dd></dl><ul> <li><ul><li>d</li></ul></li> </ul><hr/>",
    "<!-- a comment --><p>x</p>",
    "<!-- one - with a dash --><p>x</p>",
    '<a href="https://example.org/?a=1&amp;b=2">x</a><a href="#x" name="x">y</a><a href="mailto:a@example.org">z</a>',
    '<img src="data:image/png;base64,YWJj" alt="x"/>',
    "<table border='1'><thead><tr><th colspan=\"2\">a</th></tr></thead><tbody><tr><td>1</td><td/></tr></tbody></table>",
    '<p style="color: red" lang="en" xml:lang="en">5 &lt; 6 &#x2265; 4 > 3</p>',
]


@pytest.mark.parametrize("inside", NARRATIVES)
def test_a_narrative_may_have_what_html_has_for_reading(inside: str) -> None:
    plan = care_plan()
    plan["text"]["div"] = html(inside)

    assert check.problems(plan, profiles=PROFILES) == ()


def test_an_error_is_told_once_unless_it_breaks_two_rules() -> None:
    told_twice = {name for name, row in BROKEN.items() if len(found(changed(row))) > 1}

    assert told_twice == {"an unknown comparator", "ele-1", "a contained resource of no type"}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("title", []),
        ("status", [("code-invalid", "CarePlan.status")]),
    ],
)
def test_an_extension_may_stand_in_for_a_value_but_not_for_a_code_of_r4(
    where: str, expected: list[tuple[str, str]]
) -> None:
    resource = changed((care_plan, where, GONE, "", ""))
    del resource["meta"]["profile"]
    absent = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
    resource[f"_{where}"] = {"extension": [absent]}

    assert found(resource) == expected


def test_a_null_may_stand_beside_the_extension_of_its_place() -> None:
    plan = care_plan()
    plan["instantiatesCanonical"] = ["https://example.org/PlanDefinition/1", None]
    plan["_instantiatesCanonical"] = [None, {"extension": [{"url": "http://example.org/x", "valueCode": "x"}]}]

    assert check.problems(plan, profiles=PROFILES) == ()


def test_a_no_show_may_have_a_cancelation_reason() -> None:
    visit = booked() | {"status": "noshow", "cancelationReason": {"text": "did not come"}}

    assert check.problems(visit) == ()


def test_a_contained_resource_may_refer_to_what_contains_it() -> None:
    plan = care_plan()
    del plan["goal"]
    plan["contained"] = [
        {"resourceType": "Provenance", "id": "p", "recorded": "2026-01-05T15:10:00Z"}
        | {"target": [{"reference": "#"}], "agent": [{"who": {"reference": "Device/1"}}]}
    ]

    assert check.problems(plan, profiles=PROFILES) == ()


def test_a_type_that_is_not_checked_is_said_to_be() -> None:
    assert found({"resourceType": "Patient"}) == [("not-supported", "")]
    assert found({}) == [("structure", "")]
    assert found({"resourceType": ["CarePlan"]}) == [("structure", "")]


def test_a_misspelt_element_gets_a_hint_in_our_words() -> None:
    plan = care_plan() | {"activitty": []}

    assert "did you mean 'activity'?" in check.problems(plan)[0].text


def test_a_resource_without_our_profile_is_not_held_to_it() -> None:
    plan = plain_plan()
    for name in ("category", "identifier", "period", "text"):
        del plan[name]

    assert check.problems(plan, profiles=PROFILES) == ()


def test_a_profile_with_a_constraint_that_nobody_checks_is_refused() -> None:
    definition = json.loads((ROOT / "profiles" / "StructureDefinition-integration-careplan.json").read_bytes())
    definition["differential"]["element"][0]["constraint"] = [{"key": "afd-99", "human": "x"}]

    with pytest.raises(ValueError, match="afd-99"):
        profile_rules(definition, {})


def test_a_profile_that_is_bound_to_codes_that_nobody_knows_is_refused() -> None:
    definition = json.loads((ROOT / "profiles" / "StructureDefinition-plasticity-window.json").read_bytes())

    with pytest.raises(KeyError, match="anchor-basis"):
        profile_rules(definition, {})


def test_a_value_set_that_is_not_the_whole_of_its_code_system_is_refused() -> None:
    system = {"url": "http://example.org/system", "concept": [{"code": "a", "concept": [{"code": "b"}]}]}
    whole = {"url": "http://example.org/set", "compose": {"include": [{"system": "http://example.org/system"}]}}
    part = whole | {"compose": {"include": [{"system": "http://example.org/system", "concept": [{"code": "a"}]}]}}

    assert codes_of(whole, system) == {"a", "b"}
    with pytest.raises(ValueError, match="not the whole"):
        codes_of(part, system)


def test_a_hostile_resource_is_given_up_early() -> None:
    assert len(found({"resourceType": "Task", **{f"x{i}": i for i in range(20_000)}})) == MOST

    nested: Resource = {"url": "x"}
    for _ in range(10_000):
        nested = {"url": "x", "extension": [nested]}
    assert "too-costly" in {code for code, _ in found(care_plan() | {"extension": [nested]})}


CANARY = "Xq7-Ottilie-Canary"


@pytest.mark.parametrize("builder", VALID.values(), ids=VALID)
def test_no_message_holds_what_was_received(builder: Callable[[], Resource]) -> None:
    def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [spot for key, item in items for spot in [(*way, key), *places(item, (*way, key))]]

    planted = [CARRIER, f"{CANARY}/{CANARY} <p>", [CANARY], {CANARY: CANARY}, [{CANARY: {CANARY: CANARY}}]]
    for way in places(builder()):
        for value in planted:
            resource: Any = builder()
            place = resource
            for step in way[:-1]:
                place = place[step]
            place[way[-1]] = value
            for problem in check.problems(resource, profiles=PROFILES):
                assert CANARY not in f"{problem.code} {problem.path} {problem.text}"


CARRIER = f"http://{CANARY}.example.org/{CANARY}/1"

SOME_NAMES = (
    "resourceType id meta profile text div status contained extension url valueString valueCode activity detail "
    "reference type identifier system value participant actor period start end code scheduledTiming repeat _status "
    "_title instantiatesCanonical _instantiatesCanonical requestedPeriod low high modifierExtension target"
)
NAMES = st.sampled_from(SOME_NAMES.split()) | st.text(max_size=5)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text(max_size=10)
    | st.sampled_from(
        ["CarePlan", "Patient", "#", "#a", "Patient/1", "a", "2026", "2026-01-05T00:00:00Z", html("x"), *PROFILES]
    )
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=25
)


@given(st.sampled_from(sorted(check.CHECKED_TYPES)), st.dictionaries(NAMES, JSON, max_size=8))
def test_any_object_is_answered(kind: str, members: Resource) -> None:
    assert check.problems(members | {"resourceType": kind}, profiles=PROFILES)
    check.problems(members, profiles=PROFILES)


@given(st.sampled_from(sorted(VALID)), st.data())
def test_any_value_in_any_place_is_answered(name: str, data: st.DataObject) -> None:
    resource: Any = VALID[name]()
    place = resource
    while True:
        key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else list(range(len(place)))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(JSON)

    assert isinstance(check.problems(resource, profiles=PROFILES), tuple)


def test_profiles_are_dated_and_tell_their_version() -> None:
    for path in sorted((ROOT / "profiles").glob("StructureDefinition-*.json")):
        definition = json.loads(path.read_bytes())

        assert path.name == f"StructureDefinition-{definition['id']}.json"
        assert definition["url"] == f"{BASE}/{definition['id']}"
        assert definition["fhirVersion"] == "4.0.1"
        assert date.fromisoformat(definition["date"])
