"""The words of a plan: what its goal, its phases and its activities are called in front of people.

Values only; a clinician edits them in ``mappings/activities``. None of them names a drug or a diagnosis, and none
promises more than "may".
"""

from collections.abc import Mapping
from dataclasses import dataclass

from afterdose.core.care import ArtifactKind

PREPARATION, EXPERIENCE, INTEGRATION = "preparation", "experience", "integration"
PHASES = (PREPARATION, EXPERIENCE, INTEGRATION)
"""The phases of a plan, in their order in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A heading and what it means."""

    title: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityWords(Passage):
    """One activity. ``phase`` names one of the plan's; ``prompts`` are the questions that go with it, and
    ``questionnaire`` the canonical of the Questionnaire that holds them."""

    phase: str
    evidence: str
    prompts: tuple[str, ...] = ()
    questionnaire: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanWords:
    """All words of a plan. ``agenda`` is that of an integration session, ``preparation`` that of a preparation session.

    ``accompanied``: what the agenda begins with where a therapist was present at the dose (True), where there was
    medical monitoring only (False), and where nobody said (None).
    """

    goal: str
    phases: Mapping[str, Passage]
    activities: Mapping[ArtifactKind, ActivityWords]
    agenda: tuple[Passage, ...]
    preparation: ActivityWords
    accompanied: Mapping[bool | None, str]
