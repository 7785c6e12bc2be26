"""An EHR that plans are written to: what the settings say of it, and what it takes."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from afterdose.core.clinic import Clinic
from afterdose.core.errors import EhrRefused, EhrUnavailable
from afterdose.ehr import ladder as rungs
from afterdose.ehr.capabilities import Capabilities
from afterdose.ehr.client import EhrClient
from afterdose.ehr.ladder import Ladder
from afterdose.fhir.encode.rungs import GENERIC, Artifact, EhrFacts
from afterdose.logs import get_logger
from afterdose.work.source import Source

_READ_AT = "target:"
"""Before the name of a target in readings: sources may be called the same, and no name holds a colon."""

_log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An EHR that plans are written to."""

    name: str
    base_url: str
    client: EhrClient
    clinic: Clinic
    accept_auto: bool
    name_drug: bool
    shadow: bool = False
    """Decide and record, write nothing."""
    facts: EhrFacts = GENERIC
    pins: Mapping[Artifact, str] = field(default_factory=dict)
    sender: str | None = None
    _mute: threading.Event = field(default_factory=threading.Event, init=False, repr=False, compare=False)
    """Set while the EHR does not say what it takes, which is alarmed once."""

    def as_source(self, clinic: Clinic) -> Source:
        """The same EHR as what is read."""
        name, base_url = f"{_READ_AT}{self.name}", self.base_url
        return Source(name=name, target=self.name, base_url=base_url, zone=clinic.zone, client=self.client)

    def ladder(self, clinic: Clinic) -> Ladder:
        """The rungs of this EHR for patients of a clinic. Raises EhrUnavailable; EhrRefused where nothing can work."""
        site = rungs.site_tells(clinic, self.sender)
        ladder = rungs.decide(self._declared(), self.facts, self.pins, site)
        if ladder.faults:
            raise EhrRefused("; ".join(ladder.faults), code="not-supported")
        return ladder

    def _declared(self) -> Capabilities:
        """What the EHR declares. That it refuses to say so, with whatever status, says nothing about a patient."""
        try:
            declared = self.client.capabilities()
        except EhrRefused as refused:
            if not self._mute.is_set():
                self._mute.set()
                _log.error("an EHR does not say what it takes", alarm="metadata", target=self.name, code=refused.shown)
            raise EhrUnavailable(str(refused), status=refused.status, code=refused.code) from None
        if self._mute.is_set():
            self._mute.clear()
            _log.warning("an EHR says again what it takes", alarm="metadata", target=self.name)
        return declared
