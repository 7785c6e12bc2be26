"""FHIR messaging, as far as ``$process-message`` needs it: the header that came, and the message that answers it.

https://hl7.org/fhir/R4/messaging.html, https://hl7.org/fhir/R4/messageheader.html; of R5 the names that differ.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from afterdose.core.errors import BadInput, Problem
from afterdose.fhir.elements import members, text
from afterdose.fhir.outcome import operation_outcome
from afterdose.fhir.times import format_instant

_EVENTS = ("eventCoding", "eventUri", "eventCanonical")


def header(message: object) -> Mapping[str, object]:
    """The MessageHeader of a message. Raises BadInput where it is no message, or has none with an id and an event."""
    if text(message, "resourceType") != "Bundle" or text(message, "type") != "message":
        raise BadInput(Problem("invalid", "Bundle.type", "is not a message"))
    first = next(members(message, "entry"), {}).get("resource")
    if not isinstance(first, dict) or text(first, "resourceType") != "MessageHeader":
        raise BadInput(Problem("required", "Bundle.entry[0].resource", "is not a MessageHeader"))
    if text(first, "id") is None:
        raise BadInput(Problem("required", "Bundle.entry[0].resource.id", "is missing, so it could not be answered"))
    if not any(name in first for name in _EVENTS):
        raise BadInput(Problem("required", "Bundle.entry[0].resource.event[x]", "is missing"))
    return first


def answer(
    asked: Mapping[str, object], problems: Sequence[Problem], *, id_: UUID, endpoint: str, at: datetime
) -> dict[str, object]:
    """The message that says what became of ``asked``: ok, or fatal-error with what was wrong in some of it."""
    outcome = f"urn:uuid:{UUID(int=id_.int ^ 1)}"
    response: dict[str, object] = {"identifier": asked["id"], "code": "fatal-error" if problems else "ok"}
    if problems:
        response["details"] = {"reference": outcome}
    reply: dict[str, object] = {
        "resourceType": "MessageHeader",
        "id": str(id_),
        **{name: asked[name] for name in _EVENTS if name in asked},
        "source": {"endpoint": endpoint},
        "response": response,
    }
    entries: list[object] = [{"fullUrl": f"urn:uuid:{id_}", "resource": reply}]
    if problems:
        entries.append({"fullUrl": outcome, "resource": operation_outcome(problems)})
    return {"resourceType": "Bundle", "type": "message", "timestamp": format_instant(at), "entry": entries}
