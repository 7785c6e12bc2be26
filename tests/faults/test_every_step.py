"""The Nth call of the EHR fails, for N = 1, 2, 3 ... until a story is told without meeting the fault."""

from __future__ import annotations

import functools
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stories import STORIES, begin
from ward import OPEN_APPOINTMENTS, Ward

from afterdose.sandbox import Behaviour, faults
from afterdose.sandbox.faults import Answer, Fault, Pause, Serve

pytestmark = pytest.mark.faults

FAULTS: dict[str, Callable[[], Fault]] = {"before": faults.drop, "after": faults.commit_then_drop}
WORST = Behaviour(transaction="undeclared", if_none_exist="ignored", search_lag=30)


def passes(serve: Serve, _pause: Pause) -> Answer:
    """No fault."""
    return serve()


def tell(story: str, behaviour: Behaviour, folder: Path, fault: Fault | None = None, at: int = 0) -> tuple[Any, bool]:
    """The end of a story whose ``at``-th call in the last step meets ``fault``, and whether there was such a call."""
    with Ward(folder, behaviour=behaviour) as ward:
        last = begin(ward, story)
        if fault is not None:
            if at > 1:
                ward.ehr.fail_next("*", "", passes, times=at - 1)
            ward.ehr.fail_next("*", "", fault)
        last(ward)
        ward.settle()
        met = ward.ehr.faults_left == 0
        ward.ehr.clear_faults()
        ward.check()
        doses = {one["id"] for one in ward.ehr.all("MedicationAdministration")}
        assert len(ward.appointments(*OPEN_APPOINTMENTS)) <= len(doses)
        return ward.end_state(), met


@functools.cache
def undisturbed(story: str) -> Any:
    """How a story ends where nothing goes wrong."""
    with tempfile.TemporaryDirectory() as folder:
        return tell(story, Behaviour(), Path(folder))[0]


@pytest.mark.parametrize("behaviour", [Behaviour(), pytest.param(WORST, marks=pytest.mark.kill)], ids=["best", "worst"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("story", STORIES)
def test_a_story_ends_the_same_whichever_call_is_lost(
    story: str, fault: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    for at in itertools.count(1):
        folder = tmp_path / str(at)
        folder.mkdir()
        end, met = tell(story, behaviour, folder, FAULTS[fault](), at)
        assert end == undisturbed(story), f"call {at} was lost {fault} it was carried out"
        if not met:
            break
    assert at > 1
