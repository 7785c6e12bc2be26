"""GET /fhir/metadata: the CapabilityStatement, derived from the table of routes so that it cannot promise too much.

http://hl7.org/fhir/R4/capabilitystatement.html
"""

from collections.abc import Collection
from datetime import datetime

from flask import Blueprint, Flask, Response, current_app

from afterdose.fhir.decode import accepted
from afterdose.fhir.times import format_instant
from afterdose.web.problems import FHIR_JSON, fhir_answer

# Our routes by endpoint, as FHIR's interactions: http://hl7.org/fhir/R4/valueset-type-restful-interaction.html
_TYPE_INTERACTIONS = {"inbound.create": "create", "inbound.update": "update", "inbound.delete": "delete"}
_SYSTEM_INTERACTIONS = {"inbound.base": ("transaction", "batch")}
_OPERATIONS = {"inbound.process_message": "process-message"}
_OPERATION = "http://hl7.org/fhir/OperationDefinition/MessageHeader-"
ENDPOINTS = frozenset(_TYPE_INTERACTIONS) | frozenset(_SYSTEM_INTERACTIONS) | frozenset(_OPERATIONS)
"""The endpoints of ours that a CapabilityStatement can name."""


def blueprint(built_at: datetime) -> Blueprint:
    """The route; ``built_at`` is the statement's date."""
    routes = Blueprint("metadata", __name__, url_prefix="/fhir")

    @routes.get("/metadata")
    def capabilities() -> Response:
        return fhir_answer(capability_statement(current_app, built_at))

    return routes


def capability_statement(app: Flask, built_at: datetime) -> dict[str, object]:
    """What the routes of ``app`` offer to a FHIR client."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": format_instant(built_at),
        "kind": "instance",
        "implementation": {"description": "afterdose takes doses, and the orders, visits and people around them"},
        "fhirVersion": "4.0.1",
        "format": [FHIR_JSON],
        "rest": [rest({rule.endpoint for rule in app.url_map.iter_rules()})],
    }


def rest(endpoints: Collection[str] = ENDPOINTS) -> dict[str, object]:
    """CapabilityStatement.rest of an application with these endpoints; by default of one that has all of ours."""
    of_type = [{"code": code} for endpoint, code in _TYPE_INTERACTIONS.items() if endpoint in endpoints]
    of_system = [code for endpoint, codes in _SYSTEM_INTERACTIONS.items() if endpoint in endpoints for code in codes]
    return {
        "mode": "server",
        "documentation": "Bundles of type collection, history, message, searchset and subscription-notification are "
        "taken like transactions; each entry is answered for itself. Events of Azure Event Grid, of Google Pub/Sub and "
        "of an Aidbox SubsSubscription are taken at the base URL too.",
        "security": {
            "description": "Every request but this one shows who sent it: by a secret in a header, by a JWT of an "
            "issuer whose keys are pinned, or by a signature over the body."
        },
        "resource": [{"type": type_, "interaction": of_type, "updateCreate": True} for type_ in sorted(accepted.TYPES)],
        "interaction": [{"code": code} for code in of_system],
        "operation": [
            {"name": name, "definition": f"{_OPERATION}{name}"}
            for endpoint, name in _OPERATIONS.items()
            if endpoint in endpoints
        ],
    }
