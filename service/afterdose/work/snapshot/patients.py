"""Whose dose it is, where the sender knows the patient by a number only: the EHR is asked who carries it.

HL7 v2 names patients by numbers, and so do FHIR senders with logical references. The one Patient with that identifier
is the answer; none, or several, is a person's business. An answer serves for a day, because charts are merged.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from afterdose.core.errors import EhrRefused
from afterdose.ehr.client import EhrClient
from afterdose.fhir import strict_json
from afterdose.fhir.elements import member, text
from afterdose.store.readings import Readings
from afterdose.store.rows import Arrival, Claim, Fact, Reading

KEPT_FOR = timedelta(hours=24)

_PATIENT = "Patient"
_FOUND = "(patient found)"
"""In the place of a version; FHIR's versions have neither blanks nor parentheses."""


@dataclass(frozen=True, slots=True)
class Patients:
    """Looks patients up in the EHR of a source, and remembers who was found."""

    readings: Readings
    clock: Callable[[], datetime]

    def id_of(
        self, resource: Mapping[str, object], source: str, client: EhrClient, claim: Claim, hold: Callable[[], None]
    ) -> str | None:
        """The id of the Patient whom ``subject.identifier`` names, None where the EHR does not know for sure.

        Raises EhrUnavailable.
        """
        said = member(member(resource, "subject"), "identifier")
        system, value = text(said, "system"), text(said, "value")
        if system is None or value is None:
            return None
        place = f"identifier:{sha256(f'{system}|{value}'.encode()).hexdigest()}"
        known = self.readings.find(source, _PATIENT, place)
        if known is not None and known.read_at >= self.clock() - KEPT_FOR:
            return text(strict_json.loads(known.raw), "id")
        hold()
        try:
            found = client.find_by_identifier(_PATIENT, system, value)
        except EhrRefused:
            return None
        living = [one for one in found if one.get("active") is not False and not _was_replaced(one)]
        if len(living) != 1 or (id_ := text(living[0], "id")) is None:
            return None
        raw = strict_json.dumps({"resourceType": _PATIENT, "id": id_})
        reading = Reading(source=source, resource_type=_PATIENT, resource_id=place, read_at=self.clock(), raw=raw)
        self.readings.keep(claim, reading)
        return id_


def finding(fact: Fact, patient: str) -> Arrival:
    """That a dose is this patient's, to be stored beside the facts that do not say it."""
    return Arrival(
        source=fact.source,
        resource_id=fact.resource_id,
        target=fact.target,
        patient=patient,
        via="read",
        version=_FOUND,
        last_updated=fact.last_updated,
        raw=fact.raw,
    )


def is_finding(fact: Fact) -> bool:
    """Whether a fact only says whose dose it is: it is no version of the dose."""
    return fact.via == "read" and fact.version == _FOUND


def with_patient(resource: Mapping[str, Any], patient: str) -> dict[str, Any]:
    """The resource with a reference to the patient who was found."""
    return {**resource, "subject": {**member(resource, "subject"), "reference": f"{_PATIENT}/{patient}"}}


def is_nobody(claim: Claim) -> bool:
    """Whether the claim is for a dose whose patient was not known."""
    return claim.patient.startswith("~")


def _was_replaced(patient: Mapping[str, Any]) -> bool:
    links = patient.get("link")
    return isinstance(links, list) and any(text(link, "type") == "replaced-by" for link in links)
