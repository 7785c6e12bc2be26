"""The desired state for one patient: what decide() answers, and what it was asked.

``Snapshot`` is everything known about a patient at one moment; ``Care`` is what should be in the
EHR because of it. Both are plain values. A desired artifact says *what*; how it reaches a given
EHR is not decided here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from afterdose.core.clinic import Clinic
from afterdose.core.codes import Codes
from afterdose.core.dose import Coding, Dose, DoseKey, Family, PlannedDose, PlannedKind
from afterdose.core.protocol import Protocol
from afterdose.core.reasons import Eligibility, Outcome, Reason


class Phase(StrEnum):
    """Phase of a course."""

    PREPARATION = "preparation"
    ACTIVE = "active"
    MAINTENANCE = "maintenance"


class AnchorBasis(StrEnum):
    """From what the end of the dose session was taken."""

    END = "end"
    DATETIME = "datetime"
    START_AND_DURATION = "start+duration"
    START = "start"
    DATE_ONLY = "date-only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What closes a window before its time: the next dose, less the clinic's buffer."""

    kind: PlannedKind
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A half-open interval: a session may start at ``opens``, not at ``closes``. UTC instants."""

    opens: datetime
    closes: datetime
    cut_by: Cut | None = None

    def contains(self, moment: datetime) -> bool:
        """Whether a session may start at ``moment``."""
        return self.opens <= moment < self.closes


class SessionState(StrEnum):
    """What can be said of the integration session of one dose session."""

    PROPOSED = "proposed"
    UNMET = "unmet"
    WAITING = "waiting"


class SessionClass(StrEnum):
    """Where a session lies relative to the window; chosen by its start."""

    IN_WINDOW = "in-window"
    EDGE = "edge"
    EARLY_EDGE = "early-edge"
    POST_WINDOW = "post-window"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The integration session proposed for a dose session, or why there is none.

    ``hours_after`` and ``score`` are exact numbers of hours from the anchor to the start and of the
    ordering score (never a clinical meaning). ``period_start``/``period_end`` is what may still be
    booked (Appointment.requestedPeriod). ``reasons`` hold the codes of labels and refusals.
    """

    state: SessionState
    start: datetime | None = None
    end: datetime | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    hours_after: float | None = None
    session_class: SessionClass | None = None
    score: float | None = None
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseVerdict:
    """What becomes of one dose session (or of one administration that forms none).

    ``session_id`` and ``course_id`` are None where none was minted (not eligible, unrelated).
    ``administrations`` are ordered by start then key; the first is the founder's unless known
    membership says otherwise. ``withdrawn``: members that were withdrawn (they count no more).
    ``wake_up``: when this verdict has to be looked at again, None = only when facts change.
    """

    administrations: tuple[DoseKey, ...]
    founder: DoseKey
    family: Family | None
    outcome: Outcome
    eligibility: Eligibility | None
    reasons: tuple[Reason, ...]
    session_id: UUID | None = None
    course_id: UUID | None = None
    start: datetime | None = None
    anchor: datetime | None = None
    anchor_basis: AnchorBasis | None = None
    phase: Phase | None = None
    window: Window | None = None
    session: Session | None = None
    heard_at: datetime | None = None
    withdrawn: tuple[DoseKey, ...] = ()
    wake_up: datetime | None = None


class ArtifactKind(StrEnum):
    """What we may put into the EHR for a subject (a course or a dose session)."""

    CARE_PLAN = "care-plan"
    APPOINTMENT = "appointment"
    REVIEW_TASK = "review-task"
    UNMET_TASK = "unmet-task"
    BOOKED_TASK = "booked-task"
    PROVENANCE = "provenance"


@dataclass(frozen=True, slots=True, order=True)
class ArtifactKey:
    """Identity of one artifact: its kind, the course or dose session it serves, and a generation.

    The generation rises only after our own withdrawal, so that a reinstated dose does not find its
    cancelled Appointment.
    """

    kind: ArtifactKind
    subject: UUID
    generation: int = 0


