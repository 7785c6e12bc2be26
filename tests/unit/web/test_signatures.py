"""Who signs what it sends: the requests of real servers as recorded, and what must not open the door."""

import base64
import hashlib
import hmac
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from afterdose.settings import SenderSecret, Settings, SigningKey, SourceSettings, load_settings
from web_server import Web, open_web, write_settings

WIRE = Path(__file__).parents[2] / "wire"
RECORDED = sorted((WIRE / "medplum").glob("resthook-signed-*/request.json"))
DOSE = "12d15f17-74c2-4ad8-bba3-f5def5bb83c9"
SHARED = b"s3cr3t-shared"
ATHENA = b"athena-" + b"5" * 40
NEXT = b"next-" + b"6" * 40
PLAIN = b"plain-" + b"7" * 40
FHIR = "application/fhir+json"


def source(settings: Settings, name: str, *keys: SigningKey, secrets: tuple[SenderSecret, ...] = ()) -> SourceSettings:
    return replace(settings.sources["ehr"], name=name, secrets=secrets, signatures=keys)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """Three senders that sign: two are known by that alone, `both` shows a secret besides."""
    settings = load_settings(write_settings(tmp_path), {})
    hub = [SigningKey("X-Hub-Signature", "sha256=", secret) for secret in (ATHENA, NEXT)]
    sources = [
        source(settings, "medplum", SigningKey("X-Signature", "hex", SHARED)),
        source(settings, "athena", *hub),
        source(settings, "both", SigningKey("X-Sig", "base64", PLAIN), secrets=(SenderSecret.of("b" * 40),)),
    ]
    with open_web(tmp_path, replace(settings, sources={one.name: one for one in sources})) as opened:
        yield opened


def recorded(path: Path) -> dict[str, Any]:
    request: dict[str, Any] = json.loads(path.read_text())
    return request


def deliver(web: Web, request: dict[str, Any], **changes: Any) -> TestResponse:
    sent = {**request, **changes}
    return web.client.open("/fhir", method=sent["method"], data=sent["body"].encode(), headers=sent["headers"])


def dose(id_: str = "d1") -> bytes:
    return json.dumps(
        {
            "resourceType": "MedicationAdministration",
            "id": id_,
            "status": "completed",
            "medicationCodeableConcept": {"text": "x"},
            "subject": {"reference": "Patient/p1"},
            "effectiveDateTime": "2026-01-05T10:00:00Z",
        }
    ).encode()


def hexed(secret: bytes, body: bytes) -> str:
    return hmac.new(secret, body, hashlib.sha256).hexdigest()


def post(web: Web, body: bytes, **headers: str) -> int:
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.client.post("/fhir", data=body, headers=shown, content_type=FHIR).status_code


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.parent.name)
def test_what_medplum_signs_is_taken_as_it_was_recorded(web: Web, path: Path) -> None:
    assert deliver(web, recorded(path)).status_code == 200

    fact = web.store.facts.latest("medplum", DOSE)
    assert fact is not None
    assert fact.interaction == ("delete" if path.parent.name.endswith("delete") else "upsert")


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.parent.name)
def test_a_byte_more_or_a_digit_less_is_no_signature(web: Web, path: Path) -> None:
    request = recorded(path)
    signature = request["headers"]["X-Signature"]

    assert deliver(web, request, body=request["body"] + " ").status_code == 401
    for wrong in (signature[:-1], signature[:-2], f"{signature}00", "", "zz" * 32, f"sha256={signature}", "é" * 64):
        headers = {**request["headers"], "X-Signature": wrong}
        assert deliver(web, request, headers=headers).status_code == 401
    assert web.store.facts.count() == 0


@pytest.mark.parametrize("secret", [ATHENA, NEXT])
def test_athenahealth_signs_with_the_method_in_front_and_either_live_secret(web: Web, secret: bytes) -> None:
    body = dose()

    assert post(web, body, X_Hub_Signature=f"sha256={hexed(secret, body)}") == 200
    assert post(web, body, X_Hub_Signature=hexed(secret, body)) == 401
    assert post(web, body, X_Hub_Signature=f"sha1={hexed(secret, body)}") == 401
    assert post(web, body, X_Signature=hexed(secret, body)) == 401
    assert web.store.facts.latest("athena", "d1") is not None


def test_who_has_a_secret_and_signs_needs_both(web: Web) -> None:
    body = dose()
    signature = base64.b64encode(hmac.digest(PLAIN, body, "sha256")).decode()
    secret = f"Bearer {'b' * 40}"

    assert post(web, body, Authorization=secret) == 401
    assert post(web, body, X_Sig=signature) == 401
    assert post(web, body, Authorization=secret, X_Signature=hexed(SHARED, body)) == 401
    assert post(web, body, Authorization=secret, X_Sig=signature) == 200
    assert web.store.facts.latest("both", "d1") is not None


def test_two_signers_of_one_body_are_nobody(web: Web) -> None:
    body = dose()

    both = {"X_Signature": hexed(SHARED, body), "X_Hub_Signature": f"sha256={hexed(ATHENA, body)}"}
    assert post(web, body, **both) == 401


def test_what_was_signed_and_is_refused_is_kept(web: Web) -> None:
    body = b'{"resourceType":'

    assert post(web, body, X_Signature=hexed(SHARED, body)) == 400
    assert [kept.body for kept in web.store.quarantine.newest(5)] == [body]


def test_the_body_of_who_shows_no_signature_is_not_read(web: Web) -> None:
    for value in ("", "abc", "zz" * 32):
        body = io.BytesIO(b"x" * 100)
        headers = {"X-Signature": value}
        answer = web.client.post("/fhir", input_stream=body, content_length=100, headers=headers)

        assert answer.status_code == 401
        assert body.tell() == 0
