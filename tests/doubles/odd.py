"""A front before the sandbox EHR with the habits of other servers: what it changes in what comes and what goes.

Nothing here breaks FHIR R4 unless its name says so; everything has been seen or reported of a server.
"""

from __future__ import annotations

import gzip
import http.client
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from werkzeug.wrappers import Request, Response

from afterdose.sandbox import SandboxEHR
from doubles.serving import Double

Resource = dict[str, Any]


@dataclass
class Exchange:
    """One answer of the sandbox on its way out, with the request that it answers."""

    method: str
    path: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def writes(self) -> bool:
        """Whether it answers a create, an update or a transaction."""
        return self.method in ("POST", "PUT") and not self.path.endswith("_search") and self.status < 300

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    def put(self, value: Any) -> None:
        """Another body."""
        self.body = json.dumps(value).encode()


@dataclass(frozen=True)
class Habit:
    """``stores``: what becomes of a resource that is sent; ``asked``: of a search; ``says``: of an answer.

    ``refuses``: the element for which a resource is refused, None where it is taken.
    """

    stores: Callable[[Resource], Resource] = lambda resource: resource
    asked: Callable[[list[tuple[str, str]]], list[tuple[str, str]]] = lambda pairs: pairs
    says: Callable[[Exchange], None] = lambda _: None
    refuses: Callable[[Resource], str | None] = lambda _: None
    chunked: bool = False
    pause: float = 0.0


