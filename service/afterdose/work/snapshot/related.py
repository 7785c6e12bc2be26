"""What hangs on the doses and orders of one patient at one source: orders, encounters, places, the person.

What was pushed serves like what was read. Where the source can be read, whatever is older than the newest hint is read
again and kept with its time; it then serves until a newer hint. A failed read keeps what was last known, and a source
that cannot be read leaves what was pushed. Everything is bounded, so that a dose costs a constant number of calls.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from afterdose.core.errors import EhrGone, EhrRefused, EhrUnavailable
from afterdose.ehr.client import EhrClient
from afterdose.ehr.interactions import Interaction
from afterdose.ehr.wire import Parameters
from afterdose.fhir.decode.offline import Entry, Pool
from afterdose.fhir.elements import member, members, reference
from afterdose.fhir.references import local_id, patient_id
from afterdose.store.rows import Arrival, Claim, Fact, Reading
from afterdose.store.store import Store
from afterdose.work.snapshot.remembered import Known, Remembered
from afterdose.work.source import Resource, Source

Counts = Callable[[Resource], bool]

MOST_REFERENCES = 5
"""So many references of one kind are followed for one dose."""
MOST_PAGES = 3
"""So many pages of a search are read."""

_PATIENT = "Patient"
_GONE = 410
_TRIES = 3
"""So often a patient is put off for the sake of what a plan can do without."""
_NOT_FOUND = 404
_ASKED_WITHOUT_A_PROMISE = frozenset({"Encounter", "Medication", "MedicationRequest", "Patient"})
"""Read also where the source's CapabilityStatement does not speak of them: little can be decided without."""


