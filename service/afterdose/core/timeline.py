"""Every dose of a patient on one line, given and to come; it cuts windows and tells dosing days."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime

from afterdose.core.care import SessionClass, Snapshot, local_day
from afterdose.core.cases import Case, rules_at
from afterdose.core.clinic import Clinic
from afterdose.core.dose import Dose, DoseKey, Family, PlannedDose, PlannedKind
from afterdose.core.protocol import Rules
from afterdose.core.session import begins
from afterdose.core.slots import Occasion, propose
from afterdose.core.window import NextDose, window_after

_IN_WINDOW = (SessionClass.IN_WINDOW, SessionClass.EDGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A dose that was to come and does not. ``heard_at``: when we heard of that."""

    at: datetime
    heard_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The doses of whatever family, given and to come, by time; the clinic's ``days`` on which they are; and those that
    were dropped."""

    doses: tuple[NextDose, ...]
    days: frozenset[date]
    dropped: tuple[Dropped, ...] = ()

    def freed(self, occasion: Occasion, rules: Rules, clinic: Clinic) -> Occasion:
        """The occasion, told when a dropped dose freed its window.

        What was proposed before that dose in the window stays as it is; only where the dose had left nothing
        there, time to arrange a session counts from when we heard that it does not come.
        """
        freed = occasion
        for one in self.dropped:
            if one.at <= occasion.anchor or (occasion.next_dose is not None and one.at >= occasion.next_dose.at):
                continue
            before = NextDose(one.at, PlannedKind.PLANNED)
            cut = window_after(occasion.anchor, rules, next_dose=before, buffer=clinic.next_dose_buffer)
            if cut.cut_by is None:
                continue
            then = propose(replace(occasion, window=cut, next_dose=before), rules, clinic)
            if then.session_class not in _IN_WINDOW:
                freed = replace(freed, freed_at=max(one.heard_at, freed.freed_at or one.heard_at))
        return freed


def timeline(cases: Iterable[Case], snapshot: Snapshot) -> Timeline:
    """The line of a patient. An announced dose that was given is one dose; one charted as not done is dropped.

    So is one that was given earlier than its order had said, once the order is over.
    """
    given = [case for case in cases if case.session.given and case.session.start is not None]
    not_done = [dose for dose in snapshot.doses if dose.status == "not-done" and not dose.removed]
    doses = [NextDose(case.session.start, PlannedKind.GIVEN) for case in given if case.session.start is not None]
    dropped = []
    spent = _spent(given, snapshot)
    for planned in snapshot.planned:
        if any(_fulfils(case, planned) for case in given):
            continue
        refused = [dose.heard_at for dose in not_done if _is_it(dose, planned, snapshot)]
        if refused:
            dropped.append(Dropped(at=planned.at, heard_at=min(refused)))
        elif planned.dropped_at is not None:
            dropped.append(Dropped(at=planned.at, heard_at=planned.dropped_at))
        elif planned.order in spent:
            dropped.append(Dropped(at=planned.at, heard_at=spent[planned.order]))
        else:
            doses.append(NextDose(planned.at, PlannedKind.PLANNED))
    return Timeline(
        doses=tuple(sorted(doses)),
        days=frozenset(local_day(one.at, snapshot.clinic) for one in doses),
        dropped=tuple(sorted(dropped, key=lambda one: (one.at, one.heard_at))),
    )


def _spent(given: Iterable[Case], snapshot: Snapshot) -> Mapping[DoseKey | None, datetime]:
    """The orders that are over and of which as many dose sessions were given as they announce, with when we heard so.

    One that still stands may have more to come: some EHRs keep a standing order and move its time on.
    """
    named = Counter(key for case in given for key in {(one.key.source, one.request) for one in case.session.members})
    announced = Counter(one.order for one in snapshot.planned)
    return {
        order.key: order.ended_at
        for order in snapshot.orders
        if order.ended_at is not None and named[order.key.source, order.key.id] >= announced[order.key]
    }


def _fulfils(case: Case, planned: PlannedDose) -> bool:
    session, gap = case.session, case.rules.cluster_gap
    if session.start is None or planned.family not in (None, session.family):
        return False
    return session.start - gap <= planned.at <= (session.anchor or session.start) + gap


def _is_it(dose: Dose, planned: PlannedDose, snapshot: Snapshot) -> bool:
    start, family = begins(dose), dose.drug.family
    if start is None or not _same(family, planned.family):
        return False
    return abs(start - planned.at) <= rules_at(snapshot, family, planned.at).cluster_gap


def _same(one: Family | None, other: Family | None) -> bool:
    return one is not None and other in (None, one)
