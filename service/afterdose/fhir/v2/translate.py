"""A pharmacy administration message (RAS^O17) as MedicationAdministrations, by the table of ``mappings/v2``.

One resource an RXA. What is strict: who, when, whether it was given, and which administration it is; a message that
is wrong there is refused with the field at fault. What is tolerant: everything about the drug, its amount and its
surroundings, because an unclear dose belongs before a person and not back to the sender.
"""

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from afterdose.core.errors import BadInput, Problem
from afterdose.fhir.decode.administration import TYPE
from afterdose.fhir.v2 import elements
from afterdose.fhir.v2.datatypes import Element, default_offset
from afterdose.fhir.v2.elements import Scene
from afterdose.fhir.v2.er7 import Message, Segment
from afterdose.fhir.v2.mapping import Action, Alternatives, FieldRef, V2Mapping

ID_PREFIX = "v2-"
ER7 = "x-application/hl7-v2+er7"
MOST_KEPT = 16_777_216
"""Every administration keeps the message that it came in: so many bytes may that be together."""
_ORIGINAL = "er7"
_CONTINUED = ("ADD", "DSC")


@dataclass(frozen=True, slots=True)
class Facility:
    """What a source knows that its messages may leave out: its time zone and the system of its patients' numbers."""

    zone: ZoneInfo | None = None
    patient_system: str | None = None


@dataclass(frozen=True, slots=True)
class Translation:
    """One administration: the resource, what is to be done with it, and the segment it came from (``RXA[2]``)."""

    resource: dict[str, Any]
    action: Action
    place: str

    @property
    def id(self) -> str:
        """The id of the resource."""
        return str(self.resource["id"])


def is_translated(resource_id: str) -> bool:
    """Whether an id was made here: then the source has no resource under it that could be read."""
    return resource_id.startswith(ID_PREFIX)


def without_message(resource: Mapping[str, Any]) -> dict[str, Any]:
    """A translated administration without the message that it came in and its control id: two may say the same."""
    meta = {name: value for name, value in resource.get("meta", {}).items() if name != "versionId"}
    others = [one for one in resource.get("contained", ()) if one.get("id") != _ORIGINAL]
    return {**resource, "meta": meta, "contained": others}


def translate(message: Message, mapping: V2Mapping, facility: Facility) -> tuple[Translation, ...]:
    """Every administration of a message, in its order. Raises BadInput with paths such as ``RXA[2]-3``."""
    _check_whole(message)
    _check_size(message)
    made = tuple(_translation(scene, message) for scene in _scenes(message, mapping, facility))
    if not made:
        raise BadInput(Problem("structure", "RXA", "there is no administration in this message"))
    places: dict[str, str] = {}
    for one in made:
        if places.setdefault(one.id, one.place) != one.place:
            text = f"has the identity of {places[one.id]}: its number (RXA-2) has to count"
            raise BadInput(Problem("duplicate", f"{one.place}-2", text))
    return made


def _check_whole(message: Message) -> None:
    """A part of a message (HL7 v2.9 section 2.10.2) may say something else than the whole. Raises BadInput.

    Some senders write something of their own into MSH-14; a continuation repeats neither patient nor order.
    """
    names = {segment.name for segment in message.segments}
    if message.header.text(14) is not None and not {"PID", "ORC"} <= names:
        raise BadInput(Problem("structure", "MSH-14", "continues another message: messages are taken whole"))
    for segment in message.segments:
        if segment.name in _CONTINUED:
            text = "says that the message is continued: messages are taken whole"
            raise BadInput(Problem("structure", segment.name, text))


def _check_size(message: Message) -> None:
    """Raises BadInput where what would be kept is out of all proportion to the message."""
    count = sum(segment.name == "RXA" for segment in message.segments)
    if count * len(message.raw) > MOST_KEPT:
        text = "has too many administrations for its size: send it in parts, or without what is large in it"
        raise BadInput(Problem("too-costly", f"RXA[{count}]", text))


def _scenes(message: Message, mapping: V2Mapping, facility: Facility) -> Iterator[Scene]:
    offset = default_offset(message.header.text(7), facility.zone)
    for segments in _administrations(message):
        yield Scene(segments, mapping, facility.zone, facility.patient_system, offset)


