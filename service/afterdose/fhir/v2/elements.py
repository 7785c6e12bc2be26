"""The rules of the v2 table: each makes of the fields of a row the elements that it is about.

Every rule returns elements by path, "" standing for the row's own ``element``; nothing where nothing is said.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

from afterdose.core.errors import BadInput, Problem
from afterdose.fhir.references import is_id
from afterdose.fhir.v2.datatypes import (
    Element,
    assigner_system,
    concept,
    fhir_time,
    identifier,
    instant,
    number,
    per_time,
    quantity,
)
from afterdose.fhir.v2.er7 import Repetition, Segment, part
from afterdose.fhir.v2.mapping import Action, Alternatives, FieldRef, Row, Rule, V2Mapping

Made = Mapping[str, Any]

_MEDICATION = "medication"
_ENCOUNTER = "encounter"
_LONGEST_WORDS = 500


@dataclass(frozen=True, slots=True)
class Scene:
    """One RXA among its segments. ``offset``: the message's own, for times without one."""

    segments: Mapping[str, Segment]
    mapping: V2Mapping
    zone: ZoneInfo | None
    patient_system: str | None
    offset: str | None

    def repetitions(self, ref: FieldRef) -> tuple[Repetition, ...]:
        """The repetitions of a field that say something."""
        segment = self.segments.get(ref.segment)
        return segment.repetitions(ref.field) if segment is not None else ()

    def field(self, alternatives: Alternatives) -> Repetition:
        """The first repetition of the first alternative that says something."""
        return next((found[0] for ref in alternatives if (found := self.repetitions(ref))), ())

    def first(self, alternatives: Alternatives) -> str | None:
        """The value that the first alternative that has one names."""
        values = (part(next(iter(self.repetitions(ref)), ()), ref.component, ref.subcomponent) for ref in alternatives)
        return next((value for value in values if value is not None), None)

    def path(self, alternatives: Alternatives) -> str:
        """The place of a field in the message: ``RXA[2]-3``."""
        ref = next((ref for ref in alternatives if self.repetitions(ref)), alternatives[0])
        segment = self.segments.get(ref.segment)
        return f"{ref.segment}[{segment.number if segment is not None else 1}]-{ref.field}"


def action(scene: Scene) -> Action:
    """What is to be done with the administration, from the second field of the status row."""
    row = next(row for row in scene.mapping.rows if row.rule is Rule.STATUS)
    said = (scene.first(row.fields[1]) or "").casefold()
    if not said:
        return scene.mapping.action_when_absent
    if said not in scene.mapping.actions:
        raise BadInput(Problem("code-invalid", scene.path(row.fields[1]), "is not an action that the table knows"))
    return scene.mapping.actions[said]


def _status(scene: Scene, row: Row) -> Made:
    """Completion (RXA-20), action (RXA-21), rate (RXA-12) and end (RXA-4)."""
    completion, _, rate, end = row.fields
    said, mapping = (scene.first(completion) or "").casefold(), scene.mapping
    if said and said not in mapping.completion:
        raise BadInput(Problem("code-invalid", scene.path(completion), "is not a status that the table knows"))
    if said:
        return {"": mapping.completion[said]}
    running = scene.first(rate) is not None and scene.first(end) is None
    return {"": mapping.status_while_running if running else mapping.status_when_absent}


def _subject(scene: Scene, row: Row) -> Made:
    """The patient's number by which the EHR can be asked: the first of the wanted types."""
    (alternatives,) = row.fields
    found = [each for ref in alternatives for each in scene.repetitions(ref) if part(each) is not None]
    for kind in scene.mapping.identifier_types:
        for each in found:
            if (part(each, 5) or "") == kind:
                system = assigner_system(each, scene.mapping.assigners, scene.patient_system)
                return {"": {"type": "Patient", "identifier": identifier(each, system, scene.mapping)}}
    return {}


def _encounter(scene: Scene, row: Row) -> Made:
    """A contained Encounter with number (PV1-19), class (PV1-2) and place (PV1-3)."""
    visit, class_, place = (scene.field(alternatives) for alternatives in row.fields)
    mapping = scene.mapping
    encounter: Element = {}
    if part(visit) is not None:
        encounter["identifier"] = [identifier(visit, None, mapping)]
    code = mapping.classes.get(part(class_) or "")
    if code is not None:
        encounter["class"] = {"system": mapping.class_system, "code": code}
    if part(place) is not None:
        encounter["location"] = [{"location": _location(place, mapping)}]
    if not encounter:
        return {}
    made = {"resourceType": "Encounter", "id": _ENCOUNTER, "status": "unknown", **encounter}
    return {"contained[]": made, "": {"reference": f"#{_ENCOUNTER}"}}


def _location(place: Repetition, mapping: V2Mapping) -> Element:
    """The Location that the site names for a point of care, alone or as ``FACILITY/POINT``; else only its name."""
    point, facility = str(part(place)), part(place, 4)
    for name in (f"{facility}/{point}", point):
        if name in mapping.locations:
            return {"reference": mapping.locations[name]}
    return {"identifier": {"value": point}}


