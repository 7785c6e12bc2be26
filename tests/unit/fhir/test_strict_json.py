"""strict_json reads what RFC 8259 and FHIR allow, and answers everything else with BadInput."""

import json
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterdose.core.errors import BadInput
from afterdose.fhir import strict_json

REFUSED = {
    "a key twice": (b'{"a":1,"a":2}', "structure"),
    "a key twice, deep inside": (b'[{"b":{"c":[{"a":1,"\\u0061":2}]}}]', "structure"),
    "NaN": (b"[NaN]", "value"),
    "Infinity": (b"[Infinity]", "value"),
    "minus Infinity": (b"[-Infinity]", "value"),
    "a number that overflows": (b"[1e400]", "value"),
    "a number that underflows": (b"[1e-400]", "value"),
    "an exponent beyond Decimal": (b"[1e99999999999999999999]", "value"),
    "a zero with an enormous exponent": (b"[0e999999999]", "value"),
    "an integer of 5,000 digits": (b"1" * 5000, "value"),
    "a fraction of 5,000 digits": (b"0." + b"1" * 5000, "value"),
    "NUL": (b'"\\u0000"', "value"),
    "NUL in a key": (b'{"\\u0000":1}', "value"),
    "a raw NUL": (b'"\x00"', "structure"),
    "a lone high surrogate": (b'["\\ud800"]', "value"),
    "a lone low surrogate in a key": (b'{"x":{"\\udfff":1}}', "value"),
    "a surrogate encoded as UTF-8": (b'"\xed\xa0\x80"', "structure"),
    "a UTF-8 byte order mark": (b"\xef\xbb\xbf{}", "structure"),
    "UTF-16": ("{}".encode("utf-16"), "structure"),
    "UTF-16 without a mark": ("{}".encode("utf-16-le"), "structure"),
    "Latin-1": ('"é"'.encode("latin-1"), "structure"),
    "65 levels": (b"[" * 65 + b"]" * 65, "too-costly"),
    "100,000 opening brackets": (b"[" * 100_000, "too-costly"),
    "100,000 nested objects": (b'{"a":' * 100_000, "too-costly"),
    "20,001 elements": (b"[" + b"1," * 20_000 + b"1]", "too-costly"),
    "10,001 empty objects": (b"[" + b"{}," * 10_000 + b"{}]", "too-costly"),
    "a comment": (b"{} // no", "structure"),
    "a comment before": (b"/* no */{}", "structure"),
    "a trailing comma in an array": (b"[1,]", "structure"),
    "a trailing comma in an object": (b'{"a":1,}', "structure"),
    "single quotes": (b"{'a':1}", "structure"),
    "two values": (b"{}{}", "structure"),
    "nothing": (b"", "structure"),
    "white space": (b" \n", "structure"),
    "a control character": (b'"\x01"', "structure"),
    "a number with a leading zero": (b"[01]", "structure"),
    "half an object": (b'{"a":', "structure"),
    "one unclosed string of escaped quotes": (b'"' + b'\\"' * 300_000, "structure"),
}


@pytest.mark.parametrize(("body", "code"), REFUSED.values(), ids=REFUSED)
def test_what_json_or_fhir_forbids_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(BadInput) as refusal:
        strict_json.loads(body)

    assert [problem.code for problem in refusal.value.problems] == [code]
    assert refusal.value.status == 400


def test_the_limits_themselves_are_allowed() -> None:
    assert strict_json.loads(b"[" * 64 + b"]" * 64)
    assert strict_json.loads(b"[" + b"1," * 19_999 + b"1]")


def test_brackets_and_commas_inside_strings_count_for_nothing() -> None:
    text = "[{" * 20_000 + '\\"' + "," * 20_000

    assert strict_json.loads(f'["{text}"]'.encode()) == [text.replace('\\"', '"')]


def test_limits_can_be_chosen() -> None:
    with pytest.raises(BadInput, match="more than 2 levels"):
        strict_json.loads(b"[[[]]]", max_depth=2)
    with pytest.raises(BadInput, match="more than 3 members"):
        strict_json.loads(b"[1,2,3,4]", max_members=3)


def test_a_parser_that_runs_out_of_stack_is_no_crash() -> None:
    with pytest.raises(BadInput) as refusal:
        strict_json.loads(b"[" * 100_000 + b"]" * 100_000, max_depth=1_000_000, max_members=1_000_000)

    assert refusal.value.problems[0].code == "too-costly"


def test_decimals_keep_their_digits_both_ways() -> None:
    body = b'{"a":35.00,"b":1E-7,"c":-0.10,"d":12345678901234567890.123456789}'

    assert strict_json.dumps(strict_json.loads(body)) == body


def test_a_surrogate_pair_is_one_character() -> None:
    assert strict_json.loads(b'"\\ud83d\\ude00"') == "\N{GRINNING FACE}"


def test_a_refusal_quotes_nothing() -> None:
    for body in (b'{"Smith":1,"Smith":2}', b'{"Smith" Smith}', b'["Smith\\ud800"]', b'"Smith'):
        with pytest.raises(BadInput) as refusal:
            strict_json.loads(body)
        assert "Smith" not in str(refusal.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), "\ud800"])
def test_what_cannot_be_read_back_is_not_written(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        strict_json.dumps([value])


@pytest.mark.parametrize("value", [{1: 2}, {"a": {1}}, b"a"])
def test_what_json_does_not_know_is_not_written(value: object) -> None:
    with pytest.raises(TypeError):
        strict_json.dumps(value)


@given(st.binary(max_size=200))
def test_bytes_are_read_or_refused_and_nothing_else(body: bytes) -> None:
    with suppress(BadInput):
        strict_json.loads(body)


JSON_TEXT = st.text(alphabet='{}[]",:\\ue0123456789d.-+NaInfity truefalsnl \n\x00\ud800é', max_size=120)


@given(JSON_TEXT)
def test_text_that_looks_like_json_is_read_or_refused(text: str) -> None:
    try:
        value = strict_json.loads(text.encode("utf-8", "surrogatepass"))
    except BadInput:
        return

    assert strict_json.loads(strict_json.dumps(value)) == value


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.decimals(allow_nan=False, allow_infinity=False, places=4)
    | st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_json_and_reads_back_equal(value: strict_json.Json) -> None:
    written = strict_json.dumps(value)

    assert strict_json.loads(written) == value
    json.loads(written)


@given(VALUES)
def test_a_number_beyond_64_bits_changes_nothing_of_how_the_rest_is_written(value: strict_json.Json) -> None:
    alone = strict_json.dumps([value])

    assert strict_json.dumps([value, 10**30]) == alone[:-1] + b",1000000000000000000000000000000]"
