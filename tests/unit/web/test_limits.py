"""What a source may send, and that others do not pay for it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from afterdose.settings import SenderSecret, load_settings
from afterdose.web.limits import RequestLimits, TooMany
from web_server import TOKEN, Web, open_web, write_settings

OTHER = "other-" + "2" * 40


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """`ehr` may send three requests a minute, of 2 kB at most; `other` what it likes."""
    settings = load_settings(write_settings(tmp_path), {})
    ehr = replace(settings.sources["ehr"], max_requests_per_minute=3, max_body_bytes=2048)
    other = replace(settings.sources["ehr"], name="other", secrets=(SenderSecret.of(OTHER),))
    with open_web(tmp_path, replace(settings, sources={"ehr": ehr, "other": other})) as opened:
        yield opened


def test_a_bucket_is_full_at_first_and_fills_up_again_through_the_minute() -> None:
    now = [0.0]
    limits = RequestLimits({"ehr": 6}, monotonic=lambda: now[0])

    for _ in range(6):
        limits.take("ehr")
    with pytest.raises(TooMany) as refused:
        limits.take("ehr")
    assert refused.value.seconds == 10
    now[0] = 9.9
    with pytest.raises(TooMany) as refused:
        limits.take("ehr")
    assert refused.value.seconds == 1
    now[0] = 10.0
    limits.take("ehr")
    now[0] = 3600.0
    for _ in range(6):
        limits.take("ehr")
    with pytest.raises(TooMany):
        limits.take("ehr")
    limits.take("other")


def test_who_sends_too_much_is_told_when_to_come_again_and_nobody_else(web: Web) -> None:
    mine, others = ({"Authorization": f"Bearer {secret}"} for secret in (TOKEN, OTHER))

    statuses = [web.client.head("/fhir", headers=mine).status_code for _ in range(5)]
    answer = web.client.post("/fhir", data=b"{}", headers=mine)

    assert statuses == [200, 200, 200, 429, 429]
    assert answer.json is not None
    assert answer.json["issue"][0]["code"] == "throttled"
    assert 1 <= int(answer.headers["Retry-After"]) <= 20
    assert [web.client.head("/fhir", headers=others).status_code for _ in range(5)] == [200] * 5
    assert web.store.quarantine.newest(1) == []


def test_who_shows_no_right_secret_uses_up_nobodys_requests(web: Web) -> None:
    for _ in range(10):
        assert web.client.head("/fhir", headers={"Authorization": "Bearer wrong"}).status_code == 401

    assert web.client.head("/fhir", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize("path", ["/fhir", "/hl7v2"])
def test_a_body_above_its_senders_limit_is_refused(web: Web, path: str) -> None:
    large = b'{"resourceType": "Bundle", "type": "collection"}' + b" " * 2048
    media = "application/fhir+json" if path == "/fhir" else "application/hl7-v2"

    mine, other = (
        web.client.post(path, data=large, headers={"Authorization": f"Bearer {secret}"}, content_type=media).status_code
        for secret in (TOKEN, OTHER)
    )

    assert mine == 413
    assert other != 413
