"""Who the patients of an input are: merged records as one person, records out of use, deaths. Pure."""

from datetime import datetime
from zoneinfo import ZoneInfo

from afterdose.core.links import Link, survivor
from afterdose.core.person import Person
from afterdose.core.reasons import Reason
from afterdose.fhir.decode.offline import Pool
from afterdose.fhir.decode.person import PersonSaid, read_person
from afterdose.fhir.elements import text


class People:
    """What the Patients of an input say. ``now``: by when somebody has died where no time is said."""

    def __init__(self, pool: Pool, zone: ZoneInfo, now: datetime) -> None:
        self._now = now
        self._said: dict[str, PersonSaid] = {}
        links: set[Link] = set()
        for patient in pool.all("Patient"):
            id_ = text(patient, "id")
            if id_ is not None:
                said = self._said[id_] = read_person(patient, asked=id_, base_url="", zone=zone)
                links |= {(id_, one) for one in said.successors} | {(one, id_) for one in said.predecessors}
        self._survivors = {one: survivor(one, links) for link in links for one in link}

    def present(self, patient: str) -> str:
        """The patient whose record this one went up in; the same where that is not clear."""
        return self._survivors.get(patient) or patient

    def person(self, patient: str) -> Person:
        """What is said of a patient."""
        said = self._said.get(patient, PersonSaid())
        hold = None if said.active else Reason.PATIENT_INACTIVE
        if self._survivors.get(patient, patient) is None:
            hold = Reason.PATIENT_LINKS_UNCLEAR
        return Person(hold=hold, died_by=(said.died_by or self._now) if said.deceased else None)
