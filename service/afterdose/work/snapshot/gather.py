"""Everything known about one patient: the doses with what hangs on them, and the doses to come.

A notification is only a hint: where the source can be read, the current version of a dose is read
by id before anything is decided on a hint that is newer than the last read. What was read is kept
with its time and serves until a newer hint arrives. A failed read never withdraws anything. Of a
dose that was only ever named (``hint``) nothing is known before that read: not even whose it is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from afterdose.core.dose import Context, Dose, DoseKey, Order, PlannedDose
from afterdose.core.errors import EhrRefused
from afterdose.core.history import Interaction, Version, Via, heard_at, is_tie, newest
from afterdose.core.needs import may_be_ours
from afterdose.core.reasons import Reason
from afterdose.fhir.decode.administration import subject_of
from afterdose.fhir.decode.dose import decode_dose
from afterdose.fhir.decode.effective import effective
from afterdose.fhir.decode.medication import drug_of
from afterdose.fhir.references import patient_id
from afterdose.fhir.v2.translate import is_translated, without_message
from afterdose.store.rows import Claim, Fact
from afterdose.store.store import Store
from afterdose.work.snapshot import on_file
from afterdose.work.snapshot.coming import coming
from afterdose.work.snapshot.identity import Identity
from afterdose.work.snapshot.on_file import OnFile
from afterdose.work.snapshot.patients import Patients, finding, is_finding, is_nobody, with_patient
from afterdose.work.snapshot.related import Related
from afterdose.work.snapshot.rereading import Rereading, whole_or_gone
from afterdose.work.snapshot.surroundings import KEPT_FOR, Surroundings
from afterdose.work.source import Resource, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What is known of a patient. ``others``: the version that counts of every pushed resource that is no dose."""

    doses: tuple[Dose, ...]
    planned: tuple[PlannedDose, ...]
    orders: tuple[Order, ...]
    others: tuple[Fact, ...]
    persons_read: bool = False
    """Whether a Patient was read, so that it may say something new of who this is."""


@dataclass(frozen=True, slots=True)
class _Case:
    """The patient in hand, what keeps the lease, and what has been parsed already.

    ``parsed`` is by source and content hash: versions often differ in nothing. ``related`` is by source.
    """

    claim: Claim
    identity: Identity
    hold: Callable[[], None]
    related: Mapping[str, Related]
    parsed: dict[tuple[str, str], Resource] = field(default_factory=dict)

    def patient(self, named: str | None) -> str | None:
        """Who a Patient id means: the claimed patient, where that record went up in this one."""
        return self.claim.patient if named in self.identity.former else named

    def resource(self, fact: Fact) -> Resource:
        """What a fact holds."""
        place = (fact.source, fact.content_hash)
        if place not in self.parsed:
            self.parsed[place] = self.related[fact.source].source.read(fact.raw)
        return self.parsed[place]


