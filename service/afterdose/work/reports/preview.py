"""The same decision as the worker's, for the resources of an input instead of an EHR. Pure.

Either every dose is heard of now, or each dose session is judged as it would have been at its own end, when the later
doses of the input were only planned.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from afterdose.core.care import Care, DoseVerdict, Snapshot
from afterdose.core.clinic import Clinic
from afterdose.core.codes import Codes
from afterdose.core.dose import Coding, Context, Dose, DoseKey, Family, Order, PlannedDose, PlannedKind, Precision
from afterdose.core.identity import artifact_id
from afterdose.core.needs import may_be_ours
from afterdose.core.person import Person
from afterdose.core.plan import decide
from afterdose.core.protocol import Protocol
from afterdose.core.reasons import Outcome, Reason
from afterdose.core.session import begins, ends
from afterdose.core.standing import Standings
from afterdose.core.verdicts import judge
from afterdose.core.window import NextDose
from afterdose.fhir.decode.administration import TYPE, envelope
from afterdose.fhir.decode.announced import announcements, authored_at
from afterdose.fhir.decode.dose import decode_dose
from afterdose.fhir.decode.effective import effective
from afterdose.fhir.decode.medication import drug_of
from afterdose.fhir.decode.offline import Pool
from afterdose.fhir.elements import JsonObject
from afterdose.fhir.encode.care import RESOURCE_TYPE, Letterhead
from afterdose.fhir.references import patient_id
from afterdose.work.delivery.drafts import drafts
from afterdose.work.reports.people import People

SOURCE = "input"

_NOT_GIVEN = frozenset({Reason.NOT_DONE, Reason.NOT_GIVEN_METHOD})
_NO_DOSE = frozenset({Outcome.WITHDRAWN, Outcome.UNRELATED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a site has decided. ``zone`` is that of times without an offset."""

    codes: Codes
    protocols: Mapping[Family, Protocol]
    clinic: Clinic
    zone: ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What is known of one patient beside the doses: what is announced, on file, and said of the person, as in the
    snapshot."""

    doses: tuple[PlannedDose, ...] = ()
    orders: tuple[Order, ...] = ()
    crisis_plans: tuple[str, ...] | None = None
    preferences: tuple[Coding, ...] = ()
    person: Person = field(default_factory=Person)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What is decided for one patient (None: a dose whose patient cannot be told).

    ``verdicts``: one a dose session, by anchor, else by start, those without a time last. ``planned``: the doses that
    are announced and neither given nor dropped.
    """

    patient: str | None
    verdicts: tuple[DoseVerdict, ...]
    care: Care
    planned: tuple[NextDose, ...]


def heard_now(pool: Pool, site: Site, now: datetime) -> tuple[Preview, ...]:
    """Every dose of the input is heard of at ``now``."""
    found = []
    for patient, doses, beside in _patients(pool, site, now, lambda _: now):
        found.append(_preview(_snapshot(patient, doses, beside, site), now))
    return tuple(found)


def heard_as_given(pool: Pool, site: Site, now: datetime) -> tuple[Preview, ...]:
    """Each dose session is judged at its own end. ``now`` counts where no dose has any time.

    An order that does not say when it was made counts from the last dose, so its answer is the same on every day.
    """
    times = [when for resource in pool.all(TYPE) for when, _ in [effective(resource, site.zone)]]
    last = max((moment for when in times if (moment := when.end or when.start) is not None), default=now)
    heard = _patients(pool, site, now, lambda resource: authored_at(resource, site.zone) or last)
    return tuple(_as_given(patient, doses, beside, site, now) for patient, doses, beside in heard)


def matters(resource: JsonObject, codes: Codes) -> bool:
    """Whether a resource can change what is decided: a dose of a drug neither ours nor for anaesthesia cannot."""
    if resource.get("resourceType") != TYPE:
        return True
    drug = drug_of(resource, Context(), codes)
    return may_be_ours(drug) or drug.anaesthetic


def resources(care: Care, head: Letterhead) -> list[dict[str, Any]]:
    """The resources of ``care`` as an EHR would hold them, had it taken our identifiers for its ids."""
    made = drafts(care, head)
    references = {draft.key: f"{RESOURCE_TYPE[draft.key.kind]}/{artifact_id(draft.key)}" for draft in made}
    known = {reference.partition("/")[2]: reference for reference in references.values()}
    built = [(draft.key, _linked(draft.build(references), known)) for draft in made]
    return [{"resourceType": one["resourceType"], "id": str(artifact_id(key))} | one for key, one in built]


def _as_given(patient: str | None, doses: Sequence[Dose], beside: Beside, site: Site, now: datetime) -> Preview:
    ordered = max((order.heard_at for order in beside.orders), default=now)
    latest = max((moment for dose in doses if (moment := _over(dose)) is not None), default=ordered)
    heard = [replace(dose, heard_at=_over(dose) or latest) for dose in doses]
    whole = _preview(_snapshot(patient, heard, beside, site), latest)
    unrelated = {
        key for verdict in whole.verdicts if verdict.outcome is Outcome.UNRELATED for key in verdict.administrations
    }
    heard = [dose for dose in heard if dose.drug.anaesthetic or dose.key not in unrelated]
    verdicts = [verdict for verdict in whole.verdicts if verdict.founder in unrelated]
    related = [verdict for verdict in whole.verdicts if verdict.founder not in unrelated]
    for verdict in related:
        moment = verdict.anchor or verdict.start or latest
        then = [
            dose
            for dose in heard
            if dose.key in verdict.administrations or dose.drug.anaesthetic or _began(dose, moment)
        ]
        later = [dose for other in related if (dose := _later(other, moment, heard)) is not None]
        following = sorted(later, key=lambda dose: dose.at)[:1]  # only the next dose cuts a window
        known = replace(beside, doses=(*beside.doses, *following))
        decided = decide(_snapshot(patient, then, known, site), moment)
        verdicts += [one for one in decided.verdicts if verdict.founder in one.administrations]
    return replace(whole, verdicts=_ordered(verdicts))


