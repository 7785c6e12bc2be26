"""Which rung each artifact takes at one EHR, and why. Pure.

What an EHR declares is the beginning; what is known of the product comes after it (it may declare more than it takes),
and what the site has pinned comes last (it may take more than it declares). What was written once stays on its rung.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from afterdose.core.clinic import Clinic
from afterdose.core.errors import BadSettings
from afterdose.ehr.capabilities import Capabilities
from afterdose.ehr.interactions import Interaction
from afterdose.fhir.encode.care import END_OF, MISTAKE, status_element
from afterdose.fhir.encode.rungs import GENERIC, RUNG_NAMES, STEPS, WORKLIST, Artifact, EhrFacts, TypeFacts, rungs_of

# R4 is what we write; the shapes that we use are the same in R4B (http://hl7.org/fhir/R4B/diff.html).
_VERSIONS = ("4.0", "4.3")
_SITE_TELLS = {
    "location": "a location in the clinic's file",
    "pool": "a pool in the clinic's file",
    "sender": "the setting sender",
}


class PlanMode(StrEnum):
    """How a course has its plan."""

    COURSE = "course"
    """One resource, amended."""
    CHILD = "child"
    """A CarePlan that cannot be amended, and one for each dose session that is a part of it."""
    NONE = "none"
    """No plan in the EHR."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The rung of one artifact: a resource type, or None for our own worklist. ``updates``: it can be changed."""

    type: str | None
    why: str
    updates: bool = True
    pinned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """The decisions for one EHR, and what is known of it. ``faults``: what cannot work, in words for the site.

    ``endings``: types that cannot be changed but ended, with the element and the value that do so."""

    decisions: Mapping[Artifact, Decision]
    facts: EhrFacts
    updatable: Mapping[str, bool]
    endings: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    faults: tuple[str, ...] = ()

    def type_of(self, artifact: Artifact) -> str | None:
        """The resource type that an artifact is written as, None where it is not."""
        return self.decisions[artifact].type

    def can_update(self, type_: str) -> bool:
        """Whether resources of a type can be changed."""
        return self.updatable.get(type_, True)

    def end_of(self, type_: str) -> tuple[str, str] | None:
        """How to end a resource of a type that cannot be changed otherwise; None where nothing can."""
        return self.endings.get(type_)

    @property
    def plan_mode(self) -> PlanMode:
        """How a course has its plan."""
        decision = self.decisions[Artifact.CARE_PLAN]
        if decision.type is None:
            return PlanMode.NONE
        return PlanMode.CHILD if decision.type == "CarePlan" and not decision.updates else PlanMode.COURSE


def top() -> Ladder:
    """The ladder of an EHR that takes everything."""
    decisions = {artifact: Decision(type=steps[0], why="assumed") for artifact, steps in STEPS.items()}
    return Ladder(decisions=decisions, facts=GENERIC, updatable={})


def site_tells(clinic: Clinic, sender: str | None) -> frozenset[str]:
    """What a site has told us of itself, as far as EHRs ask for it."""
    told = {"location": clinic.location, "pool": clinic.pool, "sender": sender}
    return frozenset(name for name, value in told.items() if value is not None)


def check_pins(pins: Mapping[Artifact, str], facts: EhrFacts, site: Collection[str]) -> None:
    """Refuse pins that cannot work, whatever the EHR declares. ``site``: what the site tells us. Raises BadSettings."""
    for artifact, name in pins.items():
        if name not in rungs_of(artifact):
            raise BadSettings(f"rungs.{artifact}: expected one of {', '.join(rungs_of(artifact))}")
        missing = _missing(facts.of(RUNG_NAMES[name]), site)
        if missing:
            raise BadSettings(f"rungs.{artifact}: {name} needs {' and '.join(missing)} at {facts.title}")


def decide(declared: Capabilities, facts: EhrFacts, pins: Mapping[Artifact, str], site: Collection[str]) -> Ladder:
    """The rung of each artifact. ``pins``: by the site, names of rungs; ``site``: what the site tells us."""
    decisions = {artifact: _decision(artifact, declared, facts, pins, site) for artifact in Artifact}
    faults = []
    if not declared.fhir_version.startswith(_VERSIONS):
        faults.append(f"FHIR {declared.fhir_version or '(no version)'}: only R4 and R4B can be written")
    for artifact, decision in decisions.items():
        missing = _missing(facts.of(decision.type), site) if decision.type is not None else []
        if missing:
            faults.append(f"{artifact}: {decision.type} needs {' and '.join(missing)}")
    types = {type_ for steps in STEPS.values() for type_ in steps}
    return Ladder(
        decisions=decisions,
        facts=facts,
        updatable={type_: _updates(type_, declared, facts) for type_ in types},
        endings={type_: end for type_ in types if (end := _ending(type_, declared, facts)) is not None},
        faults=tuple(faults),
    )


def _decision(
    artifact: Artifact,
    declared: Capabilities,
    facts: EhrFacts,
    pins: Mapping[Artifact, str],
    site: Collection[str],
) -> Decision:
    if artifact in pins:
        type_ = RUNG_NAMES[pins[artifact]]
        if type_ == WORKLIST:
            return Decision(type=None, why="pinned by the site", updates=False, pinned=True)
        said = "" if declared.allows(type_, Interaction.CREATE) else ", though it declares no create"
        updates = _updates(type_, declared, facts)
        return Decision(type=type_, why=f"pinned by the site{said}", updates=updates, pinned=True)
    if artifact in facts.rungs:
        type_ = RUNG_NAMES[facts.rungs[artifact]]
        if type_ == WORKLIST:
            return Decision(type=None, why=f"known of {facts.title}", updates=False)
        return Decision(type=type_, why=f"known of {facts.title}", updates=_updates(type_, declared, facts))
    passed: list[str] = []
    for type_ in STEPS[artifact]:
        missing = _missing(facts.of(type_), site)
        if not declared.allows(type_, Interaction.CREATE):
            passed.append(f"no create of {type_}")
        elif missing:
            passed.append(f"{type_} needs {' and '.join(missing)}")
        else:
            updates = _updates(type_, declared, facts)
            why = "; ".join([*passed, f"{type_} can be created" + ("" if updates else " and not updated")])
            return Decision(type=type_, why=why, updates=updates)
    return Decision(type=None, why="; ".join(passed), updates=False)


def _updates(type_: str, declared: Capabilities, facts: EhrFacts) -> bool:
    known = facts.of(type_).updates
    return declared.allows(type_, Interaction.UPDATE) if known is None else known


def _ending(type_: str, declared: Capabilities, facts: EhrFacts) -> tuple[str, str] | None:
    element, end = status_element(type_), END_OF.get(type_, MISTAKE)
    can = element in facts.of(type_).patches and declared.allows(type_, Interaction.PATCH)
    return (element, end) if can and not _updates(type_, declared, facts) else None


def _missing(facts: TypeFacts, site: Collection[str]) -> list[str]:
    return [words for need, words in _SITE_TELLS.items() if need in facts.needs and need not in site]
