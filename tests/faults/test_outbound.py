"""The one way out, against servers that misbehave on real sockets."""

import contextlib
import gzip
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from afterdose.core.errors import BadSettings, EhrAmbiguous, EhrError, EhrRefused, EhrUnavailable
from afterdose.ehr import wire
from afterdose.ehr.auth import StaticHeader
from afterdose.ehr.outbound import Outbound
from afterdose.ehr.wire import Request
from ehr_targets import target

RESOURCE = {"resourceType": "Appointment", "status": "proposed"}
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: 2\r\n\r\n{}"
CREATED = OK.replace(b"200 OK", b"201 Created")

Behaviour = Callable[[Any], None]


class RawServer:
    """Reads requests whole and lets ``behave`` answer each; what came in is kept."""

    def __init__(self, behave: Behaviour | bytes, tls: ssl.SSLContext | None = None) -> None:
        self._behave = behave
        self._tls = tls
        self.requests: list[bytes] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.base_url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}/fhir"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            if self._tls:
                connection = stack.enter_context(self._tls.wrap_socket(connection, server_side=True))
            while request := _read_request(connection):
                self.requests.append(request)
                if isinstance(self._behave, bytes):
                    connection.sendall(self._behave)
                else:
                    self._behave(connection)
                    return


def _read_request(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            return b""
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    missing = (int(lengths[0]) if lengths else 0) - len(body)
    while missing > 0:
        chunk = connection.recv(65536)
        received += chunk
        missing -= len(chunk)
    return received


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    with contextlib.ExitStack() as stack:

        def start(behave: Behaviour | bytes, tls: ssl.SSLContext | None = None) -> RawServer:
            server = RawServer(behave, tls)
            stack.callback(server.close)
            return server

        yield start


Serve = Callable[..., RawServer]


def outbound(base_url: str, *, secret: str | None = None, **changes: Any) -> Outbound:
    authentication = StaticHeader("Authorization", secret) if secret else None
    return Outbound(target(base_url, **changes), authentication=authentication)


def read(base_url: str) -> Request:
    return wire.read(base_url, "Appointment", "7")


def search(base_url: str) -> Request:
    return wire.search(base_url, "Appointment", {"patient": "7"})


def create(base_url: str) -> Request:
    return wire.create(base_url, RESOURCE)


def failure_of(way: Outbound, request: Request) -> EhrError:
    with pytest.raises(EhrError) as raised:
        way.send(request)
    assert "Appointment" not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    return raised.value


class TestGuard:
    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1.evil.example:{port}/fhir/Patient/1",
            "http://127.0.0.1:{port}@evil.example/fhir/Patient/1",
            "http://user@127.0.0.1:{port}/fhir/Patient/1",
            "https://127.0.0.1:{port}/fhir/Patient/1",
            "http://localhost:{port}/fhir/Patient/1",
            "http://127.0.0.1:1/fhir/Patient/1",
            "http://127.0.0.1/fhir/Patient/1",
            "http://169.254.169.254/fhir/latest",
            "http://127.0.0.1:{port}/fhirx/Patient/1",
            "http://127.0.0.1:{port}/Patient/1",
            "http://127.0.0.1:{port}/fhir/../admin",
            "http://127.0.0.1:{port}/fhir/%2e%2e/admin",
            "http://127.0.0.1:{port}/fhir/.%2E/admin",
            "http://127.0.0.1:{port}/fhir/..;/admin/../x",
            "http://127.0.0.1:{port}\\@evil.example/fhir/Patient/1",
        ],
    )
    def test_a_request_to_another_place_never_leaves(self, serve: Serve, url: str) -> None:
        server = serve(OK)
        request = Request(method="GET", url=url.format(port=server.port), template="x", headers={})
        error = failure_of(outbound(server.base_url, secret="Bearer s3cret"), request)
        assert isinstance(error, EhrRefused)
        assert server.requests == []

    def test_what_is_under_the_base_leaves_with_the_credentials(self, serve: Serve) -> None:
        server = serve(OK)
        way = outbound(server.base_url, secret="Bearer s3cret")
        for path in ("/Appointment/7", "", "?page=2"):
            way.send(Request(method="GET", url=f"{server.base_url}{path}", template="x", headers={}))
        assert [b"Bearer s3cret" in request for request in server.requests] == [True, True, True]

    @pytest.mark.parametrize(
        "base_url",
        ["http://ehr.example/fhir", "ftp://127.0.0.1/fhir", "https://u:p@ehr.example/", "https://h/f?x=1", "fhir", ""],
    )
    def test_what_cannot_be_a_base_is_a_wrong_setting(self, base_url: str) -> None:
        with pytest.raises(BadSettings):
            outbound(base_url)

    def test_plain_http_beyond_this_machine_has_to_be_allowed(self) -> None:
        outbound("http://ehr.example/fhir", plain_http=True).close()

    def test_a_slash_at_the_end_of_the_base_makes_no_difference(self, serve: Serve) -> None:
        server = serve(OK)
        way = outbound(f"{server.base_url}/")
        assert way.send(read(f"{server.base_url}/")).status == 200
        assert way.send(wire.transaction(f"{server.base_url}/", [])).status == 200

    def test_a_secret_is_not_shown_and_is_one_header(self) -> None:
        assert "s3cret" not in repr(StaticHeader("Authorization", "Bearer s3cret"))
        with pytest.raises(BadSettings) as raised:
            StaticHeader("Authorization", "s3cret\r\nX: y")
        assert "s3cret" not in str(raised.value)


