"""Who is let in, and that everybody else gets one and the same answer."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from afterdose.settings import SenderSecret, Settings, load_settings
from web_server import OPERATIONS, TOKEN, Web, open_web, write_settings

MINE = "mine-" + "1" * 40
NEXT = "next-" + "2" * 40
KEY = "key-" + "4" * 40


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Two sources: `ehr` with two live secrets, `mar` with a key in a header of its own."""
    loaded = load_settings(write_settings(tmp_path), {})
    ehr = replace(loaded.sources["ehr"], secrets=(SenderSecret.of(MINE), SenderSecret.of(NEXT)))
    key = SenderSecret.of(KEY, header="X-Api-Key", scheme=None)
    return replace(loaded, sources={"ehr": ehr, "mar": replace(ehr, name="mar", secrets=(key,))})


@pytest.fixture
def web(tmp_path: Path, settings: Settings) -> Iterator[Web]:
    with open_web(tmp_path, settings) as opened:
        yield opened


def probe(web: Web, **headers: str) -> int:
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.client.head("/fhir", headers=shown).status_code


@pytest.mark.parametrize("secret", [MINE, NEXT])
def test_both_live_secrets_of_a_source_open_the_door(web: Web, secret: str) -> None:
    assert probe(web, Authorization=f"Bearer {secret}") == 200
    assert probe(web, Authorization=f"bearer {secret}") == 200


def test_the_secret_says_which_source_it_is(web: Web) -> None:
    dose = (
        '{"resourceType":"MedicationAdministration","id":"d1","status":"completed","medicationCodeableConcept":'
        '{"text":"x"},"subject":{"reference":"Patient/p1"},"effectiveDateTime":"2026-01-05T10:00:00Z"}'
    )
    media = {"Content-Type": "application/fhir+json"}

    web.client.post("/fhir", data=dose, headers={"X-Api-Key": KEY, **media})

    assert web.store.facts.latest("mar", "d1") is not None
    assert web.store.facts.latest("ehr", "d1") is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": MINE},
        {"Authorization": f"Basic {MINE}"},
        {"Authorization": f"Bearer {MINE}x"},
        {"Authorization": f"Bearer {MINE[:-1]}"},
        {"Authorization": f"Bearer {MINE} {MINE}"},
        {"Authorization": f"Bearer {MINE.upper()}"},
        {"Authorization": "Bearer \xff\xfe\x80"},
        {"Authorization": "Bearer " + "a" * 100_000},
        {"Authorization": f"Bearer {OPERATIONS}"},
        {"Authorization": f"Bearer {KEY}"},
        {"X-Api-Key": MINE},
        {"X-Api-Key": f"Bearer {KEY}"},
        {"Authorization": f"Bearer {MINE}", "X-Api-Key": KEY},
    ],
)
def test_whoever_shows_no_right_secret_gets_the_same_answer(web: Web, headers: dict[str, str]) -> None:
    answer = web.client.post("/fhir", data=b"{}", headers=headers)

    bare = web.client.post("/fhir", data=b"{}")
    assert answer.status_code == 401
    assert answer.data == bare.data
    assert dict(answer.headers) == dict(bare.headers)
    assert answer.json is not None
    assert answer.json["issue"][0]["code"] == "login"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="afterdose"'


def test_a_secret_in_the_url_opens_nothing(web: Web) -> None:
    assert web.client.head(f"/fhir?access_token={MINE}&Authorization=Bearer%20{MINE}").status_code == 401


def test_failures_are_counted(web: Web) -> None:
    for _ in range(3):
        probe(web, Authorization="Bearer wrong")

    assert web.counted("afterdose_unauthenticated_total 3.0")


def test_the_body_of_a_stranger_is_not_read(web: Web) -> None:
    body = io.BytesIO(b"x" * 100)

    answer = web.client.post("/fhir", input_stream=body, content_length=100)

    assert answer.status_code == 401
    assert body.tell() == 0


@pytest.mark.parametrize("path", ["/readyz", "/metrics"])
def test_a_sender_does_not_see_how_the_server_does(web: Web, path: str) -> None:
    assert web.client.get(path, headers={"Authorization": f"Bearer {MINE}"}).status_code == 401
    assert web.client.get(path, headers={"Authorization": f"Bearer {OPERATIONS}"}).status_code == 200


def test_without_an_operations_secret_nobody_sees_how_the_server_does(tmp_path: Path, settings: Settings) -> None:
    with open_web(tmp_path, replace(settings, operations=())) as web:
        assert web.client.get("/metrics").status_code == 401
        assert web.client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 401


def test_a_developers_machine_is_open_to_its_one_source_without_a_secret(tmp_path: Path, settings: Settings) -> None:
    bare = replace(settings.sources["ehr"], secrets=())
    open_ = replace(settings, insecure_dev=True, operations=(), sources={**settings.sources, "ehr": bare})
    with open_web(tmp_path, open_) as web:
        assert probe(web) == 200
        assert web.client.get("/readyz").status_code == 200
        assert probe(web, X_Api_Key="wrong") == 401
        assert probe(web, X_Api_Key=KEY) == 200


def test_the_token_of_the_settings_is_kept_as_a_digest_only(tmp_path: Path) -> None:
    settings = load_settings(write_settings(tmp_path), {})

    assert TOKEN not in repr(settings)
    assert OPERATIONS not in repr(settings)
