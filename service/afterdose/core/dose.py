"""What was given: one MedicationAdministration, as far as the rules need it.

Values only. ``afterdose.fhir.decode.dose`` makes them from what an EHR sent; nothing
here knows JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from afterdose.core.reasons import Reason


class Family(StrEnum):
    """Substance family; a switch between the two starts a new course."""

    KETAMINE = "ketamine"
    ESKETAMINE = "esketamine"


class Phase(StrEnum):
    """Phase of a course."""

    PREPARATION = "preparation"
    ACTIVE = "active"
    MAINTENANCE = "maintenance"


class ProductKind(StrEnum):
    """What kind of product a drug code or text names, as far as eligibility cares."""

    SINGLE_INGREDIENT = "single-ingredient"
    NASAL_ESKETAMINE = "nasal-esketamine"
    ANAESTHETIC_ESKETAMINE = "anaesthetic-esketamine"
    COMBINATION = "combination"


class Route(StrEnum):
    """Route of administration, in the grain the rules need."""

    INTRAVENOUS = "intravenous"
    INTRAVENOUS_PUSH = "intravenous-push"
    INTRAMUSCULAR = "intramuscular"
    SUBCUTANEOUS = "subcutaneous"
    NASAL = "nasal"
    SUBLINGUAL = "sublingual"
    BUCCAL = "buccal"
    ORAL = "oral"
    TOPICAL = "topical"
    EPIDURAL = "epidural"
    OTHER = "other"


class DoseKey(NamedTuple):
    """Identity of an administration: ids are unique only within the source that issued them."""

    source: str
    id: str


@dataclass(frozen=True, slots=True)
class Coding:
    """A FHIR Coding; ``display`` never takes part in matching."""

    system: str
    code: str
    display: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drug:
    """What the medication was recognised as. ``family`` None = not ketamine, not esketamine.

    ``by_text`` means that only words, no code, said so: never enough for a plan by itself.
    ``conflicting`` means that code and words (or two codes) name different drugs. ``anaesthetic``: a drug of
    general anaesthesia or a neuromuscular blocker, which says something about the ketamine given beside it.
    """

    family: Family | None
    kind: ProductKind | None = None
    by_text: bool = False
    conflicting: bool = False
    unresolved: bool = False
    """The medication is a reference that could not be read."""
    anaesthetic: bool = False


class Precision(StrEnum):
    """How exactly the time of the dose is known."""

    INSTANT = "instant"
    DATE = "date"
    COARSE = "coarse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """When it was given. Aware instants in UTC; ``start == end`` for effectiveDateTime.

    With ``precision`` DATE, ``start``/``end`` are the local day's first instant and the next
    day's first instant. ``is_period`` tells an effectivePeriod from an effectiveDateTime.
    ``zone_assumed``: the sender gave no offset and the source's zone was used.
    """

    start: datetime | None
    end: datetime | None
    precision: Precision = Precision.INSTANT
    is_period: bool = False
    zone_assumed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """An amount as charted. ``unit`` is the UCUM code where one was recognised, else None.

    ``of_salt``: the amount is that of the drug's salt (a volume times the strength of the salt), not of its base.
    """

    value: Decimal
    unit: str | None
    of_salt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """A procedure: its codes and when it was. Instants are aware; None where nothing is said."""

    codings: tuple[Coding, ...]
    start: datetime | None
    end: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What hangs on an administration (request, encounter, location, performer, patient); each part optional.

    ``encounter_class`` and ``location_types`` are codes of HL7's v3 ActCode and RoleCode systems.
    ``location_ids``: references (``Type/id``) of the places, services and performers, and
    ``request_protocols``: what the request says it follows (canonicals, ``system|code`` of tags,
    references), both to compare with the site's enrolled lists. ``conditions`` is the problem list: it
    can warn, and is no indication. ``medication``: the Medication that an external reference names.
    ``marks``: tags, categories and types of what hangs together with the dose (the request, the encounter, the
    episode); words among codings stand under the empty system, in lower case. ``procedures``: procedures of the
    patient. ``anaesthetics``: drugs of anaesthesia that were found to have been given at about the same time.
    ``consent``: what the patient's consents say of follow-up care, None where there is none.
    """

    request_reasons: tuple[Coding, ...] = ()
    request_protocols: tuple[str, ...] = ()
    encounter_class: str | None = None
    location_types: tuple[Coding, ...] = ()
    location_ids: tuple[str, ...] = ()
    specialties: tuple[Coding, ...] = ()
    conditions: tuple[Coding, ...] = ()
    birth_date: date | None = None
    weight_kg: Decimal | None = None
    medication: Mapping[str, object] | None = None
    marks: tuple[Coding, ...] = ()
    procedures: tuple[Happening, ...] = ()
    anaesthetics: tuple[Happening, ...] = ()
    consent: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dose:
    """The newest known version of one MedicationAdministration.

    ``heard_at``: when afterdose first received a version with this effective time (start of lead
    time and of lateness). ``patient``: the Patient id in the target EHR, None when the subject
    could not be resolved. ``removed``: deleted at the source (a read answered 404 or 410, or a
    delete arrived). ``problems``: what decoding found that a person has to decide.
    """

    key: DoseKey
    version: str | None
    status: str
    patient: str | None
    drug: Drug
    effective: Effective
    heard_at: datetime
    route: Route | None = None
    quantity: Quantity | None = None
    rate_quantity: Quantity | None = None
    category: str | None = None
    reasons: tuple[Coding, ...] = ()
    encounter: str | None = None
    request: str | None = None
    part_of: tuple[str, ...] = ()
    labels: tuple[Coding, ...] = ()
    reason_text: str | None = None
    conditions: tuple[str, ...] = ()
    """The Conditions that it names as its reasons, as ``Condition/id`` of its source."""
    context: Context = field(default_factory=Context)
    removed: bool = False
    problems: tuple[Reason, ...] = ()


class PlannedKind(StrEnum):
    """How a next dose is known."""

    GIVEN = "given"
    PLANNED = "planned"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDose:
    """A dose that an order or an appointment announces. Only these and given doses cut a window.

    ``heard_at``: when we first heard of it. ``order``: what announces it, None where nobody says.
    ``dropped_at``: when we heard that it is not to come (the order or the visit was cancelled, the patient did not
    come). Then it cuts nothing, and what it had cut short is free again from then on. An order that is merely over,
    or that is gone after its hour, drops nothing: orders end because their dose was given, which may be charted
    later.
    """

    at: datetime
    family: Family | None = None
    duration: timedelta | None = None
    heard_at: datetime | None = None
    order: DoseKey | None = None
    dropped_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What announces doses: an active MedicationRequest or ServiceRequest, or a booked dosing visit.

    ``key``: the source, and ``Type/id`` (so it is never the key of an administration). ``patient``: the Patient
    id in the target EHR. ``authored``: when it was made, as far as it says. ``ended_at``: when we heard that it
    stands no more. The times of its doses are PlannedDoses that name it.
    """

    key: DoseKey
    patient: str | None
    drug: Drug
    heard_at: datetime
    authored: datetime | None = None
    ended_at: datetime | None = None
    route: Route | None = None
    quantity: Quantity | None = None
    context: Context = field(default_factory=Context)
    labels: tuple[Coding, ...] = ()
