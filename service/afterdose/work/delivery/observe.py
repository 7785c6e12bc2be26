"""What a look at one of our resources in the EHR tells: still ours, taken over, booked, or removed.

Pure: the ledger's memory and the resource as it stands go in, the new standing comes out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from afterdose.core.care import ArtifactKind, PlanStatus, Standing
from afterdose.core.errors import BadInput
from afterdose.fhir.decode.administration import envelope
from afterdose.fhir.encode.care import status_element
from afterdose.fhir.times import parse_instant
from afterdose.work.delivery.merge import Owned, fingerprint, still_ours

# http://hl7.org/fhir/R4/valueset-appointmentstatus.html: agreed, or past the agreement.
_BOOKED = frozenset({"booked", "arrived", "checked-in", "fulfilled", "noshow"})
_APPOINTMENT_ENDED = frozenset({"cancelled", "entered-in-error", "revoked"})
# http://hl7.org/fhir/R4/valueset-request-status.html and valueset-document-reference-status.html:
# a person has ended the plan.
_PLAN_ENDED = frozenset({"completed", "revoked", "entered-in-error", "superseded"})
# http://hl7.org/fhir/R4/valueset-task-status.html, goal-status and request-status: somebody has dealt with it.
_OTHER_ENDED = frozenset({"rejected", "cancelled", "failed", "completed", "revoked", "entered-in-error"})

_APPOINTMENT_TOUCHED_BY = (
    "status",
    "start",
    "end",
    "requestedPeriod",
    "minutesDuration",
    "participant",
    "slot",
    "occurrencePeriod",
)
_PLANS = frozenset({ArtifactKind.CARE_PLAN, ArtifactKind.DOSE_PLAN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """How an artifact stood when it was last read."""

    standing: Standing
    ehr_status: str | None
    booked: bool
    was_active: bool
    visit_start: datetime | None = None
    visit_end: datetime | None = None
    closed_at: datetime | None = None
    """When a person ended it, None where nobody has."""


def sight(
    kind: ArtifactKind,
    current: Mapping[str, Any],
    *,
    owned: Owned,
    standing: Standing,
    was_booked: bool,
    was_active: bool,
    closed_at: datetime,
) -> Sighting:
    """Read the standing of an artifact of ``kind`` from the resource as it is in the EHR now.

    An end that we wrote ourselves is no person's doing: it reads as withdrawn, also where the answer to
    that write never came. A visit that was once booked stays known as such, also when it was cancelled later.
    ``closed_at``: when it was ended, should it have been and the EHR not tell when.
    """
    resource = dict(current)
    element = status_element(str(current.get("resourceType")))
    status = current.get(element)
    ours = element in owned and still_ours(resource, owned, [element])
    ended = Standing.WITHDRAWN if ours else Standing.REMOVED_BY_PERSON
    booked = kind is ArtifactKind.APPOINTMENT and status in _BOOKED
    now = standing
    if kind is ArtifactKind.APPOINTMENT:
        if booked:
            now = Standing.TAKEN_OVER
        elif status in _APPOINTMENT_ENDED:
            now = ended
        elif standing is Standing.WRITTEN and (
            not still_ours(resource, owned, _APPOINTMENT_TOUCHED_BY) or current.get("start") is not None
        ):
            now = Standing.TAKEN_OVER
    elif kind in _PLANS:
        if status in _PLAN_ENDED:
            now = ended
    elif status in _OTHER_ENDED:
        now = ended
    return Sighting(
        standing=now,
        ehr_status=status if isinstance(status, str) else None,
        booked=booked or was_booked,
        was_active=was_active or (kind in _PLANS and status == "active"),
        visit_start=_instant(current.get("start")),
        visit_end=_instant(current.get("end")),
        closed_at=envelope(current).last_updated or closed_at if now is Standing.REMOVED_BY_PERSON else None,
    )


def with_activation(kind: ArtifactKind, current: Mapping[str, Any], owned: Owned) -> Owned:
    """The memory of what is ours, as it is once a person has activated a plan: its status goes on being ours, because
    activation is the agreement to it and no edit (decision 0008, rule 8), and its end has still to be said (rule 6)."""
    was_draft = owned.get("status") == fingerprint(str(PlanStatus.DRAFT))
    if kind not in _PLANS or not was_draft or current.get("status") != PlanStatus.ACTIVE:
        return owned
    return {**owned, "status": fingerprint(str(PlanStatus.ACTIVE))}


def _instant(said: object) -> datetime | None:
    try:
        return parse_instant(said) if isinstance(said, str) else None
    except BadInput:
        return None
