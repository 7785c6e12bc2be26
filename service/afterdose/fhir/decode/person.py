"""What a Patient says of the person and of the record (https://hl7.org/fhir/R4/patient.html). Pure and tolerant."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from afterdose.fhir.decode.effective import effective
from afterdose.fhir.elements import JsonObject, members, reference, text
from afterdose.fhir.references import patient_id


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonSaid:
    """``successors`` replaced this record, ``predecessors`` were replaced by it; ids of the same server.

    ``died_by``: the end of what deceasedDateTime may mean, None where it says no time, or none that can be read.
    """

    active: bool = True
    deceased: bool = False
    died_by: datetime | None = None
    successors: frozenset[str] = frozenset()
    predecessors: frozenset[str] = frozenset()


def read_person(patient: JsonObject, *, asked: str, base_url: str, zone: ZoneInfo | None) -> PersonSaid:
    """What is said of the patient whose id was ``asked`` for.

    A Patient of another id in answer means that this one is now the record of the person: large EHRs answer so after a
    merge (Epic: with the warning 4107), and it is worth as much as the link ``replaced-by``.
    """
    id_ = text(patient, "id")
    if id_ is not None and id_ != asked:
        return PersonSaid(successors=frozenset({id_}))
    said = text(patient, "deceasedDateTime")
    return PersonSaid(
        active=patient.get("active") is not False,
        deceased=patient.get("deceasedBoolean") is True or said is not None,
        died_by=effective({"effectiveDateTime": said}, zone)[0].end if said is not None else None,
        successors=_linked(patient, "replaced-by", base_url) - {asked},
        predecessors=_linked(patient, "replaces", base_url) - {asked},
    )


def _linked(patient: JsonObject, kind: str, base_url: str) -> frozenset[str]:
    """http://hl7.org/fhir/R4/valueset-link-type.html"""
    named = (reference(link, "other") for link in members(patient, "link") if text(link, "type") == kind)
    return frozenset(id_ for ref in named if (id_ := patient_id(ref, base_url=base_url)) is not None)
