"""Which arrivals are new facts, and who is due because of them."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from afterdose.store.columns import instant_of, instant_text
from afterdose.store.newcomers import Latest, Resource, plan
from afterdose.store.rows import Arrival, Receipt
from afterdose.store.schema import patient_key

KEY = ("ehr", "MedicationAdministration", "dose-1")


def arrival(raw: bytes = b"A", patient: str | None = "ann", **named: Any) -> Arrival:
    return Arrival(source="ehr", resource_id="dose-1", target="main", patient=patient, raw=raw, **named)


def stored(one: Arrival, seq: int) -> dict[Resource, Latest]:
    [new] = plan([one], {}).new
    concerned = {("main", patient_key(new.patient, "ehr", "dose-1"))}
    return {KEY: Latest(one.version, new.content_hash, one.interaction, one.via, new.patient, concerned, seq=seq)}


def test_what_repeats_the_stored_fact_is_answered_with_its_number() -> None:
    decided = plan([arrival()], stored(arrival(), 7))
    assert (decided.new, decided.due) == ([], set())
    assert decided.receipts([]) == [Receipt(7, duplicate=True)]


def test_what_repeats_an_older_fact_of_the_same_group_is_new() -> None:
    decided = plan([arrival(b"B"), arrival(b"A"), arrival(b"A")], stored(arrival(b"A"), 7))
    assert [new.arrival.raw for new in decided.new] == [b"B", b"A"]
    assert decided.receipts([8, 9]) == [Receipt(8, False), Receipt(9, False), Receipt(9, True)]


def test_a_re_read_is_new_once_even_where_it_equals_what_was_pushed() -> None:
    assert len(plan([arrival(via="read"), arrival(via="read")], stored(arrival(), 7)).new) == 1


def test_a_push_that_equals_the_re_read_is_a_duplicate() -> None:
    assert plan([arrival()], stored(arrival(via="read"), 7)).new == []


def test_an_empty_upsert_and_a_delete_differ() -> None:
    assert len(plan([arrival(b"", interaction="delete")], stored(arrival(b""), 7)).new) == 1


def test_everyone_who_was_ever_named_is_due() -> None:
    decided = plan([arrival(b"B", None), arrival(b"C", "bob")], stored(arrival(), 7))
    assert decided.due == {("main", "ann"), ("main", "~ehr/dose-1"), ("main", "bob")}


def test_the_text_of_instants_sorts_as_time_does() -> None:
    moments = [
        datetime(900, 12, 31, tzinfo=UTC),
        datetime(2026, 1, 5, 15, 10, tzinfo=timezone(timedelta(hours=1))),
        datetime(2026, 1, 5, 15, 10, tzinfo=UTC),
        datetime(2026, 1, 5, 15, 10, 0, 1, tzinfo=UTC),
    ]
    texts = [instant_text(moment) for moment in moments]
    assert texts == sorted(texts)
    assert len({len(text) for text in texts}) == 1
    assert [instant_of(text) for text in texts] == moments


def test_a_naive_time_is_no_instant() -> None:
    with pytest.raises(ValueError, match="offset"):
        instant_text(datetime(2026, 1, 5))  # noqa: DTZ001
