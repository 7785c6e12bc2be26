"""When care has to be looked at again although no fact has changed (decision 0008, rule 24)."""

from datetime import datetime, timedelta

from afterdose.core.care import DoseVerdict
from afterdose.core.protocol import Rules
from afterdose.core.reasons import Outcome, Reason


def next_look(verdict: DoseVerdict, rules: Rules, now: datetime) -> datetime | None:
    """The first moment after ``now`` at which this verdict has to be looked at, None when there is none.

    A dose that is not over is looked at again and again; care after a dose at the edges of its
    window and at the protocol's times after the anchor; what came too late, never.
    """
    if verdict.outcome is Outcome.WAITING and verdict.heard_at is not None:
        passed = max(now - verdict.heard_at, timedelta()) // rules.look_while_waiting
        return verdict.heard_at + (passed + 1) * rules.look_while_waiting
    if verdict.window is None or verdict.anchor is None or is_too_late(verdict):
        return None
    window, anchor = verdict.window, verdict.anchor
    moments = (
        anchor + rules.nothing_before,
        window.opens,
        window.closes - rules.look_before_close,
        window.closes,
        *[anchor + after for after in rules.looks_after_anchor],
    )
    return min((moment for moment in moments if moment > now), default=None)


def is_too_late(verdict: DoseVerdict) -> bool:
    """Whether the dose was heard of too late for anything but history; where only the EHR was away, a person acts."""
    return verdict.session is not None and verdict.session.reasons == (Reason.TOO_LATE,)
