"""Versions are opaque; only of whole numbers is it known which comes first."""

import pytest

from afterdose.ehr.versions import is_first, is_older


@pytest.mark.parametrize(("one", "other"), [('W/"1"', 'W/"2"'), ('"9"', 'W/"10"'), ("3", "4")])
def test_a_lower_number_is_older(one, other):
    assert is_older(one, other)
    assert not is_older(other, one)


@pytest.mark.parametrize(("one", "other"), [('W/"a"', 'W/"b"'), (None, 'W/"2"'), ('W/"1"', None), ('W/"1-1"', 'W/"2"')])
def test_of_other_versions_nothing_is_known(one, other):
    assert not is_older(one, other)
    assert not is_older(other, one)


@pytest.mark.parametrize("etag", ['W/"0"', 'W/"1"', '"1"', "1"])
def test_a_create_makes_version_one_or_zero(etag):
    assert is_first(etag)


@pytest.mark.parametrize("etag", ['W/"2"', 'W/"1-1"', 'W/"a"', "", None])
def test_any_other_version_may_be_a_later_one(etag):
    assert not is_first(etag)
