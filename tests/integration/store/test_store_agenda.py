"""One row a patient; claims with a lease and a fence; what arrives meanwhile is never lost."""

import threading
import time
from datetime import timedelta
from uuid import UUID

import pytest
from store_examples import LEASE, arrival, claim

from afterdose.core.care import ArtifactKey, ArtifactKind, Standing
from afterdose.core.errors import LeaseLost
from afterdose.store.rows import AgendaEntry, LedgerRow
from afterdose.store.store import Store, open_store


def test_nobody_is_due_on_an_empty_agenda(store: Store, clock) -> None:
    assert store.agenda.claim("worker", lease=LEASE, now=clock.now) is None
    assert store.agenda.due_count(clock.now) == 0
    assert store.agenda.oldest_due(clock.now) is None


def test_what_arrives_about_one_patient_is_one_row(store: Store, clock) -> None:
    store.committer.submit([arrival(f"dose-{number}") for number in range(5)])
    assert store.agenda.due_count(clock.now) == 1
    claimed = claim(store, clock)
    assert (claimed.patient, claimed.attempts, claimed.reasons) == ("ann", 1, ("facts",))
    assert claimed.first_due_at == clock.now


def test_a_claimed_patient_is_not_given_out_again_before_the_lease_ends(store: Store, clock) -> None:
    store.committer.submit([arrival()])
    first = claim(store, clock, "one")
    assert store.agenda.claim("two", lease=LEASE, now=clock.now) is None
    clock.forward(seconds=60)
    second = claim(store, clock, "two")
    assert second.fence > first.fence
    assert second.attempts == 2


def test_a_renewed_lease_holds_longer(store: Store, clock) -> None:
    store.committer.submit([arrival()])
    first = claim(store, clock)
    clock.forward(seconds=50)
    store.agenda.renew(first, LEASE)
    clock.forward(seconds=50)
    assert store.agenda.claim("two", lease=LEASE, now=clock.now) is None


