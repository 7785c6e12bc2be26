"""A preparation visit as a FHIR R4 Appointment (https://hl7.org/fhir/R4/appointment.html). Pure, its text neutral."""

from afterdose.core.care import DesiredPreparation
from afterdose.core.dose import Coding
from afterdose.core.reasons import Reason
from afterdose.fhir.encode.care import Letterhead, Resource, concept, period, place, zone_extension
from afterdose.fhir.encode.sentences import preparation_line


def preparation(desired: DesiredPreparation, head: Letterhead, labels: tuple[Coding, ...]) -> Resource:
    """The proposed visit. No ``start``: nothing is agreed (app-3). ``requestedPeriod`` ends before the first dose."""
    outbound, session = head.codes.outbound, desired.session
    resource: Resource = {
        "resourceType": "Appointment",
        "meta": head.meta(labels=labels),
        "extension": [zone_extension(head)],
        "identifier": [head.identifier(desired.key)],
        "status": "cancelled" if desired.cancelled else "proposed",
        "serviceCategory": [concept(outbound["session-service-category"])],
        "serviceType": [concept(outbound["session-service-type"][:1], "Preparation session")],
        "appointmentType": concept(outbound["preparation-appointment-type"]),
        "reasonCode": [{"text": "Preparation before treatment"}],
        "description": "Preparation session",
        "minutesDuration": int(head.words.clinic.session_length.total_seconds() // 60),
        "supportingInformation": [
            *(head.of_source(key.source, key.id) for key in desired.orders),
            head.logical(desired.course),
        ],
        "comment": preparation_line(desired, head.words),
        "participant": [
            {"actor": {"reference": f"Patient/{head.patient}"}, "status": "needs-action"},
            {"actor": place(head), "status": "needs-action"},
        ],
    }
    if desired.cancelled:
        reason = head.words.reason_text(desired.cancel_reason or Reason.DOSE_GIVEN)
        resource["cancelationReason"] = {"text": reason}
        resource["comment"] = f"Withdrawn: {reason}"
    if session.period_start is not None and session.period_end is not None:
        resource["requestedPeriod"] = [period(session.period_start, session.period_end)]
    return resource
