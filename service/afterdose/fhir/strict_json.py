"""JSON as FHIR wants it, and nothing else that Python's ``json`` would let through.

The standard library keeps the last of two equal keys, accepts ``NaN``, ``Infinity``, ``1e400``, NUL and
lone surrogates, guesses UTF-16, and answers deep nesting with RecursionError. Here each of these is
:class:`~afterdose.core.errors.BadInput`. Rules: RFC 8259, and FHIR R4 json.html (UTF-8, unique property
names, decimals whose precision matters: datatypes.html#decimal).
"""

import json
import re
from decimal import Decimal, InvalidOperation
from json.encoder import encode_basestring
from typing import Never, TypeAlias

import orjson

from afterdose.core.errors import BadInput, Problem

Json: TypeAlias = "dict[str, Json] | list[Json] | str | bool | int | Decimal | None"

MAX_DEPTH = 64
MAX_MEMBERS = 20_000

_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
# No number of medicine is longer; FHIR asks for 18 digits.
_LONGEST_NUMBER = 100
# What a double can hold: a larger exponent is Infinity to most readers of FHIR.
_LARGEST_EXPONENT = 308
# A string (closed or not, so that a hostile body is read once only) or a character of structure.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{\]},]', re.DOTALL)
_ILLEGAL_CHARACTER = re.compile("[\x00\ud800-\udfff]")
_AS_IT_IS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def loads(body: bytes, *, max_depth: int = MAX_DEPTH, max_members: int = MAX_MEMBERS) -> Json:
    """Read one JSON text. Numbers with a fraction or an exponent become Decimal, digit for digit.

    ``max_depth`` counts nested objects and arrays, ``max_members`` all members of all objects plus all
    elements of all arrays (an empty one counts as one).
    Raises BadInput with code ``structure`` (not JSON, not UTF-8, a byte order mark, a key twice), ``value``
    (a number or character that FHIR cannot hold) or ``too-costly`` (one of the two limits).
    """
    if body.startswith(_BYTE_ORDER_MARKS):
        _refuse("structure", "the body begins with a byte order mark; FHIR JSON is UTF-8 without one")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse("structure", f"the body is not UTF-8 (byte {error.start})")
    if not text or text.isspace():
        _refuse("structure", "the body is empty")
    openings = body.count(b"[") + body.count(b"{")
    if openings > max_depth or openings + body.count(b",") > max_members:
        _check_size(text, max_depth, max_members)
    try:
        value: Json = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        _refuse("structure", f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})")
    except RecursionError:
        _refuse("too-costly", "the body is nested too deeply")
    if "\\u" in text:
        _check_characters(value)
    return value


def dumps(value: object) -> bytes:
    """Write a value as compact UTF-8; a Decimal keeps its digits (35.00 stays 35.00).

    Raises ValueError for NaN, Infinity and lone surrogates, TypeError for what JSON does not know.
    """
    try:
        body = orjson.dumps(value, default=_digits, option=_AS_IT_IS)
    except TypeError:
        body = None
    # It refuses whole numbers beyond 64 bits and deep nesting too, and writes NaN and Infinity as null.
    if body is not None and b"null" not in body:
        return body
    parts: list[str] = []
    _write(value, parts)
    return "".join(parts).encode("utf-8")


def _digits(value: object) -> orjson.Fragment:
    """A Decimal as it is written; of what is neither known to ``orjson`` nor a number, the slow way tells why."""
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(str(value))
    raise TypeError


def _refuse(code: str, text: str) -> Never:
    raise BadInput(Problem(code=code, path="", text=text)) from None


def _check_size(text: str, max_depth: int, max_members: int) -> None:
    depth = members = 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in ("{", "["):
            depth += 1
            members += 1
            if depth > max_depth:
                _refuse("too-costly", f"the body is nested more than {max_depth} levels deep")
        elif mark in ("}", "]"):
            depth -= 1
        elif mark == ",":
            members += 1
        if members > max_members:
            _refuse("too-costly", f"the body has more than {max_members} members")


def _check_characters(value: Json) -> None:
    pending: list[Json] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            if _ILLEGAL_CHARACTER.search(item):
                _refuse("value", "a string holds NUL or half of a surrogate pair")
        elif isinstance(item, dict):
            pending.extend(item)
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        _refuse("structure", "an object has the same key twice")
    return members


def _integer(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        _refuse("value", f"a number has more than {_LONGEST_NUMBER} characters")
    return int(text)


def _decimal(text: str) -> Decimal:
    if len(text) > _LONGEST_NUMBER:
        _refuse("value", f"a number has more than {_LONGEST_NUMBER} characters")
    try:
        number = Decimal(text)
    except InvalidOperation:
        _refuse("value", "a number is too large or too small")
    if abs(number.adjusted()) > _LARGEST_EXPONENT:
        _refuse("value", "a number is too large or too small")
    return number


def _constant(_name: str) -> Never:
    _refuse("value", "NaN and Infinity are no JSON numbers")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_decimal, parse_int=_integer, parse_constant=_constant
)


def _write(value: object, parts: list[str]) -> None:
    if isinstance(value, str):
        parts.append(encode_basestring(value))
    elif value is None or isinstance(value, bool):
        parts.append("null" if value is None else "true" if value else "false")
    elif isinstance(value, int):
        parts.append(int.__repr__(value))
    elif isinstance(value, Decimal | float):
        number = Decimal(repr(value)) if isinstance(value, float) else value
        if not number.is_finite():
            raise ValueError("NaN and Infinity cannot be written as JSON")
        parts.append(str(number))
    elif isinstance(value, dict):
        _write_object(value, parts)
    elif isinstance(value, list | tuple):
        separator = "["
        for item in value:
            parts.append(separator)
            _write(item, parts)
            separator = ","
        parts.append("]" if value else "[]")
    else:
        raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _write_object(value: dict[object, object], parts: list[str]) -> None:
    separator = "{"
    for key, item in value.items():
        if not isinstance(key, str):
            raise TypeError("a key of a JSON object must be a string")
        parts.append(separator)
        parts.append(encode_basestring(key))
        parts.append(":")
        _write(item, parts)
        separator = ","
    parts.append("}" if value else "{}")
