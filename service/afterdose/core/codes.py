"""Which code means what: values read from ``mappings/codes/``. No code stands in the program text."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from afterdose.core.dose import Coding, Family, ProductKind, Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What one drug code stands for; ``family`` None = known to be something else (then ``kind`` is None)."""

    family: Family | None
    kind: ProductKind | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductTerm:
    """Words that name a product; the first term that matches decides, so order matters."""

    pattern: re.Pattern[str]
    product: Product


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSet:
    """Codes by system, whole (``codes``) or by beginning (``prefixes``, for classifications such as ICD-10-CM)."""

    codes: frozenset[tuple[str, str]]
    prefixes: frozenset[tuple[str, str]] = frozenset()

    def holds(self, coding: Coding) -> bool:
        """Whether the coding is in the set."""
        if (coding.system, coding.code) in self.codes:
            return True
        return any(coding.system == system and coding.code.startswith(start) for system, start in self.prefixes)

    def holds_any(self, codings: Iterable[Coding]) -> bool:
        """Whether one of the codings is in the set."""
        return any(self.holds(coding) for coding in codings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """All code knowledge in one value.

    ``outbound`` names the codings that we write, by role (``care-plan-category``,
    ``session-service-type`` ...); a role may have several codings, the first is our own or the
    most specific.
    """

    products: Mapping[tuple[str, str], Product]
    product_terms: tuple[ProductTerm, ...]
    routes: Mapping[tuple[str, str], Route]
    route_words: Mapping[str, Route]
    units: Mapping[str, str]
    """Unit code or word in lower case -> UCUM code."""
    psychiatric_indications: CodeSet
    psychiatric_places: CodeSet
    psychiatric_specialties: CodeSet
    excluded_places: CodeSet
    excluded_specialties: CodeSet
    outpatient_classes: frozenset[str]
    emergency_classes: frozenset[str]
    not_given_methods: CodeSet
    """Methods that say the drug was not given; words stand under the empty system, in lower case."""
    caution_conditions: CodeSet
    """Conditions with which a person decides first (psychosis, mania, harmful ketamine use, pregnancy ...)."""
    pain_settings: CodeSet
    """Places and specialties of pain medicine."""
    outbound: Mapping[str, tuple[Coding, ...]]
    diluent_terms: tuple[re.Pattern[str], ...] = ()
    """Words for what a drug is dissolved in: such an ingredient makes no combination product."""
