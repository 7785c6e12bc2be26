"""The names that our own resources carry: identifier system, profiles, extensions, code systems.

Their values stand in ``profiles/`` and nowhere else; ``afterdose.content`` reads them. The timezone
extension is HL7's own (https://hl7.org/fhir/extensions/StructureDefinition-timezone.html).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from afterdose.core.dose import Family

ACTIVITY_TITLE_EXTENSION = "http://hl7.org/fhir/StructureDefinition/careplan-activity-title"
"""https://hl7.org/fhir/R4/extension-careplan-activity-title.html"""
TIMEZONE_EXTENSION = "http://hl7.org/fhir/StructureDefinition/timezone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Canonicals:
    """Canonical URLs of one installation.

    ``identifier_system``: the system of the business identifier of every artifact that we write.
    ``plan_definitions``: the canonical with version (``url|version``) of the protocol of each family,
    for CarePlan.instantiatesCanonical. All others are plain URLs.
    """

    identifier_system: str
    care_plan_profile: str
    appointment_profile: str
    window_extension: str
    reason_code_system: str
    task_code_system: str
    activity_code_system: str
    plan_definitions: Mapping[Family, str]
    timezone_extension: str = TIMEZONE_EXTENSION
