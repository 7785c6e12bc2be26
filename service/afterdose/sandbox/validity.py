"""The little that the sandbox asks of a resource before it stores it.

The sandbox is no validator. It checks what servers are known to refuse and what the product must get right: type
names (R4 resourcelist.html), ids (datatypes.html#id), required codes, and the invariants app-2 to app-4.
"""

from __future__ import annotations

import re

from afterdose.sandbox.outcome import Json, Refusal

_TYPE_NAMES = """
    Account ActivityDefinition AdverseEvent AllergyIntolerance Appointment AppointmentResponse AuditEvent Basic
    Binary BiologicallyDerivedProduct BodyStructure Bundle CapabilityStatement CarePlan CareTeam CatalogEntry
    ChargeItem ChargeItemDefinition Claim ClaimResponse ClinicalImpression CodeSystem Communication
    CommunicationRequest CompartmentDefinition Composition ConceptMap Condition Consent Contract Coverage
    CoverageEligibilityRequest CoverageEligibilityResponse DetectedIssue Device DeviceDefinition DeviceMetric
    DeviceRequest DeviceUseStatement DiagnosticReport DocumentManifest DocumentReference EffectEvidenceSynthesis
    Encounter Endpoint EnrollmentRequest EnrollmentResponse EpisodeOfCare EventDefinition Evidence EvidenceVariable
    ExampleScenario ExplanationOfBenefit FamilyMemberHistory Flag Goal GraphDefinition Group GuidanceResponse
    HealthcareService ImagingStudy Immunization ImmunizationEvaluation ImmunizationRecommendation
    ImplementationGuide InsurancePlan Invoice Library Linkage List Location Measure MeasureReport Media Medication
    MedicationAdministration MedicationDispense MedicationKnowledge MedicationRequest MedicationStatement
    MedicinalProduct MessageDefinition MessageHeader MolecularSequence NamingSystem NutritionOrder Observation
    ObservationDefinition OperationDefinition OperationOutcome Organization OrganizationAffiliation Patient
    PaymentNotice PaymentReconciliation Person PlanDefinition Practitioner PractitionerRole Procedure Provenance
    Questionnaire QuestionnaireResponse RelatedPerson RequestGroup ResearchDefinition ResearchElementDefinition
    ResearchStudy ResearchSubject RiskAssessment RiskEvidenceSynthesis Schedule SearchParameter ServiceRequest Slot
    Specimen SpecimenDefinition StructureDefinition StructureMap Subscription Substance SupplyDelivery SupplyRequest
    Task TerminologyCapabilities TestReport TestScript ValueSet VerificationResult VisionPrescription
"""
TYPES = frozenset(_TYPE_NAMES.split())

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")

_REQUEST_STATUS = "draft active on-hold revoked completed entered-in-error unknown"
_REQUEST_INTENT = "proposal plan directive order original-order reflex-order filler-order instance-order option"

# Required bindings of the elements that the product writes or that the page shows.
_CODES: dict[str, dict[str, str]] = {
    "CarePlan": {"status": _REQUEST_STATUS, "intent": "proposal plan order option"},
    "ServiceRequest": {"status": _REQUEST_STATUS, "intent": _REQUEST_INTENT},
    "Appointment": {
        "status": "proposed pending booked arrived fulfilled cancelled noshow entered-in-error checked-in waitlist"
    },
    "Task": {
        "status": "draft requested received accepted rejected ready cancelled in-progress on-hold failed completed "
        "entered-in-error",
        "intent": f"unknown {_REQUEST_INTENT}",
    },
    "Goal": {
        "lifecycleStatus": "proposed planned accepted active on-hold completed cancelled entered-in-error rejected"
    },
    "MedicationAdministration": {"status": "in-progress not-done on-hold completed entered-in-error stopped unknown"},
    "Subscription": {"status": "requested active error off"},
}
_REQUIRED: dict[str, tuple[str, ...]] = {
    "CarePlan": ("subject",),
    "ServiceRequest": ("subject",),
    "Goal": ("subject", "description"),
    "Appointment": ("participant",),
    "MedicationAdministration": ("subject",),
    "Provenance": ("target", "recorded", "agent"),
    "Subscription": ("reason", "criteria", "channel"),
}
_TIMELESS = frozenset({"proposed", "cancelled", "waitlist"})


def check_type(type_: str) -> None:
    """Refuse a name that is no R4 resource type."""
    if type_ not in TYPES:
        raise Refusal(404, "not-supported", f"{type_[:64]!r} is not a resource type of FHIR R4")


def check_id(id_: str) -> None:
    """Refuse an id that is outside the grammar (R4 datatypes.html#id)."""
    if not _ID.fullmatch(id_):
        raise Refusal(400, "value", "an id has 1 to 64 characters out of A-Z, a-z, 0-9, '-' and '.'")


def check_resource(type_: str, resource: object) -> Json:
    """The resource, if it may be stored under this type."""
    if not isinstance(resource, dict):
        raise Refusal(400, "structure", "the body must be one JSON object")
    if resource.get("resourceType") != type_:
        raise Refusal(400, "invalid", f"the body must be a {type_}, as the URL says")
    if not isinstance(resource.get("meta", {}), dict):
        raise Refusal(400, "structure", f"{type_}.meta must be an object")
    for element, codes in _CODES.get(type_, {}).items():
        value = resource.get(element)
        if value is None:
            raise Refusal(422, "required", f"{type_}.{element} is required")
        if not isinstance(value, str) or value not in codes.split():
            raise Refusal(422, "code-invalid", f"{type_}.{element} must be one of: {codes.replace(' ', ', ')}")
    for element in _REQUIRED.get(type_, ()):
        if not resource.get(element):
            raise Refusal(422, "required", f"{type_}.{element} is required")
    if type_ == "Appointment":
        _check_appointment(resource)
    return resource


def _check_appointment(appointment: Json) -> None:
    """R4 appointment.html#invs."""
    status, starts, ends = appointment["status"], "start" in appointment, "end" in appointment
    if starts != ends:
        raise Refusal(422, "invariant", "app-2: either start and end are specified, or neither")
    if not starts and status not in _TIMELESS:
        raise Refusal(422, "invariant", "app-3: only proposed, cancelled or waitlist appointments may have no start")
    if "cancelationReason" in appointment and status not in {"cancelled", "noshow"}:
        raise Refusal(422, "invariant", "app-4: a cancelation reason needs the status cancelled or noshow")
    for participant in appointment["participant"]:
        if not isinstance(participant, dict) or "status" not in participant:
            raise Refusal(422, "required", "Appointment.participant.status is required")
        if "type" not in participant and "actor" not in participant:
            raise Refusal(422, "invariant", "app-1: a participant has a type or an actor")
