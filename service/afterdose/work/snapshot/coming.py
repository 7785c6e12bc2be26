"""The doses to come of one patient, as the orders and visits of one source announce them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from afterdose.core.dose import DoseKey, Order, PlannedDose
from afterdose.fhir.decode.administration import envelope
from afterdose.fhir.decode.announced import Announcement, announcements, authored_at
from afterdose.fhir.decode.offline import Pool
from afterdose.fhir.elements import JsonObject, reference, text
from afterdose.store.rows import Fact
from afterdose.work.snapshot.related import Related
from afterdose.work.snapshot.surroundings import Surroundings
from afterdose.work.source import Resource, parsed

Versions = Callable[[str, str, str], Sequence[Fact]]
"""All facts of one resource, by source, id and type, in order of receipt."""

MOST_ORDERS = 20
"""Of so many orders that stand, the newest, what hangs on them is read."""

_ANNOUNCING = ("Appointment", "MedicationRequest", "ServiceRequest")
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Coming:
    """The doses that are announced, and what announces them."""

    doses: tuple[PlannedDose, ...] = ()
    orders: tuple[Order, ...] = ()


def coming(
    related: Related, patients: Sequence[str], target: str, surroundings: Surroundings, versions: Versions
) -> Coming:
    """What was pushed announces doses, and so do the orders that were read with a dose.

    ``patients``: the ids of the patient, the present one first.

    Raises EhrUnavailable where the source does not answer now.
    """
    found = {f"{one['resourceType']}/{one['id']}": one for one in related.met(*_ANNOUNCING)}
    found |= _deleted(related, versions)
    if not found:
        return Coming()
    known = [*found.values(), *_drugs(related, list(found.values()))]

    def told(pool: Pool) -> list[Announcement]:
        source, codes = related.source, surroundings.codes
        heard = _Heard(related, versions, surroundings.clock())
        all_of = announcements(pool, codes, source.zone, source=source.name, heard_at=heard.at)
        mine = [one for one in all_of if one.patient in patients]
        return [
            replace(one, patient=patients[0], order=replace(one.order, patient=patients[0]) if one.order else None)
            for one in mine
        ]

    first = told(related.pool(*known))
    standing = [one.order for one in first if one.order is not None and one.order.ended_at is None]
    for order in sorted(standing, key=_age)[:MOST_ORDERS]:
        resource = found[order.key.id]
        known += surroundings.of_order(resource, related, target=target, since=order.heard_at)
    announced = told(related.pool(*known)) if standing else first
    return Coming(
        doses=tuple(dose for one in announced for dose in one.doses),
        orders=tuple(one.order for one in announced if one.order is not None),
    )


class _Heard:
    """When we first heard of an order in its present status."""

    def __init__(self, related: Related, versions: Versions, now: datetime) -> None:
        self._related = related
        self._versions = versions
        self._now = now

    def at(self, resource: JsonObject) -> datetime:
        """By the facts; for one that was only read, by what it says of itself."""
        facts = self._versions(self._related.source.name, str(resource.get("id")), str(resource["resourceType"]))
        if facts and facts[-1].interaction == "delete":
            return facts[-1].received_at
        same = (fact for fact in facts if fact.raw and text(parsed(fact.raw), "status") == text(resource, "status"))
        said = authored_at(resource, self._related.source.zone) or envelope(resource).last_updated
        return min((fact.received_at for fact in same), default=said or self._now)


def _deleted(related: Related, versions: Versions) -> dict[str, Resource]:
    """What was deleted, as it was last seen, and in error."""
    gone = {}
    for type_, id_ in related.deleted(*_ANNOUNCING):
        whole = [fact for fact in versions(related.source.name, id_, type_) if fact.interaction == "upsert"]
        if whole:
            gone[f"{type_}/{id_}"] = {**related.source.read(whole[-1].raw), "status": "entered-in-error"}
    return gone


def _drugs(related: Related, orders: list[Resource]) -> list[Resource]:
    """The Medications that standing orders refer to; a Medication does not become another one."""
    active = [one for one in orders if text(one, "status") == "active"]
    refs = [reference(one, "medicationReference") or reference(one, "medication") for one in active]
    return related.several(refs, "Medication", since=_LONG_AGO)


def _age(order: Order) -> tuple[float, DoseKey]:
    return -(order.authored or order.heard_at).timestamp(), order.key
