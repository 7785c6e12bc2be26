"""Reading a dose again where it came from, before anything is decided on a hint that is newer than the last read."""

from collections.abc import Callable, Sequence
from datetime import datetime

from afterdose.core.dose import DoseKey
from afterdose.core.errors import EhrGone, EhrUnavailable
from afterdose.ehr.client import EhrClient
from afterdose.ehr.versions import is_older
from afterdose.ehr.waits import INDEX_LAG
from afterdose.fhir import strict_json
from afterdose.fhir.decode.administration import TYPE, envelope
from afterdose.fhir.references import patient_id
from afterdose.store.rows import Arrival, Claim, Fact
from afterdose.store.store import Store
from afterdose.work.snapshot.identity import Identity
from afterdose.work.snapshot.patients import is_finding
from afterdose.work.source import Source


def whole_or_gone(facts: Sequence[Fact]) -> list[Fact]:
    """The facts that say what the dose is, or that it is no more; a hint says neither."""
    return [fact for fact in facts if fact.interaction != "hint"]


class Rereading:
    """Reads doses again. One instance serves all workers of a process."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def again(
        self,
        source: Source,
        client: EhrClient,
        key: DoseKey,
        facts: Sequence[Fact],
        *,
        claim: Claim,
        identity: Identity,
        hold: Callable[[], None],
    ) -> Sequence[Fact]:
        """The facts with the current version at the source, which is stored as a fact too.

        Gone for good (410), or not there (404) where an earlier read found it or a delete was announced: withdrawn.
        Not there although it was sent to us whole: senders pass on what their base URL does not serve; the sent
        version counts. What arrived while it was being read may be newer, so then it is read once more.
        Raises EhrUnavailable and EhrRefused.
        """
        hold()
        try:
            found = client.read(TYPE, key.id)
        except EhrGone as gone:
            read = any(fact.via == "read" and fact.interaction == "upsert" for fact in facts)
            was_there = read or any(fact.interaction == "delete" for fact in facts)
            said = whole_or_gone(facts)
            if gone.status != 410 and not was_there and said and said[-1].interaction == "upsert":
                return facts
            arrival = Arrival(
                source=key.source,
                resource_id=key.id,
                target=claim.target,
                patient=facts[-1].patient,
                interaction="delete",
                via="read",
            )
        else:
            head = envelope(found.resource)
            self._await_copy(head.version, facts)
            arrival = Arrival(
                source=key.source,
                resource_id=key.id,
                target=claim.target,
                patient=patient_id(head.subject, base_url=source.base_url),
                via="read",
                version=head.version,
                last_updated=head.last_updated,
                raw=strict_json.dumps(found.resource),
            )
        receipt = self._store.facts.record_read(claim, arrival, known_to=identity.former)
        known = [fact for fact in self._store.facts.versions(key.source, key.id) if not is_finding(fact)]
        if any(facts[-1].seq < fact.seq < receipt.seq for fact in known):
            return self.again(source, client, key, known, claim=claim, identity=identity, hold=hold)
        return known

    def _await_copy(self, version: str | None, facts: Sequence[Fact]) -> None:
        """Raise EhrUnavailable while a read may not show yet the version that was sent moments ago."""
        since = self._clock() - INDEX_LAG
        if any(one.via != "read" and one.received_at > since and is_older(version, one.version) for one in facts):
            raise EhrUnavailable("a dose is not shown yet as it was sent", code="incomplete")