class Gatherer:
    """Gathers what is known of one patient at a time. One instance serves all workers of a process."""

    def __init__(self, *, store: Store, sources: Mapping[str, Source], surroundings: Surroundings) -> None:
        self._store = store
        self._sources = sources
        self._surroundings = surroundings
        self._codes = surroundings.codes
        self._rereading = Rereading(store, surroundings.clock)

    def gather(self, claim: Claim, identity: Identity, hold: Callable[[], None]) -> Gathered:
        """Every dose of the claimed patient in its newest version, and the doses that are announced.

        What names a former record of the patient is the patient's.

        ``hold`` is called before every call of a source. Raises EhrUnavailable when a source that can be read does
        not answer now: rather late than on stale facts.
        """
        history = self._store.facts.history(claim.target, *identity.all)
        others = self._store.facts.others(claim.target, *identity.all)
        named = {key.source for key in history} | {fact.source for fact in others}
        related = {name: self._related(name, others, claim, identity, hold) for name in sorted(named)}
        case = _Case(claim, identity, hold, related)
        try:
            found = (self._dose(case, key, history[key]) for key in sorted(history))
            doses = tuple(dose for dose in found if dose is not None)
            announced = [
                coming(one, identity.all, claim.target, self._surroundings, self._store.facts.versions)
                for one in related.values()
            ]
        finally:
            self._store.readings.keep(claim, *(reading for one in related.values() for reading in one.readings))
        return Gathered(
            doses=doses,
            planned=tuple(dose for one in announced for dose in one.doses),
            orders=tuple(order for one in announced for order in one.orders),
            others=others,
            persons_read=any(one.persons_read for one in related.values()),
        )

    def on_file(self, claim: Claim, identity: Identity, target: Source, hold: Callable[[], None]) -> OnFile:
        """What the target has on file about the claimed patient besides. Raises EhrUnavailable, LeaseLost.

        Its readings are to be stored with what is decided; where it fails, they are stored here.
        """
        clock = self._surroundings.clock
        patients = identity.all
        related = Related(target, (), store=self._store, claim=claim, patients=patients, hold=hold, clock=clock)
        try:
            return replace(on_file.read(related, self._codes, clock()), readings=related.readings)
        except Exception:
            self._store.readings.keep(claim, *related.readings)
            raise

    def _related(
        self, name: str, others: Sequence[Fact], claim: Claim, identity: Identity, hold: Callable[[], None]
    ) -> Related:
        return Related(
            self._sources[name],
            [fact for fact in others if fact.source == name],
            store=self._store,
            claim=claim,
            patients=identity.all,
            hold=hold,
            clock=self._surroundings.clock,
        )

    def _dose(self, case: _Case, key: DoseKey, history: Sequence[Fact]) -> Dose | None:
        """The dose; None where its patient was found, so that it is no more the business of nobody's."""
        source = self._sources[key.source]
        problems: list[Reason] = []
        facts: Sequence[Fact] = [fact for fact in history if not is_finding(fact)]
        readable = source.client is not None and not is_translated(key.id)
        hinted = any(fact.interaction == "hint" for fact in takewhile(_is_unread, reversed(facts)))
        wanted = _is_unread(facts[-1]) and (hinted or self._concerns_us(case, facts))
        if source.client is not None and readable and wanted:
            try:
                facts = self._rereading.again(
                    source, source.client, key, facts, claim=case.claim, identity=case.identity, hold=case.hold
                )
            except EhrRefused as refused:
                if not whole_or_gone(facts):
                    text = "a dose that was only named may not be read"
                    raise EhrRefused(text, code=refused.code or f"http-{refused.status}") from refused
                problems.append(Reason.SOURCE_UNREADABLE)
        facts = whole_or_gone(facts)
        if not facts:
            raise EhrRefused("a dose that was only named can be read no more", code="not-supported")
        versions = [_version(fact) for fact in facts]
        counts = facts[_place(newest(versions), versions)]
        named = {fact.patient for fact in (*history, *facts) if fact.patient is not None}
        if is_tie(versions) and not _say_the_same(case, facts):
            problems.append(Reason.VERSIONS_TIE)
        found = None
        shown = counts if counts.interaction == "upsert" else _last_whole(facts)
        if shown is None:
            resource: Resource = {"status": "entered-in-error"}
        else:
            resource = case.resource(shown)
            found = self._patient(case, source, resource, facts)
            if found is not None:
                resource = with_patient(resource, found)
                if found not in named:
                    found_there = finding(shown, found)
                    self._store.facts.record_read(case.claim, found_there, known_to=case.identity.former)
                    named.add(found)
        if is_nobody(case.claim) and (found is not None or counts.patient is not None):
            return None
        if len({case.patient(one) for one in named}) > 1:
            problems.append(Reason.PATIENT_CHANGED)
            self._look_at(named, case, source)
        dose = self._decode(case, source, key, resource, facts)
        return replace(
            dose,
            removed=counts.interaction == "delete",
            problems=tuple(dict.fromkeys((*dose.problems, *problems))),
        )

    def _decode(self, case: _Case, source: Source, key: DoseKey, resource: Resource, facts: Sequence[Fact]) -> Dose:
        when, _ = effective(resource, source.zone)
        patient = case.patient(patient_id(subject_of(resource.get("subject")), base_url=source.base_url))
        versions = [_version(fact) for fact in facts]

        def same_time(version: Version) -> bool:
            fact = facts[_place(version, versions)]
            return fact.interaction == "upsert" and effective(case.resource(fact), source.zone)[0] == when

        heard = heard_at(versions, same_time=same_time)

        def decode(context: Context) -> Dose:
            return decode_dose(
                resource,
                key=key,
                patient=patient,
                heard_at=heard,
                codes=self._codes,
                zone=source.zone,
                context=context,
            )

        since = max(fact.received_at for fact in facts)
        related = case.related[source.name]
        return self._surroundings.dose(resource, decode, related, target=case.claim.target, since=since)

    def _patient(self, case: _Case, source: Source, resource: Resource, facts: Sequence[Fact]) -> str | None:
        """The patient whom the EHR knows by the number that the sender gave, where it gave nothing else."""
        said = subject_of(resource.get("subject"))
        if source.client is None or said is not None or not self._concerns_us(case, facts):
            return None
        patients = Patients(self._store.readings, self._surroundings.clock)
        return patients.id_of(resource, source.name, source.client, case.claim, case.hold)

    def _look_at(self, named: Iterable[str], case: _Case, source: Source) -> None:
        """Ask who they are, between whom a dose has moved: it may be that one went up in the other."""
        since = self._surroundings.clock() - KEPT_FOR
        for patient in sorted(named):
            case.related[source.name].find(f"Patient/{patient}", "Patient", since=since)

    def _concerns_us(self, case: _Case, facts: Sequence[Fact]) -> bool:
        """Whether any version may be ketamine or esketamine; nothing else is ever read back."""
        for fact in facts:
            if fact.interaction != "upsert":
                continue
            if may_be_ours(drug_of(case.resource(fact), Context(), self._codes)):
                return True
        return False


def _version(fact: Fact) -> Version:
    return Version(
        key=fact.key,
        version=fact.version,
        last_updated=fact.last_updated,
        received_at=fact.received_at,
        via=Via(fact.via),
        interaction=Interaction(fact.interaction),
        content_hash=fact.content_hash,
        subject=fact.patient,
    )


def _say_the_same(case: _Case, facts: Sequence[Fact]) -> bool:
    """Whether all that was received of a dose is one translation: messages that differ by their control id alone."""
    if not all(is_translated(fact.resource_id) and fact.interaction == "upsert" for fact in facts):
        return False
    first, *others = (without_message(case.resource(fact)) for fact in facts)
    return all(one == first for one in others)


def _is_unread(fact: Fact) -> bool:
    return fact.via != "read"


def _place(version: Version, versions: Sequence[Version]) -> int:
    return next(place for place, one in enumerate(versions) if one is version)


def _last_whole(facts: Sequence[Fact]) -> Fact | None:
    return next((fact for fact in reversed(facts) if fact.interaction == "upsert"), None)
