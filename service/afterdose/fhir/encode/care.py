"""Desired care as FHIR R4 resources (https://hl7.org/fhir/R4/): plain JSON values, built and checked here.

Pure and deterministic: the same desired artifact gives the same bytes, so that "nothing differs"
can be told by comparing. Every outward text is neutral (no drug, no diagnosis) except the plan's
narrative.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from afterdose.core.care import (
    ArtifactKey,
    ArtifactKind,
    DesiredActivity,
    DesiredAppointment,
    DesiredPlan,
    DesiredPreparation,
    DoseVerdict,
)
from afterdose.core.codes import Codes
from afterdose.core.dose import Coding, DoseKey
from afterdose.core.identity import artifact_id
from afterdose.core.reasons import Reason
from afterdose.fhir.encode.narrative import course_title, plan_narrative
from afterdose.fhir.encode.sentences import Wording, activity_line, preparation_line, session_line, visit_line
from afterdose.fhir.encode.words import INTEGRATION, PREPARATION
from afterdose.fhir.r4 import ACTIVITY_TITLE_EXTENSION, Canonicals
from afterdose.fhir.times import format_instant
from afterdose.fhir.v2.translate import is_translated

Resource = dict[str, Any]

_STATUS_ELEMENT = {"Goal": "lifecycleStatus"}

# What a superfluous one becomes; an Appointment without times cannot be entered-in-error (R4 Appointment, app-3).
END_OF: Mapping[str, str] = {"Appointment": "cancelled"}
MISTAKE = "entered-in-error"

RESOURCE_TYPE: Mapping[ArtifactKind, str] = {
    ArtifactKind.CARE_PLAN: "CarePlan",
    ArtifactKind.APPOINTMENT: "Appointment",
    ArtifactKind.REVIEW_TASK: "Task",
    ArtifactKind.UNMET_TASK: "Task",
    ArtifactKind.BOOKED_TASK: "Task",
    ArtifactKind.WARNING_TASK: "Task",
    ArtifactKind.GUARANTEE_TASK: "Task",
    ArtifactKind.WAITING_TASK: "Task",
    ArtifactKind.MERGED_TASK: "Task",
    ArtifactKind.PROVENANCE: "Provenance",
    ArtifactKind.GOAL: "Goal",
    ArtifactKind.DOSE_PLAN: "CarePlan",
    ArtifactKind.JOURNALING: "Task",
    ArtifactKind.MINDFULNESS: "ServiceRequest",
    ArtifactKind.ACTIVATION: "Task",
    ArtifactKind.SLEEP: "ServiceRequest",
    ArtifactKind.COMMITMENTS: "Task",
    ArtifactKind.COMMITMENTS_REMINDER: "Task",
    ArtifactKind.OUTCOME_CHECK: "Task",
    ArtifactKind.LATER_OUTCOME_CHECK: "Task",
    ArtifactKind.RELAPSE_PLAN: "Task",
    ArtifactKind.PSYCHOTHERAPY: "ServiceRequest",
    ArtifactKind.CRISIS_PLAN: "Task",
    ArtifactKind.COGNITIVE_WORK: "ServiceRequest",
    ArtifactKind.SOMATIC_WORK: "ServiceRequest",
    ArtifactKind.ART_WORK: "ServiceRequest",
}


def status_element(resource_type: str) -> str:
    """The element that holds the status of a resource."""
    return _STATUS_ELEMENT.get(resource_type, "status")


@dataclass(frozen=True, slots=True, kw_only=True)
class Letterhead:
    """What every resource for one patient of one EHR has in common.

    ``dose_bases``: source name -> base URL to put before a dose's reference, "" where the source is
    the target itself. ``references``: artifact -> ``Type/id`` or ``urn:uuid:...`` as it can be
    referred to in the EHR now. ``plan_type``: what plans are written as, None where they are not. ``sender``: who
    sends messages, for an EHR that wants a person there; ``attach_messages``: their text is an attachment.
    """

    patient: str
    canonicals: Canonicals
    codes: Codes
    words: Wording
    dose_bases: Mapping[str, str]
    references: Mapping[ArtifactKey, str]
    accept_auto: bool = False
    plan_type: str | None = RESOURCE_TYPE[ArtifactKind.CARE_PLAN]
    sender: str | None = None
    attach_messages: bool = False

    def dose(self, key: DoseKey) -> Resource:
        """Reference to an administration, absolute where its source is another server.

        By identifier alone where it came as a message: then no server has it as a resource.
        """
        if is_translated(key.id):
            identifier = {"system": self.canonicals.identifier_system, "value": key.id}
            return {"type": "MedicationAdministration", "identifier": identifier}
        return self.of_source(key.source, f"MedicationAdministration/{key.id}")

    def of_source(self, source: str, reference: str) -> Resource:
        """Reference to something of a source, absolute where the source is another server."""
        base = self.dose_bases.get(source, "")
        return {"reference": f"{base.rstrip('/')}/{reference}" if base else reference}

    def identifier(self, key: ArtifactKey) -> Resource:
        """The business identifier of an artifact."""
        return {"system": self.canonicals.identifier_system, "value": str(artifact_id(key))}

    def logical(self, key: ArtifactKey) -> Resource:
        """Reference by identifier alone: needs no server id, so artifacts can be written in any order."""
        type_ = self.plan_type if key.kind is ArtifactKind.CARE_PLAN else RESOURCE_TYPE[key.kind]
        return ({"type": type_} if type_ else {}) | {"identifier": self.identifier(key)}

    def meta(self, *, profile: str | None = None, labels: tuple[Coding, ...] = ()) -> Resource:
        """meta with our profile, the sources' security labels and the label of a device-made resource."""
        marks = {(one.system, one.code): one for one in (*labels, *self.codes.outbound["security-label"])}
        meta: Resource = {"profile": [profile]} if profile else {}
        meta["security"] = [coding(one) for _, one in sorted(marks.items())]
        return meta

    def pool(self) -> Resource | None:
        """The coordinators who own what staff have to do, None where the clinic names none."""
        clinic = self.words.clinic
        if clinic.pool is None:
            return None
        return {"reference": clinic.pool} | ({"display": clinic.pool_display} if clinic.pool_display else {})

    def author(self) -> Resource:
        """The software as a Device, by name: it is no person and says so."""
        return {"type": "Device", "display": f"{self.words.software} (software)"}


