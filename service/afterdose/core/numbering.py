"""How far the numbered events of one subscription are known, and which of them are missing.

Servers count the events of a topic-based Subscription (https://hl7.org/fhir/R5/subscriptions.html, "Notification
Errors"; https://hl7.org/fhir/uv/subscriptions-backport/errors.html): the number of every event is one more than that of
the one before, and every notification says how many there have been. So whoever counts along knows what was lost.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

_MOST_RANGES = 64
"""So many gaps are told apart; beyond that the oldest are asked for in one."""


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """One event of a notification. ``at``: when it happened, by the server's clock, None where that is not said."""

    number: int
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """``reached``: every event up to this number is known. ``exists``: the highest number that there is.

    ``beyond``: ranges of numbers (both ends in them) above ``reached`` that are known, in their order.
    ``at``: the newest moment, by the server's clock, of anything that was heard.
    """

    reached: int
    exists: int
    beyond: tuple[tuple[int, int], ...] = ()
    at: datetime | None = None

    @property
    def missing(self) -> tuple[int, int] | None:
        """The first and the last number that is not known, None where all are."""
        if self.reached >= self.exists:
            return None
        ends_at_the_top = bool(self.beyond) and self.beyond[-1][1] == self.exists
        return self.reached + 1, self.beyond[-1][0] - 1 if ends_at_the_top else self.exists

    def settled(self) -> "Numbering":
        """The same when what was missing has been found in another way."""
        return replace(self, reached=max(self.reached, self.exists), beyond=())


def began(known: Numbering | None, count: int, at: datetime | None) -> Numbering:
    """After a handshake, which says how many events there have been: fewer than are known is a count begun anew."""
    if known is None:
        return Numbering(reached=count, exists=count, at=at)
    if count < known.exists:
        return Numbering(reached=0, exists=count, at=at)
    return counted(known, count, at)


def counted(known: Numbering | None, count: int, at: datetime | None, *, now: bool = False) -> Numbering:
    """After a heartbeat, or an answer of the server about its status (``now``), which say how many there have been.

    A heartbeat may be overtaken by an event. So a lower count begins anew only where it is newer than what was heard.
    """
    if known is None:
        return Numbering(reached=count, exists=count, at=at)
    if count < known.exists and (now or _is_newer(at, known.at)):
        return Numbering(reached=0, exists=count, at=at or known.at)
    return replace(known, exists=max(known.exists, count), at=_newest(at, known.at))


def happened(
    known: Numbering | None, events: Iterable[NumberedEvent], count: int | None, *, asked: bool = False
) -> Numbering | None:
    """After a notification of events, or an answer (``asked``) to the question for some of them.

    Events come in any order and more than once. A number that is known already, of something that happened later than
    all that is known, is a count that began anew; what it has counted until then is missing.
    """
    events = sorted(events, key=lambda event: event.number)
    if not events:
        return known if count is None else counted(known, count, None)
    newest = max(events, key=lambda event: (event.at is not None, event.at, event.number))
    if known is None:
        known = Numbering(reached=events[0].number - 1, exists=events[-1].number)
    elif not asked and newest.number <= known.exists and _is_newer(newest.at, known.at):
        known = _renumbered(known, newest)
    exists = max(known.exists, events[-1].number, count or 0)
    ranges = _joined([*known.beyond, *((event.number, event.number) for event in events)], known.reached)
    reached = known.reached
    if ranges and ranges[0][0] <= reached + 1:
        reached = max(reached, ranges.pop(0)[1])
    return Numbering(
        reached=reached, exists=exists, beyond=tuple(ranges[-_MOST_RANGES:]), at=_newest(newest.at, known.at)
    )


def _renumbered(known: Numbering, newest: NumberedEvent) -> Numbering:
    """The same where the newest event only fills a gap, else a count that began anew."""
    gap = known.missing
    fills = gap is not None and gap[0] <= newest.number and not _is_in(newest.number, known.beyond)
    return known if fills else Numbering(reached=0, exists=newest.number)


def _is_in(number: int, ranges: Iterable[tuple[int, int]]) -> bool:
    return any(first <= number <= last for first, last in ranges)


def _joined(ranges: Iterable[tuple[int, int]], reached: int) -> list[tuple[int, int]]:
    """Ranges above ``reached`` that neither overlap nor touch."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if last <= reached:
            continue
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined


def _is_newer(at: datetime | None, known: datetime | None) -> bool:
    return at is not None and known is not None and at > known


def _newest(at: datetime | None, known: datetime | None) -> datetime | None:
    return max(moment for moment in (at, known) if moment is not None) if at or known else None
