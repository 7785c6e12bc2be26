"""The doses that the benchmarks send: an infusion for a depression, charted in the EHR with all that hangs on it."""

from datetime import datetime, timedelta
from typing import Any

from ehr import Ehr

Resource = dict[str, Any]

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"


def a_dose(id_: str, patient: str, ended: datetime) -> Resource:
    """Forty minutes of ketamine that ended at `ended`."""
    return {
        "resourceType": "MedicationAdministration",
        "id": id_,
        "status": "completed",
        "medicationCodeableConcept": {"coding": [{"system": RXNORM, "code": "6130"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectivePeriod": {"start": (ended - timedelta(minutes=40)).isoformat(), "end": ended.isoformat()},
        "reasonCode": [{"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "F33.2"}]}],
        "dosage": {
            "route": {"coding": [{"system": "http://snomed.info/sct", "code": "47625008"}]},
            "dose": {"value": 35, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"},
        },
    }


def chart(ehr: Ehr, dose: Resource) -> None:
    """Put a dose and its patient into the EHR."""
    patient = dose["subject"]["reference"].partition("/")[2]
    ehr.put({"resourceType": "Patient", "id": patient, "birthDate": "1980-02-01"})
    ehr.put(dose)