def _preview(snapshot: Snapshot, now: datetime) -> Preview:
    care = decide(snapshot, now)
    doses = judge(snapshot, Standings(snapshot.known)).doses
    planned = tuple(dose for dose in doses if dose.kind is PlannedKind.PLANNED)
    return Preview(patient=snapshot.patient, verdicts=_ordered(care.verdicts), care=care, planned=planned)


def _patients(
    pool: Pool, site: Site, now: datetime, heard_at: Callable[[JsonObject], datetime]
) -> Iterator[tuple[str | None, list[Dose], Beside]]:
    """The doses by patient, with what is announced for the patient; those of nobody known each alone, and last."""
    people = People(pool, site.zone, now)
    by_patient: dict[str | None, list[Dose]] = {}
    for dose in sorted(_doses(pool, site, now), key=lambda dose: dose.key):
        patient = people.present(dose.patient) if dose.patient is not None else None
        by_patient.setdefault(patient, []).append(replace(dose, patient=patient))
    coming: dict[str, Beside] = {}
    for one in announcements(pool, site.codes, site.zone, source=SOURCE, heard_at=heard_at):
        present = people.present(one.patient)
        before = coming.get(present, Beside())
        orders = (*before.orders, replace(one.order, patient=present)) if one.order is not None else before.orders
        coming[present] = Beside(doses=(*before.doses, *one.doses), orders=orders)
    nobodys = by_patient.pop(None, [])
    for patient in sorted({patient for patient in by_patient if patient is not None} | set(coming)):
        beside = replace(
            coming.get(patient, Beside()),
            crisis_plans=pool.crisis_plans(patient, site.codes),
            preferences=pool.preferences(patient, site.codes, site.zone),
            person=people.person(patient),
        )
        yield patient, by_patient.get(patient, []), beside
    yield from ((None, [dose], Beside()) for dose in nobodys)


def _doses(pool: Pool, site: Site, now: datetime) -> Iterator[Dose]:
    for resource in pool.all(TYPE):
        head, (when, _) = envelope(resource), effective(resource, site.zone)
        yield decode_dose(
            resource,
            key=DoseKey(SOURCE, head.id or ""),
            patient=patient_id(head.subject, base_url=""),
            heard_at=now,
            codes=site.codes,
            zone=site.zone,
            context=pool.context(resource, site.codes, site.zone, until=when.end or when.start or now),
        )


def _snapshot(patient: str | None, doses: Sequence[Dose], beside: Beside, site: Site) -> Snapshot:
    return Snapshot(
        patient=patient,
        doses=tuple(doses),
        planned=beside.doses,
        orders=beside.orders,
        crisis_plans=beside.crisis_plans,
        preferences=beside.preferences,
        person=beside.person,
        protocols=site.protocols,
        clinic=site.clinic,
        codes=site.codes,
    )


def _over(dose: Dose) -> datetime | None:
    """When an administration was over, else when it began."""
    over = ends(dose)
    return over[0] if over is not None else begins(dose)


def _began(dose: Dose, moment: datetime) -> bool:
    start = begins(dose)
    return start is not None and start <= moment


def _later(verdict: DoseVerdict, moment: datetime, doses: Sequence[Dose]) -> PlannedDose | None:
    """A dose session that was still to come at ``moment``, None where it is none or its time is not known."""
    if verdict.start is None or verdict.start <= moment or verdict.outcome in _NO_DOSE:
        return None
    exact = all(dose.effective.precision is Precision.INSTANT for dose in doses if dose.key in verdict.administrations)
    if not exact or not _NOT_GIVEN.isdisjoint(verdict.reasons):
        return None
    lasts = verdict.anchor - verdict.start if verdict.anchor is not None else None
    return PlannedDose(at=verdict.start, family=verdict.family, duration=lasts)


def _ordered(verdicts: Sequence[DoseVerdict]) -> tuple[DoseVerdict, ...]:
    def order(verdict: DoseVerdict) -> tuple[bool, float, DoseKey]:
        moment = verdict.anchor or verdict.start
        return moment is None, moment.timestamp() if moment is not None else 0.0, verdict.founder

    return tuple(sorted(verdicts, key=order))


def _linked(value: Any, known: Mapping[str, str]) -> Any:
    """The value with a literal reference beside each identifier that names one of our resources."""
    if isinstance(value, list):
        return [_linked(inner, known) for inner in value]
    if not isinstance(value, dict):
        return value
    linked = {name: _linked(inner, known) for name, inner in value.items()}
    identifier = linked.get("identifier")
    named = known.get(str(identifier.get("value"))) if isinstance(identifier, dict) else None
    return {"reference": named, **linked} if named is not None and "reference" not in linked else linked
