"""What we may have in the EHR, and how each of it stands there: the rules' side of the ledger."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class ArtifactKind(StrEnum):
    """What we may put into the EHR for a subject (a course or a dose session)."""

    CARE_PLAN = "care-plan"
    APPOINTMENT = "appointment"
    REVIEW_TASK = "review-task"
    UNMET_TASK = "unmet-task"
    BOOKED_TASK = "booked-task"
    WARNING_TASK = "warning-task"
    GUARANTEE_TASK = "guarantee-task"
    WAITING_TASK = "waiting-task"
    MERGED_TASK = "merged-task"
    PROVENANCE = "provenance"
    GOAL = "goal"
    DOSE_PLAN = "dose-plan"
    """The plan of one dose session, a part of its course's, where an EHR lets no plan be amended."""
    # activities of a plan; the values are the names under which their words stand in mappings/activities
    JOURNALING = "journaling"
    MINDFULNESS = "mindfulness-practice"
    ACTIVATION = "behavioural-activation"
    SLEEP = "sleep-support"
    COMMITMENTS = "commitments"
    COMMITMENTS_REMINDER = "commitments-reminder"
    OUTCOME_CHECK = "outcome-check"
    LATER_OUTCOME_CHECK = "later-outcome-check"
    RELAPSE_PLAN = "relapse-prevention-plan"
    PSYCHOTHERAPY = "ongoing-psychotherapy"
    CRISIS_PLAN = "crisis-pointer"
    COGNITIVE_WORK = "cognitive-behavioural-work"
    SOMATIC_WORK = "somatic-work"
    ART_WORK = "art-work"


class ArtifactKey(NamedTuple):
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
    closed_at: datetime | None = None
    """When a person ended it, by the EHR's clock where it tells; None while nobody has."""
    named: str | None = None
    """The Patient whom it names in the EHR, where that is a former record of the patient."""
