"""A system that doses come from, as the workers know it."""

from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from afterdose.ehr.client import EhrClient
from afterdose.fhir import strict_json
from afterdose.fhir.decode.local_codes import LocalCodes, with_meanings

Resource = dict[str, Any]

_MOST_MEMBERS = 2_000_000
"""What was read was accepted already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A system that doses come from. ``client`` is None where it cannot be read back; ``target``: whose patients."""

    name: str
    target: str
    base_url: str
    zone: ZoneInfo | None
    client: EhrClient | None
    local_codes: LocalCodes = field(default_factory=dict)

    def read(self, raw: bytes) -> Resource:
        """A resource of this source, with what its own codes mean."""
        return self.understood(parsed(raw))

    def understood(self, resource: Resource) -> Resource:
        """The same where it has been parsed already."""
        return with_meanings(resource, self.local_codes) if self.local_codes else resource


def parsed(raw: bytes) -> Resource:
    """The resource that is kept."""
    value = strict_json.loads(raw, max_members=_MOST_MEMBERS)
    if not isinstance(value, dict):
        raise TypeError("what is kept is a resource")
    return value
