"""Deliveries that were taken are known again, for as long as they are to be, and by their own sender."""

from datetime import timedelta

from afterdose.store.deliveries import digest_of
from afterdose.store.store import Store


def test_a_delivery_is_known_by_its_sender_and_name_until_it_is_over(store: Store, clock) -> None:
    store.deliveries.keep("ehr", "msg_1", "aa", clock.now + timedelta(minutes=5))

    assert store.deliveries.taken("ehr", "msg_1") == "aa"
    assert store.deliveries.taken("ehr", "msg_2") is None
    assert store.deliveries.taken("mar", "msg_1") is None
    clock.forward(minutes=5)
    assert store.deliveries.taken("ehr", "msg_1") is None


def test_what_is_kept_twice_is_kept_as_it_was_last_and_what_is_over_is_forgotten(store: Store, clock) -> None:
    for number, minutes in enumerate((1, 10, 20)):
        store.deliveries.keep("ehr", f"msg_{number}", "aa", clock.now + timedelta(minutes=minutes))
    store.deliveries.keep("ehr", "msg_1", "bb", clock.now + timedelta(minutes=10))
    assert store.deliveries.taken("ehr", "msg_1") == "bb"

    clock.forward(minutes=15)
    store.deliveries.keep("ehr", "msg_3", "cc", clock.now + timedelta(minutes=1))

    clock.forward(minutes=-15)
    known = [store.deliveries.taken("ehr", f"msg_{number}") for number in range(4)]
    assert known == [None, None, "aa", "cc"]


def test_no_part_of_a_digest_can_pass_for_the_end_of_another() -> None:
    assert digest_of(b"ab", b"c") != digest_of(b"a", b"bc")
    assert digest_of(b"abc") != digest_of(b"abc", b"")
    assert digest_of(b"abc") == digest_of(b"abc")


def test_the_same_refused_body_of_a_sender_stands_once_and_newest(store: Store, clock) -> None:
    for source, body in (("ehr", b"a"), ("ehr", b"b"), ("mar", b"a"), ("ehr", b"a")):
        store.quarantine.keep(source, clock.forward(seconds=1), None, body, [])

    assert [(kept.source, kept.body) for kept in store.quarantine.newest(9)] == [
        ("ehr", b"a"),
        ("mar", b"a"),
        ("ehr", b"b"),
    ]
    assert store.quarantine.counts() == (3, 0)
