"""Takes in the past: the lines of an export go through the same door as what a sender sends.

What came too late to act on is known and no more: the rules decide by when a dose was, not by when it was heard of.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from afterdose.core.errors import BadInput
from afterdose.store.rows import Arrival
from afterdose.store.store import Store
from afterdose.work.intake.bodies import receive
from afterdose.work.intake.reception import Origin

MOST_TOLD = 20
_TOGETHER = 200
"""Lines that are stored in one go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of the lines: ``before`` were stored by an earlier run, ``known`` hold nothing new.

    ``why``: the first of those that were left out, by number, and what is wrong with each; never what stands there.
    """

    before: int
    stored: int
    known: int
    left_out: int
    why: tuple[str, ...] = ()


def backfill(
    lines: Iterable[bytes],
    origin: Origin,
    *,
    file: str,
    store: Store,
    on_line: Callable[[], None],
) -> Taken:
    """Store every resource of the lines, from where an earlier run for the same ``file`` came to.

    A line that cannot be taken, or is of a type that is not, is left out and counted; empty ones are passed over.
    ``on_line`` is called after each line. Raises StoreError; what was stored by then stays.
    """
    before = store.backfills.position(origin.source, file)
    waiting: list[Arrival] = []
    why: list[str] = []
    stored = known = left_out = reached = 0

    def keep() -> None:
        nonlocal stored, known
        receipts = store.committer.submit(waiting) if waiting else []
        known += sum(receipt.duplicate for receipt in receipts)
        stored += sum(not receipt.duplicate for receipt in receipts)
        waiting.clear()
        store.backfills.reached(origin.source, file, reached)

    for reached, line in enumerate(lines, start=1):
        if reached > before:
            try:
                waiting += receive(said, origin, via="poll").arrivals if (said := line.strip()) else []
            except BadInput as bad:
                left_out += 1
                if len(why) < MOST_TOLD:
                    why.append(told(reached, bad))
            if reached % _TOGETHER == 0:
                keep()
        on_line()
    if reached > before:
        keep()
    return Taken(before=min(before, reached), stored=stored, known=known, left_out=left_out, why=tuple(why))


def told(number: int, bad: BadInput) -> str:
    """What is wrong with a line."""
    problem = bad.problems[0]
    return f"line {number}: {problem.path + ': ' if problem.path else ''}{problem.text}"
