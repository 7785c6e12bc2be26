"""The sandbox EHR as one object with a real socket: start it, use it, close it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from wsgiref.types import WSGIEnvironment

from werkzeug.serving import WSGIRequestHandler, make_server

from afterdose.sandbox.app import create_app
from afterdose.sandbox.behaviour import Behaviour
from afterdose.sandbox.faults import Fault, Gateway, LoggedRequest, Scripted
from afterdose.sandbox.interactions import Interactions
from afterdose.sandbox.outcome import Json
from afterdose.sandbox.resources import Store, Version
from afterdose.sandbox.subscriptions import RETRY_DELAYS, Delivery, Subscriptions


class _SilentHandler(WSGIRequestHandler):
    """A demonstration prints its own story; the log of requests is `SandboxEHR.requests`."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""

    def connection_dropped(self, error: BaseException, environ: WSGIEnvironment | None = None) -> None:  # noqa: ARG002
        """Close the socket, whether the client went away or a scripted fault cuts it off."""
        self.close_connection = True


class SandboxEHR:
    """A small FHIR R4 server in memory, for demonstration and tests only.

    `behaviour` may be replaced at any time. The helpers `create`, `put` and `delete` are what the EHR's own staff do:
    they take the way of an HTTP request through the same interactions, fire subscriptions, and are not in `requests`.
    """

    def __init__(
        self,
        port: int = 0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        faults: Iterable[Scripted] | None = None,
        *,
        behaviour: Behaviour | None = None,
        host: str = "127.0.0.1",
        retry_delays: tuple[float, ...] = RETRY_DELAYS,
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self._store = Store(clock)
        self._gateway = Gateway(self._application, lambda: self.behaviour.latency_ms, faults or ())
        self._server = make_server(host, port, self._gateway, threaded=True, request_handler=_SilentHandler)
        shown = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104
        self.page_url = f"http://{shown}:{self._server.server_port}/"
        self.base_url = f"{self.page_url}fhir"
        self._interactions = Interactions(self._store, lambda: self.behaviour, self.base_url)
        self._app = create_app(self._interactions)
        self._subscriptions = Subscriptions(self._store, self.base_url, retry_delays)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="sandbox", daemon=True)
        self._thread.start()

    def _application(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        return self._app(environ, start_response)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering and delivering. What was stored can still be looked at with `get`, `all` and `history`."""
        self._gateway.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._subscriptions.close()

    def create(self, resource: Json) -> Json:
        """Store a new resource under an id of the server's choice, and give it back as stored."""
        return self._interactions.create(_type_of(resource), resource).version.copy()

    def put(self, resource: Json) -> Json:
        """Store a new resource or a new version under the resource's own id, and give it back as stored."""
        if not resource.get("id"):
            raise ValueError("put needs a resource with an id; create gives one out")
        return self._interactions.update(_type_of(resource), resource["id"], resource).version.copy()

    def delete(self, type_: str, id_: str) -> None:
        """Delete a resource; reading it is 410 from then on."""
        self._interactions.delete(type_, id_)

    def get(self, type_: str, id_: str) -> Json | None:
        """The resource as it stands, or None where there is none (any more)."""
        version = self._store.latest(type_, id_)
        return None if version is None or version.deleted else version.copy()

    def all(self, type_: str) -> list[Json]:
        """Every resource of a type that is not deleted, oldest first."""
        return [version.copy() for version in self._store.living(type_)]

    def history(self, type_: str | None = None, id_: str | None = None) -> list[Version]:
        """Every committed write, deletions too, oldest first; of one type or of one resource if asked."""
        return self._store.history(type_, id_)

    def fail_next(self, method: str, path_regex: str, fault: Fault, times: int = 1) -> None:
        """Let the next `times` requests of this method (`*` for any) whose path or query fits meet `fault`."""
        self._gateway.add(Scripted(method, path_regex, fault, times))

    def clear_faults(self) -> None:
        """Forget the faults that no request has met yet."""
        self._gateway.clear()

    @property
    def faults_left(self) -> int:
        """How many scripted faults still wait for a request."""
        return self._gateway.waiting

    @property
    def requests(self) -> list[LoggedRequest]:
        """Every FHIR request over HTTP so far, in the order of the answers."""
        return list(self._gateway.requests)

    @property
    def deliveries(self) -> list[Delivery]:
        """Every attempt so far to notify a subscriber."""
        return list(self._subscriptions.deliveries)


def _type_of(resource: Json) -> str:
    return str(resource.get("resourceType", ""))
