"""What arrives is kept version by version, and puts the right patients on the agenda."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from store_examples import arrival, claim

from afterdose.core.dose import DoseKey
from afterdose.core.errors import LeaseLost, StoreError
from afterdose.store.rows import Arrival
from afterdose.store.store import Store


def due(store: Store, patient: str) -> int:
    row = store.agenda.find("main", patient)
    return row.seq if row is not None else 0


def test_a_fact_comes_back_as_it_was_received(store: Store, clock) -> None:
    sent = Arrival(
        source="ehr",
        resource_id="dose-1",
        target="main",
        patient="ann",
        version="7",
        last_updated=datetime(2026, 1, 5, 10, 0, 0, 123456, tzinfo=timezone(timedelta(hours=-5))),
        raw=b"\x00\xff{}",
    )
    [receipt] = store.committer.submit([sent])
    fact = store.facts.latest("ehr", "dose-1")
    assert fact is not None
    assert fact.seq == receipt.seq
    assert (fact.raw, fact.version, fact.patient, fact.via) == (b"\x00\xff{}", "7", "ann", "push")
    assert fact.last_updated == sent.last_updated
    assert fact.last_updated.utcoffset() == timedelta(0)
    assert fact.received_at == clock.now


def test_the_same_again_is_a_duplicate_with_the_number_of_the_first(store: Store) -> None:
    [first] = store.committer.submit([arrival(version="1")])
    [again] = store.committer.submit([arrival(version="1")])
    assert again.duplicate
    assert again.seq == first.seq
    assert store.facts.count() == 1
    assert due(store, "ann") == 1


def test_a_duplicate_inside_one_group_gets_the_number_of_its_fact(store: Store) -> None:
    receipts = store.committer.submit([arrival(), arrival("dose-2"), arrival()])
    assert [receipt.duplicate for receipt in receipts] == [False, False, True]
    assert receipts[2].seq == receipts[0].seq != receipts[1].seq


def test_a_then_b_then_a_is_three_facts(store: Store) -> None:
    for raw in (b"A", b"B", b"A"):
        [receipt] = store.committer.submit([arrival(raw=raw)])
        assert not receipt.duplicate
    versions = store.facts.history("main", "ann")[DoseKey("ehr", "dose-1")]
    assert [fact.raw for fact in versions] == [b"A", b"B", b"A"]
    assert [fact.seq for fact in versions] == sorted(fact.seq for fact in versions)


def test_the_same_bytes_as_another_version_are_a_new_fact(store: Store) -> None:
    store.committer.submit([arrival(version="1")])
    assert not store.committer.submit([arrival(version="2")])[0].duplicate


def test_one_id_of_two_sources_is_two_administrations(store: Store) -> None:
    other = Arrival(source="v2", resource_id="dose-1", target="main", patient="ann", raw=b"A")
    assert not any(receipt.duplicate for receipt in store.committer.submit([arrival(), other]))
    assert set(store.facts.history("main", "ann")) == {DoseKey("ehr", "dose-1"), DoseKey("v2", "dose-1")}


def test_a_changed_subject_puts_both_patients_on_the_agenda(store: Store) -> None:
    store.committer.submit([arrival(patient="ann")])
    store.committer.submit([arrival(patient="bob", raw=b"B")])
    assert (due(store, "ann"), due(store, "bob")) == (2, 1)
    assert len(store.facts.history("main", "ann")[DoseKey("ehr", "dose-1")]) == 2
    assert store.facts.history("main", "ann") == store.facts.history("main", "bob")


def test_everyone_ever_named_hears_of_a_later_version(store: Store) -> None:
    for raw, patient in ((b"A", "ann"), (b"B", "bob"), (b"C", "bob")):
        store.committer.submit([arrival(patient=patient, raw=raw)])
    assert (due(store, "ann"), due(store, "bob")) == (3, 2)


def test_a_delete_finds_its_patient_from_earlier_facts(store: Store) -> None:
    store.committer.submit([arrival()])
    store.committer.submit([arrival(patient=None, raw=b"", interaction="delete")])
    latest = store.facts.latest("ehr", "dose-1")
    assert latest is not None
    assert (latest.interaction, latest.patient, latest.raw) == ("delete", "ann", b"")
    assert due(store, "ann") == 2
    assert due(store, "~ehr/dose-1") == 0


def test_an_unresolved_patient_stands_under_a_pseudo_key(store: Store) -> None:
    store.committer.submit([arrival(patient=None), arrival("dose-2", "ann")])
    assert due(store, "~ehr/dose-1") == 1
    assert set(store.facts.history("main", "~ehr/dose-1")) == {DoseKey("ehr", "dose-1")}
    assert set(store.facts.history("main", "ann")) == {DoseKey("ehr", "dose-2")}


def test_a_patient_resolved_later_puts_the_pseudo_key_on_the_agenda_too(store: Store) -> None:
    store.committer.submit([arrival(patient=None)])
    store.committer.submit([arrival(patient="ann", raw=b"B")])
    assert (due(store, "~ehr/dose-1"), due(store, "ann")) == (2, 1)


def test_a_re_read_is_stored_once_and_does_not_disturb_its_own_claim(store: Store, clock) -> None:
    store.committer.submit([arrival()])
    claimed = claim(store, clock)
    assert not store.facts.record_read(claimed, arrival(via="read")).duplicate
    assert store.facts.record_read(claimed, arrival(via="read")).duplicate
    assert due(store, "ann") == claimed.seq
    assert [fact.via for fact in store.facts.history("main", "ann")[DoseKey("ehr", "dose-1")]] == ["push", "read"]


def test_a_re_read_that_names_another_patient_puts_that_one_on_the_agenda(store: Store, clock) -> None:
    store.committer.submit([arrival()])
    claimed = claim(store, clock)
    store.facts.record_read(claimed, arrival(patient="bob", raw=b"B", via="read"))
    assert (due(store, "ann"), due(store, "bob")) == (1, 1)


def test_a_re_read_under_a_lost_claim_is_refused(store: Store, clock) -> None:
    store.committer.submit([arrival()])
    claimed = claim(store, clock)
    store.agenda.finish(claimed, None, "done")
    with pytest.raises(LeaseLost):
        store.facts.record_read(claimed, arrival(raw=b"B", via="read"))
    assert store.facts.count() == 1


def test_an_arrival_that_cannot_be_stored_leaves_the_others_alone(store: Store) -> None:
    answers: dict[str, bool] = {}

    def submit(name: str) -> None:
        try:
            store.committer.submit([arrival(name, "SECRET")])
        except StoreError as error:
            answers[name] = "SECRET" in str(error)
        else:
            answers[name] = True

    threads = [threading.Thread(target=submit, args=(f"dose-{i}" if i % 4 else f"\ud800{i}",)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: good for name, good in answers.items() if not good}.keys() == {f"\ud800{i}" for i in (0, 4, 8, 12)}
    assert store.facts.count() == 12


def test_a_time_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        replace(arrival(), last_updated=datetime(2026, 1, 5))  # noqa: DTZ001


def test_instants_before_the_year_1000_keep_their_order(store: Store) -> None:
    early = Arrival(
        source="ehr",
        resource_id="old",
        target="main",
        patient="ann",
        last_updated=datetime(201, 1, 5, tzinfo=UTC),
        raw=b"A",
    )
    store.committer.submit([early])
    latest = store.facts.latest("ehr", "old")
    assert latest is not None
    assert latest.last_updated == datetime(201, 1, 5, tzinfo=UTC)
