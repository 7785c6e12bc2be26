"""Counting along with a server that numbers its events: what is missing, whatever order they come in."""

import itertools
from datetime import UTC, datetime, timedelta

from afterdose.core.numbering import NumberedEvent, Numbering, began, counted, happened

START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


def event(number: int, minute: int | None = None) -> NumberedEvent:
    return NumberedEvent(number, at(number if minute is None else minute))


def after(*numbers: int, known: Numbering | None = None) -> Numbering:
    for number in numbers:
        known = happened(known, [event(number)], number)
    assert known is not None
    return known


def test_events_in_their_order_leave_nothing_missing() -> None:
    assert after(1, 2, 3).missing is None
    assert after(1, 2, 3).reached == 3


def test_what_was_counted_before_the_first_notification_is_not_missed() -> None:
    assert after(41).missing is None
    assert after(41, 42).reached == 42


def test_numbers_that_jump_are_missing_until_they_come() -> None:
    jumped = after(1, 2, 6)

    assert jumped.missing == (3, 5)
    assert after(4, known=jumped).missing == (3, 5)
    assert after(4, 3, 5, known=jumped).missing is None


def test_any_order_with_repetitions_ends_alike() -> None:
    for order in itertools.permutations([2, 3, 4, 5]):
        ended = after(1, *order, *order)
        assert (ended.reached, ended.exists, ended.beyond) == (5, 5, ()), order


def test_a_notification_may_tell_of_several_events() -> None:
    known = happened(after(1), [event(4), event(3)], 4)

    assert known is not None
    assert known.missing == (2, 2)


def test_a_count_that_is_higher_than_what_came_is_a_gap() -> None:
    assert counted(after(1, 2), 4, at(10)).missing == (3, 4)
    told = happened(after(1), [event(2)], 3)
    assert told is not None
    assert told.missing == (3, 3)


def test_a_heartbeat_that_an_event_overtook_takes_nothing_back() -> None:
    assert counted(after(1, 2, 3), 2, at(2)) == after(1, 2, 3)


def test_a_server_that_counts_anew_is_noticed_by_its_handshake() -> None:
    assert began(after(7, 8), 0, at(20)).reached == 0
    assert after(1, 2, known=began(after(7, 8), 0, at(20))).missing is None
    assert began(after(7, 8), 10, at(20)).missing == (9, 10)


def test_a_server_that_counts_anew_is_noticed_by_what_happened_later_under_a_lower_number() -> None:
    known = happened(after(7, 8), [event(3, 60)], 3)

    assert known is not None
    assert known.missing == (1, 2)
    assert counted(after(7, 8), 1, at(60)).missing == (1, 1)
    assert counted(after(7, 8), 0, None, now=True).reached == 0


def test_a_repeated_notification_is_no_count_that_began_anew() -> None:
    assert happened(after(7, 8), [event(7)], 7) == after(7, 8)


def test_what_fills_a_gap_late_is_no_count_that_began_anew() -> None:
    known = happened(after(1, 3), [event(2, 60)], 3)

    assert known is not None
    assert (known.reached, known.missing) == (3, None)


def test_an_answer_to_a_question_never_begins_anew() -> None:
    known = happened(after(1, 2, 6), [event(3, 60), event(4, 60)], 6, asked=True)

    assert known is not None
    assert known.missing == (5, 5)


def test_what_was_found_in_another_way_is_missing_no_more() -> None:
    assert after(1, 5).settled().missing is None
    assert after(6, known=after(1, 5).settled()).missing is None


def test_a_notification_without_numbers_changes_nothing() -> None:
    assert happened(None, [], None) is None
    assert happened(after(1), [], None) == after(1)


def test_very_many_gaps_are_still_asked_for_as_a_whole() -> None:
    known = after(*range(1, 401, 2))

    assert len(known.beyond) == 64
    assert known.missing == (2, 398)
    assert after(*range(2, 400), known=known).missing is None