def coding(one: Coding) -> Resource:
    """A Coding."""
    return {"system": one.system, "code": one.code} | ({"display": one.display} if one.display else {})


def concept(codings: tuple[Coding, ...], text: str | None = None) -> Resource:
    """A CodeableConcept."""
    return {"coding": [coding(one) for one in codings]} | ({"text": text} if text else {})


def period(start: datetime | None, end: datetime | None) -> Resource:
    """A Period, empty where neither end is known."""
    found = {"start": start, "end": end}
    return {name: format_instant(moment) for name, moment in found.items() if moment is not None}


def care_plan(plan: DesiredPlan, head: Letterhead) -> Resource:
    """The course CarePlan (https://hl7.org/fhir/R4/careplan.html).

    ``goal`` and ``activity.reference`` point at what can be referred to (cpl-3: never ``detail``).
    """
    doses = [key for verdict in plan.verdicts for key in verdict.administrations]
    resource: Resource = {
        "resourceType": "CarePlan",
        "meta": head.meta(profile=head.canonicals.care_plan_profile, labels=plan.labels),
        "text": {"status": "additional", "div": plan_narrative(plan, head.words)},
        "identifier": [head.identifier(plan.key)],
        "instantiatesCanonical": [head.canonicals.plan_definitions[plan.family]],
        "status": str(plan.status),
        "intent": "plan" if head.accept_auto else "proposal",
        "category": [concept((one,)) for one in head.codes.outbound["care-plan-category"]],
        "title": course_title(plan, head.words.clinic),
        "subject": {"reference": f"Patient/{head.patient}"},
        "period": period(plan.period_start, plan.period_end),
        "contributor": [head.author()],
        "supportingInfo": [
            *(head.dose(key) for key in doses),
            *(head.of_source(key.source, key.id) for key in plan.orders),
            *({"reference": one} for one in plan.crisis_plans),
        ],
        "note": [{"text": sentence} for sentence in head.words.protocols[plan.family].evidence],
    }
    if plan.replaces is not None:
        resource["replaces"] = [head.logical(plan.replaces)]
    if plan.conditions:
        resource["addresses"] = [head.of_source(one.source, one.id) for one in plan.conditions]
    if plan.goal is not None and plan.goal in head.references:
        resource["goal"] = [{"reference": head.references[plan.goal]}]
    activities = [_preparation(one, head) for one in plan.preparations if one.key in head.references]
    activities += [_visit(one, plan, head) for one in plan.appointments if one.key in head.references]
    activities += [_activity(one, head) for one in plan.activities if one.key in head.references]
    if activities:
        resource["activity"] = activities
    if not resource["supportingInfo"]:
        del resource["supportingInfo"]
    if not resource["note"]:
        del resource["note"]
    return resource