class TestWhatRequestsWouldDo:
    @pytest.mark.parametrize("status", [b"301", b"302", b"303", b"307", b"308"])
    def test_a_redirect_is_not_followed(self, serve: Serve, status: bytes) -> None:
        elsewhere = serve(OK)
        location = f"http://127.0.0.1:{elsewhere.port}/fhir/x".encode()
        server = serve(b"HTTP/1.1 %b Go\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (status, location))
        answer = outbound(server.base_url, secret="Bearer s3cret").send(create(server.base_url))
        assert answer.status == int(status)
        assert elsewhere.requests == []
        assert len(server.requests) == 1

    def test_netrc_does_not_replace_our_credentials(
        self, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        netrc = tmp_path / ".netrc"
        netrc.write_text("machine 127.0.0.1 login thief password thief\ndefault login thief password thief\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("HOME", str(tmp_path))
        server = serve(OK)
        outbound(server.base_url, secret="Bearer s3cret").send(read(server.base_url))
        outbound(server.base_url).send(read(server.base_url))
        assert b"Bearer s3cret" in server.requests[0]
        assert b"authorization" not in server.requests[1].lower()

    def test_proxies_and_certificates_of_the_environment_are_ignored(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spy, server = serve(OK), serve(OK)
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{spy.port}")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
        outbound(server.base_url).send(read(server.base_url))
        assert (len(server.requests), spy.requests) == (1, [])

    def test_the_proxy_of_the_settings_is_used(self, serve: Serve) -> None:
        proxy = serve(OK)
        way = outbound("http://ehr.example/fhir", proxy=f"http://127.0.0.1:{proxy.port}", plain_http=True)
        way.send(read("http://ehr.example/fhir"))
        assert proxy.requests[0].startswith(b"GET http://ehr.example/fhir/Appointment/7 HTTP/1.1")

    def test_cookies_are_not_kept(self, serve: Serve) -> None:
        server = serve(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: session=1; Path=/\r\n\r\n"))
        way = outbound(server.base_url)
        way.send(read(server.base_url))
        way.send(read(server.base_url))
        assert all(b"cookie" not in request.lower() for request in server.requests)

    def test_a_connection_is_kept_and_shared_by_threads(self, serve: Serve) -> None:
        server = serve(CREATED)
        way = outbound(server.base_url)
        threads = [
            threading.Thread(target=lambda: [way.send(create(server.base_url)) for _ in range(25)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.requests) == 100
        assert server.connections <= 4


def _trickle(pieces: bytes, pause: float) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        for index in range(len(pieces)):
            connection.sendall(pieces[index : index + 1])
            time.sleep(pause)

    return behave


class TestBrokenAnswers:
    @pytest.mark.parametrize("start", [b"", CREATED[:-2].replace(b"Length: 2", b"Length: 2000")])
    def test_a_drip_feed_ends_at_the_deadline(self, serve: Serve, start: bytes) -> None:
        def behave(connection: socket.socket) -> None:
            connection.sendall(start)
            _trickle(b"HTTP/1.1 201 Created\r\nX: " + b"y" * 100, 0.1)(connection)

        server = serve(behave)
        began = time.monotonic()
        way = outbound(server.base_url, timeout_read=timedelta(seconds=0.5), deadline=timedelta(seconds=1))
        error = failure_of(way, create(server.base_url))
        assert type(error) is EhrAmbiguous
        assert "deadline" in str(error)
        assert 0.9 < time.monotonic() - began < 1.6

    def test_silence_ends_at_the_read_timeout(self, serve: Serve) -> None:
        server = serve(lambda _connection: time.sleep(3))
        began = time.monotonic()
        way = outbound(server.base_url, timeout_read=timedelta(seconds=0.3))
        assert type(failure_of(way, create(server.base_url))) is EhrAmbiguous
        assert type(failure_of(way, search(server.base_url))) is EhrUnavailable
        assert time.monotonic() - began < 1.5

    def test_an_ehr_that_does_not_take_the_request_in_ends_at_the_timeout(self, serve: Serve) -> None:
        server = serve(OK)
        listener = socket.create_server(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/fhir"
        large = wire.create(base_url, {**RESOURCE, "comment": "x" * 20_000_000})
        began = time.monotonic()
        error = failure_of(outbound(base_url, timeout_read=timedelta(seconds=0.5)), large)
        listener.close()
        assert type(error) is EhrAmbiguous
        assert time.monotonic() - began < 2
        assert server.requests == []

    @pytest.mark.parametrize("encoding", ["gzip", "deflate, gzip"])
    def test_a_gzip_bomb_is_not_inflated(self, serve: Serve, encoding: str) -> None:
        bomb = gzip.compress(bytes(300_000_000), compresslevel=9)
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(bomb)}\r\n\r\n"
        server = serve(head.encode() + bomb)
        began = time.monotonic()
        way = outbound(server.base_url)
        assert isinstance(failure_of(way, read(server.base_url)), EhrError)
        assert type(failure_of(way, create(server.base_url))) is EhrAmbiguous
        assert time.monotonic() - began < 2

    def test_an_endless_answer_is_cut_off(self, serve: Serve) -> None:
        def behave(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            while True:
                connection.sendall(bytes(65536))

        server = serve(behave)
        error = failure_of(outbound(server.base_url), read(server.base_url))
        assert isinstance(error, EhrRefused)

    def test_compressed_answers_of_good_size_are_read(self, serve: Serve) -> None:
        body = gzip.compress(b'{"resourceType":"Appointment"}')
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
        server = serve(head.encode() + body)
        assert outbound(server.base_url).send(read(server.base_url)).body == b'{"resourceType":"Appointment"}'

    @pytest.mark.parametrize(
        "answer",
        [
            CREATED.replace(b"Length: 2", b"Length: 200"),
            b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n{",
            b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
            b"HTTP/1.1 201 Cre",
            b"HTTP/1.1 201 Created\r\nLocation: Appointment/64",
            b"HTTP/1.1 201 Created\r\nLocation: Appointment/6427746\r\n",
            b"",
            b"SSH-2.0-OpenSSH_9.2\r\n",
        ],
    )
    def test_a_cut_or_foreign_answer_to_a_write_is_ambiguous_and_to_a_read_is_not(
        self, serve: Serve, answer: bytes
    ) -> None:
        server = serve(lambda connection: connection.sendall(answer))
        way = outbound(server.base_url)
        assert type(failure_of(way, create(server.base_url))) is EhrAmbiguous
        assert type(failure_of(way, read(server.base_url))) is EhrUnavailable
        assert type(failure_of(way, search(server.base_url))) is EhrUnavailable
        assert len(server.requests) <= 3

    def test_a_body_cut_without_a_length_comes_through_as_it_is(self, serve: Serve) -> None:
        cut = b'HTTP/1.1 201 Created\r\nContent-Type: application/fhir+json\r\nConnection: close\r\n\r\n{"id'
        server = serve(lambda connection: connection.sendall(cut))
        assert outbound(server.base_url).send(create(server.base_url)).body == b'{"id'

    def test_a_connection_reset_after_the_request_is_ambiguous(self, serve: Serve) -> None:
        def behave(connection: socket.socket) -> None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

        server = serve(behave)
        assert type(failure_of(outbound(server.base_url), create(server.base_url))) is EhrAmbiguous


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of 127.0.0.1, signed by itself."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    options = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    subject = "-addext subjectAltName=IP:127.0.0.1"
    command = ["openssl", "req", *options.split(), *subject.split(), "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


class TestTls:
    @pytest.fixture
    def tls(self, serve: Serve, certificate: Path) -> RawServer:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)

        def behave(connection: ssl.SSLSocket) -> None:
            connection.sendall(CREATED)
            time.sleep(0.1)

        return serve(behave, context)

    def test_a_certificate_of_the_sites_own_authority_is_trusted(self, tls: RawServer, certificate: Path) -> None:
        way = outbound(tls.base_url, ca_bundle=Path(f"{certificate}.crt"))
        assert way.send(create(tls.base_url)).status == 201

    def test_a_certificate_that_nobody_vouches_for_ends_it_before_anything_is_sent(
        self, tls: RawServer, monkeypatch: pytest.MonkeyPatch, certificate: Path
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", f"{certificate}.crt")
        error = failure_of(outbound(tls.base_url, secret="Bearer s3cret"), create(tls.base_url))
        assert type(error) is EhrUnavailable
        assert "SSLCertVerificationError: self-signed certificate; ca_bundle names the authorities" in str(error)
        assert tls.requests == []

    def test_silence_over_tls_ends_at_the_deadline(self, serve: Serve, certificate: Path) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        server = serve(_trickle(CREATED, 0.1), context)
        way = outbound(server.base_url, ca_bundle=Path(f"{certificate}.crt"), deadline=timedelta(seconds=0.5))
        began = time.monotonic()
        assert type(failure_of(way, create(server.base_url))) is EhrAmbiguous
        assert time.monotonic() - began < 1


class Renewing:
    """Credentials of which there are two, the second one after a refusal."""

    def __init__(self) -> None:
        self.renewed = 0

    def headers(self, within: float) -> dict[str, str]:
        assert 0 < within <= 5
        return {"Authorization": "Bearer first"}

    def renew(self, refused: Mapping[str, str], within: float) -> dict[str, str]:
        assert refused == {"Authorization": "Bearer first"}
        assert 0 < within <= 5
        self.renewed += 1
        return {"Authorization": "Bearer second"}


class TestRefusedCredentials:
    REFUSED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"

    def test_the_same_request_is_repeated_once_with_other_credentials(self, serve: Serve) -> None:
        server, credentials = serve(self.REFUSED), Renewing()
        way = Outbound(target(server.base_url), authentication=credentials)
        assert way.send(create(server.base_url)).status == 401
        assert credentials.renewed == 1
        first, second = server.requests
        assert first.replace(b"Bearer first", b"Bearer second") == second

    def test_nothing_but_a_401_is_repeated(self, serve: Serve) -> None:
        for status in (b"400 Bad Request", b"403 Forbidden", b"407 Proxy", b"503 Down"):
            server, credentials = serve(self.REFUSED.replace(b"401 Unauthorized", status)), Renewing()
            Outbound(target(server.base_url), authentication=credentials).send(create(server.base_url))
            assert (credentials.renewed, len(server.requests)) == (0, 1)

    def test_a_fixed_secret_is_not_tried_twice(self, serve: Serve) -> None:
        server = serve(self.REFUSED)
        assert outbound(server.base_url, secret="Bearer s3cret").send(create(server.base_url)).status == 401
        assert len(server.requests) == 1

    def test_both_tries_together_end_at_the_deadline(self, serve: Serve) -> None:
        def behave(connection: socket.socket) -> None:
            time.sleep(0.8)
            connection.sendall(self.REFUSED)

        server = serve(behave)
        way = Outbound(target(server.base_url, deadline=timedelta(seconds=1)), authentication=Renewing())
        began = time.monotonic()
        assert type(failure_of(way, create(server.base_url))) is EhrAmbiguous
        assert time.monotonic() - began < 1.5


class TestNoConnection:
    def test_a_look_up_that_does_not_end_ends_at_the_deadline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        over = threading.Event()

        def look_up(*_: object, **__: object) -> list[Any]:
            over.wait(10)
            raise socket.gaierror("no answer")

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        way = outbound("https://ehr.example/fhir", deadline=timedelta(seconds=0.5))
        began = time.monotonic()
        error = failure_of(way, create("https://ehr.example/fhir"))
        over.set()
        assert type(error) is EhrUnavailable
        assert "no connection before the deadline" in str(error)
        assert time.monotonic() - began < 1.5

    def test_a_tls_greeting_byte_by_byte_ends_at_the_deadline(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))

        def drip() -> None:
            with contextlib.suppress(OSError):
                _trickle(b"\x16\x03\x03\x40\x00" + bytes(100), 0.1)(listener.accept()[0])

        threading.Thread(target=drip, daemon=True).start()
        base_url = f"https://127.0.0.1:{listener.getsockname()[1]}/fhir"
        way = outbound(base_url, deadline=timedelta(seconds=0.7))
        began = time.monotonic()
        assert type(failure_of(way, create(base_url))) is EhrUnavailable
        assert time.monotonic() - began < 1.5
        listener.close()

    def test_a_refused_connection_changed_nothing(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/fhir"
        error = failure_of(outbound(base_url), create(base_url))
        assert type(error) is EhrUnavailable
        assert str(error) == "127.0.0.1: no connection (ConnectionRefusedError)"

    def test_an_unknown_host_changed_nothing(self) -> None:
        base_url = "https://ehr.invalid/fhir"
        assert type(failure_of(outbound(base_url), create(base_url))) is EhrUnavailable

    def test_tls_with_a_server_that_speaks_none_changed_nothing(self, serve: Serve) -> None:
        base_url = f"https://127.0.0.1:{serve(OK).port}/fhir"
        way = outbound(base_url, timeout_connect=timedelta(seconds=0.5))
        assert type(failure_of(way, create(base_url))) is EhrUnavailable

    def test_a_proxy_that_refuses_the_tunnel_changed_nothing(self, serve: Serve) -> None:
        proxy = serve(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        way = outbound("https://ehr.example/fhir", proxy=f"http://127.0.0.1:{proxy.port}", secret="Bearer s3cret")
        error = failure_of(way, create("https://ehr.example/fhir"))
        assert type(error) is EhrUnavailable
        assert all(request.startswith(b"CONNECT ") and b"s3cret" not in request for request in proxy.requests)

    def test_a_certificate_that_nobody_vouches_for_changed_nothing(self, serve: Serve, tmp_path: Path) -> None:
        wrong = tmp_path / "none.pem"
        base_url = f"https://127.0.0.1:{serve(OK).port}/fhir"
        assert type(failure_of(outbound(base_url, ca_bundle=wrong), create(base_url))) is EhrUnavailable
