"""Collects the problems that one check finds, up to a number that a person can still read."""

from afterdose.core.errors import Problem

MOST = 100


class Enough(Exception):
    """So many problems were found that looking further helps nobody."""


class Findings:
    """Problems in the order in which they were found; raises :class:`Enough` at ``MOST``."""

    __slots__ = ("problems",)

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, code: str, path: str, text: str) -> None:
        """Keep one problem. ``text`` may name elements, codes and rules, never a received value."""
        self.problems.append(Problem(code=code, path=path, text=text))
        if len(self.problems) >= MOST:
            raise Enough
