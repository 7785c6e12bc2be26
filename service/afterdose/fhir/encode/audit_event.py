"""Entries of our audit as FHIR R4 AuditEvents, in the shape of IHE BALP (Basic Audit Log Patterns, 1.1.3).

https://profiles.ihe.net/ITI/BALP/: who did what to which resource of which patient, and how it ended; never what the
resource holds. The hashes of the chain stand in ``entity.detail``.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from afterdose.fhir.times import format_instant

Action = Literal["C", "R", "U", "D", "E"]

_BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
_PROFILES = {"C": "PatientCreate", "R": "PatientRead", "U": "PatientUpdate", "D": "PatientDelete", "E": "PatientQuery"}
_INTERACTIONS = {"C": "create", "R": "read", "U": "update", "D": "delete", "E": "search"}
_HL7 = "http://terminology.hl7.org/CodeSystem/"
_DICOM = "http://dicom.nema.org/resources/ontology/DCM"
_SUCCESS, _FAILURE = "0", "8"


def audit_event(
    *,
    at: datetime,
    actor: str,
    action: Action,
    entity: tuple[str, str | None],
    succeeded: bool,
    outcome: str,
    target: str | None,
    patient: str | None,
    hashes: Mapping[str, str],
) -> dict[str, object]:
    """One AuditEvent. ``entity``: type and id of the resource; ``target``: the settings' name of the EHR."""
    type_, id_ = entity
    data: dict[str, object] = {
        "what": {"reference": f"{type_}/{id_}"} if id_ is not None else {"type": type_},
        "type": {"system": f"{_HL7}audit-entity-type", "code": "2", "display": "System Object"},
        "role": {"system": f"{_HL7}object-role", "code": "4", "display": "Domain Resource"},
        "detail": [{"type": name, "valueString": value} for name, value in hashes.items()],
    }
    entities = [data]
    if patient is not None:
        person: dict[str, object] = {
            "what": {"reference": f"Patient/{patient}"},
            "type": {"system": f"{_HL7}audit-entity-type", "code": "1", "display": "Person"},
            "role": {"system": f"{_HL7}object-role", "code": "1", "display": "Patient"},
        }
        entities.append(person)
    return {
        "resourceType": "AuditEvent",
        "meta": {"profile": [f"{_BALP}{_PROFILES[action]}"]},
        "type": {"system": f"{_HL7}audit-event-type", "code": "rest", "display": "RESTful Operation"},
        "subtype": [{"system": "http://hl7.org/fhir/restful-interaction", "code": _INTERACTIONS[action]}],
        "action": action,
        "recorded": format_instant(at),
        "outcome": _SUCCESS if succeeded else _FAILURE,
        "outcomeDesc": outcome,
        "agent": [_agent("110153", "Source Role ID", actor, requestor=True)]
        + ([_agent("110152", "Destination Role ID", target, requestor=False)] if target is not None else []),
        "source": {"observer": {"display": "afterdose"}},
        "entity": entities,
    }


def _agent(code: str, display: str, who: str, *, requestor: bool) -> dict[str, object]:
    type_ = {"coding": [{"system": _DICOM, "code": code, "display": display}]}
    return {"type": type_, "who": {"display": who}, "requestor": requestor}
