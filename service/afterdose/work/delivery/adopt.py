"""What carries our identifier in the EHR: found, taken for ours once, and the only one of its kind.

A write whose answer never came may have been carried out, and the EHR's index may not show it yet. So an empty
result is believed only some time after the write; until then nothing is sent again. A create that was answered is
looked for too, a minute and a day later: an EHR that ignores If-None-Exist, a proxy that repeats what it forwards, a
request that arrives late and a store that was put back all make doubles that no answer tells of (decision 0017).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from afterdose.core.care import Standing
from afterdose.core.errors import BadInput, EhrGone, EhrRefused, EhrUnavailable
from afterdose.ehr.answers import Found, Written, etag_of
from afterdose.ehr.client import EhrClient
from afterdose.ehr.versions import is_first
from afterdose.ehr.waits import INDEX_LAG
from afterdose.fhir.encode.care import END_OF, MISTAKE, status_element
from afterdose.fhir.encode.fit import carries
from afterdose.fhir.encode.rungs import EhrFacts, TypeFacts
from afterdose.fhir.times import format_instant, parse_instant
from afterdose.store.rows import LedgerRow
from afterdose.work.delivery.merge import rebase, still_ours

ONCE_MORE = timedelta(days=1)
"""How long after a create its doubles are looked for once more; no request travels for longer."""

# http://hl7.org/fhir/R4/valueset-appointmentstatus.html, request-status, task-status, document-reference-status.
_ENDS = frozenset({"cancelled", "completed", "entered-in-error", "failed", "rejected", "revoked", "superseded"})
_UNTOUCHED = frozenset({None, "proposed", "draft", "requested", "current"})
"""How a double that nobody has acted on reads; active may be ours too, where it is what we wrote."""
_LONGEST_AGO = timedelta(days=1)
"""How far before its sending the time of what was sent may lie; nothing of ours is proposed for the past."""

Resource = dict[str, Any]


def await_index(row: LedgerRow, now: datetime) -> None:
    """Raise EhrUnavailable while a search may not show yet what became of the write of ``row``."""
    if row.attempts == 0 or row.sent_at is None:
        return
    left = row.sent_at + INDEX_LAG - now
    if left > timedelta():
        raise EhrUnavailable(
            f"{row.resource_type} search: what was sent may not be found yet", code="incomplete", retry_after=left
        )


def await_copy(row: LedgerRow, now: datetime) -> None:
    """Raise EhrUnavailable while a read may not show yet what was last sent: there are EHRs that answer from copies."""
    if row.sent_at is not None and now < row.sent_at + INDEX_LAG:
        raise EhrUnavailable(f"{row.resource_type} read: what was sent may not be shown yet", code="incomplete")


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """What a search for one artifact of ours says. ``apart``: others that a person has acted on, or that cannot be
    ended: two now stand, and a person has to choose."""

    row: LedgerRow
    apart: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finder:
    """Searches one EHR for what is ours. ``hold`` keeps the lease and is called before every call."""

    client: EhrClient
    facts: EhrFacts
    system: str
    hold: Callable[[], None]
    clock: Callable[[], datetime]

    def can_find(self, type_: str) -> bool:
        """Whether any search of this EHR finds what we wrote of a type."""
        find = self.facts.of(type_).find
        return find is None or bool(find)

    def is_ours(self, row: LedgerRow, resource: Mapping[str, Any]) -> bool:
        """Whether what stands under the id of the ledger is our artifact, as far as this EHR lets that be known."""
        facts = self.facts.of(row.resource_type)
        if facts.find is not None:
            return facts.mark is None or carries(resource, facts, row.identifier)
        named = resource.get("identifier")
        listed = [named] if isinstance(named, dict) else named if isinstance(named, list) else []
        values = [str(one.get("value", "")).lower() for one in listed if isinstance(one, dict)]
        return not values or any(value.endswith(str(row.identifier)) for value in values)

    def adopt(self, row: LedgerRow) -> Company:
        """The row with the id of the resource that carries its identifier, unchanged where there is none.

        Of several, the one that a person has acted on counts, else the oldest; the others are ended.
        Raises EhrConflict where one of those was changed meanwhile, EhrUnavailable while it is too early to know,
        EhrRefused where nobody can know whether what was sent has arrived.
        """
        if not self.can_find(row.resource_type):
            if row.sent_at is None:
                return Company(row=row)
            raise EhrRefused(f"{row.resource_type}: whether it has arrived cannot be searched for", code="incomplete")
        found = self._search(row)
        if not found:
            await_index(row, self.clock())
            return Company(row=row)
        kept = min(found, key=lambda one: (was_ended(one), not self._acted_on(one, row), _age(one)))
        sent: Mapping[str, Any] = row.elements.get("sent", {})
        apart = self._end_all([one for one in found if one is not kept], row)
        # nobody has touched a first version: what reads otherwise than it was sent was rewritten by the EHR itself
        owned = rebase(sent, kept) if is_first(etag_of(kept)) else sent
        mine = replace(row, ehr_id=str(kept["id"]), etag=None, elements={"owned": owned, "sent": sent})
        return Company(row=replace(mine, standing=Standing.WRITTEN, check_at=self.clock() + INDEX_LAG), apart=apart)

    def prove(self, row: LedgerRow) -> Company:
        """The row after a search for others that carry its identifier; with the id of another where that counts.

        The one of the ledger counts, unless a person has acted on another and not on it. A search that does not show
        it proves nothing yet. Raises EhrConflict where a double was changed meanwhile, and EhrUnavailable.
        """
        now = self.clock()
        found = self._search(row)
        mine = next((one for one in found if one.get("id") == row.ehr_id), None)
        recent = row.sent_at is not None and now < row.sent_at + ONCE_MORE
        if mine is None:
            return Company(row=replace(row, check_at=now + 5 * INDEX_LAG if recent else None))
        others = sorted((one for one in found if one is not mine), key=_age)
        kept = next((one for one in others if self._acted_on(one, row) and not self._acted_on(mine, row)), mine)
        apart = self._end_all([one for one in found if one is not kept], row)
        once_more = row.sent_at + ONCE_MORE if row.sent_at is not None and recent else None
        proven = row if apart else replace(row, check_at=once_more)  # a person is told for as long as two stand
        if kept is not mine:
            proven = replace(proven, ehr_id=str(kept["id"]), etag=None, standing=Standing.WRITTEN)
        return Company(row=proven, apart=apart)

    def _acted_on(self, resource: Mapping[str, Any], row: LedgerRow) -> bool:
        """Whether a person goes on with it: it has neither ended nor a status that we give."""
        memory = row.elements.get("sent") or row.elements.get("owned", {})
        element = status_element(row.resource_type)
        ours = resource.get(element) in _UNTOUCHED or still_ours(dict(resource), memory, [element])
        return not ours and not was_ended(resource)

    def _end_all(self, doubles: Sequence[Resource], row: LedgerRow) -> int:
        """End what is superfluous and untouched; how many of the doubles go on standing."""
        return sum(not (was_ended(double) or self._end(double, row)) for double in doubles)

    def _end(self, double: Resource, row: LedgerRow) -> bool:
        """Whether a double could be ended. Not one that a person has acted on. Raises EhrConflict."""
        if self._acted_on(double, row):
            return False
        type_, element = row.resource_type, status_element(row.resource_type)
        self.hold()
        try:
            found = self.client.read(type_, str(double["id"]))
            if self._acted_on(found.resource, row):
                return False
            self.hold()
            end_status(self.client, found, self.facts.of(type_), element, END_OF.get(type_, MISTAKE))
        except EhrGone:
            return True
        except EhrRefused:
            return False
        return True

    def _search(self, row: LedgerRow) -> list[Resource]:
        """Ours, found by identifier, or by what this EHR searches by and the reference in its text."""
        type_, facts = row.resource_type, self.facts.of(row.resource_type)
        self.hold()
        if facts.find is None:
            return [dict(one) for one in self.client.find_by_identifier(type_, self.system, str(row.identifier))]
        since = format_instant((row.sent_at or self.clock()) - _LONGEST_AGO)
        parameters = {
            name: value.format(patient=row.named or row.patient, since=since) for name, value in facts.find.items()
        }
        found = [dict(one) for one in self.client.search(type_, parameters)]
        return [one for one in found if carries(one, facts, row.identifier)]


def end_status(client: EhrClient, found: Found, facts: TypeFacts, element: str, end: str) -> Written:
    """Give a resource of ours its last status: by a patch where an EHR takes it no other way."""
    resource = found.resource
    type_, id_ = str(resource["resourceType"]), str(resource["id"])
    if element in facts.patches:
        return client.patch(type_, id_, {element: end}, if_match=found.etag)
    return client.update(type_, id_, {**resource, element: end}, if_match=found.etag)


def was_ended(resource: Mapping[str, Any]) -> bool:
    """Whether a resource of ours has come to its end."""
    return resource.get(status_element(str(resource["resourceType"]))) in _ENDS


def _age(resource: Resource) -> tuple[float, str]:
    """In the order of the last change; of two of one moment by id, so that everybody chooses the same."""
    said = resource.get("meta", {}).get("lastUpdated")
    try:
        return (parse_instant(said).timestamp() if isinstance(said, str) else 0.0), str(resource.get("id"))
    except BadInput:
        return 0.0, str(resource.get("id"))