class OddEhr(Double):
    """The front, on a socket of its own."""

    def __init__(self, staff: SandboxEHR, habit: Habit) -> None:
        self._habit = habit
        super().__init__(self._app, staff, "HTTP/1.1")

    def _app(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        asked = Request(environ)
        time.sleep(self._habit.pause)
        element = self._refused(asked)
        if element is not None:
            issue = {"severity": "error", "code": "processing", "expression": [element]}
            outcome = json.dumps({"resourceType": "OperationOutcome", "issue": [issue]})
            return Response(outcome, 422, {"Content-Type": "application/fhir+json"})(environ, start_response)
        query = urlencode(self._habit.asked(parse_qsl(asked.query_string.decode(), keep_blank_values=True)))
        body = self._sent(asked)
        headers = {name: value for name, value in asked.headers if name.lower() not in ("host", "content-length")}
        answer = self._forward(asked.method, asked.path + (f"?{query}" if query else ""), body, headers)
        exchange = Exchange(asked.method, asked.path, answer.status, dict(answer.getheaders()), answer.read())
        exchange.body = exchange.body.replace(self.staff.base_url.encode(), self.base_url.encode())
        for name in list(exchange.headers):
            if name.lower() in ("content-length", "server", "date", "connection", "transfer-encoding"):
                del exchange.headers[name]
            else:
                exchange.headers[name] = exchange.headers[name].replace(self.staff.base_url, self.base_url)
        self._habit.says(exchange)
        response = Response(exchange.body, exchange.status, exchange.headers)
        if self._habit.chunked:
            response = Response(iter([exchange.body[:7], exchange.body[7:]]), exchange.status, exchange.headers)
        return response(environ, start_response)

    def _refused(self, asked: Request) -> str | None:
        if asked.method not in ("POST", "PUT") or asked.path.endswith("_search"):
            return None
        sent = json.loads(asked.get_data())
        resources = [entry["resource"] for entry in sent["entry"]] if sent["resourceType"] == "Bundle" else [sent]
        element = next(filter(None, map(self._habit.refuses, resources)), None)
        return f"Bundle.entry[0].resource.{element}" if element and resources != [sent] else element

    def _sent(self, asked: Request) -> bytes:
        body: bytes = asked.get_data()
        if asked.path.endswith("_search"):
            return urlencode(self._habit.asked(parse_qsl(body.decode()))).encode()
        if asked.method not in ("POST", "PUT") or not body:
            return body
        sent = json.loads(body)
        if sent.get("resourceType") != "Bundle":
            return json.dumps(self._habit.stores(sent)).encode()
        entries = [{**entry, "resource": self._habit.stores(entry["resource"])} for entry in sent["entry"]]
        return json.dumps({**sent, "entry": entries}).encode()

    def _forward(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        place = urlsplit(self.staff.base_url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=20)
        connection.request(method, path, body=body or None, headers=dict(headers))
        return connection.getresponse()


def _drops(resource: Resource) -> Resource:
    """Elements that a server does not know, at every depth."""
    unknown = {"instantiatesCanonical", "supportingInfo", "note", "extension", "contributor"}
    return {name: value for name, value in resource.items() if name not in unknown}


def _reorders(resource: Resource) -> Resource:
    """Lists whose order says nothing come back in another."""
    return {name: value[::-1] if isinstance(value, list) else value for name, value in resource.items()}


def _adds(resource: Resource) -> Resource:
    """A server's own label, narrative and display texts."""
    tagged = {**resource.get("meta", {}), "tag": [{"system": "urn:server", "code": "stored"}], "source": "urn:server#1"}
    words = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">made by the server</div>'}
    return _displays({"text": words, **resource, "meta": tagged})


def _displays(value: Any) -> Any:
    if isinstance(value, dict):
        named = {name: _displays(item) for name, item in value.items()}
        return {**named, "display": "shown by the server"} if isinstance(named.get("reference"), str) else named
    return [_displays(item) for item in value] if isinstance(value, list) else value


def _rewrites(resource: Resource) -> Resource:
    """Times in another spelling, and texts without spaces at their ends."""
    return {name: _respelled(value) if name != "meta" else value for name, value in resource.items()}


def _respelled(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _respelled(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_respelled(item) for item in value]
    if isinstance(value, str) and value[4:5] == "-" and value.endswith("Z"):
        return value.removesuffix("Z") + "+00:00"
    return value.strip() if isinstance(value, str) else value


def _says_nothing(exchange: Exchange) -> None:
    """Prefer: return=representation is not heeded."""
    if exchange.writes and exchange.path.rstrip("/").endswith("/fhir"):
        bundle = exchange.json()
        exchange.put({**bundle, "entry": [{"response": entry["response"]} for entry in bundle["entry"]]})
    elif exchange.writes:
        exchange.body = b""


def _says_nothing_and_no_version(exchange: Exchange) -> None:
    """The same, and no ETag either."""
    _says_nothing(exchange)
    exchange.headers.pop("ETag", None)
    if exchange.writes and exchange.body:
        bundle = exchange.json()
        for entry in bundle["entry"]:
            entry["response"].pop("etag", None)
        exchange.put(bundle)


def _stubs(exchange: Exchange) -> None:
    """What was written comes back as a type and an id."""
    if exchange.writes and exchange.path.rstrip("/").endswith("/fhir"):
        bundle = exchange.json()
        exchange.put(
            {**bundle, "entry": [{**entry, "resource": _stub(entry["resource"])} for entry in bundle["entry"]]}
        )
    elif exchange.writes:
        exchange.put(_stub(exchange.json()))


def _stub(resource: Resource) -> Resource:
    return {name: resource[name] for name in ("resourceType", "id")}


def _outcomes(exchange: Exchange) -> None:
    """A write is answered with an OperationOutcome that tells of success."""
    if exchange.writes and not exchange.path.rstrip("/").endswith("/fhir"):
        issue = {"severity": "information", "code": "informational", "diagnostics": "created"}
        exchange.put({"resourceType": "OperationOutcome", "issue": [issue]})


def _relative(exchange: Exchange) -> None:
    """Location names a path."""
    _says_nothing(exchange)
    if "Location" in exchange.headers:
        exchange.headers["Location"] = urlsplit(exchange.headers["Location"]).path


def _elsewhere(exchange: Exchange) -> None:
    """Location names a host of an inner network, and nothing else says what was made."""
    _says_nothing(exchange)
    if "Location" in exchange.headers:
        exchange.headers["Location"] = f"http://10.0.66.99:8080{urlsplit(exchange.headers['Location']).path}"


def _unlocated(exchange: Exchange) -> None:
    """No Location, no body."""
    _says_nothing(exchange)
    exchange.headers.pop("Location", None)


def _uncounted(exchange: Exchange) -> None:
    if exchange.status == 200 and b'"searchset"' in exchange.body:
        bundle = exchange.json()
        bundle.pop("total", None)
        exchange.put(bundle)


def _zipped(exchange: Exchange) -> None:
    """gzip, and the ETag that some web servers then make of it."""
    exchange.body = gzip.compress(exchange.body)
    exchange.headers["Content-Encoding"] = "gzip"
    if "ETag" in exchange.headers:
        exchange.headers["ETag"] = exchange.headers["ETag"].removesuffix('"') + '-gzip"'


def _strong(exchange: Exchange) -> None:
    if "ETag" in exchange.headers and exchange.method == "GET":
        exchange.headers["ETag"] = exchange.headers["ETag"].removeprefix("W/")


def _unknown_profile(resource: Resource) -> str | None:
    """What HAPI FHIR refuses that checks what it is sent, and was not given our profiles."""
    return f"{resource['resourceType']}.meta.profile[0]" if resource.get("meta", {}).get("profile") else None


def _without_system(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value.rpartition("|")[2] if name == "identifier" else value) for name, value in pairs]


def _without_identifier(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in pairs if name != "identifier"]


HABITS: Mapping[str, Habit] = {
    "drops what it does not know": Habit(stores=_drops),
    "reorders lists": Habit(stores=_reorders),
    "adds labels, narratives and displays": Habit(stores=_adds),
    "spells times anew": Habit(stores=_rewrites),
    "spells times anew and answers nothing": Habit(stores=_rewrites, says=_says_nothing),
    "adds and answers nothing": Habit(stores=_adds, says=_says_nothing),
    "reorders and answers neither body nor version": Habit(stores=_reorders, says=_says_nothing_and_no_version),
    "answers writes with an OperationOutcome": Habit(says=_outcomes),
    "answers writes with a type and an id": Habit(says=_stubs),
    "a relative Location": Habit(says=_relative),
    "the Location of an inner host": Habit(says=_elsewhere),
    "no Location and no body": Habit(says=_unlocated),
    "searches without a total": Habit(says=_uncounted),
    "gzip": Habit(says=_zipped),
    "chunks": Habit(chunked=True),
    "slow": Habit(pause=0.05),
    "refuses profiles that it does not know": Habit(refuses=_unknown_profile),
    "strong ETags when read": Habit(says=_strong),
    "searches identifiers without their system": Habit(asked=_without_system),
    "ignores a search by identifier": Habit(asked=_without_identifier),
}
