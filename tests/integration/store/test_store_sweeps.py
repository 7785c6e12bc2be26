"""How far a source has been polled: one poller at a time, and never further than it says."""

from datetime import timedelta

from afterdose.store.store import Store

INTERVAL = timedelta(minutes=5)
LEASE = timedelta(minutes=10)


def begin(store: Store, owner: str, type_: str = "MedicationAdministration"):
    return store.sweeps.begin("ehr", type_, owner=owner, interval=INTERVAL, lease=LEASE)


def test_one_poller_at_a_time_has_a_source(store: Store, clock) -> None:
    first = begin(store, "a")
    clock.forward(minutes=6)
    assert first is not None
    assert first.watermark is None
    assert begin(store, "b") is None

    clock.forward(minutes=5)
    assert begin(store, "b") is not None
    assert not store.sweeps.finish(first, clock.now)
    assert not store.sweeps.keep(first, clock.now, lease=LEASE)


def test_a_poll_is_due_after_the_interval_whether_the_last_one_succeeded_or_not(store: Store, clock) -> None:
    first = begin(store, "a")
    assert first is not None
    assert store.sweeps.finish(first, clock.now)
    assert begin(store, "a") is None

    clock.forward(minutes=5)
    second = begin(store, "a")
    assert second is not None
    store.sweeps.release(second)
    assert begin(store, "a") is None

    clock.forward(minutes=5)
    assert begin(store, "a") is not None


def test_a_hurried_poll_is_due_at_once_and_once_more_after_the_one_under_way(store: Store, clock) -> None:
    first = begin(store, "a")
    assert first is not None
    store.sweeps.hurry("ehr")
    assert begin(store, "b") is None

    assert store.sweeps.finish(first, clock.now)
    assert begin(store, "b") is not None


def test_the_watermark_is_kept_by_resource_type(store: Store, clock) -> None:
    first = begin(store, "a")
    assert first is not None
    store.sweeps.keep(first, clock.now - timedelta(hours=1), lease=LEASE)
    store.sweeps.finish(first, clock.now)
    reached = clock.now
    clock.forward(minutes=5)

    again, other = begin(store, "a"), begin(store, "a", "Appointment")

    assert again is not None
    assert again.watermark == reached
    assert other is not None
    assert other.watermark is None


def test_a_source_is_known_since_its_least_known_type_was_polled(store: Store, clock) -> None:
    assert store.sweeps.polled() == {}
    for type_ in ("Appointment", "MedicationAdministration"):
        begun = begin(store, "a", type_)
        assert begun is not None
        assert store.sweeps.polled() == {"ehr": None}
        store.sweeps.finish(begun, clock.now)
        clock.forward(minutes=1)

    assert store.sweeps.polled() == {"ehr": clock.now - timedelta(minutes=2)}
