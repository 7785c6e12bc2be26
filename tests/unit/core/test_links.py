"""Who a merged patient is now, from the links between records."""

from hypothesis import given
from hypothesis import strategies as st

from afterdose.core.links import MOST_LINKS, survivor


def test_a_patient_without_links_is_who_it_is() -> None:
    assert survivor("a", []) == "a"
    assert survivor("b", [("a", "b")]) == "b"


def test_chains_are_followed_to_their_end() -> None:
    assert survivor("a", [("b", "c"), ("a", "b")]) == "c"


def test_two_ways_to_the_same_end_are_one_end() -> None:
    assert survivor("a", [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]) == "d"
    assert survivor("a", [("a", "b"), ("a", "c"), ("c", "b")]) == "b"


def test_two_ends_are_none() -> None:
    assert survivor("a", [("a", "b"), ("a", "c")]) is None


def test_a_circle_has_no_end_for_whoever_leads_into_it() -> None:
    circle = [("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")]

    assert [survivor(one, circle) for one in "abcd"] == [None, None, None, "d"]


def test_a_link_to_oneself_says_nothing() -> None:
    assert survivor("a", [("a", "a")]) == "a"


def test_a_chain_without_measure_is_not_believed() -> None:
    assert survivor("0", [(str(one), str(one + 1)) for one in range(MOST_LINKS - 1)]) == str(MOST_LINKS - 1)
    assert survivor("0", [(str(one), str(one + 1)) for one in range(3 * MOST_LINKS)]) is None


LINKS = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=12)


@given(LINKS)
def test_the_order_of_the_links_changes_nothing(links: list[tuple[str, str]]) -> None:
    assert survivor("a", links) == survivor("a", sorted(links, reverse=True))


@given(LINKS)
def test_whoever_is_found_was_replaced_by_nobody(links: list[tuple[str, str]]) -> None:
    found = survivor("a", links)

    assert found is None or all(former != found or former == successor for former, successor in links)