def _visit(appointment: DesiredAppointment, plan: DesiredPlan, head: Letterhead) -> Resource:
    text = "Withdrawn." if appointment.cancelled else visit_line(appointment.verdict, plan, head.words)
    return _named(INTEGRATION, text, head.references[appointment.key], head)


def _preparation(one: DesiredPreparation, head: Letterhead) -> Resource:
    return _named(PREPARATION, preparation_line(one, head.words), head.references[one.key], head)


def _activity(one: DesiredActivity, head: Letterhead) -> Resource:
    phase = head.words.plan.activities[one.key.kind].phase
    return _named(phase, activity_line(one, head.words), head.references[one.key], head)


def _named(phase: str, progress: str, reference: str, head: Letterhead) -> Resource:
    """One activity of a plan; its title is the phase that it belongs to."""
    return {
        "extension": [{"url": ACTIVITY_TITLE_EXTENSION, "valueString": head.words.plan.phases[phase].title}],
        "progress": [{"text": progress}],
        "reference": {"reference": reference},
    }


def appointment(desired: DesiredAppointment, head: Letterhead, labels: tuple[Coding, ...]) -> Resource:
    """The proposed Appointment of one dose session (https://hl7.org/fhir/R4/appointment.html).

    No ``start``: nothing is agreed (app-3). ``requestedPeriod`` is what can still be booked.
    """
    verdict, clinic, outbound = desired.verdict, head.words.clinic, head.codes.outbound
    session = verdict.session
    resource: Resource = {
        "resourceType": "Appointment",
        "meta": head.meta(profile=head.canonicals.appointment_profile, labels=labels),
        "extension": [zone_extension(head)],
        "identifier": [head.identifier(desired.key)],
        "status": "cancelled" if desired.cancelled else "proposed",
        "serviceCategory": [concept(outbound["session-service-category"])],
        "serviceType": [concept(outbound["session-service-type"][:1], "Follow-up session")],
        "appointmentType": concept(outbound["session-appointment-type"]),
        "reasonCode": [{"text": "Follow-up session after treatment"}],
        "description": "Follow-up session",
        "minutesDuration": int(clinic.session_length.total_seconds() // 60),
        "supportingInformation": [head.dose(key) for key in verdict.administrations] + [head.logical(desired.course)],
        "comment": session_line(verdict, head.words),
        "participant": [
            {"actor": {"reference": f"Patient/{head.patient}"}, "status": "needs-action"},
            {"actor": place(head), "status": "needs-action"},
        ],
    }
    if desired.cancelled:
        reason = desired.cancel_reason or Reason.ENTERED_IN_ERROR
        resource["cancelationReason"] = {"text": head.words.reason_text(reason)}
        resource["comment"] = f"Withdrawn: {head.words.reason_text(reason)}"
    window = _window_extension(verdict, head)
    if window is not None:
        resource["extension"].append(window)
    if session is not None and session.period_start is not None and session.period_end is not None:
        resource["requestedPeriod"] = [period(session.period_start, session.period_end)]
    return resource


def place(head: Letterhead) -> Resource:
    """Where visits take place, as the EHR knows it."""
    clinic = head.words.clinic
    if clinic.location is None:
        return {"type": "Location", "display": clinic.location_display or clinic.title}
    return {"reference": clinic.location, "display": clinic.location_display or clinic.title}


def zone_extension(head: Letterhead) -> Resource:
    """The clinic's time zone."""
    return {"url": head.canonicals.timezone_extension, "valueCode": head.words.clinic.zone.key}


def _window_extension(verdict: DoseVerdict, head: Letterhead) -> Resource | None:
    if verdict.window is None or verdict.anchor is None or verdict.anchor_basis is None:
        return None
    return {
        "url": head.canonicals.window_extension,
        "extension": [
            {"url": "anchor", "valueDateTime": format_instant(verdict.anchor)},
            {"url": "anchorBasis", "valueCode": str(verdict.anchor_basis)},
            {"url": "opens", "valueDateTime": format_instant(verdict.window.opens)},
            {"url": "closes", "valueDateTime": format_instant(verdict.window.closes)},
        ],
    }
