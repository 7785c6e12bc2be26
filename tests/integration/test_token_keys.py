"""Keys of senders behind a URL: fetched by the one guarded way, seldom, and never from where a token says."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from afterdose.cli import main
from web_server import RunningWeb, start_web, write_settings

pytestmark = pytest.mark.service

OLD, NEW = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
BEARER = """
[sources.store]
target = "ehr"
[sources.store.bearer]
issuer = "https://issuer.example.org"
audience = "here"
jwks_url = "{url}"
"""


class KeyServer:
    """Serves a key set, or what it is told to, and counts who asks."""

    def __init__(self) -> None:
        self.status, self.headers = 200, {"Content-Type": "application/json"}
        self.body = json.dumps({"keys": [jwk("old", OLD), jwk("new", NEW)]}).encode()
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                self.send_response(server.status)
                for name, value in {**server.headers, "Content-Length": str(len(server.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(server.body)

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/keys"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def jwk(kid: str, private: Any) -> dict[str, Any]:
    public = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return {**public, "kid": kid, "use": "sig", "key_ops": ["verify"]}


@pytest.fixture
def keys() -> Iterator[KeyServer]:
    server = KeyServer()
    yield server
    server.close()


@contextmanager
def served(folder: Path, keys: KeyServer) -> Iterator[RunningWeb]:
    with start_web(folder, more=BEARER.format(url=keys.url)) as web:
        yield web


def token(kid: str, private: Any, **header: Any) -> str:
    now = datetime.now(UTC)
    claims = {"iss": "https://issuer.example.org", "aud": "here", "exp": now + timedelta(minutes=5), "iat": now}
    return jwt.encode(claims, private, algorithm="ES384", headers={"kid": kid, **header})


def probe(web: RunningWeb, shown: str) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=15)
    try:
        connection.request("HEAD", "/fhir", headers={"Authorization": f"Bearer {shown}"})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


def test_both_live_keys_open_the_door_and_are_asked_for_once(tmp_path: Path, keys: KeyServer) -> None:
    with served(tmp_path, keys) as web:
        assert keys.asked == []
        for kid, private in (("old", OLD), ("new", NEW)):
            assert probe(web, token(kid, private))[0] == 200
        for number in range(5):
            elsewhere = {"jku": f"{keys.url}/elsewhere", "x5u": f"{keys.url}/elsewhere"}
            assert probe(web, token(f"unknown-{number}", NEW, **elsewhere))[0] == 401

    assert keys.asked == ["/keys"]


def test_who_shows_something_else_than_a_token_of_the_issuer_has_nobody_asked(tmp_path: Path, keys: KeyServer) -> None:
    other = jwt.encode({"iss": "https://other.example.org"}, NEW, algorithm="ES384", headers={"kid": "new"})
    with served(tmp_path, keys) as web:
        for shown in ("", "x", "a.b.c", other):
            assert probe(web, shown)[0] == 401

    assert keys.asked == []


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (302, {"Location": "/elsewhere"}, None),
        (200, {}, b'{"keys": ["' + b"x" * 300_000 + b'"]}'),
    ],
)
def test_while_the_keys_cannot_be_had_the_sender_is_told_to_come_again(
    tmp_path: Path, keys: KeyServer, status: int, headers: dict[str, str], body: bytes | None
) -> None:
    keys.status, keys.headers, keys.body = status, headers, body if body is not None else keys.body
    with served(tmp_path, keys) as web:
        for _ in range(3):
            answered, told = probe(web, token("new", NEW))
            assert answered == 503
            assert int(told["retry-after"]) > 0
        log = web.log.read_text()

    assert keys.asked == ["/keys"]
    assert log.count('"alarm": "sender-keys"') == 1


def test_a_key_file_that_cannot_be_read_ends_the_start(tmp_path: Path) -> None:
    more = BEARER.format(url="x").replace('jwks_url = "x"', 'jwks_file = "missing.json"')
    config = write_settings(tmp_path, more=more)

    for command in ("serve", "run"):
        done = CliRunner().invoke(main, [command, "--config", str(config)])

        assert done.exit_code == 1
        assert "sources.store.bearer.jwks_file: " in done.output