def _medication(scene: Scene, row: Row) -> Made:
    """The drug (RXA-5); as a contained Medication where its strength (RXA-13/14 in RXA-23/24) is said too."""
    drug = concept(scene.field(row.fields[0]), scene.mapping, row.table)
    if not drug:
        return {}
    strength = _strength(scene, row)
    if not strength:
        return {"medicationCodeableConcept": drug}
    ingredient = {"itemCodeableConcept": drug, "isActive": True, "strength": strength}
    medication = {"resourceType": "Medication", "id": _MEDICATION, "code": drug, "ingredient": [ingredient]}
    return {"contained[]": medication, "medicationReference": {"reference": f"#{_MEDICATION}"}}


def _strength(scene: Scene, row: Row) -> Element:
    """``50 mg`` in ``1 mL``, also as ``50`` of ``mg/mL``."""
    amount, per = number(scene.first(row.fields[1])), number(scene.first(row.fields[3]))
    unit, per_unit = scene.field(row.fields[2]), scene.field(row.fields[4])
    if amount is None or not unit:
        return {}
    above, _, below = (part(unit) or "").partition("/")
    if below and per is None and not per_unit:
        return {
            "numerator": quantity(amount, ((above,),), scene.mapping),
            "denominator": quantity(Decimal(1), ((below,),), scene.mapping),
        }
    if per is None or not per or not per_unit:
        return {}
    return {
        "numerator": quantity(amount, unit, scene.mapping),
        "denominator": quantity(per, per_unit, scene.mapping),
    }


def _time(scene: Scene, row: Row) -> Made:
    """Start (RXA-3) and end (RXA-4): one moment where they are the same or there is no end."""
    said = [scene.first(alternatives) for alternatives in row.fields]
    start, end = (
        fhir_time(text, scene.path(alternatives), scene.offset) if text is not None else None
        for text, alternatives in zip(said, row.fields, strict=True)
    )
    if start is None:
        return {}
    running = scene.mapping.status_while_running == _status_of(scene)
    if (end is None and not running) or end == start:
        return {"effectiveDateTime": start}
    return {"effectivePeriod": {"start": start, **({"end": end} if end is not None else {})}}


def _status_of(scene: Scene) -> object:
    row = next(row for row in scene.mapping.rows if row.rule is Rule.STATUS)
    return _status(scene, row)[""]


def _amount(scene: Scene, row: Row) -> Made:
    """The dose (RXA-6/7); a rate where RXA-12 says in which time; words where RXA-6 is no number."""
    said, unit, per = scene.first(row.fields[0]), scene.field(row.fields[1]), scene.first(row.fields[2])
    if said is None or (not unit and said in scene.mapping.unknown_amounts):
        return {}
    value = number(said)
    if value is None:
        return {f"{row.element}.text": " ".join([said, part(unit) or ""]).strip()[:_LONGEST_WORDS]}
    dose = quantity(value, unit, scene.mapping)
    if per is None:
        return {f"{row.element}.dose": dose}
    time = per_time(per, scene.mapping)
    if not time:
        return {f"{row.element}.text": f"{said} {part(unit) or ''} per {per}"[:_LONGEST_WORDS]}
    return {f"{row.element}.rateRatio": {"numerator": dose, "denominator": time}}


def _concept(scene: Scene, row: Row) -> Made:
    made = concept(scene.field(row.fields[0]), scene.mapping, row.table)
    return {"": made} if made else {}


def _concepts(scene: Scene, row: Row) -> Made:
    """All repetitions."""
    said = [each for ref in row.fields[0] for each in scene.repetitions(ref)]
    made = [found for each in said if (found := concept(each, scene.mapping, row.table))]
    return {"": made} if made else {}


def _identifier(scene: Scene, row: Row) -> Made:
    """An order number, with ``table`` as its type (PLAC, FILL)."""
    said = scene.field(row.fields[0])
    value = part(said)
    if value is None:
        return {}
    system = scene.mapping.table_system.replace("{table}", "0203")
    return {"": {"type": {"coding": [{"system": system, "code": row.table}]}, "value": value}}


def _performer(scene: Scene, row: Row) -> Made:
    """Who gave it, by the number of an XCN; names of staff are not kept."""
    value = part(scene.field(row.fields[0]))
    return {"": {"actor": {"type": "Practitioner", "identifier": {"value": value}}}} if value is not None else {}


def _note(scene: Scene, row: Row) -> Made:
    """The words of a CWE (RXA-9)."""
    said = scene.field(row.fields[0])
    words = part(said, 2) or part(said)
    return {"": {"text": words}} if words is not None else {}


def _version(scene: Scene, row: Row) -> Made:
    """The control id of the message as a version; one that is no id in FHIR becomes its digest."""
    said = scene.first(row.fields[0])
    if said is None:
        return {}
    return {"": said if is_id(said) else sha256(said.encode()).hexdigest()}


def _updated(scene: Scene, row: Row) -> Made:
    """When the message was made, where that is exact."""
    moment = instant(scene.first(row.fields[0]), scene.zone)
    return {"": moment} if moment is not None else {}


RULES: Mapping[Rule, Callable[[Scene, Row], Made]] = {
    Rule.STATUS: _status,
    Rule.SUBJECT: _subject,
    Rule.ENCOUNTER: _encounter,
    Rule.MEDICATION: _medication,
    Rule.TIME: _time,
    Rule.AMOUNT: _amount,
    Rule.CONCEPT: _concept,
    Rule.CONCEPTS: _concepts,
    Rule.IDENTIFIER: _identifier,
    Rule.PERFORMER: _performer,
    Rule.NOTE: _note,
    Rule.VERSION: _version,
    Rule.UPDATED: _updated,
}
