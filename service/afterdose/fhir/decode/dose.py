"""From a MedicationAdministration as some EHR sent it to the value that the rules decide on.

Tolerant of version and of nonsense: every function takes any JSON object and never raises for what is in it.
What cannot be understood becomes None or a problem on the Dose, never a guess.
"""

from calendar import monthrange
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from zoneinfo import ZoneInfo

from afterdose.core.codes import Codes
from afterdose.core.dose import Coding, Context, Dose, DoseKey, Happening
from afterdose.core.errors import BadInput
from afterdose.core.reasons import Reason
from afterdose.fhir.decode.administration import STATUSES, envelope
from afterdose.fhir.decode.around import concept_codings, marks_of
from afterdose.fhir.decode.dosage import dose_quantity, rate_quantity, route, was_not_given
from afterdose.fhir.decode.effective import effective
from afterdose.fhir.decode.medication import drug_of, strength_of
from afterdose.fhir.elements import JsonObject, codings, member, members, number, reference, text, texts, words
from afterdose.fhir.references import contained, local_id, short
from afterdose.fhir.times import parse_date

_KG_PER_UNIT: Mapping[str, Decimal] = {
    "kg": Decimal(1),
    "g": Decimal("0.001"),
    "[lb_av]": Decimal("0.45359237"),
}
"""UCUM codes of body weights; the pound is exact by definition."""
_NO_WORDS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class RelatedReferences:
    """What hangs on an administration and has to be read to decide on it; references as received.

    ``reasons`` are Conditions given as the reason. None and () where there is nothing to read: contained
    resources and contexts that are no Encounter are left out.
    """

    medication: str | None
    request: str | None
    encounter: str | None
    performers: tuple[str, ...]
    reasons: tuple[str, ...]


def references_of(resource: JsonObject) -> RelatedReferences:
    """What an administration refers to, in the spellings of R4 and R5."""
    encounter = reference(resource, "encounter") or reference(resource, "context")
    return RelatedReferences(
        medication=_external(reference(resource, "medicationReference") or reference(resource, "medication")),
        request=_external(reference(resource, "request")),
        encounter=_external(encounter) if encounter and "EpisodeOfCare/" not in encounter else None,
        performers=tuple(_performers(resource)),
        reasons=tuple(ref for ref in _reason_references(resource) if _external(ref)),
    )


def decode_context(
    *,
    request: JsonObject | None = None,
    encounter: JsonObject | None = None,
    medication: JsonObject | None = None,
    patient: JsonObject | None = None,
    locations: Sequence[JsonObject] = (),
    conditions: Sequence[JsonObject] = (),
    reasons: Sequence[JsonObject] = (),
    weight: JsonObject | None = None,
    episode: JsonObject | None = None,
    procedures: Sequence[Happening] = (),
    consent: bool | None = None,
    units: Mapping[str, str] = _NO_WORDS,
) -> Context:
    """What was read around an administration.

    ``request``: MedicationRequest or ServiceRequest. ``locations``: Locations, and HealthcareServices,
    Organizations and PractitionerRoles as well (their ``type`` and ``specialty`` are read). ``conditions``:
    the problem list. ``reasons``: Conditions that the administration or its request names as the reason.
    ``weight``: the latest body weight Observation. ``episode``: the EpisodeOfCare. ``procedures`` and ``consent``
    as decoded from what the patient has. ``units``: UCUM codes by the words for them.
    """
    places = [short(ref) for element in members(encounter, "location") if (ref := reference(element, "location"))]
    provider = reference(encounter, "serviceProvider")
    return Context(
        request_reasons=(*(_reason_codings(request) if request is not None else ()), *_codes_of(reasons)),
        request_protocols=tuple(_protocols(request)) if request is not None else (),
        encounter_class=_encounter_class(encounter),
        location_types=tuple(
            coding for place in locations for kind in members(place, "type") for coding in concept_codings(kind)
        ),
        location_ids=tuple(
            dict.fromkeys([*places, *_own_references(locations), *([short(provider)] if provider else [])])
        ),
        specialties=tuple(_specialties(encounter, request, locations)),
        conditions=tuple(_codes_of(conditions)),
        birth_date=_birth_date(text(patient, "birthDate")),
        weight_kg=_weight(weight, units),
        medication=medication,
        marks=tuple(marks_of(request, encounter, episode)),
        procedures=tuple(procedures),
        consent=consent,
    )


