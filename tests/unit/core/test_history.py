"""Which version of an administration counts."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from afterdose.core.dose import DoseKey
from afterdose.core.history import Interaction, Version, Via, heard_at, is_tie, newest

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def a_version(content: str, *, received: int, updated: int | None = None, **changes: object) -> Version:
    """Minutes after noon."""
    values: dict[str, object] = {
        "key": DoseKey("ehr", "dose-1"),
        "version": None,
        "last_updated": None if updated is None else NOON + timedelta(minutes=updated),
        "received_at": NOON + timedelta(minutes=received),
        "via": Via.PUSH,
        "interaction": Interaction.UPSERT,
        "content_hash": content,
    }
    return Version(**{**values, **changes})


def _newest(*versions: Version) -> str:
    return newest(versions).content_hash


def test_the_later_update_wins_although_it_came_first() -> None:
    assert _newest(a_version("old", received=9, updated=1), a_version("new", received=5, updated=4)) == "new"


def test_without_dates_the_later_receipt_wins() -> None:
    assert _newest(a_version("first", received=1), a_version("second", received=2)) == "second"


def test_a_reread_beats_everything_received_before_it() -> None:
    read = a_version("read", received=5, updated=2, via=Via.READ)
    assert _newest(a_version("push", received=4, updated=3), read) == "read"


def test_a_late_push_of_an_older_version_does_not_beat_the_reread() -> None:
    read = a_version("read", received=5, updated=4, via=Via.READ)
    assert _newest(read, a_version("late", received=9, updated=4), a_version("undated", received=10)) == "read"


def test_a_push_that_is_dated_after_the_reread_beats_it() -> None:
    assert _newest(a_version("read", received=5, updated=4, via=Via.READ), a_version("p", received=9, updated=8)) == "p"


def test_of_two_rereads_the_later_wins() -> None:
    reads = [a_version(str(minute), received=minute, updated=1, via=Via.READ) for minute in (3, 7, 5)]
    assert _newest(*reads) == "7"


def test_a_delete_that_a_read_confirmed_wins() -> None:
    gone = a_version("", received=6, via=Via.READ, interaction=Interaction.DELETE)
    assert newest([a_version("a", received=5, updated=4), gone, a_version("b", received=9, updated=5)]) is gone


def test_a_dose_written_again_after_a_confirmed_delete_is_there_again() -> None:
    gone = a_version("", received=6, via=Via.READ, interaction=Interaction.DELETE)
    assert _newest(gone, a_version("again", received=9, updated=8)) == "again"


def test_an_unconfirmed_delete_beats_what_is_not_newer() -> None:
    gone = a_version("", received=6, interaction=Interaction.DELETE)
    assert newest([a_version("a", received=5, updated=6), gone]) is gone
    assert _newest(gone, a_version("newer", received=8, updated=7)) == "newer"


def test_two_contents_with_one_date_are_a_tie_until_a_reread() -> None:
    tied = [a_version("a", received=1, updated=1), a_version("b", received=2, updated=1)]
    assert is_tie(tied)
    assert not is_tie([*tied, a_version("b", received=3, updated=1, via=Via.READ)])
    assert not is_tie([tied[0], a_version("a", received=2, updated=1)])


def test_a_dose_is_heard_of_when_its_time_first_came() -> None:
    versions = [a_version("10:00", received=1), a_version("11:00", received=5), a_version("11:00 note", received=9)]
    heard = heard_at(versions, same_time=lambda one: one.content_hash.startswith("11:00"))
    assert heard == NOON + timedelta(minutes=5)
    assert heard_at(versions, same_time=lambda _: False) == NOON + timedelta(minutes=9)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=1, max_size=8, unique_by=lambda one: one[0]),
    st.data(),
)
def test_pushes_with_dates_give_the_same_answer_in_any_order_of_arrival(
    updates: list[tuple[int, bool]], data: st.DataObject
) -> None:
    def arrived(order: list[tuple[int, bool]]) -> str:
        return _newest(
            *(
                a_version(
                    f"{updated}",
                    received=100 + place,
                    updated=updated,
                    interaction=Interaction.DELETE if deleted else Interaction.UPSERT,
                )
                for place, (updated, deleted) in enumerate(order)
            )
        )

    assert arrived(data.draw(st.permutations(updates))) == arrived(updates) == str(max(updates)[0])
