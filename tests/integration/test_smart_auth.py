"""SMART Backend Services over real sockets: an EHR that wants its token, and a token endpoint that checks who asks."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner

from afterdose import logs
from afterdose.bootstrap import utc_now
from afterdose.cli import main
from afterdose.connections import Connection, connect, keyring, published_keys
from afterdose.core.errors import BadSettings, EhrError, EhrRefused, EhrUnavailable
from afterdose.ehr.client import EhrClient
from afterdose.ehr.tokens import AccessTokens
from afterdose.sandbox import SandboxEHR
from afterdose.sandbox.behaviour import Behaviour
from afterdose.settings import load_settings
from running_service import RunningService
from token_server import LEAVE_OUT, TokenServer

pytestmark = pytest.mark.service

PATIENT = {"resourceType": "Patient", "id": "p1"}
TASK = {"resourceType": "Task", "status": "requested", "intent": "proposal", "for": {"reference": "Patient/p1"}}

TARGET = """
[targets.ehr]
base_url = "{base_url}"
clinic = "example"
deadline = "5s"
[targets.ehr.auth]
kind = "{kind}"
client_id = "afterdose"
{more}
"""


class Eavesdropper:
    """A server that notes every request and answers with what it is told to."""

    def __init__(self, status: int = 200, body: bytes = b"{}", **headers: str) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        spy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                received = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                spy.requests.append((self.path, dict(self.headers), received))
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def ehr() -> Iterator[SandboxEHR]:
    """A sandbox that lets in who has the newest token; nobody has one yet."""
    with SandboxEHR(behaviour=Behaviour(bearer="nobody-has-this")) as sandbox:
        sandbox.put(PATIENT)
        yield sandbox


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The settings' folder, with keys in it."""
    keyring(load_settings(None, {"AFTERDOSE_DATA_DIR": str(tmp_path)})).generate(utc_now())
    return tmp_path


@pytest.fixture
def tokens(ehr: SandboxEHR, folder: Path) -> Iterator[TokenServer]:
    """The token endpoint of that EHR, which knows our published keys."""

    def let_in(token: str) -> None:
        ehr.behaviour = replace(ehr.behaviour, bearer=token)

    settings = load_settings(None, {"AFTERDOSE_DATA_DIR": str(folder)})
    with TokenServer(jwks=lambda: published_keys(settings, utc_now()), on_issue=let_in) as server:
        ehr.behaviour = replace(ehr.behaviour, token_url=server.url)
        yield server


Connect = Callable[..., Connection]


@pytest.fixture
def connection(ehr: SandboxEHR, folder: Path) -> Iterator[Connect]:
    opened = []

    def open_one(more: str = "", kind: str = "smart") -> Connection:
        config = folder / "afterdose.toml"
        text = f'data_dir = "{folder}"\n' + TARGET.format(base_url=ehr.base_url, kind=kind, more=more)
        config.write_text(text)
        connections = connect(load_settings(config, {}), utc_now)
        opened.append(connections)
        return connections.targets["ehr"]

    yield open_one
    for connections in opened:
        connections.close()


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    yield stream
    logs.configure("info", "json")


