"""The verdicts of one patient on their way to artifacts, and what is asked of them there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from afterdose.core.care import ArtifactKey, ArtifactKind, DoseVerdict, KnownArtifact, Snapshot
from afterdose.core.dose import Coding, Dose
from afterdose.core.reasons import Outcome, Reason
from afterdose.core.standing import Standings
from afterdose.core.verdicts import Judged

_PLANNED = frozenset({Outcome.PLANNED, Outcome.UNMET})


@dataclass(frozen=True, slots=True)
class Desk:
    """The verdicts of one patient with what is needed to turn them into artifacts."""

    snapshot: Snapshot
    judged: Judged
    standings: Standings
    _courses: dict[UUID, UUID] = field(init=False, repr=False, compare=False)
    _verdicts: dict[UUID, DoseVerdict] = field(init=False, repr=False, compare=False)
    _with_plan: set[UUID] = field(init=False, repr=False, compare=False)
    _plans: dict[UUID, ArtifactKey] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sort by dose session and course, once for all questions; what is decided now beats what was."""
        members = list(self.snapshot.known.memberships.values())
        courses = {one.session_id: one.course_id for one in reversed(members)}
        verdicts = {one.session_id: one for one in reversed(self.judged.verdicts) if one.session_id is not None}
        courses |= {session: one.course_id for session, one in verdicts.items() if one.course_id is not None}
        planned = {one.course_id for one in self.judged.verdicts if one.outcome in _PLANNED}
        planned |= {one.course_id for one in self.judged.announced}
        object.__setattr__(self, "_courses", courses)
        object.__setattr__(self, "_verdicts", verdicts)
        object.__setattr__(self, "_with_plan", planned)

    def verdict_of(self, subject: UUID) -> DoseVerdict | None:
        """The verdict that says what became of a dose session, also when its members went elsewhere."""
        verdict = self._verdicts.get(self.judged.merged.get(subject, subject))
        if verdict is not None:
            return verdict
        former = {key for key, member in self.snapshot.known.memberships.items() if member.session_id == subject}
        return next((one for one in self.judged.verdicts if former.intersection(one.administrations)), None)

    def course_of(self, subject: UUID) -> ArtifactKey | None:
        """The key of the plan that a dose session belongs to, or belonged to when it was last seen."""
        wanted = self.judged.merged.get(subject, subject)
        course = self._courses.get(wanted) or self._courses.get(subject)
        return None if course is None else self.plan_of(course)

    def plan_of(self, course: UUID) -> ArtifactKey:
        """The key of a course's plan. What is said of a plan that has ended names that one, and none that never was."""
        known = self._plans.get(course)
        if known is not None:
            return known
        row = self.standings.latest(ArtifactKind.CARE_PLAN, course)
        ended = row is not None and course not in self._with_plan
        key = row.key if row is not None and ended else self.standings.key(ArtifactKind.CARE_PLAN, course)
        self._plans[course] = key
        return key


def labels_of(verdicts: Sequence[DoseVerdict], snapshot: Snapshot) -> tuple[Coding, ...]:
    """The security labels of the doses, each once: copied up, never down."""
    labels = {label for dose in doses_of(verdicts, snapshot) for label in dose.labels}
    return tuple(sorted(labels, key=lambda label: (label.system, label.code)))


def doses_of(verdicts: Sequence[DoseVerdict], snapshot: Snapshot) -> list[Dose]:
    """The administrations of dose sessions."""
    keys = {key for verdict in verdicts for key in verdict.administrations}
    return [dose for dose in snapshot.doses if dose.key in keys]


def why_not(verdict: DoseVerdict, row: KnownArtifact, desk: Desk) -> Reason | None:
    """Why an Appointment is no longer wanted."""
    if row.key.subject in desk.judged.merged:
        return Reason.SESSIONS_MERGED
    if verdict.outcome is Outcome.UNMET and verdict.session is not None:
        return next(iter(verdict.session.reasons), None)
    if verdict.outcome is Outcome.PLANNED:
        return None
    return next(iter(verdict.reasons), None)
