"""Everything known about the doses of one patient: facts, re-reads, and what hangs on them.

A notification is only a hint: where the source can be read, the current version of a dose is read
by id before anything is decided on a hint that is newer than the last read. What was read is kept
with its time and serves until a newer hint arrives. A failed read never withdraws anything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from afterdose.core.codes import Codes
from afterdose.core.dose import Context, Dose, DoseKey
from afterdose.core.errors import EhrGone, EhrRefused
from afterdose.core.history import Interaction, Version, Via, heard_at, is_tie, newest
from afterdose.core.reasons import Reason
from afterdose.ehr.client import EhrClient
from afterdose.fhir import strict_json
from afterdose.fhir.administration import envelope
from afterdose.fhir.decode import decode_context, decode_dose, references_of
from afterdose.fhir.effective import effective
from afterdose.fhir.medication import drug_of
from afterdose.fhir.references import local_id, patient_id
from afterdose.store.rows import Arrival, Claim, Fact, Reading
from afterdose.store.store import Store

Resource = dict[str, Any]

_PATIENT_KEPT_FOR = timedelta(hours=24)
"""How long what was read of a person serves; births do not move, deaths and merges do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A system that doses come from. ``client`` is None where it cannot be read back."""

    name: str
    base_url: str
    zone: ZoneInfo | None
    client: EhrClient | None


@dataclass(frozen=True, slots=True)
class _Case:
    """The patient in hand, what keeps the lease, and what has been parsed and looked up already.

    ``parsed`` is by content hash: versions often differ in nothing. ``readings`` is by type and id within a source:
    the doses of a patient share the person, and often the request and the encounter.
    """

    claim: Claim
    hold: Callable[[], None]
    parsed: dict[str, Resource] = field(default_factory=dict)
    readings: dict[tuple[str, str, str], Reading] = field(default_factory=dict)

    def resource(self, fact: Fact) -> Resource:
        """What a fact holds."""
        if fact.content_hash not in self.parsed:
            self.parsed[fact.content_hash] = _parsed(fact.raw)
        return self.parsed[fact.content_hash]


class Gatherer:
    """Gathers the doses of one patient at a time. One instance serves all workers of a process."""

    def __init__(
        self, *, store: Store, sources: Mapping[str, Source], codes: Codes, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._sources = sources
        self._codes = codes
        self._clock = clock

    def doses(self, claim: Claim, hold: Callable[[], None]) -> tuple[Dose, ...]:
        """Every dose of the claimed patient in its newest version. ``hold`` is called before every call of a source.

        Raises EhrUnavailable when a source that can be read does not answer now: rather late than on stale facts.
        """
        history = self._store.facts.history(claim.target, claim.patient)
        case = _Case(claim, hold)
        return tuple(self._dose(case, key, history[key]) for key in sorted(history))

    def _dose(self, case: _Case, key: DoseKey, facts: Sequence[Fact]) -> Dose:
        source = self._sources[key.source]
        problems: list[Reason] = []
        if source.client is not None and facts[-1].via != "read" and self._concerns_us(case, facts):
            try:
                facts = self._read_again(case, key, source.client, facts)
            except EhrRefused:
                problems.append(Reason.SOURCE_UNREADABLE)
        versions = [_version(fact) for fact in facts]
        counts = facts[_place(newest(versions), versions)]
        named = {fact.patient for fact in facts if fact.patient is not None}
        if len(named) > 1:
            problems.append(Reason.PATIENT_CHANGED)
        if is_tie(versions):
            problems.append(Reason.VERSIONS_TIE)
        shown = counts if counts.interaction == "upsert" else _last_whole(facts)
        if shown is None:
            resource: Resource = {"status": "entered-in-error"}
        else:
            resource = case.resource(shown)
        dose = self._decode(case, source, key, resource, facts)
        return replace(
            dose,
            removed=counts.interaction == "delete",
            problems=tuple(dict.fromkeys((*dose.problems, *problems))),
        )

    def _decode(self, case: _Case, source: Source, key: DoseKey, resource: Resource, facts: Sequence[Fact]) -> Dose:
        when, _ = effective(resource, source.zone)
        versions = [_version(fact) for fact in facts]

        def same_time(version: Version) -> bool:
            fact = facts[_place(version, versions)]
            return fact.interaction == "upsert" and effective(case.resource(fact), source.zone)[0] == when

        context = Context()
        drug = drug_of(resource, context, self._codes)
        if source.client is not None and (drug.family is not None or drug.unresolved):
            since = max(fact.received_at for fact in facts)
            context = self._context(case, source, source.client, resource, since=since)
        return decode_dose(
            resource,
            key=key,
            patient=patient_id(envelope(resource).subject, base_url=source.base_url),
            heard_at=heard_at(versions, same_time=same_time),
            codes=self._codes,
            zone=source.zone,
            context=context,
        )

    def _concerns_us(self, case: _Case, facts: Sequence[Fact]) -> bool:
        """Whether any version may be ketamine or esketamine; nothing else is ever read back."""
        for fact in facts:
            if fact.interaction == "delete":
                continue
            drug = drug_of(case.resource(fact), Context(), self._codes)
            if drug.family is not None or drug.unresolved or drug.conflicting:
                return True
        return False

    def _read_again(self, case: _Case, key: DoseKey, client: EhrClient, facts: Sequence[Fact]) -> Sequence[Fact]:
        """The facts with the current version at the source, which is stored as a fact too.

        Gone for good (410), or not there (404) where an earlier read found it or a delete was announced: withdrawn.
        Not there although it was sent to us whole: senders pass on what their base URL does not serve; the sent
        version counts.
        """
        case.hold()
        try:
            found = client.read("MedicationAdministration", key.id)
        except EhrGone as gone:
            was_there = any(fact.via == "read" and fact.interaction == "upsert" for fact in facts)
            if gone.status != 410 and not was_there and facts[-1].interaction == "upsert":
                return facts
            arrival = Arrival(
                source=key.source,
                resource_id=key.id,
                target=case.claim.target,
                patient=facts[-1].patient,
                interaction="delete",
                via="read",
            )
        else:
            head = envelope(found.resource)
            arrival = Arrival(
                source=key.source,
                resource_id=key.id,
                target=case.claim.target,
                patient=patient_id(head.subject, base_url=self._sources[key.source].base_url),
                via="read",
                version=head.version,
                last_updated=head.last_updated,
                raw=strict_json.dumps(found.resource),
            )
        receipt = self._store.facts.record_read(case.claim, arrival)
        stored = self._store.facts.latest(key.source, key.id)
        return [*facts, stored] if stored is not None and stored.seq == receipt.seq else facts

    def _context(
        self, case: _Case, source: Source, client: EhrClient, resource: Resource, *, since: datetime
    ) -> Context:
        """What hangs on an administration, read once per hint; a part that cannot be had is left out."""
        related = references_of(resource)
        wanted = {
            "medication": ("Medication", related.medication),
            "request": ("MedicationRequest", related.request),
            "encounter": ("Encounter", related.encounter),
            "patient": ("Patient", envelope(resource).subject),
        }
        parts: dict[str, Resource | None] = {}
        for part, (type_, reference) in wanted.items():
            id_ = local_id(reference, type_, source.base_url)
            fresh = since if part != "patient" else self._clock() - _PATIENT_KEPT_FOR
            if id_ is not None:
                parts[part] = self._reading(case, source.name, client, type_, id_, since=fresh)
        return decode_context(
            medication=parts.get("medication"),
            request=parts.get("request"),
            encounter=parts.get("encounter"),
            patient=parts.get("patient"),
        )

    def _reading(
        self, case: _Case, source: str, client: EhrClient, type_: str, id_: str, *, since: datetime
    ) -> Resource | None:
        place = (source, type_, id_)
        known = case.readings.get(place) or self._store.readings.find(*place)
        if known is None or known.read_at < since:
            case.hold()
            try:
                raw = strict_json.dumps(client.read(type_, id_).resource)
            except (EhrGone, EhrRefused):
                raw = b""
            known = Reading(source=source, resource_type=type_, resource_id=id_, read_at=self._clock(), raw=raw)
            self._store.readings.keep(case.claim, known)
        case.readings[place] = known
        return _parsed(known.raw) if known.raw else None


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


def _place(version: Version, versions: Sequence[Version]) -> int:
    return next(place for place, one in enumerate(versions) if one is version)


def _last_whole(facts: Sequence[Fact]) -> Fact | None:
    return next((fact for fact in reversed(facts) if fact.interaction == "upsert"), None)


def _parsed(raw: bytes) -> Resource:
    value = strict_json.loads(raw)
    if not isinstance(value, dict):
        raise TypeError("what is kept is a resource")
    return value
