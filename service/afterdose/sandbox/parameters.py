"""Which search parameters the sandbox knows, and where they look (R4 searchparameter-registry.html)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["token", "reference", "date", "string", "uri"]


@dataclass(frozen=True)
class Parameter:
    """A search parameter: its type, the elements it reads, and for references the one type it may point to."""

    kind: Kind
    paths: tuple[str, ...]
    target: str | None = None


def _of(kind: Kind, *paths: str, target: str | None = None) -> Parameter:
    return Parameter(kind, paths, target)


_COMMON = {
    "_id": _of("token", "id"),
    "_lastUpdated": _of("date", "meta.lastUpdated"),
    "_tag": _of("token", "meta.tag"),
    "_security": _of("token", "meta.security"),
    "_profile": _of("uri", "meta.profile"),
}
_IDENTIFIED = {"identifier": _of("token", "identifier")}
_STATUS = {"status": _of("token", "status")}
_SUBJECT = {"subject": _of("reference", "subject"), "patient": _of("reference", "subject", target="Patient")}
_PATIENT = {"patient": _of("reference", "patient", target="Patient")}
_CLINICAL = {**_IDENTIFIED, **_STATUS, **_SUBJECT}
_CODE = {"code": _of("token", "code")}
_CATEGORY = {"category": _of("token", "category")}
_INTENT = {"intent": _of("token", "intent")}
_BASED_ON = {"based-on": _of("reference", "basedOn")}
_ENCOUNTER = {"encounter": _of("reference", "encounter")}
_CANONICAL = {"url": _of("uri", "url"), "version": _of("token", "version"), **_IDENTIFIED, **_STATUS}

_BY_TYPE: dict[str, dict[str, Parameter]] = {
    "ActivityDefinition": _CANONICAL,
    "Appointment": {
        **_IDENTIFIED,
        **_STATUS,
        "patient": _of("reference", "participant.actor", target="Patient"),
        "location": _of("reference", "participant.actor", target="Location"),
        "actor": _of("reference", "participant.actor"),
        "date": _of("date", "start"),
        "service-type": _of("token", "serviceType"),
        "supporting-info": _of("reference", "supportingInformation"),
    },
    "AuditEvent": {"date": _of("date", "recorded"), "entity": _of("reference", "entity.what")},
    "CarePlan": {
        **_CLINICAL,
        **_CATEGORY,
        **_INTENT,
        **_BASED_ON,
        **_ENCOUNTER,
        "date": _of("date", "period"),
        "activity-reference": _of("reference", "activity.reference"),
        "instantiates-canonical": _of("uri", "instantiatesCanonical"),
    },
    "Communication": {**_CLINICAL, **_CATEGORY, **_BASED_ON, "sent": _of("date", "sent")},
    "Condition": {
        **_IDENTIFIED,
        **_SUBJECT,
        **_CODE,
        **_CATEGORY,
        **_ENCOUNTER,
        "clinical-status": _of("token", "clinicalStatus"),
        "recorded-date": _of("date", "recordedDate"),
    },
    "Consent": {
        **_IDENTIFIED,
        **_STATUS,
        **_PATIENT,
        **_CATEGORY,
        "date": _of("date", "dateTime"),
        "scope": _of("token", "scope"),
    },
    "Device": {**_IDENTIFIED, **_STATUS, **_PATIENT},
    "DocumentReference": {
        **_CLINICAL,
        **_CATEGORY,
        "type": _of("token", "type"),
        "date": _of("date", "date"),
        "related": _of("reference", "context.related"),
    },
    "Encounter": {
        **_CLINICAL,
        "date": _of("date", "period"),
        "class": _of("token", "class"),
        "type": _of("token", "type"),
        "location": _of("reference", "location.location"),
    },
    "EpisodeOfCare": {
        **_IDENTIFIED,
        **_STATUS,
        **_PATIENT,
        "type": _of("token", "type"),
        "date": _of("date", "period"),
    },
    "Flag": {**_CLINICAL, "date": _of("date", "period")},
    "Goal": {
        **_IDENTIFIED,
        **_SUBJECT,
        **_CATEGORY,
        "lifecycle-status": _of("token", "lifecycleStatus"),
        "start-date": _of("date", "startDate"),
    },
    "Group": _IDENTIFIED,
    "HealthcareService": _IDENTIFIED,
    "Location": {**_IDENTIFIED, **_STATUS, "name": _of("string", "name")},
    "Medication": {**_IDENTIFIED, **_STATUS, **_CODE},
    "MedicationAdministration": {
        **_CLINICAL,
        "code": _of("token", "medicationCodeableConcept"),
        "medication": _of("reference", "medicationReference"),
        "context": _of("reference", "context"),
        "request": _of("reference", "request"),
        "effective-time": _of("date", "effectiveDateTime", "effectivePeriod"),
    },
    "MedicationRequest": {
        **_CLINICAL,
        **_INTENT,
        **_ENCOUNTER,
        "code": _of("token", "medicationCodeableConcept"),
        "authoredon": _of("date", "authoredOn"),
    },
    "Observation": {
        **_CLINICAL,
        **_CODE,
        **_CATEGORY,
        **_ENCOUNTER,
        "date": _of("date", "effectiveDateTime", "effectivePeriod", "effectiveInstant"),
    },
    "Organization": {**_IDENTIFIED, "name": _of("string", "name")},
    "Patient": {
        **_IDENTIFIED,
        "active": _of("token", "active"),
        "birthdate": _of("date", "birthDate"),
        "family": _of("string", "name.family"),
        "name": _of("string", "name.family", "name.given", "name.text"),
        "link": _of("reference", "link.other"),
    },
    "PlanDefinition": _CANONICAL,
    "Practitioner": _IDENTIFIED,
    "PractitionerRole": {**_IDENTIFIED, "practitioner": _of("reference", "practitioner")},
    "Procedure": {**_CLINICAL, **_CODE, "date": _of("date", "performedDateTime", "performedPeriod")},
    "Provenance": {
        "target": _of("reference", "target"),
        "patient": _of("reference", "target", target="Patient"),
        "agent": _of("reference", "agent.who"),
        "entity": _of("reference", "entity.what"),
        "recorded": _of("date", "recorded"),
    },
    "Questionnaire": _CANONICAL,
    "QuestionnaireResponse": {
        **_CLINICAL,
        "authored": _of("date", "authored"),
        "questionnaire": _of("uri", "questionnaire"),
    },
    "Schedule": {**_IDENTIFIED, "actor": _of("reference", "actor"), "date": _of("date", "planningHorizon")},
    "ServiceRequest": {
        **_CLINICAL,
        **_CODE,
        **_CATEGORY,
        **_INTENT,
        **_BASED_ON,
        **_ENCOUNTER,
        "authored": _of("date", "authoredOn"),
        "occurrence": _of("date", "occurrenceDateTime", "occurrencePeriod"),
    },
    "Slot": {
        **_IDENTIFIED,
        **_STATUS,
        "schedule": _of("reference", "schedule"),
        "start": _of("date", "start"),
    },
    "Subscription": {
        **_STATUS,
        "criteria": _of("string", "criteria"),
        "url": _of("uri", "channel.endpoint"),
    },
    "Task": {
        **_IDENTIFIED,
        **_STATUS,
        **_CODE,
        **_INTENT,
        **_BASED_ON,
        **_ENCOUNTER,
        "patient": _of("reference", "for", target="Patient"),
        "subject": _of("reference", "for"),
        "focus": _of("reference", "focus"),
        "owner": _of("reference", "owner"),
        "authored-on": _of("date", "authoredOn"),
        "modified": _of("date", "lastModified"),
        "period": _of("date", "executionPeriod"),
    },
}

DECLARED_TYPES = tuple(sorted(_BY_TYPE))


def parameters_of(type_: str) -> dict[str, Parameter]:
    """The search parameters of a type; a type without a row of its own has the common ones."""
    return {**_COMMON, **_BY_TYPE.get(type_, {})}