class Related:
    """The resources of one source around one claimed patient."""

    def __init__(
        self,
        source: Source,
        facts: Iterable[Fact],
        *,
        store: Store,
        claim: Claim,
        patients: Sequence[str],
        hold: Callable[[], None],
        clock: Callable[[], datetime],
    ) -> None:
        """``patients``: the ids of the claimed patient, the present one first."""
        self.source = source
        self.persons_read = False
        self._remembered = Remembered(source, facts, store, clock)
        self._store = store
        self._claim = claim
        self._patients = patients
        self._hold = hold
        self._known: dict[tuple[str, str], Known] = {}

    def find(self, ref: str | None, *types: str, since: datetime) -> Resource | None:
        """The resource of one of ``types`` that a reference names, as heard of at ``since`` or later.

        Raises EhrUnavailable where the source does not answer now.
        """
        for type_ in types:
            id_ = local_id(ref, type_, self.source.base_url)
            if id_ is not None:
                return self._get(type_, id_, since)
        return None

    def several(self, refs: Iterable[str | None], *types: str, since: datetime) -> list[Resource]:
        """The same for some references, each once."""
        named = [ref for ref in dict.fromkeys(refs) if ref is not None]
        named = [ref for ref in named if any(local_id(ref, one, self.source.base_url) for one in types)]
        found = (self.find(ref, *types, since=since) for ref in named[:MOST_REFERENCES])
        return [resource for resource in found if resource is not None]

    def about(self, type_: str, parameters: Parameters, *, since: datetime, only: Counts = bool) -> list[Resource]:
        """What a search of the source answers about the patient. Resources about others are left out: there are
        servers that ignore parameters which they do not know. ``only`` those that count are kept."""
        return [
            one
            for patient in self._patients[:MOST_REFERENCES]
            for one in _found(self._searched(type_, patient, parameters, since, only)) or []
        ]

    def told(self, type_: str, parameters: Parameters, *, since: datetime) -> list[Resource] | None:
        """The same where an empty answer means something: None where the source has refused, or does not answer the
        third time either, and nothing is known from before. Raises EhrUnavailable the first times."""
        answers = [self._told(type_, patient, parameters, since) for patient in self._patients[:MOST_REFERENCES]]
        known = [answer for answer in answers if answer is not None]
        return [one for answer in known for one in answer] if len(known) == len(answers) else None

    def declared(self, type_: str, parameters: Iterable[str]) -> list[str]:
        """By which of ``parameters`` a patient's resources can be searched for, as declared. Raises EhrUnavailable."""
        try:
            can = self.source.client.capabilities() if self.source.client is not None else None
        except EhrRefused:
            return []
        return [name for name in parameters if can is not None and can.searches(type_, {"patient", name})]

    def pushed(self, *types: str) -> Iterator[Resource]:
        """What was sent to us of some types and was not deleted."""
        for place in self._remembered.sent("upsert", *types):
            known = self._known.get(place) or self._remembered.latest(*place)
            if known is not None and known.resource is not None:
                yield known.resource

    def deleted(self, *types: str) -> list[tuple[str, str]]:
        """Type and id of what was sent to us of some types and deleted since."""
        return list(self._remembered.sent("delete", *types))

    @property
    def readings(self) -> list[Reading]:
        """What was read so far, to be stored with its time."""
        return self._remembered.readings

    def met(self, *types: str) -> Iterator[Resource]:
        """What was sent to us or found of some types."""
        found = {(str(one["resourceType"]), str(one.get("id"))): one for one in self.pushed(*types)}
        found |= {
            place: known.resource
            for place, known in self._known.items()
            if place[0] in types and known.resource and not place[1].startswith("?")
        }
        yield from found.values()

    def pool(self, *resources: Resource | None) -> Pool:
        """The resources as one pool in which references of this server can be followed."""
        base = self.source.base_url.rstrip("/")
        return Pool(Entry(one, f"{base}/{one['resourceType']}/{one['id']}") for one in resources if one and "id" in one)

    def _told(self, type_: str, patient: str, parameters: Parameters, since: datetime) -> list[Resource] | None:
        try:
            return _found(self._searched(type_, patient, parameters, since))
        except EhrUnavailable:
            if self._claim.attempts < _TRIES:
                raise
            return _found(self._remembered.reading(*self._remembered.place(type_, patient, parameters)))

    def _searched(
        self, type_: str, patient: str, parameters: Parameters, since: datetime, only: Counts = bool
    ) -> Known | None:
        """What a search about a patient, under one of the ids, answered last."""
        client, place = self.source.client, self._remembered.place(type_, patient, parameters)
        if client is None or patient.startswith("~"):
            return None
        known = self._known.get(place) or self._remembered.reading(*place)
        if (known is None or known.at < since) and self._permits(client, type_, Interaction.SEARCH):
            self._hold()
            try:
                found = client.search(type_, {"patient": patient, **parameters}, most_pages=MOST_PAGES)
            except EhrRefused:
                known = self._remembered.keep(place, known.resource if known is not None else None)
            else:
                entries = [{"resource": one} for one in found if self._is_about(one, patient) and only(dict(one))]
                known = self._remembered.keep(place, {"resourceType": "Bundle", "type": "searchset", "entry": entries})
        if known is not None:
            self._known[place] = known
        return known

    def _get(self, type_: str, id_: str, since: datetime) -> Resource | None:
        place, client = (type_, id_), self.source.client
        known = self._known.get(place) or self._remembered.latest(type_, id_)
        if (
            client is not None
            and (known is None or known.at < since)
            and self._permits(client, type_, Interaction.READ)
        ):
            self._hold()
            self.persons_read = self.persons_read or type_ == _PATIENT
            try:
                resource: Resource | None = dict(self._ask(client, type_, id_))
            except EhrGone as gone:
                resource = None
                if type_ == _PATIENT and (gone.status == _GONE or self._was_read(id_)):
                    self._note_gone(id_)
            except EhrRefused:
                resource = known.resource if known is not None else None
            except EhrUnavailable as away:
                # a web page that says 404 is a proxy's, unless the server does not speak of such resources at all
                if away.status != _NOT_FOUND or self._declares(client, type_, Interaction.READ):
                    raise
                resource = None
            self._remembered.keep(place, resource)
            known = self._remembered.latest(type_, id_)
        if known is not None:
            self._known[place] = known
        return known.resource if known is not None else None

    def _ask(self, client: EhrClient, type_: str, id_: str) -> Mapping[str, object]:
        return client.read_patient(id_).resource if type_ == _PATIENT else client.read(type_, id_).resource

    def _was_read(self, patient: str) -> bool:
        """Whether the source had this Patient when it was last asked; some senders pass on what they do not serve."""
        reading = self._remembered.reading(_PATIENT, patient)
        return reading is not None and reading.resource is not None

    def _note_gone(self, patient: str) -> None:
        """Keep as a fact that there is no such Patient any more: a reading that fails says nothing of that kind."""
        gone = Arrival(
            source=self.source.name,
            resource_type=_PATIENT,
            resource_id=patient,
            target=self._claim.target,
            patient=patient,
            interaction="delete",
            via="read",
        )
        self._store.facts.record_read(self._claim, gone, known_to=self._patients)

    def _permits(self, client: EhrClient, type_: str, interaction: Interaction) -> bool:
        return type_ in _ASKED_WITHOUT_A_PROMISE or self._declares(client, type_, interaction)

    def _declares(self, client: EhrClient, type_: str, interaction: Interaction) -> bool:
        try:
            return client.capabilities().allows(type_, interaction)
        except EhrRefused:
            return False

    def _is_about(self, resource: Mapping[str, object], patient: str) -> bool:
        subject = reference(resource, "subject") or reference(resource, "patient")
        return patient_id(subject, base_url=self.source.base_url) == patient


def _found(known: Known | None) -> list[Resource] | None:
    if known is None or known.resource is None:
        return None
    return [dict(member(entry, "resource")) for entry in members(known.resource, "entry")]
