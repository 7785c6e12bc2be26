"""The v2 mapping as values: which field of a message becomes which element, and what its codes mean.

``afterdose.content.v2`` makes them from ``mappings/v2/``; ``afterdose.fhir.v2.translate`` does what they say.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

_REFERENCE = re.compile(r"([A-Z][A-Z0-9]{2})-([1-9][0-9]?)(?:\.([1-9][0-9]?))?(?:\.([1-9][0-9]?))?")


class Rule(StrEnum):
    """How the fields of a row become its element. ``mappings/v2/README`` says what each of them does."""

    STATUS = "status"
    SUBJECT = "subject"
    ENCOUNTER = "encounter"
    MEDICATION = "medication"
    TIME = "time"
    AMOUNT = "amount"
    CONCEPT = "concept"
    CONCEPTS = "concepts"
    IDENTIFIER = "identifier"
    PERFORMER = "performer"
    NOTE = "note"
    VERSION = "version"
    UPDATED = "updated"


FIELDS_OF: Mapping[Rule, int] = {
    Rule.STATUS: 4,
    Rule.SUBJECT: 1,
    Rule.ENCOUNTER: 3,
    Rule.MEDICATION: 5,
    Rule.TIME: 2,
    Rule.AMOUNT: 3,
    Rule.CONCEPT: 1,
    Rule.CONCEPTS: 1,
    Rule.IDENTIFIER: 1,
    Rule.PERFORMER: 1,
    Rule.NOTE: 1,
    Rule.VERSION: 1,
    Rule.UPDATED: 1,
}
"""How many fields a row with that rule names."""


class Action(StrEnum):
    """What a message wants done with an administration (RXA-21)."""

    ADD = "add"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class FieldRef:
    """``RXA-5``, ``MSH-4.2`` or ``PID-3.4.1``: a field, or a component or subcomponent of it."""

    segment: str
    field: int
    component: int = 1
    subcomponent: int = 1

    @classmethod
    def of(cls, text: str) -> "FieldRef":
        """Read it. Raises ValueError."""
        found = _REFERENCE.fullmatch(text)
        if found is None:
            raise ValueError("expected a field such as RXA-5 or MSH-4.2")
        name, field, component, subcomponent = found.groups()
        return cls(name, int(field), int(component or 1), int(subcomponent or 1))

    def __str__(self) -> str:
        return f"{self.segment}-{self.field}"


Alternatives = tuple[FieldRef, ...]
"""The first of these that says something counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table. ``table``: the HL7 table (or code system) of a code that comes without one."""

    element: str
    rule: Rule
    fields: tuple[Alternatives, ...]
    table: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class V2Mapping:
    """All that is known about how doses are told in HL7 v2."""

    messages: frozenset[tuple[str, str]]
    """Message type and event that are taken: ``("RAS", "O17")``."""
    processing_ids: frozenset[str]
    """Values of MSH-11 that are taken, beside an empty one."""
    identity: tuple[Alternatives, ...]
    """What tells one administration from every other one."""
    rows: tuple[Row, ...]
    identifier_types: tuple[str, ...]
    """Types of identifiers (PID-3.5) by which a patient is looked for; "" = without a type."""
    action_when_absent: Action
    status_when_absent: str
    status_while_running: str
    unknown_amounts: frozenset[str]
    """Amounts that mean "not recorded" where they come without a unit."""
    time_units: Mapping[str, str]
    """The letter of a time unit (RXA-12: ``H1``) -> UCUM code."""
    assigners: Mapping[str, str]
    """Assigning authority of patient identifiers (PID-3.4) -> identifier system in the EHR."""
    locations: Mapping[str, str]
    """Point of care (PV1-3.1) -> reference to the Location in the EHR."""
    table_system: str
    """Canonical URL of an HL7 table, with ``{table}`` where its four digits stand."""
    ucum: str
    class_system: str
    completion: Mapping[str, str]
    """HL7 table 0322, and words that feeds write instead, in lower case -> MedicationAdministration.status."""
    actions: Mapping[str, Action]
    """HL7 tables 0206 and 0323, in lower case."""
    classes: Mapping[str, str]
    """HL7 table 0004 -> code of ``class_system``."""
    systems: Mapping[str, str]
    """Names of code systems (HL7 table 0396), in lower case -> URL."""
