"""Which version of a resource an ETag or a version id names, as far as that can be told. Pure."""

import re

_NUMBER = re.compile(r'(?:W/)?"?([0-9]{1,18})"?')


def same_version(one: str | None, other: str | None) -> bool:
    """Whether two ETags name one version, weak or strong (RFC 9110, section 8.8.3.2)."""
    return one is not None and other is not None and one.removeprefix("W/") == other.removeprefix("W/")


def is_older(one: str | None, other: str | None) -> bool:
    """Whether the first names a version before the second's. Versions are opaque; only whole numbers are compared."""
    first, second = _NUMBER.fullmatch(one or ""), _NUMBER.fullmatch(other or "")
    return first is not None and second is not None and int(first[1]) < int(second[1])


def is_first(one: str | None) -> bool:
    """Whether an ETag surely names the version that a create made: servers that count begin with 1, or with 0."""
    number = _NUMBER.fullmatch(one or "")
    return number is not None and int(number[1]) <= 1
