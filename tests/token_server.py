"""A token endpoint on a real socket: it checks what SMART Backend Services says it must, and misbehaves if told to."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote_plus

import jwt

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LEAVE_OUT: Any = object()


class NotGiven(Exception):
    """The error code of a refused request (RFC 6749, section 5.2)."""


class TokenServer:
    """Gives tokens to one client, which proves itself by a key of ``jwks`` or by ``secret``.

    ``scripted`` holds whole answers (status, headers, body) that are given first, ``granted`` the scopes that are given
    instead of those asked for, ``clock_error`` by how much its clock is behind ours. ``on_issue`` is told each token.
    """

    def __init__(
        self,
        *,
        client_id: str = "afterdose",
        jwks: Callable[[], list[dict[str, Any]]] = list,
        secret: str | None = None,
        on_issue: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.client_id = client_id
        self.jwks = jwks
        self.secret = secret
        self.on_issue = on_issue
        self.expires_in: Any = 300
        self.granted: str | None = None
        self.clock_error = timedelta(0)
        self.pause = 0.0
        self.scripted: list[tuple[int, Mapping[str, str], bytes]] = []
        self.requests: list[tuple[dict[str, str], dict[str, str]]] = []
        self.claims: list[dict[str, Any]] = []
        self.headers: list[dict[str, Any]] = []
        self.issued: list[str] = []
        self._seen: set[str] = set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, extra, answer = server._answer({k.lower(): v for k, v in self.headers.items()}, body)
                self.send_response(status)
                for name, value in {**extra, "Content-Length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST

            def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002
                return format_datetime(datetime.now(UTC) - server.clock_error, usegmt=True)

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._http.server_port
        self.url = f"http://127.0.0.1:{self.port}/oauth2/token"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _answer(self, headers: dict[str, str], body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        self.requests.append((headers, form))
        time.sleep(self.pause)
        if self.scripted:
            return self.scripted.pop(0)
        try:
            return 200, {"Content-Type": "application/json"}, json.dumps(self._give(headers, form)).encode()
        except NotGiven as refusal:
            return 400, {"Content-Type": "application/json"}, json.dumps({"error": str(refusal)}).encode()

    def _give(self, headers: dict[str, str], form: dict[str, str]) -> dict[str, Any]:
        if headers.get("content-type") != "application/x-www-form-urlencoded":
            raise NotGiven("invalid_request")
        if form.get("grant_type") != "client_credentials":
            raise NotGiven("unsupported_grant_type")
        if not form.get("scope"):
            raise NotGiven("invalid_scope")
        if self.secret is None:
            self._check_assertion(form)
        else:
            self._check_secret(headers, form)
        token = f"token-{len(self.issued) + 1}"
        self.issued.append(token)
        self.on_issue(token)
        scope = form["scope"] if self.granted is None else self.granted
        answer = {"access_token": token, "token_type": "bearer", "scope": scope, "expires_in": self.expires_in}
        return {name: value for name, value in answer.items() if value is not LEAVE_OUT}

    def _check_assertion(self, form: dict[str, str]) -> None:
        if form.get("client_assertion_type") != JWT_BEARER or "client_secret" in form:
            raise NotGiven("invalid_request")
        assertion = form.get("client_assertion", "")
        header = jwt.get_unverified_header(assertion)
        keys = [key for key in self.jwks() if key["kid"] == header.get("kid") and key["kty"] == _kty(header["alg"])]
        if len(keys) != 1 or header.get("typ") != "JWT":
            raise NotGiven("invalid_client")
        now = datetime.now(UTC) - self.clock_error
        try:
            claims = jwt.decode(
                assertion,
                jwt.PyJWK(keys[0], header["alg"]).key,
                algorithms=["RS384", "ES384"],
                audience=self.url,
                issuer=self.client_id,
                options={"require": ["iss", "sub", "aud", "exp", "jti"], "verify_exp": False},
            )
        except jwt.InvalidTokenError:
            raise NotGiven("invalid_client") from None
        lasts = claims["exp"] - now.timestamp()
        if not 0 < lasts <= 300 or claims["sub"] != self.client_id or claims["jti"] in self._seen:
            raise NotGiven("invalid_client")
        self._seen.add(claims["jti"])
        self.headers.append(header)
        self.claims.append(claims)

    def _check_secret(self, headers: dict[str, str], form: dict[str, str]) -> None:
        shown = (form.get("client_id"), form.get("client_secret"))
        if headers.get("authorization", "").startswith("Basic "):
            client_id, _, secret = base64.b64decode(headers["authorization"][6:]).decode().partition(":")
            shown = (unquote_plus(client_id), unquote_plus(secret))
        if shown != (self.client_id, self.secret):
            raise NotGiven("invalid_client")


def _kty(algorithm: str) -> str:
    return "EC" if algorithm.startswith("ES") else "RSA"
