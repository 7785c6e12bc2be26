"""The desired state for one patient: what decide() answers, and what it was asked.

``Snapshot`` is everything known about a patient at one moment; ``Care`` is what should be in the
EHR because of it. Both are plain values. A desired artifact says *what*; how it reaches a given
EHR is not decided here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from afterdose.core.artifact import ArtifactKey as ArtifactKey
from afterdose.core.artifact import ArtifactKind as ArtifactKind
from afterdose.core.artifact import KnownArtifact as KnownArtifact
from afterdose.core.artifact import Standing as Standing
from afterdose.core.clinic import Clinic
from afterdose.core.codes import Codes
from afterdose.core.dose import Coding, Dose, DoseKey, Family, Order, PlannedDose
from afterdose.core.dose import Phase as Phase
from afterdose.core.person import Person
from afterdose.core.protocol import Protocol
from afterdose.core.reasons import Eligibility, Outcome, Reason
from afterdose.core.visit import Cut as Cut
from afterdose.core.visit import Session as Session
from afterdose.core.visit import SessionClass as SessionClass
from afterdose.core.visit import SessionState as SessionState
from afterdose.core.visit import Window as Window


class AnchorBasis(StrEnum):
    """From what the end of the dose session was taken."""

    END = "end"
    DATETIME = "datetime"
    START_AND_DURATION = "start+duration"
    START = "start"
    DATE_ONLY = "date-only"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseVerdict:
    """What becomes of one dose session (or of one administration that forms none).

    ``session_id`` and ``course_id`` are None where none was minted (not eligible, unrelated).
    ``administrations`` are ordered by start then key; the first is the founder's unless known
    membership says otherwise. ``withdrawn``: members that were withdrawn (they count no more).
    ``wake_up``: when this verdict has to be looked at again, None = only when facts change.
    ``window_gone``: how much of the window had gone when we heard of the dose. ``predicted_next``: when the
    next dose is to be expected by the cadence so far, where none is known.
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
    window_gone: timedelta | None = None
    predicted_next: datetime | None = None


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
    orders: tuple[Order, ...] = ()
    known: Known = field(default_factory=Known)
    protocols: Mapping[Family, Protocol]
    clinic: Clinic
    codes: Codes
    accept_auto: bool = False
    missed: frozenset[UUID] = frozenset()
    """Dose sessions whose proposal could not be written while there was time."""
    crisis_plans: tuple[str, ...] | None = None
    """The crisis plans on file, as ``Type/id`` of the target; empty: there is none, None: that cannot be known."""
    preferences: tuple[Coding, ...] | None = None
    """What the patient says of ways of working; words under the empty system. None: that cannot be known."""
    person: Person = field(default_factory=Person)


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
class DesiredPreparation:
    """One proposed preparation visit before the first dose of a course, or its cancellation.

    ``number`` counts from 1. ``orders`` announce the course. ``hold`` as for the visits after doses.
    """

    key: ArtifactKey
    course: ArtifactKey
    number: int
    session: Session
    orders: tuple[DoseKey, ...]
    cancelled: bool = False
    cancel_reason: Reason | None = None
    hold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredTask:
    """Something that a person has to do. ``due`` is Task.restriction.period.end.

    ``verdict``: the dose session that it is about; None where it is about a dose that is only ``planned``.
    """

    key: ArtifactKey
    verdict: DoseVerdict | None
    reasons: tuple[Reason, ...]
    due: datetime | None
    cancelled: bool = False
    course: ArtifactKey | None = None
    focus: ArtifactKey | None = None
    labels: tuple[Coding, ...] = ()
    planned: PlannedDose | None = None
    former: str | None = None
    """The former Patient record that it is about."""
    patient: str | None = None
    """The Patient whom it names already, where that is a former record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredGoal:
    """The Goal of a course. ``status`` is that of its plan; ``ended``: it is to be ended, and need not be made."""

    key: ArtifactKey
    family: Family
    status: PlanStatus
    start: datetime | None = None
    labels: tuple[Coding, ...] = ()
    ended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """How often something is to be done. ``length`` is the least and the most time that it takes."""

    every: timedelta
    count: int | None = None
    length: tuple[timedelta, timedelta] | None = None
    at_bedtime: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredActivity:
    """Something besides the sessions that belongs to a course, or its end (``cancelled``).

    ``dose``: the dose session that it follows; None for what belongs to the whole course. ``due_assumed``:
    the next dose is not known. ``waits``: for a clinician to activate the plan, or for a dose that cannot be
    decided now; till then it is only told of.
    ``hold``: the plan goes on naming it and nothing is written to it.
    """

    key: ArtifactKey
    course: ArtifactKey
    family: Family
    dose: DoseVerdict | None = None
    for_patient: bool = False
    starts: datetime | None = None
    due: datetime | None = None
    due_assumed: bool = False
    repeats: Repetition | None = None
    focus: ArtifactKey | None = None
    labels: tuple[Coding, ...] = ()
    cancelled: bool = False
    waits: bool = False
    hold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredPlan:
    """The one CarePlan of a course: its dose sessions in order, each with what was decided.

    Before the first dose: its ``orders``, the ``preparations`` that they ask for, and when the ``first_dose``
    is planned, where that is known.
    """

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
    goal: ArtifactKey | None = None
    activities: tuple[DesiredActivity, ...] = ()
    warnings: tuple[DesiredTask, ...] = ()
    """What a coordinator is asked about the course beside its doses: planned doses, weeks without a session."""
    therapist_present: bool | None = None
    """Whether a therapist accompanied the latest dose; None where nobody said."""
    conditions: tuple[DoseKey, ...] = ()
    """The conditions that the doses were given for: the source, and ``Condition/id``."""
    orders: tuple[DoseKey, ...] = ()
    preparations: tuple[DesiredPreparation, ...] = ()
    first_dose: datetime | None = None
    crisis_plans: tuple[str, ...] = ()
    """``Type/id`` in the target."""
    ended_because: Reason | None = None
    """Why it is revoked, where that is not for want of doses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewItem:
    """Something a person must decide; one per dose session (or lone administration) and open cause.

    ``codes``: the EHR's own codes, where it refused something.
    """

    founder: DoseKey
    administrations: tuple[DoseKey, ...]
    reasons: tuple[Reason, ...]
    due: datetime | None = None
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Care:
    """The answer of decide(): every administration of the snapshot is in exactly one verdict.

    An artifact of the ledger that is not named here stays as it is. ``appointments`` and ``activities`` are
    those of the plans, held ones among them, and the cancellations.
    """

    verdicts: tuple[DoseVerdict, ...]
    plans: tuple[DesiredPlan, ...]
    appointments: tuple[DesiredAppointment, ...]
    tasks: tuple[DesiredTask, ...]
    reviews: tuple[ReviewItem, ...]
    memberships: Mapping[DoseKey, Membership]
    wake_up: datetime | None
    goals: tuple[DesiredGoal, ...] = ()
    activities: tuple[DesiredActivity, ...] = ()
    preparations: tuple[DesiredPreparation, ...] = ()


def local_day(moment: datetime, clinic: Clinic) -> date:
    """The calendar day of an instant at the clinic."""
    return moment.astimezone(clinic.zone).date()
