"""Bundles that are requests (R4 http.html#transaction): all or nothing, or a batch of requests that share nothing."""

from __future__ import annotations

import html
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from afterdose.sandbox.interactions import Interactions, Written
from afterdose.sandbox.outcome import Json, Refusal
from afterdose.sandbox.resources import Version, instant

# The order of work, which does not follow the order of the entries (R4 http.html, transaction processing rules).
_ORDER = {"DELETE": 0, "POST": 1, "PUT": 2, "GET": 3, "HEAD": 3}
_LINKING = frozenset({"reference", "valueUri", "valueUrl"})
_HREF = re.compile(r"""(\b(?:href|src)\s*=\s*["'])(urn:uuid:[^"']+)""")


@dataclass
class _Entry:
    position: int
    method: str
    type: str
    id: str | None
    query: str
    resource: Any
    full_url: str | None
    if_none_exist: str | None
    if_match: str | None
    found: Version | None = None
    answer: Json = field(default_factory=dict)


def process(interactions: Interactions, bundle: object, *, representation: bool, link_base: str) -> Json:
    """Carry out a transaction or a batch and give back the response Bundle, entries in the order of the request."""
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise Refusal(400, "invalid", "POST to the base takes a Bundle")
    kind = bundle.get("type")
    if kind not in {"transaction", "batch"}:
        raise Refusal(400, "invalid", "Bundle.type must be transaction or batch")
    raw = bundle.get("entry", [])
    if not isinstance(raw, list):
        raise Refusal(400, "structure", "Bundle.entry must be a list")
    runner = _Runner(interactions, representation, link_base)
    if kind == "batch":
        answers = [runner.alone(position, item) for position, item in enumerate(raw)]
    else:
        entries = [_read_entry(position, item) for position, item in enumerate(raw)]
        with interactions.store.transaction():
            runner.together(entries, rolls_back=interactions.behaviour.transaction == "atomic")
        answers = [entry.answer for entry in entries]
    return {"resourceType": "Bundle", "type": f"{kind}-response", "entry": answers}


class _Runner:
    def __init__(self, interactions: Interactions, representation: bool, link_base: str) -> None:
        self._interactions = interactions
        self._representation = representation
        self._link_base = link_base

    def alone(self, position: int, item: object) -> Json:
        """One entry of a batch: its failure is its own."""
        try:
            return self._perform(_read_entry(position, item))
        except Refusal as refusal:
            return _failed(refusal)

    def together(self, entries: list[_Entry], *, rolls_back: bool) -> None:
        """The entries of a transaction, in the order that the specification sets, links between them resolved."""
        _check_identities(entries)
        links: dict[str, str] = {}
        waiting = sorted(entries, key=lambda entry: _ORDER[entry.method])
        deletes = [entry for entry in waiting if entry.method == "DELETE"]
        others = waiting[len(deletes) :]
        for entry in deletes:
            self._attempt(entry, self._delete, rolls_back)
        for entry in others:
            self._attempt(entry, self._identify, rolls_back)
            if entry.full_url and entry.id and entry.method in {"POST", "PUT"}:
                links[entry.full_url] = f"{entry.type}/{entry.id}"
        for entry in others:
            self._attempt(entry, lambda entry: self._perform_linked(entry, links), rolls_back)

    def _attempt(self, entry: _Entry, step: Callable[[_Entry], Json | None], rolls_back: bool) -> None:
        if entry.answer:
            return
        try:
            entry.answer = step(entry) or {}
        except Refusal as refusal:
            if rolls_back:
                said = f"Bundle.entry[{entry.position}]: {refusal.diagnostics}; nothing was written"
                raise Refusal(refusal.status, refusal.code, said) from refusal
            entry.answer = _failed(refusal)

    def _identify(self, entry: _Entry) -> None:
        if entry.method == "POST":
            entry.found = self._interactions.existing(entry.type, entry.if_none_exist)
            entry.id = entry.found.id if entry.found else str(uuid.uuid4())

    def _perform_linked(self, entry: _Entry, links: dict[str, str]) -> Json:
        entry.resource = _relink(entry.resource, links)
        return self._perform(entry)

    def _delete(self, entry: _Entry) -> Json:
        if entry.id is None:
            raise Refusal(400, "not-supported", "conditional delete is not supported")
        self._interactions.delete(entry.type, entry.id, entry.if_match)
        return {"response": {"status": "204 No Content"}}

    def _perform(self, entry: _Entry) -> Json:
        act = self._interactions
        if entry.method == "DELETE":
            return self._delete(entry)
        if entry.method == "POST":
            if entry.found is not None:
                return self._written(Written(200, entry.found))
            return self._written(act.create(entry.type, entry.resource, entry.if_none_exist, entry.id))
        if entry.method == "PUT":
            if entry.id is None:
                raise Refusal(400, "not-supported", "conditional update is not supported")
            return self._written(act.update(entry.type, entry.id, entry.resource, entry.if_match))
        if entry.id is not None:
            version = act.read(entry.type, entry.id)
            return {**self._written(Written(200, version)), "resource": version.copy()}
        found = act.search(entry.type, parse_qsl(entry.query, keep_blank_values=True), link_base=self._link_base)
        return {"resource": found, "response": {"status": "200 OK"}}

    def _written(self, written: Written) -> Json:
        version = written.version
        response: Json = {
            "status": f"{written.status} {HTTPStatus(written.status).phrase}",
            "location": f"{version.type}/{version.id}",
            "lastModified": instant(version.updated),
        }
        if self._interactions.behaviour.etags:
            response["location"] += f"/_history/{version.number}"
            response["etag"] = f'W/"{version.number}"'
        full_url = f"{self._link_base}/{version.type}/{version.id}"
        answer: Json = {"fullUrl": full_url, "response": response}
        return {**answer, "resource": version.copy()} if self._representation else answer


