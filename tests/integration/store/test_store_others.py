"""Orders, visits and people are facts beside the doses: kept apart from them, and as good at waking somebody."""

from datetime import timedelta
from typing import Any

import pytest
from store_examples import arrival

from afterdose.core.dose import DoseKey
from afterdose.store.rows import Arrival
from afterdose.store.store import Store


def order(id_: str = "o1", patient: str | None = "ann", **named: Any) -> Arrival:
    return arrival(id_, patient, resource_type="MedicationRequest", **named)


def due(store: Store, patient: str) -> bool:
    return store.agenda.find("main", patient) is not None


def raws(store: Store, patient: str) -> list[bytes]:
    return [fact.raw for fact in store.facts.others("main", patient)]


def test_an_order_without_a_dose_puts_its_patient_on_the_agenda(store: Store) -> None:
    store.committer.submit([order()])

    assert due(store, "ann")
    assert store.facts.history("main", "ann") == {}
    (fact,) = store.facts.others("main", "ann")
    assert (fact.resource_type, fact.resource_id) == ("MedicationRequest", "o1")


def test_a_dose_is_none_of_the_others(store: Store) -> None:
    store.committer.submit([arrival(), order()])

    assert set(store.facts.history("main", "ann")) == {DoseKey("ehr", "dose-1")}
    assert [fact.resource_type for fact in store.facts.others("main", "ann")] == ["MedicationRequest"]


def test_one_id_of_two_types_is_two_resources(store: Store) -> None:
    receipts = store.committer.submit([arrival("1"), order("1"), arrival("1", resource_type="Encounter"), order("1")])

    assert [receipt.duplicate for receipt in receipts] == [False, False, False, True]
    assert len(store.facts.history("main", "ann")[DoseKey("ehr", "1")]) == 1
    latest = store.facts.latest("ehr", "1")
    assert latest is not None
    assert latest.resource_type == "MedicationAdministration"
    other = store.facts.latest("ehr", "1", "Encounter")
    assert other is not None
    assert other.resource_type == "Encounter"


@pytest.mark.parametrize("order_of_arrival", [(0, 1), (1, 0)])
def test_the_newest_version_counts_in_any_order_of_arrival(store: Store, clock, order_of_arrival) -> None:
    versions = [
        order(raw=b"old", version="1", last_updated=clock.now - timedelta(hours=2)),
        order(raw=b"new", version="2", last_updated=clock.now - timedelta(hours=1)),
    ]
    for place in order_of_arrival:
        store.committer.submit([versions[place]])

    assert raws(store, "ann") == [b"new"]


def test_what_was_received_last_counts_where_the_sender_gives_no_times(store: Store) -> None:
    for raw in (b"A", b"B"):
        store.committer.submit([order(raw=raw)])

    assert raws(store, "ann") == [b"B"]


def test_a_deleted_order_is_told_as_deleted_and_wakes_its_patient(store: Store, clock) -> None:
    store.committer.submit([order(last_updated=clock.now)])
    claimed = store.agenda.claim("w", lease=timedelta(minutes=1), now=clock())
    assert claimed is not None
    store.agenda.finish(claimed, None, "done")
    clock.now += timedelta(seconds=1)

    store.committer.submit([order(patient=None, raw=b"", interaction="delete")])

    assert [fact.interaction for fact in store.facts.others("main", "ann")] == ["delete"]
    row = store.agenda.find("main", "ann")
    assert row is not None
    assert row.due_at is not None


def test_an_order_that_moves_to_another_patient_wakes_both_and_is_the_new_ones(store: Store) -> None:
    store.committer.submit([order()])
    seen = store.agenda.find("main", "ann")

    store.committer.submit([order(patient="bob", raw=b"B")])

    assert raws(store, "ann") == []
    assert raws(store, "bob") == [b"B"]
    again = store.agenda.find("main", "ann")
    assert seen is not None
    assert again is not None
    assert again.seq == seen.seq + 1
    assert due(store, "bob")


def test_an_order_of_nobody_known_is_kept_and_wakes_nobody(store: Store, clock) -> None:
    store.committer.submit([order(patient=None)])

    assert store.facts.count() == 1
    assert store.agenda.due_count(clock()) == 0


def test_what_is_of_another_target_is_not_told(store: Store) -> None:
    store.committer.submit([order()])

    assert store.facts.others("elsewhere", "ann") == ()
