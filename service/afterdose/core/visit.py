"""When a follow-up visit can be and is proposed: windows, what cuts them, and the session of a dose."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from afterdose.core.dose import PlannedKind
from afterdose.core.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What closes a window before its time: the next dose, less the clinic's buffer."""

    kind: PlannedKind
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A half-open interval: a session may start at ``opens``, not at ``closes``. UTC instants."""

    opens: datetime
    closes: datetime
    cut_by: Cut | None = None

    def contains(self, moment: datetime) -> bool:
        """Whether a session may start at ``moment``."""
        return self.opens <= moment < self.closes


class SessionState(StrEnum):
    """What can be said of the integration session of one dose session."""

    PROPOSED = "proposed"
    UNMET = "unmet"
    WAITING = "waiting"


class SessionClass(StrEnum):
    """Where a session lies relative to the window; chosen by its start."""

    IN_WINDOW = "in-window"
    EDGE = "edge"
    EARLY_EDGE = "early-edge"
    BEFORE_WINDOW = "before-window"
    """Where people alone put a visit, or left it when its dose was corrected."""
    POST_WINDOW = "post-window"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The integration session proposed for a dose session, or why there is none.

    ``hours_after`` and ``score`` are exact numbers of hours from the anchor to the start and of the
    ordering score (never a clinical meaning). ``period_start``/``period_end`` is what may still be
    booked (Appointment.requestedPeriod). ``reasons`` hold the codes of labels and refusals.
    """

    state: SessionState
    start: datetime | None = None
    end: datetime | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    hours_after: float | None = None
    session_class: SessionClass | None = None
    score: float | None = None
    reasons: tuple[Reason, ...] = ()