def decode_dose(
    resource: JsonObject,
    *,
    key: DoseKey,
    patient: str | None,
    heard_at: datetime,
    codes: Codes,
    zone: ZoneInfo | None,
    context: Context,
) -> Dose:
    """The dose that a MedicationAdministration reports. ``zone``: the source's, for times without an offset."""
    when, time_problems = effective(resource, zone)
    dosage = next(members(resource, "dosage"), {})
    strength = strength_of(resource, context, codes)
    status = text(resource, "status")
    if envelope(resource).subject is None and reference(resource, "subject") is not None:
        patient = None
    inside = [found for ref in _reason_references(resource) if (found := contained(resource, ref)) is not None]
    problems = [
        *time_problems,
        *([Reason.PATIENT_UNRESOLVED] if patient is None else []),
        *([Reason.IMPLICIT_RULES] if text(resource, "implicitRules") else []),
        *([Reason.MODIFIER_UNKNOWN] if _has_modifier(resource) else []),
        *([Reason.NOT_GIVEN_METHOD] if was_not_given(dosage, codes) else []),
        *([Reason.STOPPED_PARTIAL_DOSE] if resource.get("isSubPotent") is True else []),
    ]
    return Dose(
        key=key,
        version=envelope(resource).version,
        status=status if status in STATUSES else "unknown",
        patient=patient,
        drug=drug_of(resource, context, codes),
        effective=when,
        heard_at=heard_at,
        route=route(dosage, codes),
        quantity=dose_quantity(dosage, strength, codes),
        rate_quantity=rate_quantity(dosage, strength, codes),
        category=next((coding.code for kind in members(resource, "category") for coding in codings(kind)), None),
        reasons=(*_reason_codings(resource), *_codes_of(inside)),
        encounter=_shortened(reference(resource, "encounter") or reference(resource, "context")),
        request=_shortened(reference(resource, "request")),
        part_of=tuple(short(ref) for part in members(resource, "partOf") if (ref := text(part, "reference"))),
        labels=tuple(_labels(resource)),
        reason_text=next((word for concept in _reason_concepts(resource) for word in words(concept)), None),
        conditions=tuple(
            dict.fromkeys(
                f"Condition/{id_}"
                for ref in _reason_references(resource)
                if (id_ := local_id(ref, "Condition", "")) is not None
            )
        ),
        context=_own(context, resource),
        problems=tuple(dict.fromkeys(problems)),
    )


def with_more_around(dose: Dose, resource: JsonObject, context: Context) -> Dose:
    """The dose that ``resource`` reports, with more known around it than when it was decoded: all but its medication,
    on which drug and amount depend."""
    return replace(dose, context=_own(context, resource))


def _own(context: Context, resource: JsonObject) -> Context:
    """The context, with what the administration itself says of places, persons and phases."""
    performers = [short(ref) for ref in _performers(resource)]
    return replace(
        context,
        location_ids=tuple(dict.fromkeys([*context.location_ids, *performers])),
        marks=(*context.marks, *marks_of(resource)),
    )


def _external(ref: str | None) -> str | None:
    return ref if ref is not None and not ref.startswith("#") else None


def _shortened(ref: str | None) -> str | None:
    return short(ref) if ref is not None else None


def _performers(resource: JsonObject) -> Iterator[str]:
    for performer in members(resource, "performer"):
        ref = _external(reference(performer, "actor"))
        if ref is not None:
            yield ref


