"""Which code means what: values read from ``mappings/codes/``. No code stands in the program text."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

from afterdose.core.artifact import ArtifactKind
from afterdose.core.dose import Coding, Family, Phase, ProductKind, Route


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
    _beginnings: Mapping[str, tuple[str, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sort the beginnings by system."""
        systems = {system for system, _ in self.prefixes}
        found = {one: tuple(start for system, start in self.prefixes if system == one) for one in systems}
        object.__setattr__(self, "_beginnings", found)

    def holds(self, coding: Coding) -> bool:
        """Whether the coding is in the set."""
        if (coding.system, coding.code) in self.codes:
            return True
        return coding.code.startswith(self._beginnings.get(coding.system, ()))

    def holds_any(self, codings: Iterable[Coding]) -> bool:
        """Whether one of the codings is in the set."""
        return any(map(self.holds, codings))


_NOTHING = CodeSet(codes=frozenset())


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
    anaesthesia_drugs: CodeSet = _NOTHING
    """Neuromuscular blockers, propofol, etomidate and volatile agents: beside ketamine they speak for anaesthesia."""
    anaesthesia_terms: tuple[re.Pattern[str], ...] = ()
    """Words for the same drugs."""
    anaesthesia_procedures: CodeSet = _NOTHING
    """General anaesthesia and electroconvulsive therapy."""
    emergency_places: CodeSet = _NOTHING
    salts: CodeSet = _NOTHING
    """Codes of salts: an ingredient's strength under such a code counts the salt, not the base."""
    preferences: Mapping[tuple[str, str], ArtifactKind] = field(default_factory=dict)
    """Marks that state a preference for an optional way of working."""
    accompanied: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    """Marks that say whether a therapist was present at a dose, or medical monitoring only."""
    phases: Mapping[tuple[str, str], Phase] = field(default_factory=dict)
    """What a mark of a request, episode or dose says about the phase; words under the empty system, in lower case."""
    blinded_marks: CodeSet = _NOTHING
    """Marks of research in which nobody may know what was given."""
    weekly_marks: CodeSet = _NOTHING
    """Marks by which a clinician says that one session a week is enough for this patient."""
    consents: CodeSet = _NOTHING
    """Scopes and categories of the Consents that count for follow-up care."""
    crisis_plans: CodeSet = _NOTHING
    """Types and categories of the documents that are a crisis plan."""
    preference_observations: CodeSet = _NOTHING
    """Observations in which patients state what they prefer."""
    modalities: frozenset[ArtifactKind] = frozenset()
    """The ways of working that the site offers by stated preference, or puts first."""
    diluent_terms: tuple[re.Pattern[str], ...] = ()
    """Words for what a drug is dissolved in: such an ingredient makes no combination product."""

    def knows(self, coding: Coding) -> bool:
        """Whether anything is known of a code; where a site leads a code of its own to another one, that was a slip."""
        key = (coding.system, coding.code)
        values = (getattr(self, one.name) for one in fields(self))
        sets = (one for one in values if isinstance(one, CodeSet))
        return key in self.products or key in self.routes or any(one.holds(coding) for one in sets)
