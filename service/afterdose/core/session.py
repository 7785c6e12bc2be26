"""Dose sessions: the administrations that clinically are one dose, and when that dose was over.

A nasal kit is charted device by device, an infusion rate by rate, a booster on its own row
(decision 0008). One session gets one plan entry and one proposed visit, counted from its end.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta

from afterdose.core.amounts import duration_by_rate
from afterdose.core.care import AnchorBasis
from afterdose.core.dose import Dose, DoseKey, Family, Precision
from afterdose.core.protocol import Rules
from afterdose.core.reasons import Reason

_WAITING = {"in-progress": Reason.STILL_RUNNING, "on-hold": Reason.ON_HOLD}
_UNDATED = frozenset({Reason.ZONE_UNKNOWN, Reason.TIME_TOO_COARSE, Reason.DATE_ONLY, Reason.TIME_IMPLAUSIBLE})
_OVER = frozenset({"completed", "stopped"})
_BASES = (
    AnchorBasis.END,
    AnchorBasis.DATETIME,
    AnchorBasis.START_AND_DURATION,
    AnchorBasis.START,
    AnchorBasis.DATE_ONLY,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseSession:
    """Administrations of one family that are one dose, ordered by start then key.

    ``time_problems``: why its time cannot be worked with; such a session holds one administration.
    ``anchor`` is the end of the dose: None while it is not known or not over. ``heard_at``: when we
    first knew of that end (of anything, where there is no anchor).
    """

    members: tuple[Dose, ...]
    family: Family | None
    start: datetime | None
    anchor: datetime | None
    basis: AnchorBasis | None
    heard_at: datetime
    waiting: Reason | None = None
    time_problems: tuple[Reason, ...] = ()
    keys: tuple[DoseKey, ...] = field(init=False, repr=False, compare=False)
    """The keys of its members, in order."""

    def __post_init__(self) -> None:
        """Name the members once for all questions."""
        object.__setattr__(self, "keys", tuple(dose.key for dose in self.members))

    @property
    def given(self) -> bool:
        """Whether it is a dose at a time that can be trusted: then it ends the window of the one before."""
        return self.start is not None and not self.time_problems


def begins(dose: Dose) -> datetime | None:
    """When an administration began; its end where nothing else is known."""
    moment = dose.effective.start or dose.effective.end
    return moment if moment is None or moment.tzinfo is UTC else moment.astimezone(UTC)


def ends(dose: Dose) -> tuple[datetime, AnchorBasis] | None:
    """When an administration was over, and from what that is known."""
    effective = dose.effective
    if effective.precision is not Precision.INSTANT:
        return (effective.end.astimezone(UTC), AnchorBasis.DATE_ONLY) if effective.end else None
    if effective.is_period and effective.end is not None:
        return effective.end.astimezone(UTC), AnchorBasis.END
    if effective.start is None:
        return None
    start = effective.start.astimezone(UTC)
    if not effective.is_period:
        return start, AnchorBasis.DATETIME
    lasted = duration_by_rate(dose)
    return (start, AnchorBasis.START) if lasted is None else (start + lasted, AnchorBasis.START_AND_DURATION)


def is_over(dose: Dose) -> bool:
    """Whether its status says that giving it has ended."""
    return dose.status in _OVER


def time_problems(dose: Dose, rules: Rules) -> tuple[Reason, ...]:
    """Why the time of this administration cannot be worked with (decision 0008, rule 4); empty when it can.

    Whether a time lies ahead is judged by when we heard of it, so the answer never changes by itself.
    """
    effective = dose.effective
    start, end = effective.start or effective.end, effective.end or effective.start
    if start is None or end is None:
        return () if _UNDATED.intersection(dose.problems) else (Reason.TIME_MISSING,)
    found = []
    if effective.precision is Precision.COARSE:
        found.append(Reason.TIME_TOO_COARSE)
    if effective.precision is Precision.DATE:
        found.append(Reason.DATE_ONLY)
    if end < start:
        found.append(Reason.PERIOD_REVERSED)
    if start < datetime.combine(rules.earliest_plausible, time(), UTC):
        found.append(Reason.TIME_IMPLAUSIBLE)
    latest = start if effective.precision is Precision.DATE else end
    if latest > dose.heard_at + rules.future_tolerance:
        found.append(Reason.TIME_IN_FUTURE)
    if effective.precision is Precision.INSTANT and end - start > rules.longest_administration:
        found.append(Reason.PERIOD_TOO_LONG)
    return tuple(found)


def dose_sessions(
    doses: Iterable[Dose], rules_of: Callable[[Dose], Rules], *, apart: frozenset[DoseKey]
) -> list[DoseSession]:
    """The dose sessions that these administrations form, ordered by start (unknown ones last) then key.

    Two administrations of one family belong together when the gap between the end of one and the
    start of the next is at most the protocol's, or when one says ``partOf`` the other and both lie
    within one longest administration. Those ``apart``, those without a family and those whose time
    cannot be worked with stay alone.
    """
    alone: list[DoseSession] = []
    families: dict[Family, list[Dose]] = {}
    rules: dict[DoseKey, Rules] = {}
    for dose in doses:
        rules[dose.key] = rules_of(dose)
        problems = time_problems(dose, rules[dose.key])
        family = dose.drug.family
        if family is None or problems or begins(dose) is None or dose.key in apart:
            alone.append(_session([dose], problems))
        else:
            families.setdefault(family, []).append(dose)
    clusters = [_session(cluster, ()) for members in families.values() for cluster in _clusters(members, rules)]
    return sorted([*clusters, *alone], key=_order)


def _clusters(doses: Sequence[Dose], rules: Mapping[DoseKey, Rules]) -> list[list[Dose]]:
    """Runs of administrations without a larger gap, then runs that partOf ties together."""
    runs: list[list[Dose]] = []
    over: datetime | None = None
    for dose in sorted(doses, key=_dose_order):
        start, end = _span(dose)
        if over is not None and start - over <= rules[dose.key].cluster_gap:
            runs[-1].append(dose)
            over = max(over, end)
        else:
            runs.append([dose])
            over = end
    by_key = {dose.key: dose for dose in doses}
    for dose in doses:
        for parent in (by_key.get(key) for key in _parents(dose)):
            if parent is not None and _near(dose, parent, rules[dose.key].longest_administration):
                runs = _joined(runs, dose, parent)
    return runs


def _parents(dose: Dose) -> list[DoseKey]:
    """The administrations that it says it is part of; a partOf can also name a Procedure."""
    parts = [reference.split("/")[-2:] for reference in dose.part_of]
    return [DoseKey(dose.key.source, part[1]) for part in parts if part[0] == "MedicationAdministration" and part[1:]]


def _near(one: Dose, other: Dose, limit: timedelta) -> bool:
    (one_start, one_end), (other_start, other_end) = _span(one), _span(other)
    return one_start - other_end <= limit and other_start - one_end <= limit


def _joined(runs: list[list[Dose]], one: Dose, other: Dose) -> list[list[Dose]]:
    tied = [run for run in runs if one in run or other in run]
    return [*(run for run in runs if run not in tied), [dose for run in tied for dose in run]]


def _span(dose: Dose) -> tuple[datetime, datetime]:
    start, end = begins(dose), ends(dose)
    if start is None:
        raise ValueError("a dose without a time is in no cluster")
    return start, max(start, end[0]) if end else start


def _session(members: Sequence[Dose], problems: tuple[Reason, ...]) -> DoseSession:
    """The session of these members; only those that are over count for the anchor."""
    ordered = tuple(sorted(members, key=_dose_order))
    waiting = [_WAITING.get(dose.status, Reason.STATUS_UNKNOWN) for dose in ordered if not is_over(dose)]
    known = [(end, dose) for dose in ordered if is_over(dose) and (end := ends(dose)) is not None]
    anchor = max((moment for (moment, _), _ in known), default=None)
    last = [(basis, dose) for (moment, basis), dose in known if moment == anchor]
    starts = [start for dose in ordered if (start := begins(dose)) is not None]
    return DoseSession(
        members=ordered,
        family=next((dose.drug.family for dose in ordered), None),
        start=min(starts, default=None),
        anchor=anchor,
        basis=min((basis for basis, _ in last), key=_BASES.index, default=None),
        heard_at=min((dose.heard_at for _, dose in last), default=min(dose.heard_at for dose in ordered)),
        waiting=waiting[0] if waiting else None,
        time_problems=problems,
    )


def _dose_order(dose: Dose) -> tuple[bool, datetime, DoseKey]:
    start = begins(dose)
    return start is None, start or dose.heard_at, dose.key


def _order(session: DoseSession) -> tuple[bool, datetime, DoseKey]:
    return _dose_order(session.members[0])
