"""What the sandbox says about itself (R4 capabilitystatement.html); the switches change what it says."""

from __future__ import annotations

from datetime import datetime

from afterdose.sandbox.behaviour import Behaviour
from afterdose.sandbox.outcome import Json
from afterdose.sandbox.parameters import DECLARED_TYPES, parameters_of
from afterdose.sandbox.resources import instant

NAME = "Sandbox EHR of afterdose"
PURPOSE = f"{NAME} - for demonstration and tests only, not a medical record system"


def capability_statement(behaviour: Behaviour, base_url: str, now: datetime) -> Json:
    """The answer to `GET [base]/metadata`."""
    rest: Json = {
        "mode": "server",
        "documentation": PURPOSE,
        "security": {"description": "a bearer token" if behaviour.bearer else "none"},
        "resource": [_resource(type_, behaviour) for type_ in DECLARED_TYPES if type_ not in behaviour.absent],
    }
    if behaviour.transaction != "undeclared":
        rest["interaction"] = [{"code": "transaction"}, {"code": "batch"}]
    return {
        "resourceType": "CapabilityStatement",
        "name": "AfterdoseSandboxEHR",
        "title": NAME,
        "status": "active",
        "experimental": True,
        "date": instant(now),
        "description": PURPOSE,
        "kind": "instance",
        "software": {"name": NAME},
        "implementation": {"description": PURPOSE, "url": base_url},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [rest],
    }


def _resource(type_: str, behaviour: Behaviour) -> Json:
    codes = ["read", "vread", "search-type"]
    writable = type_ not in behaviour.read_only
    if writable:
        codes += ["create", "update", "delete"]
    return {
        "type": type_,
        "interaction": [{"code": code} for code in codes],
        "versioning": "versioned-update" if behaviour.etags else "no-version",
        "readHistory": behaviour.etags,
        "updateCreate": writable and behaviour.update_create,
        "conditionalCreate": writable and behaviour.if_none_exist != "undeclared",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchParam": [{"name": name, "type": found.kind} for name, found in sorted(parameters_of(type_).items())],
    }
