"""Search by linear scan (R4 search.html): tokens, references, dates, strings and uris; AND, OR, :not and :missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from afterdose.sandbox.outcome import Json, Refusal
from afterdose.sandbox.parameters import Parameter, parameters_of

Pairs = Iterable[tuple[str, str]]
Span = tuple[datetime, datetime]

_RESULT_PARAMETERS = frozenset({"_count", "_sort", "_format", "_pretty", "_total", "_summary"})
_MODIFIERS = frozenset({"", "not", "missing", "exact", "contains", "identifier"})
_SORTS = frozenset({"_lastUpdated", "-_lastUpdated", "_id", "-_id"})
_BEGINNING = datetime.min.replace(tzinfo=UTC)
_END = datetime.max.replace(tzinfo=UTC)
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?)?)?)?")
_PREFIXES = frozenset({"eq", "ne", "ge", "gt", "le", "lt", "sa", "eb"})


@dataclass(frozen=True)
class Criterion:
    """One `name[:modifier]=value,value`: the values are alternatives."""

    name: str
    modifier: str
    parameter: Parameter
    values: tuple[str, ...]


@dataclass(frozen=True)
class Query:
    """A search request, read: what must match, and how the answer is to look."""

    criteria: tuple[Criterion, ...]
    sort: tuple[str, ...]
    count: int | None
    count_only: bool


def parse(type_: str, pairs: Pairs, *, strict: bool = False) -> Query:
    """Read search parameters; an unknown one is refused when `strict`, and ignored otherwise (search.html#errors)."""
    known = parameters_of(type_)
    criteria: list[Criterion] = []
    sort: tuple[str, ...] = ()
    count: int | None = None
    count_only = False
    for key, value in pairs:
        name, _, modifier = key.partition(":")
        if name in known:
            if modifier not in _MODIFIERS:
                raise Refusal(400, "not-supported", f"the modifier :{modifier[:32]} is not supported")
            criterion = Criterion(name, modifier, known[name], _alternatives(value))
            _check_values(criterion)
            criteria.append(criterion)
        elif name == "_count":
            if not value.isascii() or not value.isdigit():
                raise Refusal(400, "value", "_count must be a whole number")
            count = int(value)
        elif name == "_sort" and (not strict or set(value.split(",")) <= _SORTS):
            sort = tuple(part for part in value.split(",") if part in _SORTS)
        elif name == "_summary":
            count_only = value == "count"
        elif strict and (name not in _RESULT_PARAMETERS or name == "_sort"):
            raise Refusal(400, "not-supported", f"{type_} has no search parameter or sort that says {key[:64]!r} here")
    return Query(tuple(criteria), sort, count, count_only)


def matches(resource: Json, query: Query, base_url: str) -> bool:
    """Whether a resource meets every criterion."""
    return all(_meets(resource, criterion, base_url) for criterion in query.criteria)


def local_reference(reference: str, base_url: str) -> str:
    """A reference without this server's own base and without its version."""
    return reference.removeprefix(base_url.rstrip("/") + "/").partition("/_history/")[0]


def at_path(value: Any, path: str) -> Iterator[Any]:
    """Every value found at a dotted path, through lists."""
    if isinstance(value, list):
        for item in value:
            yield from at_path(item, path)
    elif not path:
        yield value
    elif isinstance(value, dict):
        head, _, rest = path.partition(".")
        if head in value:
            yield from at_path(value[head], rest)


def _alternatives(value: str) -> tuple[str, ...]:
    """search.html#combining: commas part alternatives, a backslash keeps one in the value."""
    return tuple(re.sub(r"\\([,|$\\])", r"\1", part) for part in re.split(r"(?<!\\),", value))


def _check_values(criterion: Criterion) -> None:
    if criterion.modifier == "missing":
        if criterion.values not in (("true",), ("false",)):
            raise Refusal(400, "value", f"{criterion.name}:missing must be true or false")
    elif criterion.parameter.kind == "date":
        for value in criterion.values:
            _span(_prefixed(value)[1])


def _meets(resource: Json, criterion: Criterion, base_url: str) -> bool:
    found = [value for path in criterion.parameter.paths for value in at_path(resource, path)]
    if criterion.modifier == "missing":
        return (not found) == (criterion.values == ("true",))
    hit = any(_matches_one(value, wanted, criterion, base_url) for value in found for wanted in criterion.values)
    return hit != (criterion.modifier == "not")


def _matches_one(value: Any, wanted: str, criterion: Criterion, base_url: str) -> bool:
    kind = criterion.parameter.kind
    if kind == "token":
        return _token_matches(value, wanted)
    if kind == "reference":
        if criterion.modifier == "identifier":
            return isinstance(value, dict) and _token_matches(value.get("identifier"), wanted)
        return _reference_matches(value, wanted, criterion.parameter.target, base_url)
    if kind == "date":
        return _date_matches(value, wanted)
    if kind == "uri" or criterion.modifier == "exact":
        return bool(value == wanted)
    text, part = str(value).casefold(), wanted.casefold()
    return part in text if criterion.modifier == "contains" else text.startswith(part)


def _tokens(value: Any) -> Iterator[tuple[str | None, str | None]]:
    """(system, code) of a code, boolean, Coding, CodeableConcept or Identifier; a plain code has no system to miss."""
    if isinstance(value, bool):
        yield None, str(value).lower()
    elif isinstance(value, str):
        yield None, value
    elif isinstance(value, dict):
        if "coding" in value:
            yield from ((c.get("system", ""), c.get("code")) for c in at_path(value, "coding") if isinstance(c, dict))
        else:
            yield value.get("system", ""), value.get("code", value.get("value"))


def _token_matches(value: Any, wanted: str) -> bool:
    system, bar, code = wanted.rpartition("|")
    for found_system, found_code in _tokens(value):
        same_system = not bar or found_system is None or found_system == system
        if same_system and (found_code == code or (bar and not code)):
            return True
    return False


def _reference_matches(value: Any, wanted: str, target: str | None, base_url: str) -> bool:
    if isinstance(value, str):
        value = {"reference": value}
    if not isinstance(value, dict) or not isinstance(value.get("reference"), str):
        return False
    found = local_reference(value["reference"], base_url)
    if target and f"/{target}/" not in f"/{found}":
        return False
    wanted = local_reference(wanted, base_url)
    return found == wanted if "/" in wanted or ":" in wanted else found.rpartition("/")[2] == wanted


def _span(text: str) -> Span:
    """The half-open interval that a FHIR date or dateTime stands for (search.html#date); UTC where it names no zone."""
    found = _DATE.fullmatch(text)
    if found is None:
        raise Refusal(400, "value", "a date parameter must be a FHIR date, dateTime or instant")
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    offset = "+00:00" if zone in (None, "Z") else zone
    micros = (fraction or "").ljust(6, "0")[:6]
    try:
        low = datetime.fromisoformat(
            f"{year}-{month or '01'}-{day or '01'}T{hour or '00'}:{minute or '00'}:{second or '00'}.{micros}{offset}"
        )
        if fraction:
            high = low + timedelta(microseconds=10 ** max(0, 6 - len(fraction)))
        elif second or hour:
            high = low + (timedelta(seconds=1) if second else timedelta(minutes=1))
        elif day:
            high = low + timedelta(days=1)
        elif month:
            high = (low + timedelta(days=31)).replace(day=1)
        else:
            high = low.replace(year=low.year + 1)
    except (ValueError, OverflowError) as error:
        raise Refusal(400, "value", "a date parameter must be a day that exists") from error
    return low, high


def _span_of(value: Any) -> Span | None:
    try:
        if isinstance(value, str):
            return _span(value)
        if isinstance(value, dict):
            low = _span(str(value["start"]))[0] if "start" in value else _BEGINNING
            high = _span(str(value["end"]))[1] if "end" in value else _END
            return low, high
    except Refusal:
        return None
    return None


def _prefixed(value: str) -> tuple[str | None, str]:
    """The prefix of a date, where it has one, and the rest (search.html#prefix)."""
    prefix = value[:2] if value[:2] in _PREFIXES else None
    return prefix, value.removeprefix(prefix or "")


def _date_matches(value: Any, wanted: str) -> bool:
    """search.html#prefix."""
    span = _span_of(value)
    prefix, text = _prefixed(wanted)
    if span is None:
        return False
    (low, high), (from_, to) = span, _span(text)
    inside = from_ <= low and high <= to
    answers = {
        "eq": inside,
        "ne": not inside,
        "ge": high > from_,
        "gt": high > to,
        "le": low < to,
        "lt": low < from_,
        "sa": low >= to,
        "eb": high <= from_,
    }
    return answers[prefix or "eq"]
