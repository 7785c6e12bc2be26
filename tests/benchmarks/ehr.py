"""The sandbox EHR in a process of its own that notes how long each call took it."""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from werkzeug.serving import WSGIRequestHandler

from afterdose.sandbox import SandboxEHR
from afterdose.sandbox.behaviour import Behaviour

Resource = dict[str, Any]


class Call(NamedTuple):
    """One request as the EHR saw it; `seconds` is its own time for it, the made-up latency included."""

    method: str
    path: str
    answered: float
    seconds: float


class _KeepAlive(WSGIRequestHandler):
    """Keeps connections alive, as EHRs do and werkzeug does not."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        """Answer one request; the sandbox reads whole bodies and says how long its answers are."""

        def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
            head.append(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode())

        head: list[bytes] = []
        body = b"".join(self.server.app(self.make_environ(), start_response))
        self.wfile.write(head[0] + body)

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


class _TimingEHR(SandboxEHR):
    def __init__(self, latency_ms: int) -> None:
        self.calls: list[Call] = []
        super().__init__(behaviour=Behaviour(latency_ms=latency_ms))
        self._server.RequestHandlerClass = _KeepAlive

    def _application(self, environ: Any, start_response: Any) -> Any:
        begun = time.perf_counter()
        answer = super()._application(environ, start_response)
        seconds = time.perf_counter() - begun + self.behaviour.latency_ms / 1000
        self.calls.append(Call(environ["REQUEST_METHOD"], environ["PATH_INFO"], time.time(), seconds))
        return answer


@dataclass(frozen=True)
class Ehr:
    """The EHR as the benchmarks reach it: `base_url` for everybody, the rest through a pipe."""

    base_url: str
    _pipe: Connection

    def put(self, resource: Resource) -> None:
        """Store a resource as the EHR's own staff would, without an HTTP call."""
        self._ask("put", resource)

    def calls(self) -> list[Call]:
        """The calls since this was last asked."""
        found: list[Call] = self._ask("calls", None)
        return found

    def written(self, type_: str) -> list[tuple[datetime, Resource]]:
        """Every version of every resource of a type, with the moment of its commit (cut to milliseconds)."""
        found: list[tuple[datetime, Resource]] = self._ask("written", type_)
        return found

    def _ask(self, question: str, about: object) -> Any:
        self._pipe.send((question, about))
        return self._pipe.recv()


@contextmanager
def start_ehr(*, latency_ms: int = 0) -> Iterator[Ehr]:
    """Run the sandbox for one `with` block; each call waits `latency_ms` before it is carried out."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, latency_ms), daemon=True)
    process.start()
    try:
        yield Ehr(ours.recv(), ours)
    finally:
        ours.send(("end", None))
        process.join(10)


def _serve(pipe: Connection, latency_ms: int) -> None:
    with _TimingEHR(latency_ms) as ehr:
        pipe.send(ehr.base_url)
        while True:
            question, about = pipe.recv()
            if question == "end":
                return
            if question == "put":
                pipe.send(ehr.put(about))
            elif question == "calls":
                calls, ehr.calls = ehr.calls, []
                pipe.send(calls)
            else:
                pipe.send([(one.updated, one.copy()) for one in ehr.history(about) if not one.deleted])
