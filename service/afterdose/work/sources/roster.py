"""Who is in the cohort of a source: read anew at each round, from the EHR and from a file of the site.

The file is for whoever runs this service alone: nobody else may be able to read it. What is wrong in it is told by
line, never by what stands there.
"""

import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from afterdose.core.errors import BadInput, EhrError
from afterdose.ehr import roster
from afterdose.ehr.client import EhrClient

_LINE = re.compile(r"(?:Patient/)?([A-Za-z0-9\-.]{1,64})")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Roll:
    """Who was found, and what could not be asked or read: then who was known before belongs to it still."""

    patients: frozenset[str]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """Where the patients of a cohort stand. ``zone`` says when the day of ``visits_at`` begins."""

    client: EhrClient
    base_url: str
    groups: tuple[str, ...]
    lists: tuple[str, ...]
    visits_at: tuple[str, ...]
    file: Path | None
    zone: ZoneInfo | None
    look_back: timedelta

    def call(self, now: datetime) -> Roll:
        """Everybody. What cannot be asked or read is told and keeps nobody else out."""
        patients: set[str] = set()
        problems: list[str] = []
        for place, ask in self._places(now):
            try:
                patients |= ask()
            except (EhrError, BadInput) as error:
                problems.append(f"{place}: {error}")
        if self.file is not None:
            listed, wrong = _listed(self.file)
            patients |= listed
            problems += wrong
        return Roll(frozenset(patients), tuple(problems))

    def _places(self, now: datetime) -> Iterator[tuple[str, Callable[[], set[str]]]]:
        client, base = self.client, self.base_url
        for group in self.groups:
            yield group, partial(roster.of_group, client, group, base, now)
        for list_ in self.lists:
            yield list_, partial(roster.of_list, client, list_, base)
        if self.visits_at and self.zone is not None:
            today = now.astimezone(self.zone).date()
            first = (now - self.look_back).astimezone(self.zone).date()
            since = datetime.combine(first, time(), self.zone)
            until = datetime.combine(today + timedelta(days=1), time(), self.zone)
            for at in self.visits_at:
                yield at, partial(roster.of_visits, client, at, base, since, until)


def _listed(file: Path) -> tuple[set[str], list[str]]:
    """The ids in a file, and what is wrong with it."""
    try:
        if file.stat().st_mode & _OTHERS:
            return set(), ["file: expected a file that only its owner can read (chmod 600)"]
        lines = file.read_bytes().decode("utf-8-sig").splitlines()
    except OSError as error:
        return set(), [f"file: cannot be read ({error.strerror})"]
    except UnicodeDecodeError:
        return set(), ["file: is not UTF-8"]
    patients: set[str] = set()
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        said = line.partition("#")[0].strip()
        found = _LINE.fullmatch(said)
        if found is not None:
            patients.add(found[1])
        elif said:
            problems.append(f"file: line {number} is no id of a Patient")
    return patients, problems
