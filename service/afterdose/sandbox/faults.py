"""What goes wrong between a client and a server, on the real socket: scripted, one request at a time.

A fault is given `serve`, which lets the server carry out the request and gives back its true answer, and `pause`,
which waits. It returns the answer that the client gets, or None to close the connection without one.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import NamedTuple
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from werkzeug.wrappers import Response

_LOGGED_HEADERS = (
    "Accept",
    "Cache-Control",
    "Content-Type",
    "If-Match",
    "If-None-Exist",
    "Prefer",
    "User-Agent",
    "X-Request-Id",
)


@dataclass(frozen=True)
class Answer:
    """A response in full, before a fault or the socket gets at it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


Serve = Callable[[], Answer]
Pause = Callable[[float], None]
Fault = Callable[[Serve, Pause], Answer | None]


class LoggedRequest(NamedTuple):
    """One request as the server saw it. `status` is what the client was sent; None where it was sent nothing.

    `headers` are the ones that matter to the tests; the credentials are never among them.
    """

    method: str
    path: str
    status: int | None
    headers: dict[str, str]
    query: str


class Scripted(NamedTuple):
    """A fault that waits for a request: the method (`*` for any) and a pattern searched for in path and query."""

    method: str
    path_regex: str
    fault: Fault
    times: int = 1


def status(code: int) -> Fault:
    """A gateway answers in the server's place; the request never reaches the server."""
    return lambda _serve, _pause: _plain(code)


def retry_after(seconds: int | str, code: int = 429) -> Fault:
    """The server asks for patience, in seconds or with an HTTP date; nothing is carried out."""
    return lambda _serve, _pause: _plain(code, ("Retry-After", str(seconds)))


def drop() -> Fault:
    """The connection closes before the request is carried out."""
    return lambda _serve, _pause: None


def commit_then_drop() -> Fault:
    """The request is carried out; then the connection closes without an answer."""

    def fault(serve: Serve, _pause: Pause) -> None:
        serve()

    return fault


def commit_then_status(code: int) -> Fault:
    """The request is carried out; a gateway on the way back answers something else."""

    def fault(serve: Serve, _pause: Pause) -> Answer:
        serve()
        return _plain(code)

    return fault


def truncate_body() -> Fault:
    """The request is carried out; the connection closes in the middle of the answer's body."""

    def fault(serve: Serve, _pause: Pause) -> Answer:
        answer = serve()
        headers = [(name, value) for name, value in answer.headers if name.lower() != "content-length"]
        length = ("Content-Length", str(max(2, len(answer.body))))
        return replace(answer, headers=(*headers, length), body=answer.body[: len(answer.body) // 2])

    return fault


def twice() -> Fault:
    """A proxy repeats the request although it was carried out."""

    def fault(serve: Serve, _pause: Pause) -> Answer:
        serve()
        return serve()

    return fault


def late(arrivals: list[Serve]) -> Fault:
    """The connection closes, and the request arrives all the same: whenever what is put into `arrivals` is called."""

    def fault(serve: Serve, _pause: Pause) -> None:
        arrivals.append(serve)

    return fault


def html_200() -> Fault:
    """A login page or a captive portal answers 200; the request never reaches the server."""
    page = b"<!doctype html><title>Sign in</title><p>Please sign in to continue.</p>"
    return lambda _serve, _pause: Answer(200, (("Content-Type", "text/html; charset=utf-8"),), page)


def timeout(seconds: float) -> Fault:
    """The request is carried out; the answer takes this long."""

    def fault(serve: Serve, pause: Pause) -> Answer:
        answer = serve()
        pause(seconds)
        return answer

    return fault


class Gateway:
    """The WSGI layer in front of the app: latency, faults and the log. It leaves the HTML pages alone."""

    def __init__(self, app: WSGIApplication, latency_ms: Callable[[], int], faults: Iterable[Scripted]) -> None:
        self._app = app
        self._latency_ms = latency_ms
        self._lock = threading.Lock()
        self._faults = list(faults)
        self._closing = threading.Event()
        self.requests: list[LoggedRequest] = []

    def add(self, scripted: Scripted) -> None:
        """Queue a fault; the first one that fits a request is used up by it."""
        with self._lock:
            self._faults.append(scripted)

    def clear(self) -> None:
        """Forget the faults that no request has met yet."""
        with self._lock:
            self._faults.clear()

    @property
    def waiting(self) -> int:
        """How many requests the faults that are left will meet."""
        with self._lock:
            return sum(scripted.times for scripted in self._faults)

    def close(self) -> None:
        """Let every pause end."""
        self._closing.set()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
        if path != "/fhir" and not path.startswith("/fhir/"):
            return self._app(environ, start_response)
        body = self._body_of(environ)
        self._pause(self._latency_ms() / 1000)
        fault = self._take(environ["REQUEST_METHOD"], f"{path}?{query}" if query else path)

        def serve() -> Answer:
            environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
            response = Response.from_app(self._app, environ, buffered=True)
            return Answer(response.status_code, tuple(response.headers.items()), response.get_data())

        answer = serve() if fault is None else fault(serve, self._pause)
        self._log(environ, answer)
        if answer is None:
            raise ConnectionAbortedError("a scripted fault closes this connection")
        start_response(f"{answer.status} {_phrase(answer.status)}", list(answer.headers))
        return [answer.body]

    def _take(self, method: str, target: str) -> Fault | None:
        with self._lock:
            for at, scripted in enumerate(self._faults):
                if scripted.method in ("*", method) and re.search(scripted.path_regex, target):
                    if scripted.times > 1:
                        self._faults[at] = scripted._replace(times=scripted.times - 1)
                    else:
                        del self._faults[at]
                    return scripted.fault
            return None

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self._closing.wait(seconds)

    def _log(self, environ: WSGIEnvironment, answer: Answer | None) -> None:
        sent = {name: environ.get(_environ_key(name)) for name in _LOGGED_HEADERS}
        self.requests.append(
            LoggedRequest(
                environ["REQUEST_METHOD"],
                environ["PATH_INFO"],
                answer.status if answer else None,
                {name: value for name, value in sent.items() if value},
                environ.get("QUERY_STRING", ""),
            )
        )

    @staticmethod
    def _body_of(environ: WSGIEnvironment) -> bytes:
        """Take the whole request off the socket, so that an answer that ignores it is not lost to a reset."""
        stream, length = environ["wsgi.input"], environ.get("CONTENT_LENGTH") or "0"
        body: bytes = stream.read() if environ.get("wsgi.input_terminated") else stream.read(int(length))
        return body


def _environ_key(header: str) -> str:
    key = header.upper().replace("-", "_")
    return key if key == "CONTENT_TYPE" else f"HTTP_{key}"


def _phrase(code: int) -> str:
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "Unknown"


def _plain(code: int, *headers: tuple[str, str]) -> Answer:
    body = f"<html><body><h1>{code} {_phrase(code)}</h1></body></html>".encode()
    return Answer(code, (("Content-Type", "text/html"), *headers), body)
