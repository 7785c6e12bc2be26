"""How an artifact may reach an EHR, and what is known of an EHR that it does not declare. Values only.

A *rung* is the resource type that an artifact is written as; ``WORKLIST`` is our own list, and nothing is written.
``STEPS`` is the ladder: the first rung that an EHR takes is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from types import MappingProxyType

from afterdose.core.care import ArtifactKind
from afterdose.fhir.encode.care import RESOURCE_TYPE
from afterdose.fhir.subscription import SubscriptionFacts

WORKLIST = "worklist"


class Artifact(StrEnum):
    """What is decided on together; the values are the keys of settings and mapping files."""

    CARE_PLAN = "care-plan"
    APPOINTMENT = "appointment"
    TASK = "task"
    """What staff are asked to decide or to do."""
    GOAL = "goal"
    ACTIVITY = "activity"
    """What is done once besides the sessions."""
    PRACTICE = "practice"
    """What repeats, or is offered, besides the sessions."""
    PROVENANCE = "provenance"


STEPS: Mapping[Artifact, tuple[str, ...]] = MappingProxyType(
    {
        Artifact.CARE_PLAN: ("CarePlan", "DocumentReference", "Communication"),
        Artifact.APPOINTMENT: ("Appointment", "ServiceRequest"),
        Artifact.TASK: ("Task", "Communication"),
        Artifact.GOAL: ("Goal",),
        Artifact.ACTIVITY: ("Task",),
        Artifact.PRACTICE: ("ServiceRequest",),
        Artifact.PROVENANCE: ("Provenance",),
    }
)
RUNG_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "care-plan": "CarePlan",
        "document-reference": "DocumentReference",
        "communication": "Communication",
        "appointment": "Appointment",
        "service-request": "ServiceRequest",
        "task": "Task",
        "goal": "Goal",
        "provenance": "Provenance",
        WORKLIST: WORKLIST,
    }
)
"""How settings and mapping files call the rungs."""


def rungs_of(artifact: Artifact) -> tuple[str, ...]:
    """The names of the rungs that an artifact may be pinned to."""
    types = {*STEPS[artifact], WORKLIST}
    return tuple(name for name, type_ in RUNG_NAMES.items() if type_ in types)


@cache
def artifact_of(kind: ArtifactKind) -> Artifact:
    """With what a kind of resource is decided."""
    match kind:
        case ArtifactKind.CARE_PLAN | ArtifactKind.APPOINTMENT | ArtifactKind.GOAL | ArtifactKind.PROVENANCE:
            return Artifact(kind.value)
        case ArtifactKind.DOSE_PLAN:
            return Artifact.CARE_PLAN
        case _ if kind.value.endswith("-task"):
            return Artifact.TASK
    return Artifact.ACTIVITY if RESOURCE_TYPE[kind] == "Task" else Artifact.PRACTICE


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeFacts:
    """What an EHR asks of one resource type beyond FHIR.

    ``fields``: the elements that it takes, None where it takes all; ``single``: lists of which it takes one entry;
    ``values``: what an element has to say there; ``longest``: characters that a text may have, by path.
    ``needs``: what the site has to tell us (``location``, ``pool``, ``sender``).
    ``updates``: None as it declares. ``patches``: the elements that a patch may change where nothing else may.
    ``again``: what can no longer be changed may be followed by a new one.
    ``attach``: a message has its text as an attachment.
    ``find``: the search that finds ours where an identifier does not, with ``{patient}`` and ``{since}``; empty where
    no search does. ``mark``: path of the text that then carries our reference.
    ``poll``: the search for what is new of a patient, with ``{patient}`` and ``{since}``; None where there is none.
    """

    fields: frozenset[str] | None = None
    single: frozenset[str] = frozenset()
    values: Mapping[str, str] = field(default_factory=dict)
    longest: Mapping[str, int] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()
    updates: bool | None = None
    patches: frozenset[str] = frozenset()
    again: bool = False
    attach: bool = False
    find: Mapping[str, str] | None = None
    mark: str | None = None
    poll: Mapping[str, str] | None = None


class CohortKind(StrEnum):
    """Where the patients stand who are asked about one by one; the values are the keys of settings and files."""

    GROUPS = "groups"
    LISTS = "lists"
    VISITS_AT = "visits_at"
    """Those with an Appointment at a place or with a person."""
    FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class EhrFacts:
    """What is known of a product. ``rungs``: where it is other than what it declares; ``types``: by resource type.

    ``subscriptions``: how it takes the Subscriptions by which it notifies us.
    ``last_updated``: whether a search by ``_lastUpdated`` alone finds what changed; ``cohorts``: where it can tell us
    of a cohort. ``reads``: types that it reads with our rights, and not its own, while it takes what we write.
    ``atomic_create``: of several creates at once with one If-None-Exist it carries out one, and a 409 says that nothing
    was made.
    """

    name: str
    title: str
    subscriptions: SubscriptionFacts = field(default_factory=SubscriptionFacts)
    last_updated: bool = True
    cohorts: frozenset[CohortKind] = frozenset(CohortKind)
    rungs: Mapping[Artifact, str] = field(default_factory=dict)
    types: Mapping[str, TypeFacts] = field(default_factory=dict)
    reads: frozenset[str] = frozenset()
    atomic_create: bool = False

    def of(self, type_: str) -> TypeFacts:
        """The facts about one resource type."""
        return self.types.get(type_, NOTHING_SPECIAL)


NOTHING_SPECIAL = TypeFacts()
GENERIC = EhrFacts(name="generic", title="FHIR R4 server")