class Standing(StrEnum):
    """How an artifact stands in the EHR, as far as we know."""

    INTENDED = "intended"
    """We mean to write it, or began to; the EHR may or may not have it."""
    WRITTEN = "written"
    """It is there and ours."""
    TAKEN_OVER = "taken-over"
    """People changed it (or, for an Appointment, booked it): theirs now."""
    REMOVED_BY_PERSON = "removed-by-person"
    """A person cancelled, revoked, completed or deleted it: a tombstone, never created again."""
    WITHDRAWN = "withdrawn"
    """We withdrew it ourselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownArtifact:
    """One ledger row as the rules see it. ``ehr_status`` is the status element last seen in the EHR.

    ``booked``: an Appointment that people have booked (or that has moved on to arrived, fulfilled,
    noshow ...). ``was_active``: a CarePlan that has been active at any time.
    """

    key: ArtifactKey
    standing: Standing
    ehr_status: str | None = None
    booked: bool = False
    was_active: bool = False
    reference: str | None = None
    """``Type/id`` in the EHR, None until it is known to be there."""
    start: datetime | None = None
    """When the visit that people booked starts (Appointment.start), None while none is booked or known."""
    end: datetime | None = None
    """When that visit ends (Appointment.end)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """To which dose session and course an administration was assigned when it was first seen."""

    session_id: UUID
    course_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What earlier decisions left behind: memberships and artifacts."""

    memberships: Mapping[DoseKey, Membership] = field(default_factory=dict)
    artifacts: Mapping[ArtifactKey, KnownArtifact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything known about one patient of one target EHR.

    ``patient`` is the Patient id in the target, None for facts whose subject could not be resolved
    (then each dose goes to review on its own). ``protocols`` has one for every family.
    ``accept_auto``: the site writes active plans instead of proposals.
    """

    patient: str | None
    doses: tuple[Dose, ...]
    planned: tuple[PlannedDose, ...] = ()
    known: Known = field(default_factory=Known)
    protocols: Mapping[Family, Protocol]
    clinic: Clinic
    codes: Codes
    accept_auto: bool = False


class PlanStatus(StrEnum):
    """Status that we want a course CarePlan to have; people's own changes are kept on the way out."""

    DRAFT = "draft"
    ACTIVE = "active"
    COMPLETED = "completed"
    REVOKED = "revoked"
    ENTERED_IN_ERROR = "entered-in-error"


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredAppointment:
    """One proposed Appointment for a dose session, or its cancellation (``cancelled`` with a reason).

    ``hold``: it is people's now, or nothing may be decided at present. The plan goes on naming it and
    nothing is written to it.
    """

    key: ArtifactKey
    course: ArtifactKey
    verdict: DoseVerdict
    cancelled: bool = False
    cancel_reason: Reason | None = None
    hold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredTask:
    """Something that a person has to do. ``due`` is Task.restriction.period.end."""

    key: ArtifactKey
    verdict: DoseVerdict
    reasons: tuple[Reason, ...]
    due: datetime | None
    cancelled: bool = False
    course: ArtifactKey | None = None
    focus: ArtifactKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredPlan:
    """The one CarePlan of a course: its dose sessions in order, each with what was decided."""

    key: ArtifactKey
    family: Family
    status: PlanStatus
    verdicts: tuple[DoseVerdict, ...]
    appointments: tuple[DesiredAppointment, ...]
    phase: Phase
    period_start: datetime
    period_end: datetime | None = None
    labels: tuple[Coding, ...] = ()
    replaces: ArtifactKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewItem:
    """Something a person must decide; one per dose session (or lone administration) and open cause."""

    founder: DoseKey
    administrations: tuple[DoseKey, ...]
    reasons: tuple[Reason, ...]
    due: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Care:
    """The answer of decide(): every administration of the snapshot is in exactly one verdict.

    An artifact of the ledger that is not named here stays as it is. ``appointments`` are those of the
    plans, held ones among them, and the cancellations.
    """

    verdicts: tuple[DoseVerdict, ...]
    plans: tuple[DesiredPlan, ...]
    appointments: tuple[DesiredAppointment, ...]
    tasks: tuple[DesiredTask, ...]
    reviews: tuple[ReviewItem, ...]
    memberships: Mapping[DoseKey, Membership]
    wake_up: datetime | None


def local_day(moment: datetime, clinic: Clinic) -> date:
    """The calendar day of an instant at the clinic."""
    return moment.astimezone(clinic.zone).date()
