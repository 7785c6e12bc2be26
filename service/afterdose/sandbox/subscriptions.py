"""R4 rest-hook Subscriptions (R4 subscription.html), delivered the way HAPI delivers them.

With `channel.payload` a matching create or update becomes `PUT {endpoint}/{Type}/{id}` with the resource; without it
an empty `POST {endpoint}`. Deletions go out, as `DELETE {endpoint}/{Type}/{id}`, where HAPI's extension asks for them.
"""

from __future__ import annotations

import json
import queue
import threading
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl

import requests

from afterdose.sandbox.outcome import Json, Refusal
from afterdose.sandbox.resources import Store, Version
from afterdose.sandbox.search import at_path, matches, parse
from afterdose.sandbox.validity import TYPES

SEND_DELETES = "http://hapifhir.io/fhir/StructureDefinition/subscription-send-delete-messages"
RETRY_DELAYS = (0.2, 1.0, 3.0)
_TIMEOUT = 10.0


@dataclass(frozen=True)
class Delivery:
    """One attempt to notify a subscriber: what was sent where, and the status or the kind of failure it met."""

    subscription: str
    method: str
    url: str
    result: int | str

    @property
    def accepted(self) -> bool:
        """Whether the subscriber answered 2xx. A redirect is no acceptance and is not followed."""
        return isinstance(self.result, int) and 200 <= self.result < 300


@dataclass(frozen=True)
class _Message:
    subscription: str
    method: str
    url: str
    headers: dict[str, str]
    body: bytes


def check_subscription(subscription: Json) -> None:
    """Refuse what could never be delivered."""
    channel = subscription["channel"]
    if not isinstance(channel, dict) or channel.get("type") != "rest-hook":
        raise Refusal(422, "not-supported", "only rest-hook channels are supported")
    endpoint = channel.get("endpoint")
    if not isinstance(endpoint, str) or not endpoint.startswith(("http://", "https://")):
        raise Refusal(422, "value", "Subscription.channel.endpoint must be an http or https URL")
    criteria = subscription["criteria"]
    type_, _, query = criteria.partition("?") if isinstance(criteria, str) else ("", "", "")
    if type_ not in TYPES:
        raise Refusal(422, "value", "Subscription.criteria must begin with a resource type")
    try:
        parse(type_, parse_qsl(query), strict=True)
    except Refusal as refusal:
        raise Refusal(422, "value", f"Subscription.criteria: {refusal.diagnostics}") from refusal


class Subscriptions:
    """Matches committed writes against active Subscriptions; each Subscription has its own queue and its own thread."""

    def __init__(self, store: Store, base_url: str, retry_delays: tuple[float, ...] = RETRY_DELAYS) -> None:
        self._store = store
        self._base_url = base_url
        self._retry_delays = retry_delays
        self._queues: dict[str, queue.Queue[_Message | None]] = {}
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self.deliveries: list[Delivery] = []
        store.listen(self._on_write)

    def close(self) -> None:
        """Stop delivering; what is still queued is dropped."""
        self._closing.set()
        for waiting in self._queues.values():
            waiting.put(None)
        for thread in self._threads:
            thread.join(timeout=_TIMEOUT)

    def _on_write(self, version: Version) -> None:
        if self._closing.is_set() or version.type == "Subscription":
            return
        for candidate in self._store.living("Subscription"):
            subscription = candidate.resource
            if subscription and _is_active(subscription, version.updated):
                message = self._message(candidate.id, subscription, version)
                if message is not None:
                    self._queue_of(candidate.id).put(message)

    def _message(self, subscription_id: str, subscription: Json, version: Version) -> _Message | None:
        type_, _, query = subscription["criteria"].partition("?")
        if type_ != version.type:
            return None
        channel = subscription["channel"]
        endpoint = channel["endpoint"].rstrip("/")
        one = f"{endpoint}/{version.type}/{version.id}"
        headers = _headers(channel)
        if version.resource is None:
            return _Message(subscription_id, "DELETE", one, headers, b"") if _sends_deletes(subscription) else None
        if not matches(version.resource, parse(type_, parse_qsl(query)), self._base_url):
            return None
        if "payload" not in channel:
            return _Message(subscription_id, "POST", channel["endpoint"], headers, b"")
        headers |= {"Content-Type": "application/fhir+json;charset=UTF-8", "If-Match": f'"{version.number}"'}
        return _Message(subscription_id, "PUT", one, headers, json.dumps(version.resource).encode())

    def _queue_of(self, subscription_id: str) -> queue.Queue[_Message | None]:
        if subscription_id not in self._queues:
            waiting = self._queues[subscription_id] = queue.Queue()
            name = f"sandbox-subscription-{subscription_id}"
            thread = threading.Thread(target=self._deliver_all, args=(waiting,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        return self._queues[subscription_id]

    def _deliver_all(self, waiting: queue.Queue[_Message | None]) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while (message := waiting.get()) is not None:
                for delay in (*self._retry_delays, None):
                    if self._closing.is_set() or self._attempt(session, message) or delay is None:
                        break
                    self._closing.wait(delay)

    def _attempt(self, session: requests.Session, message: _Message) -> bool:
        result: int | str
        try:
            with session.request(
                message.method,
                message.url,
                data=message.body,
                headers=message.headers,
                timeout=_TIMEOUT,
                allow_redirects=False,
            ) as response:
                result = response.status_code
        except requests.RequestException as error:
            result = type(error).__name__
        delivery = Delivery(message.subscription, message.method, message.url, result)
        self.deliveries.append(delivery)
        return delivery.accepted


def _is_active(subscription: Json, now: datetime) -> bool:
    if subscription.get("status") != "active":
        return False
    try:
        end = datetime.fromisoformat(subscription["end"]) if "end" in subscription else None
    except (TypeError, ValueError):
        end = None
    return end is None or end.tzinfo is None or now < end


def _sends_deletes(subscription: Json) -> bool:
    found = [*at_path(subscription, "extension"), *at_path(subscription, "channel.extension")]
    return {"url": SEND_DELETES, "valueBoolean": True} in found


def _headers(channel: Json) -> dict[str, str]:
    """Each line of channel.header is one HTTP header, parted at its first colon."""
    lines = (str(line).partition(":") for line in at_path(channel, "header"))
    return {name.strip(): value.strip() for name, colon, value in lines if colon and name.strip()}
