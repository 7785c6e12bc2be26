"""The values that go into the store and come out of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from afterdose.core.care import ArtifactKey, Standing
from afterdose.core.dose import DoseKey
from afterdose.core.errors import Problem
from afterdose.core.reasons import Outcome, Reason
from afterdose.fhir.decode.administration import TYPE as ADMINISTRATION

Interaction = Literal["upsert", "delete", "hint"]
"""What the sender says: this is the resource now, it is there no more, or that something became of it."""
Via = Literal["push", "poll", "read"]
"""How it came: sent to us, found by the sweep, or an authoritative re-read by the worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One received version of a resource (or its deletion), not stored yet; of a dose where nothing else is said.

    ``target``: the EHR in which ``patient`` is a Patient id; ``patient`` is None where the subject could not be
    resolved, and for a delete or a hint that names none. ``raw``: the bytes as received, empty for those two.
    """

    source: str
    resource_type: str = ADMINISTRATION
    resource_id: str
    target: str
    patient: str | None
    interaction: Interaction = "upsert"
    via: Via = "push"
    version: str | None = None
    last_updated: datetime | None = None
    raw: bytes = b""

    def __post_init__(self) -> None:
        """Refuse a time without an offset."""
        if self.last_updated is not None and self.last_updated.tzinfo is None:
            raise ValueError("an instant needs an offset")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact(Arrival):
    """An arrival as stored. ``seq`` rises in the order of receipt; ``content_hash`` is the SHA-256 of ``raw``.

    A delete or a hint that names no patient carries the patient of the fact before it.
    """

    seq: int
    content_hash: str
    received_at: datetime

    @property
    def key(self) -> DoseKey:
        """The dose of which this is a version, where it is one of an administration."""
        return DoseKey(self.source, self.resource_id)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The durable answer to an arrival: the fact that holds it. ``duplicate``: it was the latest fact already.

    With ``seq`` 0 it was passed over: a hint of something that is not ours.
    """

    seq: int
    duplicate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AgendaEntry:
    """Wish to look at a patient at ``due_at``; ``reason`` is a code without spaces."""

    target: str
    patient: str
    due_at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgendaRow:
    """One patient of the agenda. ``due_at`` None: only when something arrives; ``parked``: code of why it was given
    up until something arrives or a person replays it. ``escalated``: steps of escalation that were alarmed."""

    target: str
    patient: str
    seq: int
    due_at: datetime | None
    first_due_at: datetime | None
    reasons: tuple[str, ...]
    attempts: int
    lease_owner: str | None
    lease_until: datetime | None
    parked: str | None
    escalated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to work on one patient until the lease ends or another worker takes over.

    ``seq`` is how far the agenda had come; ``attempts`` includes this one; ``first_due_at``: since when the work
    has been due (start of the retrying time). ``broken_off``: claims before this one that nobody gave back, in a
    row; ``escalated``: steps of escalation that were alarmed.
    """

    target: str
    patient: str
    seq: int
    fence: int
    attempts: int
    reasons: tuple[str, ...]
    first_due_at: datetime
    broken_off: int = 0
    escalated: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a source answered when it was asked for a resource that a dose hangs on, and when. ``raw`` is empty where
    it did not give it."""

    source: str
    resource_type: str
    resource_id: str
    read_at: datetime
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """What we intend to have, or have, in the EHR for one artifact.

    ``identifier``: the value by which it is found in the EHR. ``desired_hash``: of what we last wanted.
    ``elements``: JSON that tells, element by element, what is ours in the artifact, as the EHR returned it.
    ``visit_start``, ``visit_end``: of an Appointment that people have given a time. ``booked``: now or at any time.
    ``closed_at``: when a person ended it.
    ``named``: the Patient whom the resource names in the EHR, where that is not ``patient``: it was written before two
    records were merged, or parted. ``sent_at``: when a write was last begun; ``attempts``: writes begun.
    ``check_at``: when to see whether it is the only one with its identifier, None where that is known.
    ``updated_at`` is set by the store.
    """

    target: str
    patient: str
    key: ArtifactKey
    identifier: UUID
    resource_type: str
    standing: Standing
    named: str | None = None
    ehr_id: str | None = None
    etag: str | None = None
    ehr_status: str | None = None
    booked: bool = False
    visit_start: datetime | None = None
    visit_end: datetime | None = None
    closed_at: datetime | None = None
    was_active: bool = False
    desired_hash: str | None = None
    elements: Mapping[str, Any] = field(default_factory=dict)
    sent_at: datetime | None = None
    attempts: int = 0
    check_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRow:
    """What an EHR says of one Patient. ``died_by``: None for the living; ``gone``: there is no such Patient any more.

    ``kept_with``: the patient under whom everything of this one is kept, None where that is itself.
    """

    target: str
    patient: str
    active: bool = True
    gone: bool = False
    died_by: datetime | None = None
    kept_with: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRow:
    """What became of one administration. ``details`` is JSON for the pages; ``next_look``: None = when facts change.

    ``shadow``: decided only, because the target is in shadow mode. ``updated_at`` is set by the store.
    """

    target: str
    patient: str
    key: DoseKey
    outcome: Outcome
    reasons: tuple[Reason, ...] = ()
    session_id: UUID | None = None
    course_id: UUID | None = None
    details: Mapping[str, object] = field(default_factory=dict)
    next_look: datetime | None = None
    shadow: bool = False
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRow:
    """One question to a person. ``closed_by``: the person who resolved it, None where it was no longer needed.

    ``codes``: the EHR's own codes of what it refused.
    """

    id: int
    target: str
    patient: str
    founder: DoseKey
    administrations: tuple[DoseKey, ...]
    reasons: tuple[Reason, ...]
    codes: tuple[str, ...]
    due: datetime | None
    opened_at: datetime
    closed_at: datetime | None
    closed_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing done with patient data, in the shape of FHIR's AuditEvent; ``action`` is C, R, U, D or E.

    ``entity_type`` and ``entity_id`` name a resource; nothing of its content is ever kept here.
    """

    actor: str
    action: Literal["C", "R", "U", "D", "E"]
    entity_type: str
    entity_id: str | None
    outcome: str
    target: str | None = None
    patient: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Bytes of an authenticated sender that were refused, kept for a person to look at."""

    id: int
    source: str
    received_at: datetime
    media_type: str | None
    body: bytes
    problems: tuple[Problem, ...]
