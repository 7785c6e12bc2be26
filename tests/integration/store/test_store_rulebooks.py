"""Changed rules concern everybody: all patients of a target have a turn, one after the other."""

from datetime import timedelta

import pytest

from afterdose.store.store import Store
from afterdose.work.starting import AT_MOST, follow_rules


@pytest.fixture
def patients(store: Store, clock) -> list[str]:
    """Known, and not due for long."""
    names = [f"p{number:02d}" for number in range(30)]
    for name in names:
        store.agenda.put("ehr", name, clock.now + timedelta(days=30), "time")
    store.agenda.put("other", "p00", clock.now + timedelta(days=30), "time")
    return names


def due(store: Store, clock, target: str = "ehr") -> list[timedelta]:
    rows = [store.agenda.find(target, patient) for patient in store.agenda.patients(target)]
    return [row.due_at - clock.now for row in rows if row is not None and row.due_at is not None]


def test_the_first_rules_put_nobody_on_the_agenda(store: Store, clock, patients: list[str]) -> None:
    follow_rules(store, "ehr", "a", clock.now)

    assert min(due(store, clock)) == timedelta(days=30)


def test_the_same_rules_put_nobody_on_the_agenda(store: Store, clock, patients: list[str]) -> None:
    follow_rules(store, "ehr", "a", clock.now)
    follow_rules(store, "ehr", "a", clock.now)

    assert min(due(store, clock)) == timedelta(days=30)


def test_changed_rules_give_everybody_of_the_target_a_turn_of_their_own(
    store: Store, clock, patients: list[str]
) -> None:
    follow_rules(store, "ehr", "a", clock.now)
    follow_rules(store, "ehr", "b", clock.now)

    turns = due(store, clock)
    assert len(set(turns)) == len(patients)
    assert max(turns) < AT_MOST
    assert due(store, clock, "other") == [timedelta(days=30)]


def test_of_several_processes_that_start_one_gives_the_turns(store: Store) -> None:
    store.rulebooks.adopt("ehr", "a")

    assert [store.rulebooks.adopt("ehr", "b") for _ in range(3)] == [True, False, False]
