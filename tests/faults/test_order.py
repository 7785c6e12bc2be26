"""The newest version of a dose wins, in whatever order the versions arrive, and however often."""

from __future__ import annotations

import functools
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import ENDED
from ward import MONDAY, OPEN_APPOINTMENTS, OPEN_PLANS, Resource, Ward, dose

pytestmark = pytest.mark.faults

LATER = ENDED + timedelta(minutes=30)


def version(number: int, **content: Any) -> Resource:
    """The version of this number, as the sender dates it."""
    stamp = (MONDAY - timedelta(minutes=30 - number)).isoformat()
    return {**content, "meta": {"versionId": str(number), "lastUpdated": stamp}}


CHARTED = version(1, **dose("d-1", ENDED))
CORRECTED = version(2, **dose("d-1", LATER))
WITHDRAWN = version(3, **dose("d-1", LATER, status="entered-in-error"))
REINSTATED = version(4, **dose("d-1", LATER))
VERSIONS = (CHARTED, CORRECTED, WITHDRAWN, REINSTATED)


def arrivals(*versions: Resource) -> st.SearchStrategy[list[tuple[Resource, bool]]]:
    """Every version at least once, in any order, some again; and whether the worker comes by after each."""
    again = st.lists(st.sampled_from(versions), max_size=3)
    order = again.flatmap(lambda more: st.permutations([*versions, *more]))
    return order.flatmap(
        lambda told: st.lists(st.booleans(), min_size=len(told), max_size=len(told)).map(
            lambda pauses: list(zip(told, pauses, strict=True))
        )
    )


def end_of(told: list[tuple[Resource, bool]]) -> tuple[list[Any], int]:
    """What is open in the end, and how many Appointments were ever made."""
    with tempfile.TemporaryDirectory() as folder, Ward(Path(folder), readable=False) as ward:
        for resource, worked in told:
            ward.send(resource)
            if worked:
                ward.settle()
            ward.clock.advance(timedelta(minutes=1))
        ward.settle()
        ward.check()
        mine = [one for one in ward.end_state() if one["resourceType"] in ("CarePlan", "Appointment")]
        opens = [one for one in mine if one["status"] in OPEN_PLANS | OPEN_APPOINTMENTS]
        return opens, len(ward.appointments())


@functools.cache
def in_order(*places: int) -> list[Any]:
    """What is open where the versions arrive one by one, each worked on."""
    return end_of([(VERSIONS[place], True) for place in places])[0]


@given(arrivals(*VERSIONS))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_reinstated_dose_is_planned_once_in_any_order(told: list[tuple[Resource, bool]]) -> None:
    opens, _ = end_of(told)

    assert opens == in_order(0, 1, 2, 3)
    assert sorted(one["resourceType"] for one in opens) == ["Appointment", "CarePlan"]


@given(arrivals(*VERSIONS[:3]))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_withdrawn_dose_leaves_nothing_open_in_any_order(told: list[tuple[Resource, bool]]) -> None:
    assert end_of(told)[0] == []


@given(arrivals(*VERSIONS[:2]))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_a_correction_wins_in_any_order(told: list[tuple[Resource, bool]]) -> None:
    opens, made = end_of(told)

    assert opens == in_order(0, 1)
    assert made == 1


def test_back_to_the_first_content_is_a_third_version(tmp_path: Path) -> None:
    with Ward(tmp_path, readable=False) as ward:
        for number, ended in enumerate((ENDED, LATER, ENDED)):
            ward.send(dose("d-1", ended))
            ward.settle()
            (proposal,) = ward.appointments("proposed")
            opens = (ended + timedelta(hours=24)).isoformat().replace("+00:00", "Z")
            assert proposal["requestedPeriod"][0]["start"] == opens
            assert proposal["meta"]["versionId"] == str(number + 1)
            ward.clock.advance(timedelta(minutes=1))

        ward.check()


def test_back_to_the_first_content_at_once_writes_nothing(tmp_path: Path) -> None:
    with Ward(tmp_path, readable=False) as ward:
        ward.send(dose("d-1", ENDED))
        ward.settle()
        for ended in (LATER, ENDED):
            ward.clock.advance(timedelta(minutes=1))
            ward.send(dose("d-1", ended))
        ward.settle()

        assert [one["meta"]["versionId"] for one in ward.appointments()] == ["1"]
        assert [one["meta"]["versionId"] for one in ward.plans()] == ["1"]
