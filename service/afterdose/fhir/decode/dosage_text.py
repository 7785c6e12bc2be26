"""A dose that was written in words, where the words leave no doubt: "0.5 mg/kg IV over 40 min".

One amount, and at most one time that it took, said with a word such as "over", and what it was dissolved in; no other
number, no unknown unit, and no word that makes the amount a limit, a range, a plan or a repetition. Anything else says
nothing, so that a person decides. Strengths ("50 mg/mL"), several amounts and "1,000" are such doubts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from afterdose.core.codes import Codes
from afterdose.core.dose import Quantity

_MASSES = frozenset({"g", "mg", "ug", "mg/kg", "ug/kg"})
_TIMES = frozenset({"s", "min", "h"})
_VOLUMES = frozenset({"mL", "L"})
"""UCUM codes (https://ucum.org)."""
_NUMBER_AND_UNIT = re.compile(
    r"(?<![\w.,])(?P<number>\d{1,5}(?:\.\d{1,4}|,\d{1,2})?) ?(?P<unit>[^\W\d_]+(?:/[^\W\d_]+){0,2})\.?"
)
_TOOK = re.compile(r"(?:\bover|\bin|\bduring|\bwithin|\bfor|\büber|\ben|\bpendant|\bdurante|/|@) ?\Z")
_DISSOLVED_IN = re.compile(r"(?:\bin|/) ?\Z")
_LONGEST = 500
"""Characters. What is longer tells more than one dose; and the time for reading grows with the square of it."""
_DOUBTS = re.compile(
    r"[<>~±]|\b(?:up to|max\w*|about|approx\w*|ca|to|between|titrat\w*|repeat\w*|may|or|then|if|prn|as needed|until"
    r"|after|before|every|each|daily|weekly|times|bid|tid|qd|planned|total|remaining|wasted?|not|held|of)\b"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was given, and at which rate where the time that it took is said too."""

    amount: Quantity
    rate: Quantity | None = None


def told(text: str | None, codes: Codes) -> Told | None:
    """What a dosage's words say was given; None where they leave a doubt, or say nothing."""
    if text is not None and len(text) > _LONGEST:
        return None
    said = re.sub(r" ?(?:/|\bper\b) ?", "/", " ".join((text or "").casefold().split()))
    found = [one for one in _quantities(said, codes) if one is None or one.unit not in _VOLUMES]
    rest = _NUMBER_AND_UNIT.sub(" ", said)
    if not found or re.search(r"\d", rest) or _DOUBTS.search(rest) or None in found:
        return None
    amounts = [one for one in found if one is not None and one.unit in _MASSES]
    times = [one for one in found if one is not None and one.unit in _TIMES]
    if len(amounts) != 1 or len(times) > 1 or len(amounts) + len(times) != len(found):
        return None
    (amount,) = amounts
    if not times:
        return Told(amount=amount)
    (time,) = times
    if not time.value:
        return None
    return Told(amount=amount, rate=Quantity(value=amount.value / time.value, unit=f"{amount.unit}/{time.unit}"))


def _quantities(said: str, codes: Codes) -> Iterator[Quantity | None]:
    """Every number with its unit, None for one whose unit is not known, or that is said otherwise."""
    for match in _NUMBER_AND_UNIT.finditer(said):
        unit = codes.units.get(match["unit"])
        before = said[: match.start()]
        as_said = {**dict.fromkeys(_TIMES, _TOOK), **dict.fromkeys(_VOLUMES, _DISSOLVED_IN)}.get(unit or "")
        if unit is None or (as_said is not None and as_said.search(before) is None):
            yield None
        else:
            yield Quantity(value=Decimal(match["number"].replace(",", ".")), unit=unit)
