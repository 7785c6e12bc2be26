"""Doses and orders with what hangs on them: only what can change a decision is asked for, in the order of deciding.

First what drug it is; for another drug nothing more. Then what speaks for psychiatric use or against it: the request,
the encounter, their reasons, places and performers. Where that leaves the dose eligible or to a person: what makes
one careful, which is the patient, the problem list, procedures, a consent where the clinic wants one, and the body
weight where the dose is bounded by it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from afterdose.core.care import local_day
from afterdose.core.clinic import Clinic
from afterdose.core.codes import Codes
from afterdose.core.dose import Context, Dose, Family, Happening
from afterdose.core.eligibility import assess
from afterdose.core.needs import anaesthesia_span, needs_context, needs_weight
from afterdose.core.protocol import Protocol, Rules
from afterdose.core.reasons import Eligibility
from afterdose.core.session import begins
from afterdose.ehr.wire import Parameters, token
from afterdose.fhir.decode import accepted
from afterdose.fhir.decode.administration import TYPE, subject_of
from afterdose.fhir.decode.around import happenings
from afterdose.fhir.decode.dose import RelatedReferences, references_of, with_more_around
from afterdose.fhir.decode.effective import effective
from afterdose.fhir.decode.medication import drug_of
from afterdose.fhir.elements import members, reference, text
from afterdose.fhir.times import format_instant
from afterdose.work.snapshot.related import Related
from afterdose.work.source import Resource

KEPT_FOR = timedelta(hours=24)
"""How long what is known of a person serves; births do not move, deaths and problem lists do."""
PER_PAGE = "100"
_WHEN = ("effective-time", "date")
"""The search parameter for the time of an administration, in R4 and in R5."""
_REQUESTS = ("MedicationRequest", "ServiceRequest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the site has decided, as far as it says what is worth asking for."""

    codes: Codes
    protocols: Mapping[Family, Protocol]
    clinic_for: Callable[[str, tuple[Dose, ...]], Clinic]
    clock: Callable[[], datetime]

    def dose(
        self, resource: Resource, decode: Callable[[Context], Dose], related: Related, *, target: str, since: datetime
    ) -> Dose:
        """The dose with its context. ``since``: when the newest hint about it came.

        Raises EhrUnavailable where the source does not answer now.
        """
        status, hanging = text(resource, "status"), references_of(resource)
        if not needs_context(drug_of(resource, Context(), self.codes), status):
            return decode(Context())
        medication = related.find(hanging.medication, "Medication", since=since)
        if not needs_context(drug_of(resource, Context(medication=medication), self.codes), status):
            return decode(Context(medication=medication))
        request = related.find(hanging.request, *_REQUESTS, since=since)
        found = [medication, request, *_evidence(resource, hanging, request, related, since)]
        dose = decode(self._context(resource, related, found))
        rules, clinic = self._rules(dose, target), self.clinic_for(target, (dose,))
        judged = assess([dose], rules=rules, codes=self.codes, clinic=clinic, day=None)
        if judged.eligibility is Eligibility.NOT_ELIGIBLE:
            return dose
        more = self._cautions(subject_of(resource.get("subject")), clinic, related)
        if needs_weight(dose, rules):
            more += self._weights(related)
        beside = self._anaesthetics(resource, anaesthesia_span(dose, rules), related, since)
        if not more and not beside:
            return dose
        whole = replace(self._context(resource, related, [*found, *more]), anaesthetics=beside)
        return with_more_around(dose, resource, whole)

    def of_order(self, order: Resource, related: Related, *, target: str, since: datetime) -> list[Resource]:
        """What hangs on an order, or on a booked visit, of ketamine or esketamine.

        Raises EhrUnavailable where the source does not answer now.
        """
        based = related.several((text(one, "reference") for one in members(order, "basedOn")), *_REQUESTS, since=since)
        request = next(iter(based), None) if text(order, "resourceType") == "Appointment" else order
        patient = accepted.patient_of(order, base_url=related.source.base_url)
        clinic = self.clinic_for(target, ())
        found = [*based, *_evidence(order, references_of(order), request, related, since)]
        return [*found, *self._cautions(f"Patient/{patient}", clinic, related)]

    def _context(self, resource: Resource, related: Related, found: list[Resource | None]) -> Context:
        pool = related.pool(resource, *found)
        known = pool.find(f"{TYPE}/{resource.get('id')}", TYPE)
        when, _ = effective(resource, related.source.zone)
        until = when.end or when.start or self.clock()
        return pool.context(known or resource, self.codes, related.source.zone, until=until)

    def _rules(self, dose: Dose, target: str) -> Rules:
        protocol = self.protocols[dose.drug.family or min(self.protocols)]
        return protocol.rules_on(local_day(begins(dose) or dose.heard_at, self.clinic_for(target, (dose,))))

    def _cautions(self, subject: str | None, clinic: Clinic, related: Related) -> list[Resource]:
        """The person, the problem list, what else was done, and the consents where the clinic wants one."""
        since = self.clock() - KEPT_FOR
        patient = related.find(subject, "Patient", since=since)
        types = ["Condition", "Procedure", *(["Consent"] if clinic.consent_required else [])]
        found = [one for type_ in types for one in related.about(type_, {"_count": PER_PAGE}, since=since)]
        return [*([patient] if patient is not None else []), *found]

    def _anaesthetics(
        self, resource: Resource, span: tuple[datetime, datetime] | None, related: Related, since: datetime
    ) -> tuple[Happening, ...]:
        """The drugs of anaesthesia that the patient was given in ``span``; of the others nothing is kept."""
        ways = related.declared(TYPE, _WHEN) if span is not None else []
        if span is None or not ways:
            return ()
        about_then = (f"ge{format_instant(span[0])}", f"le{format_instant(span[1])}")
        query: Parameters = {ways[0]: about_then, "_count": PER_PAGE}
        found = related.about(TYPE, query, since=since, only=self._may_be_anaesthetic)
        given = (one for one in found if one.get("id") != resource.get("id"))
        sure = [one for one in given if self._is_anaesthetic(one, related, since)]
        return tuple(happenings(sure, related.source.zone))

    def _may_be_anaesthetic(self, resource: Resource) -> bool:
        drug = drug_of(resource, Context(), self.codes)
        return drug.anaesthetic or drug.unresolved

    def _is_anaesthetic(self, resource: Resource, related: Related, since: datetime) -> bool:
        medication = related.find(references_of(resource).medication, "Medication", since=since)
        return drug_of(resource, Context(medication=medication), self.codes).anaesthetic

    def _weights(self, related: Related) -> list[Resource]:
        wanted = self.codes.outbound.get("body-weight", ())
        if not wanted:
            return []
        code = ",".join(token(one.system, one.code) for one in wanted)
        query = {"code": code, "_sort": "-_lastUpdated", "_count": PER_PAGE}
        return related.about("Observation", query, since=self.clock() - KEPT_FOR)


def _evidence(
    resource: Resource, hanging: RelatedReferences, request: Resource | None, related: Related, since: datetime
) -> list[Resource]:
    """The encounter and its episode, the reasons, the places and the roles of a dose, an order or a visit."""
    within = reference(resource, "encounter") or reference(resource, "context")
    encounter = related.find(hanging.encounter, "Encounter", since=since)
    reasons = [*hanging.reasons, *(references_of(request).reasons if request is not None else ())]
    places = [reference(stay, "location") for stay in members(encounter, "location")]
    places += [reference(one, "actor") for one in members(resource, "participant")]
    roles = [*hanging.performers, reference(request, "requester")]
    roles += [text(one, "reference") for one in members(request, "performer")]
    episodes = [within, *(text(one, "reference") for one in members(encounter, "episodeOfCare"))]
    return [
        *([encounter] if encounter is not None else []),
        *related.several(reasons, "Condition", since=since),
        *related.several(places, "Location", since=since),
        *related.several([*roles, *places], "PractitionerRole", since=since),
        *related.several(episodes, "EpisodeOfCare", since=since),
    ]
