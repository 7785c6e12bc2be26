"""Whom a source is asked about one by one: whose turn it is, and until when everything is known."""

from datetime import timedelta

from afterdose.store.store import Store

INTERVAL = timedelta(minutes=15)


def turns(store: Store, clock, most: int = 10) -> list[str]:
    due = store.cohorts.due("ehr", asked_before=clock.now - INTERVAL, most=most)
    return [one.patient for one in due]


def test_who_was_never_asked_about_comes_first_and_then_who_has_waited_longest(store: Store, clock) -> None:
    store.cohorts.replace("ehr", {"b", "a"}, ())
    assert turns(store, clock) == ["a", "b"]
    store.cohorts.asked("ehr", "b", known_until=clock.now)
    clock.forward(minutes=1)
    store.cohorts.asked("ehr", "a", known_until=clock.now)
    assert turns(store, clock) == []

    clock.forward(minutes=20)
    store.cohorts.replace("ehr", {"a", "b", "c"}, ())

    assert turns(store, clock) == ["c", "b", "a"]
    assert turns(store, clock, most=2) == ["c", "b"]


def test_who_left_stays_while_there_are_doses_to_track(store: Store, clock) -> None:
    store.cohorts.replace("ehr", {"a", "b"}, ())
    store.cohorts.asked("ehr", "a", known_until=clock.now)
    left_at = clock.now
    clock.forward(hours=1)

    store.cohorts.replace("ehr", {"b"}, {"a", "b"})
    assert store.cohorts.members("ehr") == {"b"}
    assert store.cohorts.size("ehr") == 2
    assert {one.patient: one.member for one in store.cohorts.due("ehr", asked_before=clock.now, most=9)} == {
        "a": False,
        "b": True,
    }

    store.cohorts.replace("ehr", {"a", "b"}, ())
    (again,) = [one for one in store.cohorts.due("ehr", asked_before=clock.now, most=9) if one.patient == "a"]
    assert again.known_until == left_at
    store.cohorts.replace("ehr", (), ())
    assert store.cohorts.size("ehr") == 0


def test_everything_is_known_until_the_member_who_waits_longest_and_a_failed_turn_does_not_count(
    store: Store, clock
) -> None:
    assert store.cohorts.known_until("ehr") is None
    joined = clock.now
    store.cohorts.replace("ehr", {"a", "b"}, ())
    clock.forward(minutes=5)
    store.cohorts.asked("ehr", "a", known_until=clock.now)
    store.cohorts.asked("ehr", "b", known_until=None)

    assert store.cohorts.known_until("ehr") == joined
    reached = clock.now
    clock.forward(minutes=5)
    store.cohorts.asked("ehr", "b", known_until=clock.now)
    assert store.cohorts.known_until("ehr") == reached


def test_sources_do_not_mix_and_a_hurried_one_has_all_its_turns_again(store: Store, clock) -> None:
    for source in ("ehr", "other"):
        store.cohorts.replace(source, {"a"}, ())
        store.cohorts.asked(source, "a", known_until=clock.now)

    store.sweeps.hurry("ehr")

    assert turns(store, clock) == ["a"]
    assert store.cohorts.due("other", asked_before=clock.now - INTERVAL, most=9) == []