def test_a_zombie_can_neither_renew_nor_finish_nor_write(store: Store, clock) -> None:
    store.committer.submit([arrival()])
    zombie = claim(store, clock, "one")
    clock.forward(seconds=61)
    claim(store, clock, "two")
    row = LedgerRow(
        target="main",
        patient="ann",
        key=ArtifactKey(ArtifactKind.APPOINTMENT, UUID(int=1)),
        identifier=UUID(int=2),
        resource_type="Appointment",
        standing=Standing.INTENDED,
    )
    for write in (
        lambda: store.agenda.renew(zombie, LEASE),
        lambda: store.agenda.finish(zombie, None, "done"),
        lambda: store.agenda.postpone(zombie, clock.now, "busy"),
        lambda: store.agenda.park(zombie, "exhausted"),
        lambda: store.ledger.record(zombie, [row]),
        lambda: store.outcomes.replace(zombie, []),
        lambda: store.facts.record_read(zombie, arrival(via="read")),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert store.ledger.load("main", "ann") == []
    assert store.facts.count() == 1


def test_an_expired_lease_that_nobody_took_over_still_holds(store: Store, clock) -> None:
    store.committer.submit([arrival()])
    late = claim(store, clock)
    clock.forward(hours=1)
    store.agenda.finish(late, None, "done")
    assert store.agenda.claim("two", lease=LEASE, now=clock.now) is None


def test_finishing_sets_the_next_due_time_where_nothing_arrived(store: Store, clock) -> None:
    store.committer.submit([arrival()])
    later = clock.now + timedelta(hours=24)
    store.agenda.finish(claim(store, clock), later, "window-opens")
    assert store.agenda.claim("worker", lease=LEASE, now=clock.now) is None
    clock.now = later
    claimed = claim(store, clock)
    assert (claimed.reasons, claimed.attempts, claimed.first_due_at) == (("window-opens",), 1, later)


@pytest.mark.parametrize("give_back", ["finish", "postpone", "park"])
def test_what_arrived_during_the_work_makes_the_patient_due_now(store: Store, clock, give_back: str) -> None:
    store.committer.submit([arrival()])
    claimed = claim(store, clock)
    store.committer.submit([arrival(raw=b"B")])
    later = clock.forward(minutes=1) + timedelta(hours=1)
    {
        "finish": lambda: store.agenda.finish(claimed, later, "timer"),
        "postpone": lambda: store.agenda.postpone(claimed, later, "ehr-unavailable"),
        "park": lambda: store.agenda.park(claimed, "retries-exhausted"),
    }[give_back]()
    again = claim(store, clock)
    assert again.seq == claimed.seq + 1
    assert "facts" in again.reasons
    assert store.agenda.parked() == []


def test_a_put_during_the_work_is_not_lost(store: Store, clock) -> None:
    store.committer.submit([arrival()])
    claimed = claim(store, clock)
    store.agenda.put("main", "ann", clock.now, "replay")
    store.agenda.finish(claimed, None, "done")
    assert set(claim(store, clock).reasons) == {"facts", "replay"}


def test_an_arrival_makes_a_patient_due_now_who_would_be_due_later(store: Store, clock) -> None:
    store.agenda.put("main", "ann", clock.now + timedelta(days=1), "timer")
    assert store.agenda.due_count(clock.now) == 0
    store.committer.submit([arrival()])
    assert store.agenda.due_count(clock.now) == 1


def test_the_longest_due_or_the_latest_due_is_given_out(store: Store, clock) -> None:
    for minutes, patient in ((3, "ann"), (2, "bob"), (1, "cem"), (-1, "dan")):
        store.agenda.put("main", patient, clock.now - timedelta(minutes=minutes), "timer")

    latest = store.agenda.claim("worker", lease=LEASE, now=clock.now, latest=True)

    assert latest is not None
    assert (latest.patient, claim(store, clock).patient, claim(store, clock).patient) == ("cem", "ann", "bob")
    assert store.agenda.claim("worker", lease=LEASE, now=clock.now, latest=True) is None


def test_a_put_never_delays(store: Store, clock) -> None:
    store.committer.submit([arrival()])
    store.agenda.put("main", "ann", clock.now + timedelta(days=1), "timer")
    assert store.agenda.due_count(clock.now) == 1


def test_of_two_wishes_in_one_call_the_earlier_counts(store: Store, clock) -> None:
    wishes = [
        AgendaEntry(target="main", patient="ann", due_at=clock.now + timedelta(days=days), reason="calendar")
        for days in (2, 1)
    ]
    store.agenda.put_all(wishes)
    row = store.agenda.find("main", "ann")
    assert row is not None
    assert row.due_at == clock.now + timedelta(days=1)
    assert store.agenda.patients("main") == ["ann"]


def test_postponing_keeps_the_attempts_and_since_when_it_was_due(store: Store, clock) -> None:
    store.committer.submit([arrival()])
    begun = clock.now
    for attempt in (1, 2, 3):
        claimed = claim(store, clock)
        assert (claimed.attempts, claimed.first_due_at) == (attempt, begun)
        store.agenda.postpone(claimed, clock.forward(minutes=1), "ehr-unavailable")
    assert claim(store, clock).reasons == ("ehr-unavailable",)
    assert store.agenda.oldest_due(clock.now) == begun


def test_attempts_are_counted_before_the_work(store: Store, clock) -> None:
    store.committer.submit([arrival()])
    for attempt in (1, 2, 3):
        assert claim(store, clock).attempts == attempt
        clock.forward(seconds=61)  # the worker died


def test_finishing_starts_the_attempts_again(store: Store, clock) -> None:
    store.committer.submit([arrival()])
    store.agenda.postpone(claim(store, clock), clock.now, "ehr-unavailable")
    store.agenda.finish(claim(store, clock), clock.now, "timer")
    assert claim(store, clock).attempts == 1


def test_a_parked_patient_waits_for_a_person_or_an_arrival(store: Store, clock) -> None:
    store.committer.submit([arrival()])
    store.agenda.park(claim(store, clock), "retries-exhausted")
    assert [(row.patient, row.parked) for row in store.agenda.parked()] == [("ann", "retries-exhausted")]
    clock.forward(days=365)
    assert store.agenda.claim("worker", lease=LEASE, now=clock.now) is None
    store.agenda.put("main", "ann", clock.now, "replay")
    assert store.agenda.parked() == []
    assert claim(store, clock).attempts == 1


def test_who_has_been_due_longest_comes_first(store: Store, clock) -> None:
    for patient, hours in (("cyd", 3), ("ann", 1), ("bob", 2)):
        store.agenda.put("main", patient, clock.now + timedelta(hours=hours), "timer")
    clock.forward(hours=4)
    assert [claim(store, clock).patient for _ in range(3)] == ["ann", "bob", "cyd"]


def test_eight_threads_never_claim_one_patient_twice(store: Store, clock) -> None:
    store.committer.submit([arrival(f"dose-{number}", f"patient-{number}") for number in range(100)])
    claimed: list[str] = []

    def work(number: int) -> None:
        while (one := store.agenda.claim(f"worker-{number}", lease=LEASE, now=clock.now)) is not None:
            claimed.append(one.patient)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 100
    assert len(set(claimed)) == 100


def test_a_waiting_worker_is_woken_by_what_arrives(store: Store, url: str, clock) -> None:
    other_process = open_store(url, clock=clock)
    try:
        store.agenda.wait(0.5)  # on PostgreSQL the first wait starts to listen
        woken: list[tuple[bool, float]] = []
        begun = time.monotonic()
        waiting = threading.Thread(target=lambda: woken.append((store.agenda.wait(1.0), time.monotonic() - begun)))
        waiting.start()
        time.sleep(0.1)
        other_process.committer.submit([arrival()])
        waiting.join()
        assert woken[0][0]
        assert woken[0][1] < 0.9
    finally:
        other_process.close()


def test_a_waiting_worker_looks_again_within_a_second_unwoken(store: Store) -> None:
    begun = time.monotonic()
    assert not store.agenda.wait(30)
    assert time.monotonic() - begun < 2
