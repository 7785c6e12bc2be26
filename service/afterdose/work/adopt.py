"""What an earlier attempt may have written: found by identifier, and taken for ours, once.

A write whose answer never came may have been carried out, and the EHR's index may not show it yet. So an empty
result is believed only some time after the write; until then nothing is sent again.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from afterdose.core.errors import EhrGone, EhrRefused, EhrUnavailable
from afterdose.ehr.answers import etag_of
from afterdose.ehr.client import EhrClient
from afterdose.fhir.encode import status_element
from afterdose.fhir.fit import carries
from afterdose.fhir.rungs import TypeFacts
from afterdose.fhir.times import format_instant
from afterdose.store.rows import LedgerRow
from afterdose.work.merge import still_ours

INDEX_LAG = timedelta(minutes=1)
"""How long after a write its result may be missing from a search. Half a minute is common; windows open after a day."""

# What a superfluous one becomes; an Appointment without times cannot be entered-in-error (R4 Appointment, app-3).
_ENDED = {"Appointment": "cancelled"}
_MISTAKE = "entered-in-error"
_LONGEST_AGO = timedelta(days=1)
"""How far before its sending the time of what was sent may lie; nothing of ours is proposed for the past."""


def await_index(row: LedgerRow, now: datetime) -> None:
    """Raise EhrUnavailable while a search may not show yet what became of the write of ``row``."""
    if row.attempts == 0 or row.sent_at is None:
        return
    left = row.sent_at + INDEX_LAG - now
    if left > timedelta():
        raise EhrUnavailable(
            f"{row.resource_type} search: what was sent may not be found yet", code="incomplete", retry_after=left
        )


def adopt(
    row: LedgerRow,
    *,
    client: EhrClient,
    facts: TypeFacts,
    system: str,
    hold: Callable[[], None],
    clock: Callable[[], datetime],
) -> LedgerRow:
    """The row with the id of the resource that carries its identifier, unchanged where there is none.

    Of several, the one that a person has acted on counts, else the oldest; the others are ended.
    Raises EhrConflict where one of those was changed meanwhile, EhrUnavailable while it is too early to know,
    EhrRefused where nobody can know whether what was sent has arrived.
    """
    if facts.find is not None and not facts.find:
        if row.sent_at is None:
            return row
        raise EhrRefused(f"{row.resource_type}: whether it has arrived cannot be searched for", code="incomplete")
    hold()
    found = _search(row, client, facts, system, clock())
    if not found:
        await_index(row, clock())
        return row
    sent: Mapping[str, Any] = row.elements.get("sent", {})
    element, end = status_element(row.resource_type), _ENDED.get(row.resource_type, _MISTAKE)

    def rank(resource: dict[str, Any]) -> tuple[bool, bool, str]:
        untouched = still_ours(resource, sent, [element])
        return resource.get(element) == end, untouched, str(resource.get("meta", {}).get("lastUpdated", ""))

    kept, *doubles = sorted(found, key=rank)
    for double in doubles:
        if double.get(element) != end and still_ours(double, sent, [element]):
            hold()
            _end({**double, element: end}, client)
    return replace(row, ehr_id=str(kept["id"]), elements={"owned": sent, "sent": sent})


def _search(row: LedgerRow, client: EhrClient, facts: TypeFacts, system: str, now: datetime) -> list[dict[str, Any]]:
    """Ours, found by identifier, or by what this EHR searches by and the reference in its text."""
    if facts.find is None:
        return [dict(one) for one in client.find_by_identifier(row.resource_type, system, str(row.identifier))]
    since = format_instant((row.sent_at or now) - _LONGEST_AGO)
    parameters = {name: value.format(patient=row.patient, since=since) for name, value in facts.find.items()}
    found = [dict(one) for one in client.search(row.resource_type, parameters)]
    return [one for one in found if carries(one, facts, row.identifier)]


def _end(double: dict[str, Any], client: EhrClient) -> None:
    try:
        client.update(double["resourceType"], str(double["id"]), double, if_match=etag_of(double))
    except (EhrRefused, EhrGone):
        return  # it stays as it is, for a person to end
