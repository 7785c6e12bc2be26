"""Doses that orders and appointments announce, for the preview of an input. Pure.

Only what clearly is a dose of ketamine or esketamine counts, by code and not by words: such a dose cuts the window of
the one before it. Orders that are no orders yet (proposals, plans, options, drafts) announce nothing.
"""

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from afterdose.core.codes import Codes
from afterdose.core.dose import Context, Family, PlannedDose, Precision
from afterdose.fhir.effective import effective
from afterdose.fhir.elements import JsonObject, codings, member, members, reference, text, texts
from afterdose.fhir.medication import drug_of
from afterdose.fhir.offline import Pool
from afterdose.fhir.references import patient_id

_ORDERS = frozenset({"order", "original-order", "reflex-order", "filler-order", "instance-order"})
"""http://hl7.org/fhir/R4/valueset-request-intent.html"""
_BOOKED = frozenset({"booked", "arrived", "checked-in"})
"""http://hl7.org/fhir/R4/valueset-appointmentstatus.html"""


def announced(pool: Pool, codes: Codes, zone: ZoneInfo | None) -> Iterator[tuple[str, PlannedDose]]:
    """Every announced dose with the Patient id it is for; ``zone`` is that of times without an offset."""
    for request in pool.all("MedicationRequest"):
        if (family := _medication(request, pool, codes)) is not None and _is_order(request):
            said = [
                moment
                for dosage in members(request, "dosageInstruction")
                for moment in texts(member(dosage, "timing"), "event")
            ]
            yield from _planned(reference(request, "subject"), said, family, zone)
    for request in pool.all("ServiceRequest"):
        if (family := _service(request, codes)) is not None and _is_order(request):
            said = [*texts(request, "occurrenceDateTime"), *texts(member(request, "occurrenceTiming"), "event")]
            yield from _planned(reference(request, "subject"), said, family, zone)
    for visit in pool.all("Appointment"):
        if (family := _visit(visit, pool, codes)) is not None and text(visit, "status") in _BOOKED:
            for participant in members(visit, "participant"):
                yield from _planned(reference(participant, "actor"), list(texts(visit, "start")), family, zone)


def _planned(
    subject: str | None, said: list[str], family: Family, zone: ZoneInfo | None
) -> Iterator[tuple[str, PlannedDose]]:
    patient = patient_id(subject, base_url="")
    for moment in said if patient is not None else ():
        when, _ = effective({"effectiveDateTime": moment}, zone)
        if patient is not None and when.start is not None and when.precision is Precision.INSTANT:
            yield patient, PlannedDose(at=when.start, family=family)


def _is_order(request: JsonObject) -> bool:
    return (
        text(request, "status") == "active"
        and text(request, "intent") in _ORDERS
        and request.get("doNotPerform") is not True
    )


def _medication(request: JsonObject, pool: Pool, codes: Codes) -> Family | None:
    """The family of an ordered drug, None where it is another one or not sure."""
    ref = reference(request, "medicationReference") or reference(request, "medication")
    drug = drug_of(request, Context(medication=pool.find(ref, "Medication")), codes)
    return None if drug.by_text or drug.conflicting or drug.unresolved else drug.family


def _service(request: JsonObject, codes: Codes) -> Family | None:
    return _coded((member(request, "code"), member(member(request, "code"), "concept")), codes)


def _visit(visit: JsonObject, pool: Pool, codes: Codes) -> Family | None:
    """The family of a dosing visit: by its own codes, or by the order it is based on."""
    concepts = [
        concept
        for name in ("serviceType", "reasonCode", "reason")
        for outer in members(visit, name)
        for concept in (outer, member(outer, "concept"))
    ]
    found = _coded(concepts, codes)
    for ref in members(visit, "basedOn"):
        order = pool.find(text(ref, "reference"), "ServiceRequest", "MedicationRequest")
        if found is None and order is not None:
            is_drug = order["resourceType"] == "MedicationRequest"
            found = _medication(order, pool, codes) if is_drug else _service(order, codes)
    return found


def _coded(concepts: list[JsonObject] | tuple[JsonObject, ...], codes: Codes) -> Family | None:
    products = [
        codes.products[key]
        for concept in concepts
        for coding in codings(concept)
        if (key := (coding.system, coding.code)) in codes.products
    ]
    families = {product.family for product in products}
    return families.pop() if len(families) == 1 else None
