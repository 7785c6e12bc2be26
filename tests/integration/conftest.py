"""What the integration tests share: an EHR of their own, and an endpoint that remembers what it was sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from afterdose.sandbox import SandboxEHR

DEADLINE = 20.0


class Received(NamedTuple):
    """One request as a subscriber got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Subscriber:
    """An HTTP endpoint on a real socket that answers 200, or what `answers` says next, and keeps every request."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        subscriber = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                subscriber.received.append(Received(self.command, self.path, headers, body))
                status, extra = subscriber.answers.pop(0) if subscriber.answers else (200, {})
                self.send_response(status)
                for name, value in {**extra, "Content-Length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            do_POST = do_PUT = do_DELETE = do_GET = handle_any

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """What a condition gives as soon as it is true; the test fails when it has not been by the deadline."""

    def poll(condition: Callable[[], Any], deadline: float = DEADLINE) -> Any:
        until = time.monotonic() + deadline
        while time.monotonic() < until:
            if found := condition():
                return found
            time.sleep(0.02)
        pytest.fail(f"not true within {deadline} s")

    return poll


@pytest.fixture
def sandbox() -> Iterator[SandboxEHR]:
    with SandboxEHR() as ehr:
        yield ehr


@pytest.fixture
def subscriber() -> Iterator[Subscriber]:
    endpoint = Subscriber()
    yield endpoint
    endpoint.close()