def _failed(refusal: Refusal) -> Json:
    status = f"{refusal.status} {HTTPStatus(refusal.status).phrase}"
    return {"response": {"status": status, "outcome": refusal.outcome()}}


def _read_entry(position: int, item: object) -> _Entry:
    where = f"Bundle.entry[{position}]"
    request = item.get("request") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(request, dict):
        raise Refusal(400, "required", f"{where}.request is required")
    method, url = request.get("method"), request.get("url")
    if not isinstance(method, str) or method not in _ORDER or not isinstance(url, str):
        raise Refusal(400, "value", f"{where}.request needs a url and a method out of {', '.join(_ORDER)}")
    path, _, query = url.partition("?")
    type_, _, id_ = path.strip("/").partition("/")
    if "/" in id_ or (method == "POST" and id_):
        raise Refusal(400, "not-supported", f"{where}.request.url must be [type], [type]/[id] or [type]?[parameters]")
    return _Entry(
        position,
        method,
        type_,
        id_ or None,
        query,
        item.get("resource"),
        _text(item.get("fullUrl")),
        _text(request.get("ifNoneExist")),
        _text(request.get("ifMatch")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _check_identities(entries: list[_Entry]) -> None:
    """http.html#trules: a transaction whose entries overlap in identity fails."""
    seen: set[tuple[str, ...]] = set()
    for entry in entries:
        keys: list[tuple[str, ...]] = []
        if entry.full_url and entry.method in {"POST", "PUT"}:
            keys.append(("fullUrl", entry.full_url))
        if entry.id and entry.method in {"PUT", "DELETE"}:
            keys.append(("id", entry.type, entry.id))
        if entry.if_none_exist:
            keys.append(("ifNoneExist", entry.type, entry.if_none_exist))
        if seen.intersection(keys):
            raise Refusal(400, "duplicate", f"Bundle.entry[{entry.position}] names what another entry names")
        seen.update(keys)


def _relink(value: Any, links: dict[str, str], key: str = "") -> Any:
    """A copy of the resource in which links to the Bundle's own entries say where those now are."""
    if isinstance(value, dict):
        return {name: _relink(item, links, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_relink(item, links, key) for item in value]
    if not isinstance(value, str):
        return value
    if key == "div":
        return _HREF.sub(lambda found: found[1] + html.escape(links.get(found[2], found[2])), value)
    if key not in _LINKING:
        return value
    if key == "reference" and value not in links:
        if value.startswith("urn:uuid:"):
            raise Refusal(400, "not-found", "a reference names a urn:uuid that is no entry of the Bundle")
        if "?" in value:
            raise Refusal(400, "not-supported", "conditional references are not supported")
    return links.get(value, value)
