"""The primitive types of FHIR R4 and their formats (http://hl7.org/fhir/R4/datatypes.html).

Each check takes a JSON value and answers None, or what is wrong with it: an issue code and a sentence that
does not quote the value.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from math import isfinite

from afterdose.core.errors import BadInput
from afterdose.fhir.conform.xhtml import narrative_fault
from afterdose.fhir.times import parse_date, parse_datetime, parse_instant

Fault = tuple[str, str]
Check = Callable[[object], Fault | None]

_LONGEST_STRING = 1024 * 1024
_INT32 = 2**31

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_ELEMENT_ID = re.compile(r"\S+")
_CODE = re.compile(r"\S+(?: \S+)*")
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
_URN_UUID = re.compile(r"urn:uuid:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_URN_OID = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")
_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
# BCP 47 (RFC 5646, section 2.1): two or three letters and subtags, or one of one's own.
_LANGUAGE = re.compile(r"(?:[A-Za-z]{2,3}|[XxIi](?=-))(?:-[A-Za-z0-9]{1,8})*")

_NO_STRING: Fault = ("structure", "must be a JSON string")


def is_absolute(uri: str) -> bool:
    """Whether a URI has a scheme and, where the scheme is one that FHIR gives a grammar, obeys it."""
    if uri.startswith("urn:uuid:"):
        return _URN_UUID.fullmatch(uri) is not None
    if uri.startswith("urn:oid:"):
        return _URN_OID.fullmatch(uri) is not None
    return _ABSOLUTE.fullmatch(uri) is not None


def is_id(text: str) -> bool:
    """Whether a text is a legal logical id (datatypes.html#id)."""
    return _ID.fullmatch(text) is not None


def _string(value: object) -> Fault | None:
    if not isinstance(value, str):
        return _NO_STRING
    if not value or value.isspace():
        return ("value", "must not be empty or only white space")
    if len(value) > _LONGEST_STRING:
        return ("value", "is longer than 1,048,576 characters")
    if not value.isprintable() and _ILLEGAL.search(value):
        return ("value", "holds a control character")
    return None


def _matching(pattern: re.Pattern[str], text: str) -> Check:
    fault: Fault = ("value", text)

    def check(value: object) -> Fault | None:
        if not isinstance(value, str):
            return _NO_STRING
        if pattern.fullmatch(value) is None:
            return fault
        return None if value.isprintable() or not _ILLEGAL.search(value) else ("value", "holds a control character")

    return check


def _uri(value: object) -> Fault | None:
    if not isinstance(value, str):
        return _NO_STRING
    if _ELEMENT_ID.fullmatch(value) is None or (not value.isprintable() and _ILLEGAL.search(value)):
        return ("value", "is not a URI: it is empty or holds white space")
    if value.startswith(("urn:uuid:", "urn:oid:")) and not is_absolute(value):
        return ("value", "is not a legal urn:uuid or urn:oid")
    return None


def _canonical(value: object) -> Fault | None:
    fault = _uri(value)
    if fault is None and isinstance(value, str) and not value.startswith("#") and not is_absolute(value):
        return ("value", "is a canonical URL and must be absolute")
    return fault


def _time_of(parse: Callable[[str], object]) -> Check:
    def check(value: object) -> Fault | None:
        if not isinstance(value, str):
            return _NO_STRING
        try:
            parse(value)
        except BadInput as error:
            return ("value", error.problems[0].text)
        return None

    return check


def _boolean(value: object) -> Fault | None:
    return None if isinstance(value, bool) else ("structure", "must be true or false")


def _integer(lowest: int, text: str) -> Check:
    def check(value: object) -> Fault | None:
        if not isinstance(value, int) or isinstance(value, bool):
            return ("structure", "must be a JSON number without a fraction")
        return None if lowest <= value < _INT32 else ("value", text)

    return check


def _decimal(value: object) -> Fault | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return ("structure", "must be a JSON number")
    finite = value.is_finite() if isinstance(value, Decimal) else isinstance(value, int) or isfinite(value)
    return None if finite else ("value", "must be a finite number")


def _base64(value: object) -> Fault | None:
    if not isinstance(value, str):
        return _NO_STRING
    text = "".join(value.split())
    legal = text and len(text) % 4 == 0 and _BASE64.fullmatch(text) is not None
    return None if legal else ("value", "is not base64")


def _xhtml(value: object) -> Fault | None:
    return narrative_fault(value) if isinstance(value, str) else _NO_STRING


NARRATIVE: Check = _xhtml
"""The check of what is to be read by people; what it links to is looked for as well."""

CHECKS: Mapping[str, Check] = {
    "base64Binary": _base64,
    "boolean": _boolean,
    "canonical": _canonical,
    "code": _matching(_CODE, "is not a code: it is empty, or has white space at an end or twice in a row"),
    "date": _time_of(parse_date),
    "dateTime": _time_of(parse_datetime),
    "decimal": _decimal,
    "elementId": _matching(_ELEMENT_ID, "is not an element id: it is empty or holds white space"),
    "id": _matching(_ID, "is not an id: 1 to 64 of A-Z, a-z, 0-9, '-' and '.'"),
    "instant": _time_of(parse_instant),
    "language": _matching(_LANGUAGE, "is not a language tag of BCP 47"),
    "integer": _integer(-_INT32, "is outside 32 bits"),
    "markdown": _string,
    "oid": _matching(_URN_OID, "is not a urn:oid"),
    "positiveInt": _integer(1, "must be 1 or more, within 32 bits"),
    "string": _string,
    "time": _matching(_TIME, "is not a time (hh:mm:ss)"),
    "unsignedInt": _integer(0, "must be 0 or more, within 32 bits"),
    "uri": _uri,
    "url": _uri,
    "uuid": _matching(_URN_UUID, "is not a urn:uuid in lower case"),
    "xhtml": NARRATIVE,
}
