"""Every story ends with the same at servers of other habits, and none of those is taken for a person's doing."""

from __future__ import annotations

import functools
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from stories import STORIES, begin
from ward import OURS, PATIENT, Ward

from afterdose.core.care import Standing
from afterdose.sandbox import Behaviour, SandboxEHR
from doubles.odd import HABITS, Habit, OddEhr

pytestmark = pytest.mark.faults

TRANSACTIONS = {"together": Behaviour(), "one by one": Behaviour(transaction="undeclared", if_none_exist="ignored")}
FIRST = {"together": ("second dose", "withdrawn"), "one by one": ("corrected", "booked, then withdrawn")}
PAGES_OF_ONE = replace(TRANSACTIONS["one by one"], page_size=1)


def tell(story: str, folder: Path, behaviour: Behaviour, habit: Habit) -> dict[str, Any]:
    """What stands in the EHR at the end of a story, and what the ledger and people were told."""

    def front(staff: SandboxEHR) -> OddEhr:
        return OddEhr(staff, habit)

    with Ward(folder, behaviour=behaviour, front=front) as ward:
        begin(ward, story)(ward)
        ward.settle()
        ward.check()
        made = [(one.type, one.id) for one in ward.ehr.history()]
        for pause in (timedelta(minutes=2), timedelta(minutes=10)):
            ward.clock.advance(pause)
            ward.settle()
        ward.check()
        assert [(one.type, one.id) for one in ward.ehr.history()][len(made) :] == [], "nothing differed"
        ledger = ward.store.ledger.load("ehr", PATIENT)
        stands = (one for type_ in OURS for one in ward.ehr.all(type_))
        return {
            "stands": Counter((one["resourceType"], one.get("status"), len(one.get("activity", []))) for one in stands),
            "theirs": sorted(row.key.kind for row in ledger if row.standing is Standing.TAKEN_OVER),
            "removed": sorted(row.key.kind for row in ledger if row.standing is Standing.REMOVED_BY_PERSON),
            "asked": sorted(reason for one in ward.store.reviews.open(10) for reason in one.reasons),
        }


@functools.cache
def expected(story: str) -> dict[str, Any]:
    """How a story ends at a server without habits."""
    with tempfile.TemporaryDirectory() as folder:
        return tell(story, Path(folder), Behaviour(), Habit())


def triples() -> Iterator[Any]:
    """Every habit with two stories each way; every story where there is time."""
    for habit in HABITS:
        for written in TRANSACTIONS:
            for story in STORIES:
                marks = () if story in FIRST[written] else pytest.mark.kill
                yield pytest.param(habit, written, story, id=f"{habit}, {written}: {story}", marks=marks)


@pytest.mark.parametrize(("habit", "written", "story"), list(triples()))
def test_a_story_ends_the_same_at_a_server_of_other_habits(
    habit: str, written: str, story: str, tmp_path: Path
) -> None:
    assert tell(story, tmp_path, TRANSACTIONS[written], HABITS[habit]) == expected(story)


@pytest.mark.parametrize("story", STORIES)
def test_a_story_ends_the_same_where_every_page_of_a_search_has_one_entry(story: str, tmp_path: Path) -> None:
    assert tell(story, tmp_path, PAGES_OF_ONE, Habit()) == expected(story)
