"""What cloud services and older servers wrap around an event: no FHIR, though it tells of FHIR resources.

- Azure Event Grid: an array of events, or CloudEvents 1.0, of Azure Health Data Services; ids only.
  https://learn.microsoft.com/azure/event-grid/event-schema-azure-health-data-services
- Google Pub/Sub, pushed: one message of the Cloud Healthcare API, with the resource or its name in Base64.
  https://cloud.google.com/healthcare-api/docs/fhir-pubsub
- Aidbox, SubsSubscription: the resource and what happened to it, and a handshake before.
  https://docs.aidbox.app (reactive-api-and-subscriptions)

None of these has a ``resourceType`` at its top, and every resource has one, so neither can be taken for the other.
Members that are not known are passed over.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from afterdose.core.errors import BadInput, Problem
from afterdose.fhir import strict_json
from afterdose.fhir.decode import accepted
from afterdose.fhir.elements import member, text
from afterdose.fhir.references import is_id

Change = Literal["kept", "deleted"]
"""What became of a resource: it is there, as created or changed, or it is not any more."""

_GRID_CHANGES: Mapping[str, Change] = {
    "Microsoft.HealthcareApis.FhirResourceCreated": "kept",
    "Microsoft.HealthcareApis.FhirResourceUpdated": "kept",
    "Microsoft.HealthcareApis.FhirResourceDeleted": "deleted",
}
_GRID_VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"
_GRID_HOSTS = ".azurehealthcareapis."
_PUBSUB_CHANGES: Mapping[str, Change] = {
    "CreateResource": "kept",
    "PatchResource": "kept",
    "UpdateResource": "kept",
    "DeleteResource": "deleted",
}
_AIDBOX_CHANGES: Mapping[str, Change] = {"create": "kept", "update": "kept", "delete": "deleted"}
_CODE = re.compile(r"[A-Za-z0-9-]{1,128}\Z")
_STORES = "/fhirStores/"


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one resource. ``id`` is None where the type is not taken here, ``raw`` empty where the resource is
    only named.

    ``host`` and ``store``: the FHIR server that it tells of, as far as the envelope says.
    """

    path: str
    change: Change
    type: str
    id: str | None
    raw: bytes = b""
    host: str | None = None
    store: str | None = None

    def is_elsewhere(self, base_url: str) -> bool:
        """Whether it is about another FHIR server than that of ``base_url``, where the two can be compared.

        One topic may carry the events of several servers, and their ids say nothing about each other.
        """
        parts = urlsplit(base_url)
        host = (parts.hostname or "").lower()
        if self.host is not None and _GRID_HOSTS in host:
            return self.host.lower() != host
        if self.store is not None and _STORES in parts.path:
            return not parts.path.rstrip("/").removesuffix("/fhir").endswith(f"/{self.store}")
        return False


@dataclass(frozen=True, slots=True)
class Unread:
    """A part of an envelope that tells of nothing that can be understood."""

    problem: Problem
    raw: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """What one body tells. ``validation``: the code that the sender wants to have back before it sends anything."""

    parts: tuple[Event | Unread, ...] = ()
    validation: str | None = None


def read(value: object) -> Envelope | None:
    """The envelope that a body is, None where it is none."""
    if isinstance(value, list):
        listed = [item for item in value if isinstance(item, dict) and ("eventType" in item or _is_cloud(item))]
        return _grid(value) if listed else None
    if not isinstance(value, dict) or "resourceType" in value:
        return None
    if "eventType" in value or _is_cloud(value):
        return _grid([value])
    if isinstance(value.get("message"), dict):
        return Envelope((_part(value, "", _pubsub),))
    if value.get("type") == "handshake" and isinstance(value.get("subscription"), dict):
        return Envelope()
    if value.get("type") == "notification" and "event" in value:
        return Envelope((_part(value, "", _aidbox),))
    return None


def _part(value: object, path: str, reading: Callable[[object, str], Event]) -> Event | Unread:
    try:
        return reading(value, path)
    except BadInput as bad:
        return Unread(bad.problems[0], strict_json.dumps(value))


def _wrong(path: str, what: str) -> BadInput:
    return BadInput(Problem("value", path, what))


def _resource_id(id_: str | None, path: str) -> str:
    if id_ is None or not is_id(id_):
        raise _wrong(path, "names no resource by its id")
    return id_


def _is_cloud(value: Mapping[str, object]) -> bool:
    return "specversion" in value and "type" in value


def _grid(items: Sequence[object]) -> Envelope:
    for item in items:
        if _grid_type(item) == _GRID_VALIDATION:
            code = text(member(item, "data"), "validationCode")
            if len(items) == 1 and code is not None and _CODE.match(code):
                return Envelope(validation=code)
    ours = ((place, item) for place, item in enumerate(items) if _is_read(item))
    return Envelope(tuple(_part(item, f"[{place}]", _grid_event) for place, item in ours))


def _is_read(item: object) -> bool:
    """Whether it may tell of a FHIR resource; Event Grid has many other events."""
    type_ = _grid_type(item)
    return type_ is None or type_ in _GRID_CHANGES or type_ == _GRID_VALIDATION


def _grid_type(item: object) -> str | None:
    return text(item, "eventType") or text(item, "type")


def _grid_event(item: object, path: str) -> Event:
    change = _GRID_CHANGES.get(_grid_type(item) or "")
    data = member(item, "data")
    type_ = text(data, "resourceType")
    if change is None or type_ is None:
        raise _wrong(path, "is no event of a FHIR resource")
    if type_ not in accepted.TYPES:
        return Event(path, change, type_, None)
    id_ = _resource_id(text(data, "resourceFhirId"), f"{path}.data.resourceFhirId")
    return Event(path, change, type_, id_, host=text(data, "resourceFhirAccount"))


def _pubsub(value: object, path: str) -> Event:
    message = member(value, "message")
    attributes = member(message, "attributes")
    change = _PUBSUB_CHANGES.get(text(attributes, "action") or "")
    type_ = text(attributes, "resourceType")
    if change is None or type_ is None:
        raise _wrong("message.attributes", "do not say what happened to which type of resource")
    if type_ not in accepted.TYPES:
        return Event(path, change, type_, None)
    store = text(attributes, "storeName")
    try:
        data = b64decode(text(message, "data") or "", validate=True)
    except ValueError:
        raise _wrong("message.data", "is no Base64") from None
    if text(attributes, "payloadType") == "NameOnly" or not data.lstrip().startswith(b"{"):
        *_, named, id_ = ["", "", *data.decode("utf-8", errors="replace").strip().split("/")]
        if named != type_:
            raise _wrong("message.data", "names no resource of the type that the attributes name")
        return Event(path, change, type_, _resource_id(id_, "message.data"), store=store)
    carried = strict_json.loads(data)
    if text(carried, "resourceType") != type_:
        raise _wrong("message.data", "holds no resource of the type that the attributes name")
    id_ = _resource_id(text(carried, "id"), "message.data")
    return Event(path, change, type_, id_, raw=data if change == "kept" else b"", store=store)


def _aidbox(value: object, path: str) -> Event:
    change, resource = _AIDBOX_CHANGES.get(text(value, "event") or ""), member(value, "resource")
    type_ = text(resource, "resourceType")
    if change is None or type_ is None:
        raise _wrong("event", "does not say what happened to which resource")
    if type_ not in accepted.TYPES:
        return Event(path, change, type_, None)
    id_ = _resource_id(text(resource, "id"), "resource.id")
    whole = change == "kept" and resource.keys() - {"resourceType", "id", "meta"}
    return Event(path, change, type_, id_, raw=strict_json.dumps(resource) if whole else b"")
