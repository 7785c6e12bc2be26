"""What Aidbox, Azure Event Grid and Google Pub/Sub send, on a real socket: each becomes what intake knows anyway."""

import base64
import http.client
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from test_main_line import Ehr, eventually

from afterdose.sandbox import SandboxEHR
from running_service import TOKEN as SERVICE_TOKEN
from running_service import RunningService
from web_server import RunningWeb, start_web

WIRE = Path(__file__).parents[1] / "wire"
GOOGLE = (
    "https://healthcare.googleapis.com/v1/projects/hospital/locations/us-central1/datasets/clinic/fhirStores/live/fhir"
)
AZURE = "https://ws-store.fhir.azurehealthcareapis.com"
SECRETS = {name: f"{name}-" + "x" * 40 for name in ("azure", "aidbox", "blind")}
PUSHER = rsa.generate_private_key(65537, 2048)
SOURCE = """
[sources.{name}]
target = "ehr"
base_url = "{base_url}"
{more}
"""
SECRET = '[[sources.{name}.secrets]]\nvalue = "{secret}"\n'
BEARER = """[sources.google.bearer]
issuer = "https://accounts.google.com"
audience = "https://afterdose.example.org/fhir"
jwks_file = "{folder}/google.json"
claims = ["email=push@hospital.iam.gserviceaccount.com", "email_verified=true"]
"""

DOSE = "MedicationAdministration"
Told = list[tuple[str, str, str]]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningWeb]:
    folder = tmp_path_factory.mktemp("web")
    public = RSAAlgorithm.to_jwk(PUSHER.public_key(), as_dict=True)
    (folder / "google.json").write_text(json.dumps({"keys": [public | {"kid": "g1", "key_ops": ["verify"]}]}))
    origins = 'webhook_origins = ["eventgrid.azure.net"]\nmax_requests_per_minute = 6000'
    sources = [
        SOURCE.format(name="azure", base_url=AZURE, more=origins),
        SECRET.format(name="azure", secret=SECRETS["azure"]),
        SOURCE.format(name="aidbox", base_url="https://aidbox.example.org/fhir", more=""),
        SECRET.format(name="aidbox", secret=SECRETS["aidbox"]),
        SOURCE.format(name="google", base_url=GOOGLE, more="") + BEARER.format(folder=folder),
        SOURCE.format(name="blind", base_url=AZURE, more="readable = false"),
        SECRET.format(name="blind", secret=SECRETS["blind"]),
    ]
    with start_web(folder, more="".join(sources)) as running:
        yield running


def recorded(name: str) -> dict[str, Any]:
    request: dict[str, Any] = json.loads((WIRE / name / "request.json").read_text())
    return request


def proof(source: str, **changes: Any) -> dict[str, str]:
    if source != "google":
        return {"Authorization": f"Bearer {SECRETS[source]}"}
    now = datetime.now(UTC)
    claims = {
        "aud": "https://afterdose.example.org/fhir",
        "azp": "113774264463038321964",
        "email": "push@hospital.iam.gserviceaccount.com",
        "sub": "113774264463038321964",
        "email_verified": True,
        "exp": int((now + timedelta(hours=1)).timestamp()),
        "iat": int(now.timestamp()),
        "iss": "https://accounts.google.com",
        **changes,
    }
    token = jwt.encode(claims, PUSHER, algorithm="RS256", headers={"kid": "g1", "typ": "JWT"})
    return {"Authorization": f"Bearer {token}"}