def _reason_concepts(resource: JsonObject) -> Iterator[JsonObject]:
    yield from members(resource, "reasonCode")
    for reason in members(resource, "reason"):
        yield member(reason, "concept")


def _reason_codings(resource: JsonObject) -> Iterator[Coding]:
    for concept in _reason_concepts(resource):
        yield from codings(concept)


def _reason_references(resource: JsonObject) -> Iterator[str]:
    for element in members(resource, "reasonReference"):
        ref = text(element, "reference")
        if ref is not None:
            yield ref
    for element in members(resource, "reason"):
        ref = reference(element, "reference")
        if ref is not None:
            yield ref


def _labels(resource: JsonObject) -> Iterator[Coding]:
    for label in members(member(resource, "meta"), "security"):
        code = text(label, "code")
        if code is not None:
            yield Coding(system=text(label, "system") or "", code=code, display=text(label, "display"))


def _has_modifier(value: object) -> bool:
    """Whether a modifierExtension stands anywhere: it may turn the meaning of what we read into its opposite."""
    if isinstance(value, dict):
        return any(
            (name == "modifierExtension" and bool(inner)) or _has_modifier(inner) for name, inner in value.items()
        )
    return isinstance(value, list) and any(_has_modifier(element) for element in value)


def _codes_of(conditions: Sequence[JsonObject]) -> Iterator[Coding]:
    """What Conditions are about, without those that turned out not to be so."""
    for condition in conditions:
        status = {coding.code for coding in codings(member(condition, "verificationStatus"))}
        if not status & {"refuted", "entered-in-error"}:
            yield from codings(member(condition, "code"))


def _protocols(request: JsonObject) -> Iterator[str]:
    for canonical in (*texts(request, "instantiatesCanonical"), *texts(request, "instantiatesUri")):
        yield canonical
        if "|" in canonical:
            yield canonical.partition("|")[0]
    for tag in members(member(request, "meta"), "tag"):
        yield f"{text(tag, 'system') or ''}|{text(tag, 'code') or ''}"
    for based_on in members(request, "basedOn"):
        ref = text(based_on, "reference")
        if ref is not None:
            yield short(ref)


def _encounter_class(encounter: JsonObject | None) -> str | None:
    """R4: one Coding; R5: CodeableConcepts."""
    for kind in members(encounter, "class"):
        code = text(kind, "code") or next((coding.code for coding in codings(kind)), None)
        if code is not None:
            return code
    return None


def _own_references(resources: Sequence[JsonObject]) -> Iterator[str]:
    for resource in resources:
        type_, id_ = text(resource, "resourceType"), text(resource, "id")
        if type_ is not None and id_ is not None:
            yield f"{type_}/{id_}"


def _specialties(
    encounter: JsonObject | None, request: JsonObject | None, places: Sequence[JsonObject]
) -> Iterator[Coding]:
    for service in members(encounter, "serviceType"):
        yield from codings(service)
        yield from codings(member(service, "concept"))
    for performer in members(request, "performerType"):
        yield from codings(performer)
    for place in places:
        for specialty in members(place, "specialty"):
            yield from codings(specialty)


def _birth_date(said: str | None) -> date | None:
    """The birthday; the last possible one where only a year or month is known, so that nobody is made older."""
    try:
        known = parse_date(said or "").value
        if isinstance(known, tuple):
            year, month = known[0], known[1] or 12
            return date(year, month, monthrange(year, month)[1])
    except BadInput:
        return None
    return known


def _weight(observation: JsonObject | None, units: Mapping[str, str]) -> Decimal | None:
    quantity = member(observation, "valueQuantity")
    said = text(quantity, "code") or text(quantity, "unit") or ""
    value, factor = number(quantity, "value"), _KG_PER_UNIT.get(units.get(said.casefold(), said))
    return value * factor if value is not None and factor is not None else None
