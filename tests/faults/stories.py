"""What happens to a patient, step by step; the last step is the one during which tests let things break."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from ward import MONDAY, Ward, dose

Step = Callable[[Ward], object]

ENDED = MONDAY - timedelta(hours=1)
DOSE = dose("d-1", ENDED)
WITHDRAWN = dose("d-1", ENDED, status="entered-in-error")


def book(ward: Ward) -> None:
    """A coordinator books the proposed visit."""
    (proposal,) = ward.appointments("proposed")
    start = ENDED + timedelta(hours=30)
    times = {"start": start.isoformat(), "end": (start + timedelta(hours=1)).isoformat()}
    ward.ehr.put({**proposal, **times, "status": "booked"})


STORIES: dict[str, tuple[Step, ...]] = {
    "first dose": (lambda ward: ward.chart(DOSE),),
    "second dose": (
        lambda ward: ward.chart(dose("d-0", ENDED - timedelta(hours=50))),
        lambda ward: ward.chart(DOSE),
    ),
    "corrected": (
        lambda ward: ward.chart(DOSE),
        lambda ward: ward.chart(dose("d-1", ENDED + timedelta(minutes=30))),
    ),
    "withdrawn": (lambda ward: ward.chart(DOSE), lambda ward: ward.chart(WITHDRAWN)),
    "booked, then withdrawn": (lambda ward: ward.chart(DOSE), book, lambda ward: ward.chart(WITHDRAWN)),
    "reinstated": (
        lambda ward: ward.chart(DOSE),
        lambda ward: ward.chart(WITHDRAWN),
        lambda ward: ward.chart(DOSE),
    ),
    "for review": (lambda ward: ward.chart(dose("d-1", ENDED, dosage={"route": DOSE["dosage"]["route"]})),),
}


def begin(ward: Ward, story: str) -> Step:
    """Tell the story up to its last step, which is given back."""
    *before, last = STORIES[story]
    for step in before:
        step(ward)
        ward.settle()
        ward.clock.advance(timedelta(minutes=1))
    return last
