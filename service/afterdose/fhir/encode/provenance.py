"""Who made our resources, from what, by which protocol and why (https://hl7.org/fhir/R4/provenance.html). Pure."""

from dataclasses import dataclass
from datetime import datetime

from afterdose.core.care import ArtifactKey
from afterdose.core.dose import Coding, DoseKey
from afterdose.core.reasons import Reason
from afterdose.fhir.encode.care import Letterhead, Resource, concept
from afterdose.fhir.times import format_instant

_CANONICAL = "urn:ietf:rfc:3986"
"""The system of identifiers that are URIs (http://hl7.org/fhir/R4/identifier-registry.html)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """What was written (``targets``, as references) and what it was made from.

    ``protocol``: the PlanDefinition with its version. ``reasons``: why the doses are followed up.
    """

    targets: tuple[str, ...]
    doses: tuple[DoseKey, ...]
    orders: tuple[DoseKey, ...]
    protocol: str
    reasons: tuple[Reason, ...]
    labels: tuple[Coding, ...]


def provenance(key: ArtifactKey, told: Attribution, *, release: str, recorded: datetime, head: Letterhead) -> Resource:
    """One record for what was written together; ``release`` is the version of the software.

    Provenance has no identifier in R4, so our key stands in ``entity`` and makes it recognisable.
    """
    protocol = {"type": "PlanDefinition", "identifier": {"system": _CANONICAL, "value": told.protocol}}
    why = [concept((_coded(reason, head),)) for reason in told.reasons]
    return {
        "resourceType": "Provenance",
        "meta": head.meta(labels=told.labels),
        "target": [{"reference": target} for target in told.targets],
        "recorded": format_instant(recorded),
        **({"reason": why} if why else {}),
        "agent": [
            {
                "type": concept(head.codes.outbound["provenance-agent"]),
                "who": {"type": "Device", "display": f"{head.words.software} {release} (software)"},
            }
        ],
        "entity": [
            {"role": "source", "what": {"identifier": head.identifier(key)}},
            *({"role": "derivation", "what": head.dose(dose)} for dose in told.doses),
            *({"role": "derivation", "what": head.of_source(order.source, order.id)} for order in told.orders),
            {"role": "derivation", "what": protocol},
        ],
    }


def _coded(reason: Reason, head: Letterhead) -> Coding:
    return Coding(system=head.canonicals.reason_code_system, code=str(reason), display=head.words.reason_text(reason))
