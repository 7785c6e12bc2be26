"""What would have happened over a site's past doses: how many, which of them in time, and what that asks of the clinic.

Each dose session is judged as it would have been at its own end. Pure.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from afterdose.core.care import DoseVerdict, SessionClass
from afterdose.core.clinic import Clinic
from afterdose.core.grid import starts
from afterdose.core.reasons import Eligibility, Outcome
from afterdose.work.reports.preview import Preview

_NO_DOSE = frozenset({Outcome.UNRELATED, Outcome.WITHDRAWN})
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_A_WEEK = timedelta(weeks=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What is counted are dose sessions, but for ``administrations``.

    ``in_window``: eligible ones for which a session could have been proposed inside the window; ``after_window``: only
    after it; the rest of the eligible ones had none. ``bookable``: weekday -> hours, over all windows, at which a
    session could have begun. ``weeks``: from the first to the last proposed session; ``most_in_a_week``: Monday to
    Sunday in the clinic's zone.
    """

    administrations: int
    doses: int
    eligible: int
    review: int
    not_eligible: int
    in_window: int
    after_window: int
    bookable: dict[str, float]
    weeks: int
    most_in_a_week: int

    @property
    def sessions_a_week(self) -> float:
        """Proposed sessions in a week of that time, on average."""
        return round((self.in_window + self.after_window) / self.weeks, 2) if self.weeks else 0.0

    def as_json(self) -> dict[str, object]:
        """The same as plain JSON."""
        return {
            "administrations": self.administrations,
            "doses": self.doses,
            "eligible": self.eligible,
            "review": self.review,
            "not_eligible": self.not_eligible,
            "window": {
                "in_window": self.in_window,
                "after_window": self.after_window,
                "none": self.eligible - self.in_window - self.after_window,
            },
            "bookable_hours": self.bookable,
            "sessions_a_week": {"weeks": self.weeks, "mean": self.sessions_a_week, "most": self.most_in_a_week},
        }


def history_of(previews: Iterable[Preview], clinic: Clinic) -> History:
    """Count what was decided for every patient."""
    verdicts = [one for preview in previews for one in preview.verdicts if one.outcome not in _NO_DOSE]
    eligible = [one for one in verdicts if one.eligibility is Eligibility.ELIGIBLE]
    classes = Counter(
        one.session.session_class for one in eligible if one.session is not None and one.session.start is not None
    )
    days = [
        one.session.start.astimezone(clinic.zone).date()
        for one in eligible
        if one.session is not None and one.session.start is not None
    ]
    mondays = Counter(day - timedelta(days=1) * day.weekday() for day in days)
    after = classes[SessionClass.POST_WINDOW]
    return History(
        administrations=sum(len(one.administrations) for one in verdicts),
        doses=len(verdicts),
        eligible=len(eligible),
        review=sum(one.eligibility is Eligibility.REVIEW for one in verdicts),
        not_eligible=sum(one.eligibility is Eligibility.NOT_ELIGIBLE for one in verdicts),
        in_window=classes.total() - after,
        after_window=after,
        bookable=_bookable(eligible, clinic),
        weeks=(max(mondays) - min(mondays)) // _A_WEEK + 1 if mondays else 0,
        most_in_a_week=max(mondays.values(), default=0),
    )


def _bookable(verdicts: Iterable[DoseVerdict], clinic: Clinic) -> dict[str, float]:
    found = Counter(
        start.astimezone(clinic.zone).weekday()
        for one in verdicts
        if one.window is not None
        for start in starts(clinic, one.window.opens, one.window.closes)
    )
    hours = clinic.slot_grid / timedelta(hours=1)
    return {name: round(found[place] * hours, 2) for place, name in enumerate(_WEEKDAYS)}
