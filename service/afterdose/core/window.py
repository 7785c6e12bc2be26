"""When follow-up care can do most good: the window after a dose, and what cuts it short.

All arithmetic is on UTC instants: 24 hours are 24 elapsed hours, also over a change of the clocks.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from afterdose.core.care import Cut, Window
from afterdose.core.dose import PlannedKind
from afterdose.core.protocol import Rules

_TICK = timedelta(microseconds=1)


class NextDose(NamedTuple):
    """The start of a dose, given or planned, of whatever family."""

    at: datetime
    kind: PlannedKind


def next_after(moment: datetime, doses: Iterable[NextDose]) -> NextDose | None:
    """The first dose that starts after ``moment``; at the same instant a given one comes first."""
    return min((dose for dose in doses if dose.at > moment), default=None)


def window_after(anchor: datetime, rules: Rules, *, next_dose: NextDose | None, buffer: timedelta) -> Window:
    """The half-open window after a dose that ended at ``anchor``, cut by the next dose less ``buffer``.

    A window that the cut leaves nothing of is empty: it closes when it opens.
    """
    anchor = anchor.astimezone(UTC)
    return _cut(anchor + rules.opens_after, anchor + rules.closes_after, next_dose, buffer)


def window_after_day(
    day_starts: datetime, day_ends: datetime, rules: Rules, *, next_dose: NextDose | None, buffer: timedelta
) -> Window:
    """The window that is right whenever on that day the dose was given (decision 0008)."""
    return _cut(
        day_ends.astimezone(UTC) + rules.opens_after,
        day_starts.astimezone(UTC) + rules.closes_after,
        next_dose,
        buffer,
    )


def score(elapsed: timedelta, rules: Rules) -> float:
    """The number by which starts are ordered, from hours after the anchor: higher is preferred.

    Straight lines between the protocol's three points, zero outside them. It orders slots and says
    nothing about an effect.
    """
    if not rules.opens_after <= elapsed <= rules.closes_after:
        return 0.0
    if elapsed <= rules.peak_after:
        return float(rules.score_at_opens)
    if elapsed <= rules.plateau_ends_after:
        first, last = rules.score_at_opens, rules.score_at_plateau_end
        return _between(first, last, elapsed - rules.peak_after, rules.plateau_ends_after - rules.peak_after)
    first, last = rules.score_at_plateau_end, rules.score_at_closes
    return _between(first, last, elapsed - rules.plateau_ends_after, rules.closes_after - rules.plateau_ends_after)


def _between(first: Decimal, last: Decimal, passed: timedelta, whole: timedelta) -> float:
    """The point of a straight line after ``passed`` of ``whole``, in whole numbers up to the one division."""
    (top, top_of), (bottom, bottom_of) = _ratio(first), _ratio(last)
    top, bottom, scale = top * bottom_of, bottom * top_of, top_of * bottom_of
    gone, all_ = passed // _TICK, whole // _TICK
    return (top * all_ - (top - bottom) * gone) / (scale * all_)


@lru_cache
def _ratio(number: Decimal) -> tuple[int, int]:
    return number.as_integer_ratio()


def _cut(opens: datetime, closes: datetime, next_dose: NextDose | None, buffer: timedelta) -> Window:
    if next_dose is None or next_dose.at - buffer >= closes:
        return Window(opens=opens, closes=max(opens, closes))
    cut = Cut(kind=next_dose.kind, at=next_dose.at)
    return Window(opens=opens, closes=max(opens, next_dose.at - buffer), cut_by=cut)