def call(
    web: RunningWeb, method: str, headers: dict[str, str], body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=10)
    try:
        connection.request(method, "/fhir", body, headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def deliver(web: RunningWeb, source: str, name: str, change: Any = None) -> tuple[int, bytes, Told]:
    """The answer, and what was stored because of it, when nothing had been stored before."""
    request = recorded(name)
    body = change(json.loads(request["body"])) if change else request["body"]
    body = json.dumps(body) if not isinstance(body, str) else body
    with database(web) as connection:
        connection.execute("DELETE FROM facts")
    status, _, answer = call(web, request["method"], {**request["headers"], **proof(source)}, body.encode())
    return status, answer, stored(web, source)


def database(web: RunningWeb) -> sqlite3.Connection:
    return sqlite3.connect(web.settings.database.removeprefix("sqlite:///"))


def stored(web: RunningWeb, source: str) -> Told:
    with database(web) as connection:
        asked = "SELECT resource_type, resource_id, interaction FROM facts WHERE source = ? ORDER BY seq"
        return [tuple(row) for row in connection.execute(asked, (source,))]


def quarantined(web: RunningWeb, source: str) -> list[bytes]:
    with database(web) as connection:
        asked = "SELECT body FROM quarantine WHERE source = ? ORDER BY id"
        return [row[0] for row in connection.execute(asked, (source,))]


@pytest.mark.parametrize(
    ("source", "name", "told"),
    [
        ("azure", "azure/event-grid-created-and-others", [(DOSE, "dose-1", "hint")]),
        ("azure", "azure/event-grid-deleted", [(DOSE, "dose-1", "delete")]),
        ("azure", "azure/event-grid-updated", [(DOSE, "dose-1", "hint")]),
        ("azure", "azure/cloudevents-batch-deleted", [(DOSE, "dose-1", "delete"), (DOSE, "dose-2", "hint")]),
        ("azure", "azure/cloudevents-updated", [(DOSE, "dose-1", "hint")]),
        ("google", "google/pubsub-create-name-only", [(DOSE, "dose-1", "hint")]),
        ("google", "google/pubsub-update-full-resource", [(DOSE, "dose-1", "upsert")]),
        ("google", "google/pubsub-delete-name-only", [(DOSE, "dose-1", "delete")]),
        ("google", "google/pubsub-create-observation", []),
        ("aidbox", "aidbox/subs-handshake", []),
        ("aidbox", "aidbox/topic-full-resource", [(DOSE, "dose-1", "upsert"), (DOSE, "dose-2", "upsert")]),
        ("aidbox", "aidbox/topic-id-only", [(DOSE, "dose-1", "hint")]),
        ("aidbox", "aidbox/topic-delete", [(DOSE, "dose-1", "delete")]),
        ("aidbox", "aidbox/subs-create", [(DOSE, "dose-1", "upsert")]),
        ("aidbox", "aidbox/subs-update-id-only", [(DOSE, "dose-1", "hint")]),
        ("aidbox", "aidbox/subs-delete", [(DOSE, "dose-1", "delete")]),
    ],
)
def test_a_delivery_is_taken_and_becomes_facts_and_hints(web: RunningWeb, source: str, name: str, told: Told) -> None:
    status, answer, found = deliver(web, source, name)

    assert status == 200
    assert found == told
    assert not answer or json.loads(answer)["resourceType"] == "Bundle"


def test_the_previous_content_of_a_deleted_resource_is_no_new_version_of_it(web: RunningWeb) -> None:
    status, _, found = deliver(web, "google", "google/pubsub-delete-full-resource")

    assert (status, found) == (200, [(DOSE, "dose-1", "delete")])


def test_event_grid_gets_its_validation_code_back(web: RunningWeb) -> None:
    request = recorded("azure/event-grid-validation")

    status, headers, answer = call(web, "POST", {**request["headers"], **proof("azure")}, request["body"].encode())

    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(answer) == {"validationResponse": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}
    assert call(web, "POST", request["headers"], request["body"].encode())[0] == 401


@pytest.mark.parametrize("code", ["<script>", "x" * 200, "", None, {"a": 1}, "a\r\nb"])
def test_a_validation_code_that_is_none_is_not_repeated(web: RunningWeb, code: object) -> None:
    def change(body: Any) -> Any:
        body[0]["data"]["validationCode"] = code
        return body

    status, answer, _ = deliver(web, "azure", "azure/event-grid-validation", change)

    assert status == 400
    assert json.loads(answer)["resourceType"] == "OperationOutcome"
    assert not isinstance(code, str) or len(code) < 2 or code.encode() not in answer


def test_who_asks_whether_it_may_deliver_cloud_events_gets_consent(web: RunningWeb) -> None:
    asked = {"WebHook-Request-Origin": "eventgrid.azure.net", "WebHook-Request-Rate": "120"}
    asked["WebHook-Request-Callback"] = "http://127.0.0.1:9/never-called"

    status, headers, _ = call(web, "OPTIONS", asked)

    assert status == 200
    assert headers["webhook-allowed-origin"] == "eventgrid.azure.net"
    assert headers["webhook-allowed-rate"] == "6000"
    assert "POST" in headers["allow"]


@pytest.mark.parametrize("origin", ["other.example.org", "*", "", "eventgrid.azure.net.attacker.example.org"])
def test_another_origin_gets_no_consent(web: RunningWeb, origin: str) -> None:
    status, headers, _ = call(web, "OPTIONS", {"WebHook-Request-Origin": origin})

    assert status == 401
    assert "webhook-allowed-origin" not in headers


def test_the_events_of_another_server_of_the_same_topic_are_not_taken_for_ours(web: RunningWeb) -> None:
    def elsewhere(body: Any) -> Any:
        return json.loads(
            json.dumps(body).replace("ws-store.fhir", "ws-other.fhir").replace("Stores/live", "Stores/test")
        )

    grid = deliver(web, "azure", "azure/event-grid-updated", elsewhere)
    pubsub = deliver(web, "google", "google/pubsub-create-name-only", elsewhere)

    for status, answer, found in (grid, pubsub):
        assert (status, found) == (400, [])
        assert json.loads(answer)["issue"][0]["code"] == "business-rule"
        assert b"ws-other" not in answer
    assert any(b"ws-other" in body for body in quarantined(web, "azure"))
    assert quarantined(web, "google")


def test_a_dose_that_cannot_be_read_has_to_be_carried(web: RunningWeb) -> None:
    status, answer, found = deliver(web, "blind", "azure/event-grid-updated")

    assert (status, found) == (400, [])
    assert json.loads(answer)["issue"][0]["code"] == "not-supported"
    assert quarantined(web, "blind")


def test_an_order_that_is_only_named_is_to_be_read_where_that_can_be(web: RunningWeb) -> None:
    def order(body: Any) -> Any:
        return json.loads(json.dumps(body).replace(DOSE, "MedicationRequest"))

    readable = deliver(web, "azure", "azure/event-grid-updated", order)
    blind = deliver(web, "blind", "azure/event-grid-updated", order)

    assert readable[:2] == (200, b"")
    with database(web) as connection:
        asked = "SELECT resource_type, resource_id FROM unread WHERE source = 'azure'"
        assert ("MedicationRequest", "dose-1") in connection.execute(asked).fetchall()
    assert blind[0] == 200
    assert json.loads(blind[1])["issue"][0]["severity"] == "warning"


def test_a_resource_in_aidboxs_own_format_is_kept_apart_and_read_at_the_source(web: RunningWeb) -> None:
    status, answer, found = deliver(web, "aidbox", "aidbox/subs-create-own-format")

    assert (status, found) == (200, [(DOSE, "dose-1", "hint")])
    assert json.loads(answer)["resourceType"] == "OperationOutcome"
    assert any(b'"effective":{"Period"' in body for body in quarantined(web, "aidbox"))


def test_a_batch_of_aidbox_that_holds_nothing_right_does_not_hold_up_its_queue(web: RunningWeb) -> None:
    def broken(body: Any) -> Any:
        for entry in body["entry"][1:]:
            entry["resource"]["status"] = "given"
        return body

    status, answer, found = deliver(web, "aidbox", "aidbox/topic-full-resource", broken)

    assert (status, found) == (200, [])
    assert [one["response"]["status"][:3] for one in json.loads(answer)["entry"]] == ["200", "400", "400"]
    assert sum(b'"given"' in body for body in quarantined(web, "aidbox")) == 2


def test_aidbox_keeps_what_it_only_tells_of_until_it_can_be_asked_about(web: RunningWeb) -> None:
    def empty(body: Any) -> Any:
        body["entry"][0]["resource"]["notificationEvent"] = [{"eventNumber": 1}]
        return body

    status, answer, found = deliver(web, "aidbox", "aidbox/topic-id-only", empty)

    assert (status, found) == (400, [])
    assert json.loads(answer)["issue"][0]["code"] == "not-supported"


@pytest.mark.parametrize(
    "changes",
    [
        {"email": "attacker@example.iam.gserviceaccount.com"},
        {"email_verified": False},
        {"aud": "https://other.example.org"},
        {"iss": "accounts.google.com"},
        {"exp": 1},
    ],
)
def test_a_push_of_somebody_elses_subscription_is_not_taken(web: RunningWeb, changes: dict[str, Any]) -> None:
    request = recorded("google/pubsub-create-name-only")

    status, _, _ = call(web, "POST", {**request["headers"], **proof("google", **changes)}, request["body"].encode())

    assert status == 401


def _of_id(id_: str) -> Any:
    def change(body: Any) -> Any:
        body[0]["data"]["resourceFhirId"] = id_
        return body

    return change


def _message(**members: Any) -> Any:
    def change(body: Any) -> Any:
        body["message"] |= members
        body["message"]["attributes"] |= members.get("more", {})
        return body

    return change


@pytest.mark.parametrize(
    ("source", "name", "change"),
    [
        ("google", "google/pubsub-create-name-only", _message(data="%%%")),
        ("google", "google/pubsub-create-name-only", _message(data="")),
        ("google", "google/pubsub-create-name-only", _message(data=base64.b64encode(b"Patient/1").decode())),
        ("google", "google/pubsub-create-name-only", _message(data=base64.b64encode(f"{DOSE}/..".encode()).decode())),
        ("google", "google/pubsub-create-name-only", _message(attributes={})),
        ("google", "google/pubsub-create-name-only", _message(more={"action": "ImportResource"})),
        ("google", "google/pubsub-update-full-resource", _message(data=base64.b64encode(b"{" * 9).decode())),
        ("google", "google/pubsub-update-full-resource", _message(data=base64.b64encode(b"\xff{}").decode())),
        ("azure", "azure/event-grid-updated", lambda body: [body[0] | {"data": "x"}]),
        (
            "azure",
            "azure/event-grid-updated",
            _of_id("a/b"),
        ),
        ("azure", "azure/cloudevents-updated", lambda body: body | {"data": None}),
        ("aidbox", "aidbox/subs-create", lambda body: body | {"event": "merge"}),
        ("aidbox", "aidbox/subs-create", lambda body: body | {"resource": []}),
        ("aidbox", "aidbox/subs-delete", lambda body: body | {"resource": {"resourceType": DOSE, "id": "?"}}),
        ("aidbox", "aidbox/subs-create", lambda _: {"type": "notification"}),
        ("aidbox", "aidbox/subs-create", lambda body: [1, body]),
    ],
)
def test_what_cannot_be_understood_is_refused_and_kept(web: RunningWeb, source: str, name: str, change: Any) -> None:
    before = len(quarantined(web, source))

    status, answer, found = deliver(web, source, name, change)

    assert (status, found) == (400, [])
    assert json.loads(answer)["resourceType"] == "OperationOutcome"
    assert len(quarantined(web, source)) > before


def test_one_broken_event_of_a_batch_does_not_take_the_others_with_it(web: RunningWeb) -> None:
    status, answer, found = deliver(
        web, "azure", "azure/event-grid-updated", lambda body: [{"eventType": body[0]["eventType"]}, *body]
    )

    assert status == 200
    assert found == [(DOSE, "dose-1", "hint")]
    assert json.loads(answer)["issue"][0]["severity"] == "warning"


def test_members_that_nobody_knows_yet_change_nothing(web: RunningWeb) -> None:
    def more(body: Any) -> Any:
        return body | {"next": {"a": [1, None]}, "message": body["message"] | {"orderingKey": "k", "next": {}}}

    assert deliver(web, "google", "google/pubsub-create-name-only", more)[::2] == (200, [(DOSE, "dose-1", "hint")])


def test_a_dose_that_event_grid_only_names_is_read_and_planned(tmp_path: Path) -> None:
    with SandboxEHR() as sandbox:
        ehr = Ehr(sandbox.base_url)
        ehr.put(ehr.dose("dose-1", datetime.now(UTC) - timedelta(hours=2)))
        with RunningService(tmp_path, sandbox.base_url) as service:
            request = recorded("azure/event-grid-created-and-others")
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
            headers = {**request["headers"], "Authorization": f"Bearer {SERVICE_TOKEN}"}
            connection.request("POST", "/fhir", request["body"].encode(), headers)
            assert connection.getresponse().status == 200
            connection.close()

            plans = eventually(lambda: ehr.plans(), 60)

    assert len(plans) == 1
