"""When the next dose is to be expected, by the cadence so far.

A prediction ranks and warns; it never cuts a window (decision 0008, rule 11).
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from afterdose.core.clinic import Clinic

_A_DAY = timedelta(days=1)
_A_WEEK = timedelta(weeks=1)


def predicted_next(starts: Sequence[datetime], clinic: Clinic) -> datetime | None:
    """The next start that the starts so far suggest, None where they show no cadence. ``starts`` are in order.

    Doses a week apart or less come again on the weekdays and at the times of the last week, once a whole week
    was seen. Doses further apart come again after the last interval, once two intervals were alike to a day.
    Counted in the clinic's wall-clock time.
    """
    walls = [start.astimezone(clinic.zone).replace(tzinfo=None) for start in starts]
    if len(walls) < 2:
        return None
    last, gap = walls[-1], walls[-1].date() - walls[-2].date()
    if gap <= _A_WEEK:
        if walls[0].date() > last.date() - _A_WEEK:
            return None
        expected = min(wall + _A_WEEK for wall in walls if wall.date() > last.date() - _A_WEEK)
    elif len(walls) > 2 and abs(gap - (walls[-2].date() - walls[-3].date())) <= _A_DAY:
        expected = last + gap
    else:
        return None
    return expected.replace(tzinfo=clinic.zone).astimezone(UTC)
