"""Who stands in a cohort, as an EHR tells it: the members of a Group, a List, or those who have a visit.

(FHIR R4 group.html, list.html, appointment.html.) What names no Patient of this server is passed over.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime

from afterdose.ehr.client import EhrClient
from afterdose.fhir.elements import member, members, reference, text
from afterdose.fhir.references import patient_id
from afterdose.fhir.times import format_instant, parse_datetime

_NO_VISIT = frozenset({"cancelled", "entered-in-error", "noshow"})


def of_group(client: EhrClient, group: str, base_url: str, now: datetime) -> set[str]:
    """The patients in a Group who have not left it. Raises EhrError."""
    found = client.read("Group", group.partition("/")[2]).resource
    still = (one for one in members(found, "member") if one.get("inactive") is not True and not _is_over(one, now))
    return _patients((reference(one, "entity") for one in still), base_url)


def of_list(client: EhrClient, list_: str, base_url: str) -> set[str]:
    """The patients on a List who were not taken off it. Raises EhrError."""
    entries = members(client.read("List", list_.partition("/")[2]).resource, "entry")
    return _patients((reference(one, "item") for one in entries if one.get("deleted") is not True), base_url)


def of_visits(client: EhrClient, at: str, base_url: str, since: datetime, until: datetime) -> set[str]:
    """The patients with a visit at a Location or with a Practitioner that starts in that time. Raises EhrError."""
    type_, _, id_ = at.partition("/")
    between = (f"ge{format_instant(since)}", f"lt{format_instant(until)}")
    visits = client.search("Appointment", {type_.lower(): id_, "date": between})
    actors = (
        reference(one, "actor")
        for visit in visits
        if visit.get("status") not in _NO_VISIT
        for one in members(visit, "participant")
    )
    return _patients(actors, base_url)


def _patients(references: Iterator[str | None], base_url: str) -> set[str]:
    found = (patient_id(one, base_url=base_url) for one in references)
    return {id_ for id_ in found if id_ is not None}


def _is_over(one: Mapping[str, object], now: datetime) -> bool:
    end = text(member(one, "period"), "end")
    if end is None:
        return False
    moment = parse_datetime(end, zoneless=True).value
    return isinstance(moment, datetime) and moment.tzinfo is not None and moment < now
