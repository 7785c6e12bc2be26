"""The doses to come of one patient, as the orders and visits of one source announce them."""

from collections.abc import Iterator
from datetime import UTC, datetime

from afterdose.core.codes import Codes
from afterdose.core.dose import PlannedDose
from afterdose.fhir.announced import announced
from afterdose.fhir.elements import reference, text
from afterdose.work.related import Related, Resource

_ANNOUNCING = ("Appointment", "MedicationRequest", "ServiceRequest")


def coming(related: Related, patient: str, codes: Codes) -> Iterator[PlannedDose]:
    """What was pushed announces doses, and so do the orders that were read with a dose."""
    found = list(related.met(*_ANNOUNCING))
    if not found:
        return
    orders = [
        one for one in found if text(one, "resourceType") == "MedicationRequest" and text(one, "status") == "active"
    ]
    pool = related.pool(*found, *_drugs(related, orders))
    yield from (dose for whose, dose in announced(pool, codes, related.source.zone) if whose == patient)


def _drugs(related: Related, orders: list[Resource]) -> list[Resource]:
    """The Medications that orders refer to; a Medication does not become another one."""
    refs = [reference(one, "medicationReference") or reference(one, "medication") for one in orders]
    return related.several(refs, "Medication", since=datetime.min.replace(tzinfo=UTC))
