"""What is remembered of the Subscriptions that notify us, by whichever process heard it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

from afterdose.core.numbering import NumberedEvent, Numbering, began, happened
from afterdose.store.store import Store, open_store
from afterdose.store.subscriptions import MOST


def event(known: Numbering | None, *, number: int) -> Numbering | None:
    return happened(known, [NumberedEvent(number)], number)


def hear(store: Store, *numbers: int) -> None:
    for number in numbers:
        store.subscriptions.hear("ehr", "s1", partial(event, number=number))


def test_what_was_heard_survives_the_process(store: Store, url: str, clock) -> None:
    hear(store, 1, 2, 5)
    again = open_store(url, clock=clock)
    hear(again, 4)
    again.close()

    (row,) = store.subscriptions.of("ehr")
    assert row.numbering == Numbering(reached=2, exists=5, beyond=((4, 5),))
    assert row.numbering.missing == (3, 3)
    assert (row.heard_at, row.gap_at, row.troubles) == (clock.now, clock.now, {})


def test_threads_that_hear_at_the_same_time_lose_nothing(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(partial(hear, store), range(1, 41)))
    hear(store, 1)

    (row,) = store.subscriptions.of("ehr")
    assert row.numbering is not None
    assert (row.numbering.reached, row.numbering.exists, row.gap_at) == (40, 40, None)


def test_a_gap_is_as_old_as_its_lowest_number_is_missing(store: Store, clock) -> None:
    hear(store, 1, 3)
    clock.forward(seconds=20)
    hear(store, 5)
    assert store.subscriptions.of("ehr")[0].gap_at == clock.now - timedelta(seconds=20)

    hear(store, 2)
    assert store.subscriptions.of("ehr")[0].gap_at == clock.now
    hear(store, 4)
    assert store.subscriptions.of("ehr")[0].gap_at is None


def test_events_without_names_are_remembered_from_the_lowest_on(store: Store) -> None:
    for first in (7, 5, 9):
        store.subscriptions.hear("ehr", "s1", partial(event, number=first), unnamed=first)

    assert store.subscriptions.of("ehr")[0].unnamed == 5


def test_troubles_and_states_are_kept_beside_what_is_heard(store: Store, clock) -> None:
    store.subscriptions.keep("ehr", "s1", mark="m", resource_type="Patient", heartbeat=60, status="off")
    store.subscriptions.trouble("ehr", "s1", {"off": clock.now})
    store.subscriptions.hear("ehr", "s1", lambda known: began(known, 0, None), status="active")

    (row,) = store.subscriptions.of("ehr")
    assert (row.mark, row.resource_type, row.heartbeat) == ("m", "Patient", timedelta(minutes=1))
    assert (row.status, row.troubles) == ("active", {"off": clock.now})
    assert store.subscriptions.recount("ehr", "s1", partial(event, number=3)) == Numbering(
        reached=0, exists=3, beyond=((3, 3),)
    )
    store.subscriptions.forget("ehr", "s1")
    assert store.subscriptions.all() == []


def test_a_sender_that_makes_subscriptions_up_does_not_fill_the_disk(store: Store) -> None:
    for number in range(MOST + 5):
        store.subscriptions.hear("ehr", f"s{number}", lambda known: known)
        store.subscriptions.hear("other", "s", lambda known: known)

    assert len(store.subscriptions.of("ehr")) == MOST
    assert len(store.subscriptions.of("other")) == 1
