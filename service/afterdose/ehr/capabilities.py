"""What an EHR says that it can do: its CapabilityStatement (http://hl7.org/fhir/R4/capabilitystatement.html).

Read tolerantly: what is missing or of the wrong kind counts as not declared. EHRs promise too much and too little
here, so this is where choosing begins, not a guarantee.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from types import MappingProxyType

from afterdose.fhir.strict_json import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What is declared for the whole server and for each resource type.

    ``interactions`` holds FHIR's codes (``read``, ``search-type``, ``create``, ``update``, ``patch`` ...);
    ``conditional_create`` whether If-None-Exist is declared, ``update_create`` whether an update may create,
    ``versioning`` one of ``no-version``, ``versioned``, ``versioned-update``, or empty;
    ``search_parameters`` are names.
    """

    fhir_version: str
    transaction: bool
    interactions: Mapping[str, frozenset[str]]
    conditional_create: Mapping[str, bool]
    update_create: Mapping[str, bool]
    versioning: Mapping[str, str]
    search_parameters: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def searches(self, type_: str, parameters: Set[str]) -> bool:
        """Whether the EHR declares that a type can be searched by all of these parameters."""
        declared = self.search_parameters.get(type_, frozenset())
        return self.allows(type_, "search-type") and parameters <= declared

    def allows(self, type_: str, interaction: str) -> bool:
        """Whether the EHR declares this interaction for this resource type."""
        return interaction in self.interactions.get(type_, frozenset())


def decode_capabilities(statement: Mapping[str, Json]) -> Capabilities:
    """Read a CapabilityStatement; of several ``rest`` parts the servers' count."""
    servers = [rest for rest in _objects(statement.get("rest")) if rest.get("mode", "server") == "server"]
    resources = {_text(item.get("type")): item for rest in servers for item in _objects(rest.get("resource"))}
    resources.pop("", None)
    return Capabilities(
        fhir_version=_text(statement.get("fhirVersion")),
        transaction=any("transaction" in _interactions(rest) for rest in servers),
        interactions=MappingProxyType({type_: _interactions(item) for type_, item in resources.items()}),
        conditional_create=_flags(resources, "conditionalCreate"),
        update_create=_flags(resources, "updateCreate"),
        versioning=MappingProxyType({type_: _text(item.get("versioning")) for type_, item in resources.items()}),
        search_parameters=MappingProxyType(
            {
                type_: frozenset(_text(one.get("name")) for one in _objects(item.get("searchParam"))) - {""}
                for type_, item in resources.items()
            }
        ),
    )


def _interactions(part: Mapping[str, Json]) -> frozenset[str]:
    return frozenset(_text(item.get("code")) for item in _objects(part.get("interaction"))) - {""}


def _flags(resources: Mapping[str, Mapping[str, Json]], name: str) -> Mapping[str, bool]:
    return MappingProxyType({type_: item.get(name) is True for type_, item in resources.items()})


def _objects(value: Json) -> list[dict[str, Json]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
