"""Doses that orders and appointments announce. Pure.

Only what clearly is a dose of ketamine or esketamine counts, by code and not by words: such a dose cuts the window of
the one before it. Orders that are no orders yet (proposals, plans, options, drafts) announce nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from afterdose.core.codes import Codes
from afterdose.core.dose import Context, DoseKey, Drug, Order, PlannedDose, Precision
from afterdose.fhir.decode.dosage import dose_quantity, route
from afterdose.fhir.decode.effective import effective
from afterdose.fhir.decode.medication import drug_of
from afterdose.fhir.decode.offline import Pool
from afterdose.fhir.decode.repeats import moments
from afterdose.fhir.elements import JsonObject, codings, member, members, reference, text, texts
from afterdose.fhir.references import patient_id

_ORDERS = frozenset({"order", "original-order", "reflex-order", "filler-order", "instance-order"})
"""http://hl7.org/fhir/R4/valueset-request-intent.html"""
_STANDING = frozenset({"active"})
_ORDER_DONE = frozenset({"completed", "ended"})
_ORDER_DROPPED = frozenset({"on-hold", "cancelled", "revoked", "stopped", "entered-in-error"})
"""http://hl7.org/fhir/R4/valueset-medicationrequest-status.html, http://hl7.org/fhir/R4/valueset-request-status.html"""
_BOOKED = frozenset({"booked", "arrived", "checked-in"})
_VISIT_DONE = frozenset({"fulfilled"})
_VISIT_DROPPED = frozenset({"cancelled", "noshow", "entered-in-error"})
"""http://hl7.org/fhir/R4/valueset-appointmentstatus.html"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """An order, or a booked visit, with the doses that it announces. ``patient``: the Patient id that it is for.

    ``order`` is None where the resource has no id, by which it could be known again.
    """

    patient: str
    order: Order | None
    doses: tuple[PlannedDose, ...]


def announcements(
    pool: Pool,
    codes: Codes,
    zone: ZoneInfo | None,
    *,
    source: str,
    heard_at: Callable[[JsonObject], datetime],
) -> Iterator[Announcement]:
    """Every order and booked visit that announces doses of ketamine or esketamine.

    ``zone`` is that of times without an offset, ``heard_at`` says when we first heard of a resource. An order
    without times is one, too. One that has ended is told with ``ended_at``, so that what it brought about can be
    taken back.
    """
    for kind in ("MedicationRequest", "ServiceRequest", "Appointment"):
        for resource in pool.all(kind):
            drug = _drug(resource, pool, codes)
            if drug is None or drug.family is None or not _was_one(resource):
                continue
            heard = heard_at(resource)
            ended = None if _stands(resource) else heard
            for patient in _patients(resource):
                key = DoseKey(source, f"{kind}/{resource['id']}") if "id" in resource else None
                times = {when for said in _times(resource) if (when := _instant(said, zone)) is not None}
                times |= {when for timing in _timings(resource) for when in moments(timing, zone)}
                dropped = heard if _is_dropped(resource) else None
                planned = tuple(
                    PlannedDose(at=at, family=drug.family, heard_at=heard, order=key, dropped_at=dropped)
                    for at in sorted(times)
                )
                if key is None:
                    yield Announcement(patient=patient, order=None, doses=planned)
                    continue
                dosage = next(members(resource, "dosageInstruction"), {})
                amount = next(members(dosage, "doseAndRate"), {})
                order = Order(
                    key=key,
                    patient=patient,
                    drug=drug,
                    heard_at=heard,
                    authored=authored_at(resource, zone),
                    ended_at=ended,
                    route=route(dosage, codes),
                    quantity=dose_quantity({**dosage, "dose": member(amount, "doseQuantity")}, None, codes),
                    context=pool.context_of_order(resource, patient, codes, zone, until=heard),
                    labels=tuple(codings({"coding": list(members(member(resource, "meta"), "security"))})),
                )
                yield Announcement(patient=patient, order=order, doses=planned)


def authored_at(resource: JsonObject, zone: ZoneInfo | None) -> datetime | None:
    """When an order or a visit was made, as far as it says."""
    return _instant(text(resource, "authoredOn") or text(resource, "created"), zone)


def _patients(resource: JsonObject) -> Iterator[str]:
    refs = [reference(resource, "subject"), *(reference(one, "actor") for one in members(resource, "participant"))]
    yield from dict.fromkeys(id_ for ref in refs if (id_ := patient_id(ref, base_url="")) is not None)


def _times(resource: JsonObject) -> Iterator[str]:
    for timing in _timings(resource):
        yield from texts(timing, "event")
    yield from texts(resource, "occurrenceDateTime")
    if resource.get("resourceType") == "Appointment":
        yield from texts(resource, "start")


def _timings(resource: JsonObject) -> Iterator[JsonObject]:
    for dosage in members(resource, "dosageInstruction"):
        yield member(dosage, "timing")
    yield member(resource, "occurrenceTiming")


def _instant(said: str | None, zone: ZoneInfo | None) -> datetime | None:
    if said is None:
        return None
    when, _ = effective({"effectiveDateTime": said}, zone)
    return when.start if when.precision is Precision.INSTANT else None


def _was_one(resource: JsonObject) -> bool:
    """Whether it is, or has been, an order or a booked visit; a proposal or a draft announces nothing."""
    status = text(resource, "status")
    if resource.get("resourceType") == "Appointment":
        return status in _BOOKED | _VISIT_DONE | _VISIT_DROPPED
    is_order = text(resource, "intent") in _ORDERS and resource.get("doNotPerform") is not True
    return is_order and status in _STANDING | _ORDER_DONE | _ORDER_DROPPED


def _stands(resource: JsonObject) -> bool:
    return text(resource, "status") in _BOOKED | _STANDING


def _is_dropped(resource: JsonObject) -> bool:
    """Whether its doses are not to come; of one that is merely over they were given."""
    return text(resource, "status") in _ORDER_DROPPED | _VISIT_DROPPED


def _drug(resource: JsonObject, pool: Pool, codes: Codes) -> Drug | None:
    """The drug that is announced, None where it is another one or not sure: words alone are not enough."""
    kind = resource.get("resourceType")
    if kind == "MedicationRequest":
        return _medication(resource, pool, codes)
    return _service(resource, codes) if kind == "ServiceRequest" else _visit(resource, pool, codes)


def _medication(request: JsonObject, pool: Pool, codes: Codes) -> Drug | None:
    """An ordered drug."""
    ref = reference(request, "medicationReference") or reference(request, "medication")
    drug = drug_of(request, Context(medication=pool.find(ref, "Medication")), codes)
    return None if drug.by_text or drug.conflicting or drug.unresolved else drug


def _service(request: JsonObject, codes: Codes) -> Drug | None:
    return _coded((member(request, "code"), member(member(request, "code"), "concept")), codes)


def _visit(visit: JsonObject, pool: Pool, codes: Codes) -> Drug | None:
    """The drug of a dosing visit: by its own codes, or by the order it is based on."""
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


def _coded(concepts: list[JsonObject] | tuple[JsonObject, ...], codes: Codes) -> Drug | None:
    products = [
        codes.products[key]
        for concept in concepts
        for coding in codings(concept)
        if (key := (coding.system, coding.code)) in codes.products
    ]
    kinds = {product.kind for product in products}
    if len({product.family for product in products}) != 1:
        return None
    return Drug(family=products[0].family, kind=products[0].kind if len(kinds) == 1 else None)
