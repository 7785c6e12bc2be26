"""What afterdose asks of an EHR, by resource type: the whole list. Pure.

A request that is not in it cannot be built, so the scopes we ask for and the CapabilityStatement of what we call are
derived from it.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Interaction(StrEnum):
    """What may be asked of one resource type; the values are FHIR's type-restful-interaction codes."""

    READ = "read"
    SEARCH = "search-type"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    PATCH = "patch"


class SystemInteraction(StrEnum):
    """What may be asked of the server as a whole."""

    TRANSACTION = "transaction"
    CAPABILITIES = "capabilities"


_READ = frozenset({Interaction.READ})
_FIND = frozenset({Interaction.SEARCH})
_LOOK = _READ | _FIND
_KEEP = _LOOK | {Interaction.CREATE, Interaction.UPDATE}
_ADD = frozenset({Interaction.SEARCH, Interaction.CREATE})

INTERACTIONS: Mapping[str, frozenset[Interaction]] = MappingProxyType(
    {
        "Appointment": _KEEP | {Interaction.PATCH},
        "CarePlan": _KEEP,
        "Communication": _ADD,
        "Condition": _LOOK,
        "Consent": _LOOK,
        "DocumentReference": _KEEP,
        "Encounter": _LOOK,
        "EpisodeOfCare": _READ,
        "Goal": _KEEP,
        "Group": _READ,
        "List": _READ,
        "Location": _READ,
        "Medication": _READ,
        "MedicationAdministration": _LOOK,
        "MedicationRequest": _LOOK,
        "Observation": _FIND,
        "Patient": _LOOK,
        "PractitionerRole": _READ,
        "Procedure": _FIND,
        "Provenance": _ADD,
        "ServiceRequest": _KEEP,
        "Subscription": _KEEP | {Interaction.DELETE},
        "Task": _KEEP,
    }
)
ASKED_OF_CARE: Mapping[str, frozenset[Interaction]] = MappingProxyType(
    {"Appointment": _LOOK, "DocumentReference": _FIND, "ServiceRequest": _LOOK}
)
"""What is asked of types that plans may be written as, also where they are not: booked doses, crisis plans, orders."""
OPERATIONS = MappingProxyType({"Subscription": frozenset({"events", "status"})})
"""The operations on one resource that are called, by type; they only read."""
