"""What orders and booked dosing visits announce: doses to come, and courses that have not begun.

An order leads to something only where it is clearly psychiatric, by the same rule as a dose (decision 0011);
a dose and a route that it does not name are no objection. Any announced dose cuts the window of the one before.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from afterdose.core.care import Snapshot, local_day
from afterdose.core.dose import Dose, DoseKey, Effective, Family, Order, PlannedDose
from afterdose.core.eligibility import assess
from afterdose.core.protocol import Rules
from afterdose.core.reasons import Eligibility, Reason
from afterdose.core.session import DoseSession, begins

_MAY_BE_OPEN = frozenset({Reason.DOSE_MISSING, Reason.ROUTE_UNKNOWN})
_EVIDENCE = frozenset(
    {
        Reason.NASAL_ESKETAMINE,
        Reason.ENROLLED_PROTOCOL,
        Reason.PSYCHIATRIC_INDICATION,
        Reason.PSYCHIATRIC_SETTING,
        Reason.DOSE_WITHIN_ENVELOPE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upcoming:
    """A standing order with the doses that it announces and that were not dropped, by time.

    ``begun``: an administration names it, given or not, and it announces none after that: there is nothing left
    to prepare.
    """

    order: Order
    family: Family
    doses: tuple[PlannedDose, ...]
    begun: bool = False

    @property
    def moment(self) -> datetime:
        """By which it is placed in time: its first dose, else when it was made, else when we heard of it."""
        return self.doses[0].at if self.doses else self.order.authored or self.order.heard_at


def upcoming(snapshot: Snapshot, rules_for: Callable[[Order], Rules]) -> tuple[Upcoming, ...]:
    """The standing orders of this patient that are clearly psychiatric, by time, then key."""
    found = []
    for order in snapshot.orders:
        family = order.drug.family
        if family is None or order.ended_at is not None or order.patient != snapshot.patient or not snapshot.patient:
            continue
        doses = [one for one in snapshot.planned if one.order == order.key and one.dropped_at is None]
        named = [dose for dose in snapshot.doses if (dose.key.source, dose.request) == (order.key.source, order.key.id)]
        latest = max((begins(dose) or dose.heard_at for dose in named), default=None)
        one = Upcoming(
            order=order,
            family=family,
            doses=tuple(sorted(doses, key=lambda dose: dose.at)),
            begun=latest is not None and not any(dose.at > latest for dose in doses),
        )
        if _is_psychiatric(one, snapshot, rules_for(order)):
            found.append(one)
    return tuple(sorted(found, key=lambda one: (one.moment, one.order.key)))


def attached(
    groups: Sequence[Sequence[DoseSession]], orders: Iterable[Upcoming], gap: timedelta
) -> tuple[list[list[DoseKey]], list[list[Upcoming]]]:
    """Which orders belong to which course, and those that make courses of their own.

    An order belongs to the course of which a dose names it, else to a course of its family that it is not
    further away from than ``gap``; one that was begun makes no course of its own. The first value has a list for
    each of ``groups``.
    """
    places: list[list[DoseKey]] = [[] for _ in groups]
    alone: list[list[Upcoming]] = []
    for one in orders:
        place = next((n for n, group in enumerate(groups) if _is_named(one, group)), None)
        if place is None:
            place = next((n for n, group in enumerate(groups) if _is_close(one, group, gap)), None)
        if place is not None:
            places[place].append(one.order.key)
        elif one.begun:
            continue
        elif alone and (last := alone[-1][-1]).family is one.family and one.moment - last.moment <= gap:
            alone[-1].append(one)
        else:
            alone.append([one])
    return places, alone


def _is_psychiatric(one: Upcoming, snapshot: Snapshot, rules: Rules) -> bool:
    order = one.order
    as_dose = Dose(
        key=order.key,
        version=None,
        status="completed",
        patient=order.patient,
        drug=order.drug,
        effective=Effective(start=None, end=None),
        heard_at=order.heard_at,
        route=order.route,
        quantity=order.quantity,
        context=order.context,
        labels=order.labels,
    )
    day = local_day(one.moment, snapshot.clinic)
    found = assess([as_dose], rules=rules, codes=snapshot.codes, clinic=snapshot.clinic, day=day)
    if found.eligibility is Eligibility.NOT_ELIGIBLE:
        return False
    return bool(_EVIDENCE.intersection(found.reasons)) and set(found.reasons) <= _EVIDENCE | _MAY_BE_OPEN


def _is_named(one: Upcoming, group: Sequence[DoseSession]) -> bool:
    key = one.order.key
    return any(
        (dose.key.source, dose.request) == (key.source, key.id) and session.family is one.family
        for session in group
        for dose in session.members
    )


def _is_close(one: Upcoming, group: Sequence[DoseSession], gap: timedelta) -> bool:
    starts = [session.start for session in group if session.start is not None and session.given]
    if not starts or group[0].family is not one.family:
        return False
    over = max(session.anchor or session.start or min(starts) for session in group)
    return min(starts) - gap <= one.moment <= over + gap
