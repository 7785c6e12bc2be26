"""A dose with what hangs on it: only what can change the decision is asked for, in the order in which it decides.

First what drug it is; for another drug nothing more. Then what speaks for psychiatric use or against it: the request,
the encounter, their reasons, places and performers. Where that leaves the dose eligible or to a person: what makes
one careful, which is the patient, the problem list, and the body weight where the dose is bounded by it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from afterdose.core.care import local_day
from afterdose.core.clinic import Clinic
from afterdose.core.codes import Codes
from afterdose.core.dose import Context, Dose, Family
from afterdose.core.eligibility import assess
from afterdose.core.needs import needs_context, needs_weight
from afterdose.core.protocol import Protocol, Rules
from afterdose.core.reasons import Eligibility
from afterdose.core.session import begins
from afterdose.ehr.wire import token
from afterdose.fhir.administration import TYPE, envelope
from afterdose.fhir.decode import references_of
from afterdose.fhir.effective import effective
from afterdose.fhir.elements import members, reference, text
from afterdose.fhir.medication import drug_of
from afterdose.work.related import Related, Resource

_KEPT_FOR = timedelta(hours=24)
"""How long what is known of a person serves; births do not move, deaths and problem lists do."""
_PER_PAGE = "100"


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
        found = [medication, *_evidence(resource, related, since)]
        dose = decode(self._context(resource, related, found))
        rules = self._rules(dose, target)
        if self._is_settled(dose, rules, target):
            return dose
        more = self._cautions(resource, dose, rules, related)
        return decode(self._context(resource, related, [*found, *more])) if more else dose

    def _context(self, resource: Resource, related: Related, found: list[Resource | None]) -> Context:
        pool = related.pool(resource, *found)
        known = pool.find(f"{TYPE}/{resource.get('id')}", TYPE)
        when, _ = effective(resource, related.source.zone)
        until = when.end or when.start or self.clock()
        return pool.context(known or resource, self.codes, related.source.zone, until=until)

    def _is_settled(self, dose: Dose, rules: Rules, target: str) -> bool:
        """Whether nothing that could still be learnt makes a plan of it."""
        clinic = self.clinic_for(target, (dose,))
        judged = assess([dose], rules=rules, codes=self.codes, clinic=clinic, day=None)
        return judged.eligibility is Eligibility.NOT_ELIGIBLE

    def _rules(self, dose: Dose, target: str) -> Rules:
        protocol = self.protocols[dose.drug.family or min(self.protocols)]
        return protocol.rules_on(local_day(begins(dose) or dose.heard_at, self.clinic_for(target, (dose,))))

    def _cautions(self, resource: Resource, dose: Dose, rules: Rules, related: Related) -> list[Resource]:
        since = self.clock() - _KEPT_FOR
        patient = related.find(envelope(resource).subject, "Patient", since=since)
        problems = related.about("Condition", {"_count": _PER_PAGE}, since=since)
        weights = self.codes.outbound.get("body-weight", ()) if needs_weight(dose, rules) else ()
        measured = []
        if weights:
            code = ",".join(token(one.system, one.code) for one in weights)
            query = {"code": code, "_sort": "-_lastUpdated", "_count": _PER_PAGE}
            measured = related.about("Observation", query, since=since)
        return [*([patient] if patient is not None else []), *problems, *measured]


def _evidence(resource: Resource, related: Related, since: datetime) -> list[Resource | None]:
    hanging = references_of(resource)
    request = related.find(hanging.request, "MedicationRequest", "ServiceRequest", since=since)
    encounter = related.find(hanging.encounter, "Encounter", since=since)
    reasons = [*hanging.reasons, *(references_of(request).reasons if request is not None else ())]
    places = [reference(stay, "location") for stay in members(encounter, "location")]
    return [
        request,
        encounter,
        *related.several(reasons, "Condition", since=since),
        *related.several(places, "Location", since=since),
        *related.several(hanging.performers, "PractitionerRole", since=since),
    ]
