"""Resources as EHRs send them, for tests through real commands. Times are wall-clock times in New York."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from click.testing import CliRunner, Result

from afterdose.cli import main

NEW_YORK = ZoneInfo("America/New_York")

_RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
_SNOMED = "http://snomed.info/sct"
KETAMINE = {"coding": [{"system": _RXNORM, "code": "6130"}]}
ESKETAMINE_NASAL = {"coding": [{"system": _RXNORM, "code": "2119390"}]}
FENTANYL = {"coding": [{"system": _RXNORM, "code": "4337"}]}
DEPRESSION = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "F33.2"}]}
ALCOHOL = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "F10.20"}]}
NASAL = {"coding": [{"system": _SNOMED, "code": "46713006"}]}
INTRAVENOUS = {"coding": [{"system": _SNOMED, "code": "47625008"}]}

Resource = dict[str, Any]


def at(wall: str, minutes: float = 0) -> str:
    """A wall-clock time, and minutes after it, as FHIR writes it with the offset of that day."""
    moment = datetime.fromisoformat(wall).replace(tzinfo=NEW_YORK)
    return (moment.astimezone(ZoneInfo("UTC")) + timedelta(minutes=minutes)).astimezone(NEW_YORK).isoformat()


def local(instant: str | None) -> str | None:
    """An instant of a report as a wall-clock time."""
    if instant is None:
        return None
    return f"{datetime.fromisoformat(instant).astimezone(NEW_YORK):%a %Y-%m-%d %H:%M}"


def milligrams(value: float) -> Resource:
    return {"value": value, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"}


def spray(id: str, start: str, *, minutes: float = 10, patient: str = "pat-1", **changes: Any) -> Resource:
    """84 mg of nasal esketamine."""
    return _without_none(
        {
            "resourceType": "MedicationAdministration",
            "id": id,
            "status": "completed",
            "medicationCodeableConcept": ESKETAMINE_NASAL,
            "subject": {"reference": f"Patient/{patient}"},
            "effectivePeriod": {"start": at(start), "end": at(start, minutes)},
            "dosage": {"route": NASAL, "dose": milligrams(84)},
        }
        | changes
    )


def infusion(id: str, start: str, *, minutes: float = 40, patient: str = "pat-1", **changes: Any) -> Resource:
    """35 mg of ketamine into a vein, for a depression."""
    return _without_none(
        {
            "resourceType": "MedicationAdministration",
            "id": id,
            "status": "completed",
            "category": {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/medication-admin-category",
                        "code": "outpatient",
                    }
                ]
            },
            "medicationCodeableConcept": KETAMINE,
            "subject": {"reference": f"Patient/{patient}"},
            "effectivePeriod": {"start": at(start), "end": at(start, minutes)},
            "reasonCode": [DEPRESSION],
            "dosage": {"route": INTRAVENOUS, "dose": milligrams(35)},
        }
        | changes
    )


def body_weight(kilograms: float, when: str, *, patient: str = "pat-1", **changes: Any) -> Resource:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": at(when),
        "valueQuantity": {"value": kilograms, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
    } | changes


def bundle(*resources: Resource, urls: dict[str, str] | None = None) -> Resource:
    """A collection; ``urls``: fullUrl by resource id."""
    entries = []
    for resource in resources:
        url = (urls or {}).get(resource.get("id", ""))
        entries.append(({"fullUrl": url} if url else {}) | {"resource": resource})
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def a_file(folder: Path, *resources: Resource, name: str = "input.ndjson") -> str:
    """The resources as a file: NDJSON where there are several."""
    path = folder / name
    path.write_text("\n".join(json.dumps(resource) for resource in resources), encoding="utf-8")
    return str(path)


def run(*arguments: str, text: str | None = None, env: dict[str, str] | None = None) -> Result:
    """The command as people run it."""
    return CliRunner().invoke(main, list(arguments), input=text, env=env)


def _without_none(resource: Resource) -> Resource:
    return {name: value for name, value in resource.items() if value is not None}