def _administrations(message: Message) -> Iterator[Mapping[str, Segment]]:
    """The segments that each RXA stands among, by name.

    What comes before the first ORC is about all orders; what comes between ORC and RXA is about the order. RXR, and
    segments of the sender's own, follow the RXAs that they are about.
    """
    common: dict[str, Segment] = {}
    order: dict[str, Segment] = common
    group: list[dict[str, Segment]] = []
    done: list[dict[str, Segment]] = []
    for segment in message.segments:
        if segment.name in ("PID", "PV1") and segment.name in common:
            second = f"{segment.name}[{segment.number}]"
            raise BadInput(Problem("structure", second, "is a second one, and a message is about one patient"))
        if segment.name == "ORC":
            order, group = {**common, "ORC": segment}, []
        elif segment.name == "RXA":
            if "ORC" not in order:
                raise BadInput(Problem("structure", "ORC", "is missing before the first RXA"))
            if group and "RXR" in group[-1] and group[-1]["RXR"] is not order.get("RXR"):
                group = []
            administration = {**order, "RXA": segment}
            group.append(administration)
            done.append(administration)
        elif group:
            for administration in group:
                administration[segment.name] = segment
        else:
            order.setdefault(segment.name, segment)
    yield from done


def _translation(scene: Scene, message: Message) -> Translation:
    rxa = scene.segments["RXA"]
    place = f"RXA[{rxa.number}]"
    action = elements.action(scene)
    resource: dict[str, Any] = {"resourceType": TYPE, "id": _id(scene, place)}
    for row in scene.mapping.rows:
        for path, value in elements.RULES[row.rule](scene, row).items():
            _put(resource, path or row.element, value)
    if action is Action.DELETE:
        resource["status"] = "entered-in-error"
    _check(resource, place)
    binary = {"resourceType": "Binary", "id": _ORIGINAL, "contentType": ER7, "data": b64encode(message.raw).decode()}
    resource.setdefault("contained", []).append(binary)
    resource["supportingInformation"] = [{"reference": f"#{_ORIGINAL}"}]
    return Translation(resource, action, place)


def _id(scene: Scene, place: str) -> str:
    """The same administration has the same id in every message about it: a digest of what the table names."""
    said = []
    for alternatives in scene.mapping.identity:
        value = scene.first(alternatives)
        if value is None and not any(ref.segment == "RXA" for ref in alternatives):
            text = f"{' or '.join(map(str, alternatives))} is needed to tell doses apart"
            raise BadInput(Problem("required", _where(alternatives, place, scene), text))
        said.append(value or "")
    if not any(value for value, each in zip(said, scene.mapping.identity, strict=True) if each[0].segment == "RXA"):
        raise BadInput(Problem("required", f"{place}-2", "is needed to tell the doses of one order apart"))
    return ID_PREFIX + hashlib.sha256("\x1f".join(said).encode()).hexdigest()[:40]


def _where(alternatives: Alternatives, place: str, scene: Scene) -> str:
    first: FieldRef = alternatives[0]
    if first.segment == "RXA":
        return f"{place}-{first.field}"
    number = scene.segments[first.segment].number if first.segment in scene.segments else 1
    return f"{first.segment}[{number}]-{first.field}"


def _put(resource: dict[str, Any], path: str, value: Element | list[Any] | str) -> None:
    """Set ``dosage.route``, or append to ``identifier[]``."""
    *above, last = path.split(".")
    for name in above:
        resource = resource.setdefault(name, {})
    if last.endswith("[]"):
        resource.setdefault(last[:-2], []).append(value)
    else:
        resource[last] = value


def _check(resource: Mapping[str, Any], place: str) -> None:
    """What no administration may lack, whatever the site's table says; a withdrawn one needs no time and no drug."""
    withdrawn = resource["status"] == "entered-in-error"
    if "subject" not in resource:
        raise BadInput(Problem("required", "PID-3", "has no number of the patient that could be looked up"))
    if not withdrawn and not any(f"effective{kind}" in resource for kind in ("DateTime", "Period")):
        raise BadInput(Problem("required", f"{place}-3", "is missing: when was it given?"))
    if not withdrawn and not any(f"medication{kind}" in resource for kind in ("CodeableConcept", "Reference")):
        raise BadInput(Problem("required", f"{place}-5", "is missing: what was given?"))