class Passed:
    """Seconds that have passed for a token, beyond those of the test."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def client(self, connection: Connection) -> EhrClient:
        """A client for the same server, whose tokens count these seconds too."""
        assert connection.endpoint is not None
        tokens = AccessTokens(connection.endpoint.obtain, monotonic=lambda: time.monotonic() + self.seconds)
        return EhrClient(connection.server, clock=utc_now, authentication=tokens)


def alarms(log: io.StringIO) -> list[str]:
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    return [line["alarm"] for line in lines if "alarm" in line and line["level"] == "error"]


@pytest.mark.parametrize("algorithm", ["RS384", "ES384"])
def test_the_ehr_lets_us_in_with_a_token_that_our_key_got(
    tokens: TokenServer, connection: Connect, algorithm: str
) -> None:
    client = connection(f'algorithm = "{algorithm}"').client

    assert client.read("Patient", "p1").resource["id"] == "p1"
    client.create(TASK)

    assert [header["alg"] for header in tokens.headers] == [algorithm]
    assert tokens.claims[0]["aud"] == tokens.url
    assert len(tokens.requests) == 1


def test_the_scopes_that_are_asked_for_are_those_of_our_calls(tokens: TokenServer, connection: Connect) -> None:
    grant = connection().tokens.grant(5)

    assert "system/Appointment.crus" in grant.asked
    assert tokens.requests[0][1]["scope"] == " ".join(grant.asked)
    assert grant.missing == ()


def test_what_the_settings_say_wins_over_what_is_discovered(
    ehr: SandboxEHR, tokens: TokenServer, connection: Connect
) -> None:
    ehr.behaviour = replace(ehr.behaviour, token_url="https://somewhere.example/token")
    more = f'token_url = "{tokens.url}"\nscopes = "https://ehr.example/.default"'

    assert connection(more).client.read("Patient", "p1")

    assert tokens.requests[0][1]["scope"] == "https://ehr.example/.default"


def test_an_ehr_without_the_document_may_name_its_token_endpoint_in_its_capability_statement(
    folder: Path, tokens: TokenServer
) -> None:
    uris = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
    security = {"extension": [{"url": uris, "extension": [{"url": "token", "valueUri": tokens.url}]}]}
    statement = {"resourceType": "CapabilityStatement", "rest": [{"mode": "server", "security": security}]}
    old = Eavesdropper(body=json.dumps(statement).encode())
    (folder / "afterdose.toml").write_text(
        f'data_dir = "{folder}"\n' + TARGET.format(base_url=old.url, kind="smart", more="")
    )
    connections = connect(load_settings(folder / "afterdose.toml", {}), utc_now)

    assert connections.targets["ehr"].tokens.grant(5).token_url == tokens.url

    assert [path for path, _, _ in old.requests] == ["/.well-known/smart-configuration", "/metadata"]
    assert tokens.requests[0][1]["scope"].startswith("system/Appointment.read system/Appointment.write")
    connections.close()
    old.close()


@pytest.mark.parametrize("kind", ["client-secret-basic", "client-secret-post"])
def test_a_secret_gets_a_token_where_the_settings_name_the_endpoint(
    ehr: SandboxEHR, connection: Connect, kind: str
) -> None:
    secret = "a secret: with + signs/" + "1" * 20

    def let_in(token: str) -> None:
        ehr.behaviour = replace(ehr.behaviour, bearer=token)

    with TokenServer(secret=secret, on_issue=let_in) as server:
        client = connection(f'secret = "{secret}"\ntoken_url = "{server.url}"', kind).client
        assert client.read("Patient", "p1")
        ((headers, form),) = server.requests
    assert ("authorization" in headers) == (kind == "client-secret-basic")
    assert ("client_secret" in form) == (kind == "client-secret-post")


class TestTokenLife:
    @pytest.mark.parametrize("expires_in", [LEAVE_OUT, 0, -1, 10**12, "300", None, "soon"])
    def test_whatever_is_said_of_its_life_a_token_is_used_and_not_asked_for_with_every_call(
        self, tokens: TokenServer, connection: Connect, expires_in: object
    ) -> None:
        tokens.expires_in = expires_in
        client = connection().client
        for _ in range(5):
            client.read("Patient", "p1")
        assert len(tokens.requests) == 1

    def test_fifty_threads_cost_one_token_request(self, tokens: TokenServer, connection: Connect) -> None:
        tokens.pause = 0.2
        client = connection().client
        with ThreadPoolExecutor(50) as pool:
            found = list(pool.map(lambda _: client.read("Patient", "p1").resource["id"], range(50)))
        assert found == ["p1"] * 50
        assert len(tokens.requests) == 1

    def test_a_dead_token_endpoint_is_asked_once_by_fifty_threads_and_nothing_reaches_the_ehr(
        self, ehr: SandboxEHR, tokens: TokenServer, connection: Connect
    ) -> None:
        tokens.scripted = [(503, {}, b"")] * 50
        client = connection().client

        def call(_: int) -> type[Exception] | None:
            try:
                client.create(TASK)
            except EhrUnavailable as error:
                return type(error)
            return None

        with ThreadPoolExecutor(50) as pool:
            assert set(pool.map(call, range(50))) == {EhrUnavailable}
        assert len(tokens.requests) == 1
        assert ehr.all("Task") == []

    def test_a_call_ends_at_its_deadline_though_it_waits_for_a_token(
        self, tokens: TokenServer, connection: Connect
    ) -> None:
        tokens.pause = 30
        client = connection().client
        began = datetime.now(UTC)
        with pytest.raises(EhrUnavailable):
            client.read("Patient", "p1")
        assert datetime.now(UTC) - began < timedelta(seconds=7)


class TestRefusedToken:
    def test_in_the_middle_of_a_batch_one_new_token_and_one_repetition_of_each_call(
        self, ehr: SandboxEHR, tokens: TokenServer, connection: Connect
    ) -> None:
        passed = Passed()
        client = passed.client(connection())
        client.create(TASK)
        ehr.behaviour = replace(ehr.behaviour, bearer="all-tokens-are-revoked")
        passed.seconds += 60
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda _: client.create(TASK), range(20)))
        assert len(ehr.all("Task")) == 21
        assert len(tokens.requests) == 2

    def test_a_second_refusal_is_no_third_try_and_one_alarm(
        self, ehr: SandboxEHR, tokens: TokenServer, connection: Connect, log: io.StringIO
    ) -> None:
        passed = Passed()
        client = passed.client(connection())
        client.create(TASK)
        let_in, tokens.on_issue = tokens.on_issue, lambda _: None
        ehr.behaviour = replace(ehr.behaviour, bearer="all-tokens-are-revoked")
        for number in range(2, 4):
            passed.seconds += 60
            with pytest.raises(EhrError) as raised:
                client.create(TASK)
            assert raised.value.status == 401
            assert len(tokens.requests) == number
        assert alarms(log) == ["credentials"]
        assert len(ehr.all("Task")) == 1
        tokens.on_issue = let_in
        passed.seconds += 60
        client.create(TASK)
        assert "takes our credentials again" in log.getvalue()

    def test_a_token_that_is_refused_as_soon_as_it_is_given_is_tried_later(
        self, tokens: TokenServer, connection: Connect
    ) -> None:
        tokens.on_issue = lambda _: None
        client = connection().client
        for _ in range(10):
            with pytest.raises(EhrUnavailable) as raised:
                client.read("Patient", "p1")
            assert timedelta(0) < raised.value.retry_after <= timedelta(minutes=10)
        assert len(tokens.requests) == 1


class TestTokenEndpointThatRefuses:
    @pytest.mark.parametrize(
        ("client_id", "jwks"), [("somebody-else", None), ("afterdose", list)], ids=["client", "keys"]
    )
    def test_a_registration_that_is_wrong_is_an_alarm_and_no_verdict_on_the_patient(
        self, tokens: TokenServer, connection: Connect, log: io.StringIO, client_id: str, jwks: Any
    ) -> None:
        tokens.client_id, tokens.jwks = client_id, jwks or tokens.jwks
        with pytest.raises(EhrUnavailable) as raised:
            connection().client.read("Patient", "p1")
        assert raised.value.code == "invalid_client"
        assert alarms(log) == ["token"]

    def test_a_redirect_is_not_followed(self, tokens: TokenServer, connection: Connect) -> None:
        spy = Eavesdropper()
        tokens.scripted = [(307, {"Location": f"{spy.url}/token"}, b"")]
        with pytest.raises(EhrUnavailable) as raised:
            connection().client.read("Patient", "p1")
        assert raised.value.status == 307
        assert spy.requests == []
        spy.close()

    @pytest.mark.parametrize(
        ("media_type", "body"),
        [("text/html", b"<html>Log in</html>"), ("application/json", b'{"access_token": "", "token_type": "bearer"}')],
        ids=["a login page", "an empty token"],
    )
    def test_an_answer_without_a_token_is_an_alarm(
        self, tokens: TokenServer, connection: Connect, log: io.StringIO, media_type: str, body: bytes
    ) -> None:
        tokens.scripted = [(200, {"Content-Type": media_type}, body)]
        with pytest.raises(EhrUnavailable, match="without an access token"):
            connection().client.read("Patient", "p1")
        assert alarms(log) == ["token"]

    def test_a_clock_that_differs_is_an_alarm_with_its_seconds(
        self, tokens: TokenServer, connection: Connect, log: io.StringIO
    ) -> None:
        tokens.clock_error = timedelta(minutes=10)
        with pytest.raises(EhrUnavailable):
            connection().client.read("Patient", "p1")
        assert sorted(alarms(log)) == ["clock", "token"]
        (seconds,) = [line["seconds"] for line in map(json.loads, log.getvalue().splitlines()) if "seconds" in line]
        assert 590 < seconds < 660

    @pytest.mark.parametrize("error", [timedelta(seconds=50), timedelta(seconds=-50)])
    def test_a_clock_that_differs_by_less_than_a_minute_does_no_harm(
        self, tokens: TokenServer, connection: Connect, log: io.StringIO, error: timedelta
    ) -> None:
        tokens.clock_error = error
        assert connection().client.read("Patient", "p1")
        assert alarms(log) == []

    def test_an_assertion_is_taken_once(self, tokens: TokenServer, connection: Connect) -> None:
        assert connection().client.read("Patient", "p1")
        replayed = requests.post(tokens.url, data=tokens.requests[0][1], timeout=5)
        assert replayed.json() == {"error": "invalid_client"}


class TestScopes:
    def test_a_grant_that_leaves_something_out_is_said_and_used(
        self, tokens: TokenServer, connection: Connect, log: io.StringIO
    ) -> None:
        tokens.granted = "system/Patient.rs system/Task.crus"
        one = connection()
        assert one.client.read("Patient", "p1")
        assert "system/Appointment.crus" in one.tokens.grant(5).missing
        assert "system/Patient.rs" not in one.tokens.grant(5).missing
        assert "the EHR granted less than was asked for" in log.getvalue()
        assert alarms(log) == ["scope"]

    def test_a_grant_of_nothing_is_not_used(self, tokens: TokenServer, connection: Connect, log: io.StringIO) -> None:
        tokens.granted = "openid patient/Patient.rs"
        with pytest.raises(EhrUnavailable) as raised:
            connection().client.read("Patient", "p1")
        assert raised.value.code == "scope"
        assert alarms(log) == ["token"]

    def test_a_grant_without_a_word_on_scopes_is_one_of_all(self, tokens: TokenServer, connection: Connect) -> None:
        tokens.granted = LEAVE_OUT
        assert connection().tokens.grant(5).missing == ()


class TestOtherHosts:
    def test_a_secret_is_not_sent_to_another_server_that_only_discovery_names(
        self, tokens: TokenServer, connection: Connect, log: io.StringIO
    ) -> None:
        with pytest.raises(EhrUnavailable) as raised:
            connection(f'secret = "{"s3cret" * 8}"', "client-secret-post").client.read("Patient", "p1")
        assert raised.value.code == "token-url"
        assert tokens.requests == []
        assert alarms(log) == ["token"]

    @pytest.mark.parametrize("token_url", ["http://10.0.0.1/token", "https://169.254.169.254/token", "file:///x"])
    def test_a_discovered_endpoint_that_could_be_a_trap_is_not_asked(
        self, ehr: SandboxEHR, connection: Connect, token_url: str
    ) -> None:
        ehr.behaviour = replace(ehr.behaviour, token_url=token_url)
        with pytest.raises(EhrUnavailable) as raised:
            connection().client.read("Patient", "p1")
        assert raised.value.code == "token-url"

    def test_each_credential_goes_to_its_own_server_alone(
        self, ehr: SandboxEHR, tokens: TokenServer, connection: Connect
    ) -> None:
        client = connection().client
        client.read("Patient", "p1")
        client.create(TASK)
        at_token_endpoint = repr(tokens.requests)
        at_ehr = repr(ehr.requests)
        assert tokens.issued[0] not in at_token_endpoint
        assert tokens.requests[0][1]["client_assertion"] not in at_ehr
        assert "authorization" not in tokens.requests[0][0]

    def test_an_access_token_does_not_follow_a_link_to_another_server(self, tokens: TokenServer, folder: Path) -> None:
        spy = Eavesdropper()
        bundle = {
            "resourceType": "Bundle",
            "type": "searchset",
            "link": [{"relation": "next", "url": f"{spy.url}/elsewhere?page=2"}],
        }
        tempter = Eavesdropper(body=json.dumps(bundle).encode())
        more = f'token_url = "{tokens.url}"\nscopes = "system/Task.rs"'
        text = TARGET.format(base_url=f"{tempter.url}/fhir", kind="smart", more=more)
        (folder / "afterdose.toml").write_text(f'data_dir = "{folder}"\n{text}')
        connections = connect(load_settings(folder / "afterdose.toml", {}), utc_now)
        with pytest.raises(EhrRefused):
            connections.targets["ehr"].client.search("Task", {"_count": "1"})
        assert "Authorization" in tempter.requests[0][1]
        assert spy.requests == []
        connections.close()
        tempter.close()
        spy.close()

    def test_one_client_id_at_two_ehrs_needs_both_endpoints_in_the_settings(self, folder: Path) -> None:
        def settings(more: str) -> Any:
            south = TARGET.replace("targets.ehr", "targets.south")
            text = TARGET.format(base_url="https://north.example/fhir", kind="smart", more=more)
            text += south.format(base_url="https://south.example/fhir", kind="smart", more=more)
            (folder / "afterdose.toml").write_text(f'data_dir = "{folder}"\n{text}')
            return load_settings(folder / "afterdose.toml", {})

        with pytest.raises(BadSettings, match=r"^targets\.ehr\.auth\.token_url: .*targets\.south\.auth"):
            connect(settings(""), utc_now)
        connect(settings('token_url = "https://login.example/token"'), utc_now).close()


def test_check_says_what_was_asked_for_and_what_was_granted(
    ehr: SandboxEHR, tokens: TokenServer, connection: Connect, folder: Path
) -> None:
    connection()
    tokens.granted = "system/Patient.rs"

    done = CliRunner().invoke(main, ["check", "--config", str(folder / "afterdose.toml")])

    assert done.exit_code == 0, done.output
    assert f"targets.ehr  {ehr.base_url}" in done.output
    assert f"access token from {tokens.url}" in done.output
    assert "not granted: system/Appointment.crus" in done.output
    assert "FHIR 4.0.1" in done.output


def test_only_the_chosen_rungs_are_asked_for_and_what_else_was_granted_is_told(
    ehr: SandboxEHR, tokens: TokenServer, connection: Connect, folder: Path
) -> None:
    ehr.behaviour = replace(ehr.behaviour, absent=frozenset({"CarePlan"}), read_only=frozenset({"Task"}))
    tokens.granted = "system/*.cruds openid"
    connection()
    done = CliRunner().invoke(main, ["check", "--config", str(folder / "afterdose.toml")])

    asked = next(line for line in done.output.splitlines() if "asked for" in line).split()
    assert "system/DocumentReference.crus" in asked
    assert "system/Appointment.crus" in asked
    assert not any(one.startswith(("system/CarePlan", "system/Task")) for one in asked)
    assert "granted besides, and not needed: system/*.cruds" in done.output


def test_in_shadow_mode_no_writing_is_asked_for(tokens: TokenServer, connection: Connect, folder: Path) -> None:
    connection()
    config = folder / "afterdose.toml"
    config.write_text(config.read_text().replace("[targets.ehr.auth]", 'mode = "shadow"\n[targets.ehr.auth]'))
    connections = connect(load_settings(config, {}), utc_now)
    shadow = connections.targets["ehr"]
    assert shadow.tokens is not None
    asked = shadow.tokens.grant(5.0).asked
    connections.close()

    assert "system/Appointment.rs" in asked
    assert not any("c" in one.rpartition(".")[2] for one in asked)


def test_check_fails_where_the_ehr_does_not_let_us_in(tokens: TokenServer, connection: Connect, folder: Path) -> None:
    connection()
    tokens.client_id = "somebody-else"

    done = CliRunner().invoke(main, ["check", "--config", str(folder / "afterdose.toml")])

    assert done.exit_code == 1
    assert "failed: the token endpoint answered 400 (invalid_client)" in done.output


SOURCE = """
[sources.mar]
target = "ehr"
base_url = "{base_url}"
{more}
[[sources.mar.secrets]]
value = "{secret}"
"""


def test_a_source_on_another_server_is_read_there_with_credentials_of_its_own(
    ehr: SandboxEHR, tokens: TokenServer, folder: Path
) -> None:
    with SandboxEHR(behaviour=Behaviour(bearer="of-the-source")) as mar:
        mar.put({"resourceType": "Patient", "id": "p9"})
        auth = '[sources.mar.auth]\nvalue = "Bearer of-the-source"'
        text = TARGET.format(base_url=ehr.base_url, kind="smart", more="")
        text += SOURCE.format(base_url=mar.base_url, more=auth, secret="1" * 40)
        (folder / "afterdose.toml").write_text(f'data_dir = "{folder}"\n{text}')
        connections = connect(load_settings(folder / "afterdose.toml", {}), utc_now)

        source = connections.sources["mar"]

        assert source is not None
        assert source.client.read("Patient", "p9").resource["id"] == "p9"
        assert connections.targets["ehr"].client.read("Patient", "p1").resource["id"] == "p1"
        assert len(tokens.requests) == 1
        connections.close()


def test_a_source_that_is_only_read_asks_for_no_right_to_write(
    ehr: SandboxEHR, tokens: TokenServer, folder: Path
) -> None:
    with SandboxEHR(behaviour=Behaviour(token_url=tokens.url)) as mar:
        auth = f'[sources.mar.auth]\nkind = "smart"\nclient_id = "afterdose"\ntoken_url = "{tokens.url}"'
        text = TARGET.format(base_url=ehr.base_url, kind="smart", more=f'token_url = "{tokens.url}"')
        text += SOURCE.format(base_url=mar.base_url, more=auth, secret="1" * 40)
        (folder / "afterdose.toml").write_text(f'data_dir = "{folder}"\n{text}')
        connections = connect(load_settings(folder / "afterdose.toml", {}), utc_now)

        source = connections.sources["mar"]

        assert source is not None
        asked = source.tokens.grant(5).asked
        assert "system/MedicationAdministration.rs" in asked
        assert not [scope for scope in asked if set("cu") & set(scope.rpartition(".")[2])]
        connections.close()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", "sources.mar.auth: expected how we prove ourselves to mar.example"),
        ("readable = false", None),
        ('[sources.mar.auth]\nkind = "none"', None),
    ],
)
def test_a_source_on_another_server_says_how_it_is_read_or_that_it_is_not(
    ehr: SandboxEHR, folder: Path, more: str, expected: str | None
) -> None:
    text = TARGET.format(base_url=ehr.base_url, kind="smart", more="")
    text += SOURCE.format(base_url="https://mar.example/fhir", more=more, secret="1" * 40)
    (folder / "afterdose.toml").write_text(f'data_dir = "{folder}"\n{text}')
    settings = load_settings(folder / "afterdose.toml", {})
    if expected is None:
        connect(settings, utc_now).close()
    else:
        with pytest.raises(BadSettings, match=expected):
            connect(settings, utc_now)


def test_an_ehr_elsewhere_without_credentials_is_refused_unless_the_site_says_so(tmp_path: Path) -> None:
    config = tmp_path / "afterdose.toml"
    config.write_text('[targets.ehr]\nbase_url = "https://ehr.example/fhir"\nclinic = "example"\n')
    with pytest.raises(BadSettings, match=r"^targets\.ehr\.auth: expected how we prove ourselves to ehr\.example"):
        connect(load_settings(config, {}), utc_now)
    config.write_text(config.read_text() + '[targets.ehr.auth]\nkind = "none"\n')
    connect(load_settings(config, {}), utc_now).close()


AUTH = """
[targets.ehr.auth]
kind = "smart"
client_id = "afterdose"
"""


def test_a_dose_becomes_a_plan_in_an_ehr_that_wants_smart_backend_services(
    ehr: SandboxEHR, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    service = RunningService(tmp_path, ehr.base_url, auth=AUTH)
    made = CliRunner().invoke(main, ["keys", "generate", "--config", str(service.config)])
    assert made.exit_code == 0, made.output

    def jwks() -> list[dict[str, Any]]:
        keys: list[dict[str, Any]] = requests.get(f"{service.fhir[:-5]}/.well-known/jwks.json", timeout=5).json()[
            "keys"
        ]
        return keys

    def let_in(token: str) -> None:
        ehr.behaviour = replace(ehr.behaviour, bearer=token)

    with TokenServer(jwks=jwks, on_issue=let_in) as tokens:
        ehr.behaviour = replace(ehr.behaviour, token_url=tokens.url)
        with service:
            ended = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
            dose = ehr.put(
                {
                    "resourceType": "MedicationAdministration",
                    "id": "d1",
                    "status": "completed",
                    "medicationCodeableConcept": {
                        "coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "6130"}]
                    },
                    "subject": {"reference": "Patient/p1"},
                    "effectivePeriod": {"start": (ended - timedelta(minutes=40)).isoformat(), "end": ended.isoformat()},
                    "reasonCode": [{"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "F33.2"}]}],
                    "dosage": {
                        "route": {"coding": [{"system": "http://snomed.info/sct", "code": "47625008"}]},
                        "dose": {"value": 35, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"},
                    },
                }
            )
            assert service.send(dose).status_code == 200
            (plan,) = eventually(lambda: ehr.all("CarePlan"))
            assert plan["status"] == "draft"
            assert [one["status"] for one in eventually(lambda: ehr.all("Appointment"))] == ["proposed"]
    assert len(tokens.issued) == 1
    assert tokens.claims[0]["iss"] == "afterdose"
    assert tokens.issued[0] not in service.log.read_text(encoding="utf-8")
