"""Signatures with a time: what is sent again within the window is the same event, and outside of it is not taken."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from afterdose.settings import SenderSecret, SigningKey, load_settings
from web_server import Web, open_web, write_settings

NOW = datetime(2026, 1, 6, 12, 0, tzinfo=UTC)
OLD, NEW, SLACK = b"o" * 32, b"n" * 32, b"s" * 32
FHIR = {"Content-Type": "application/fhir+json"}
# The example of https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
TOLD_ID, TOLD_AT = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
TOLD_SECRET = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
TOLD_BODY, TOLD_SIGNATURE = b'{"test": 2432232314}', "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@dataclass
class Moment:
    """The clock of the web part, which a test moves."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def moment() -> Moment:
    return Moment()


@pytest.fixture
def web(tmp_path: Path, moment: Moment) -> Iterator[Web]:
    """`hook` signs as Standard Webhooks say, `slack` with a time before the body, `told` as the specification tells."""
    settings = load_settings(write_settings(tmp_path), {})
    ehr = replace(settings.sources["ehr"], secrets=())
    hook = tuple(
        SigningKey("webhook-signature", "standard-webhooks", secret, "webhook-timestamp", "webhook-id")
        for secret in (OLD, NEW)
    )
    slack = (SigningKey("X-Sig", "v0=", SLACK, "X-At", None, timedelta(minutes=1)),)
    told = (replace(hook[0], secret=TOLD_SECRET),)
    both = replace(ehr, name="both", signatures=(replace(slack[0], secret=b"b" * 32),))
    sources = {
        "hook": replace(ehr, name="hook", signatures=hook),
        "slack": replace(ehr, name="slack", signatures=slack),
        "told": replace(ehr, name="told", signatures=told),
        "both": replace(both, secrets=(SenderSecret.of("b" * 40),)),
    }
    with open_web(tmp_path, replace(settings, sources=sources), clock=moment) as opened:
        yield opened


def dose(id_: str = "d1", status: str = "completed") -> bytes:
    return json.dumps(
        {
            "resourceType": "MedicationAdministration",
            "id": id_,
            "status": status,
            "medicationCodeableConcept": {"text": "x"},
            "subject": {"reference": "Patient/p1"},
            "effectiveDateTime": "2026-01-05T10:00:00Z",
        }
    ).encode()


def standard(body: bytes, *, id_: str = "msg_1", at: datetime | str = NOW, secret: bytes = NEW) -> dict[str, str]:
    time = str(int(at.timestamp())) if isinstance(at, datetime) else at
    signed = base64.b64encode(hmac.digest(secret, f"{id_}.{time}.".encode() + body, "sha256")).decode()
    return {"webhook-id": id_, "webhook-timestamp": time, "webhook-signature": f"v1,{signed}", **FHIR}


def slack(body: bytes, at: datetime = NOW, secret: bytes = SLACK) -> dict[str, str]:
    time = str(int(at.timestamp()))
    signed = hmac.new(secret, b"v0:" + time.encode() + b":" + body, hashlib.sha256).hexdigest()
    return {"X-At": time, "X-Sig": f"v0={signed}", **FHIR}


def post(web: Web, body: bytes, headers: dict[str, str], path: str = "/fhir") -> TestResponse:
    return web.client.post(path, data=body, headers=headers)


def test_the_example_of_the_specification_is_signed_right(web: Web, moment: Moment) -> None:
    moment.now = datetime.fromtimestamp(TOLD_AT, UTC)
    headers = {"webhook-id": TOLD_ID, "webhook-timestamp": str(TOLD_AT), "webhook-signature": TOLD_SIGNATURE, **FHIR}

    assert post(web, TOLD_BODY, headers).status_code == 400
    assert post(web, TOLD_BODY + b" ", headers).status_code == 401


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_either_live_secret_signs(web: Web, secret: bytes) -> None:
    assert post(web, dose(), standard(dose(), secret=secret)).status_code == 200
    assert web.store.facts.latest("hook", "d1") is not None


def test_several_signatures_may_stand_in_one_header(web: Web) -> None:
    headers = standard(dose())
    headers["webhook-signature"] = f"v1a,AAAA v1,{base64.b64encode(b'x' * 32).decode()} {headers['webhook-signature']}"

    assert post(web, dose(), headers).status_code == 200


@pytest.mark.parametrize("seconds", [-300, 300])
def test_a_time_within_the_tolerance_is_taken(web: Web, seconds: int) -> None:
    assert post(web, dose(), standard(dose(), at=NOW + timedelta(seconds=seconds))).status_code == 200


@pytest.mark.parametrize("seconds", [-301, 301, -86_400])
def test_a_time_outside_is_refused_with_the_reason_and_what_was_signed_is_kept(web: Web, seconds: int) -> None:
    for _ in range(3):
        answer = post(web, dose(), standard(dose(), at=NOW + timedelta(seconds=seconds)))

    assert answer.status_code == 401
    assert answer.json is not None
    assert "too long ago, or ahead of our clock" in answer.json["issue"][0]["details"]["text"]
    assert web.store.facts.count() == 0
    assert [kept.body for kept in web.store.quarantine.newest(5)] == [dose()]


def test_the_tolerance_is_the_sites(web: Web) -> None:
    assert post(web, dose(), slack(dose(), NOW - timedelta(seconds=60))).status_code == 200
    assert post(web, dose(), slack(dose(), NOW - timedelta(seconds=61))).status_code == 401


def test_a_time_that_was_not_signed_is_no_time(web: Web) -> None:
    body = dose()
    stale = NOW - timedelta(hours=1)
    fresh = str(int(NOW.timestamp()))

    assert post(web, body, standard(body, at=stale) | {"webhook-timestamp": fresh}).status_code == 401
    assert post(web, body, slack(body, stale) | {"X-At": fresh}).status_code == 401
    for wrong in ("", "now", "-1", "1e9", " 1", "1\u0660", "9" * 40, f"{fresh}.0"):
        assert post(web, body, standard(body, at=wrong)).status_code == 401
    assert web.store.facts.count() == 0


def test_parts_cannot_be_moved_between_id_time_and_body(web: Web) -> None:
    fresh = str(int(NOW.timestamp()))
    headers = standard(b'{"a":1}', id_="msg", at="1")
    moved = headers | {"webhook-id": "msg.1", "webhook-timestamp": fresh}

    assert post(web, b'{"a":1}', moved).status_code == 401
    dotted = standard(dose(), id_="msg.1")
    assert post(web, dose(), dotted).status_code == 401


def test_what_is_sent_again_is_the_same_event(web: Web, moment: Moment) -> None:
    first = standard(dose(), id_="msg_1")
    assert post(web, dose(), first).status_code == 200
    assert post(web, dose(status="stopped"), standard(dose(status="stopped"), id_="msg_2")).status_code == 200

    replayed = post(web, dose(), first)
    moment.now += timedelta(hours=5)
    retried = post(web, dose(), standard(dose(), id_="msg_1", at=moment.now))

    assert (replayed.status_code, replayed.data) == (200, b"")
    assert (retried.status_code, retried.data) == (200, b"")
    assert web.store.facts.count() == 2
    latest = web.store.facts.latest("hook", "d1")
    assert latest is not None
    assert b"stopped" in latest.raw


def test_a_bundle_that_is_sent_again_gets_its_answer_again(web: Web) -> None:
    entries = [{"resource": json.loads(dose(f"d{number}"))} for number in range(2)] + [{"resource": {}}]
    body = json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()

    first, second = (post(web, body, standard(body)) for _ in range(2))

    assert first.status_code == second.status_code == 200
    assert first.json == second.json
    assert web.store.facts.count() == 2


def test_something_else_under_the_same_id_is_refused_and_kept(web: Web) -> None:
    assert post(web, dose("d1"), standard(dose("d1"))).status_code == 200
    assert post(web, dose("d2"), standard(dose("d2"))).status_code == 409
    assert post(web, dose("d1"), standard(dose("d1")), path="/fhir?other").status_code == 409

    assert web.store.facts.count() == 1
    assert [kept.body for kept in web.store.quarantine.newest(5)] == [dose("d1"), dose("d2")]


def test_what_was_refused_may_come_again_under_its_id(web: Web) -> None:
    assert post(web, b"{}", standard(b"{}")).status_code == 400
    assert post(web, dose(), standard(dose())).status_code == 200


def test_the_same_id_of_two_senders_is_two_deliveries(web: Web) -> None:
    assert post(web, dose(), standard(dose())).status_code == 200
    assert post(web, dose(), standard(dose(), secret=TOLD_SECRET)).status_code == 200

    assert web.store.facts.count() == 2


def test_an_empty_body_is_signed_too(web: Web) -> None:
    assert post(web, b"", standard(b"")).status_code == 400
    assert post(web, b"", slack(b"")).status_code == 400
    assert post(web, b"", standard(b" ")).status_code == 401


def test_a_secret_besides_is_needed_where_it_is_set(web: Web) -> None:
    signed = slack(dose(), secret=b"b" * 32)

    assert post(web, dose(), signed).status_code == 401
    assert post(web, dose(), signed | {"Authorization": f"Bearer {'b' * 40}"}).status_code == 200


def test_where_nothing_but_a_time_is_signed_the_same_request_again_is_the_same_event(web: Web, moment: Moment) -> None:
    first = slack(dose())
    assert post(web, dose(), first).status_code == 200
    moment.now += timedelta(seconds=1)
    assert post(web, dose(status="stopped"), slack(dose(status="stopped"), moment.now)).status_code == 200

    assert post(web, dose(), first).status_code == 200

    assert web.store.facts.count() == 2


def test_two_deletes_of_one_second_are_two(web: Web) -> None:
    for id_ in ("d1", "d2"):
        answer = web.client.delete(f"/fhir/MedicationAdministration/{id_}", headers=slack(b""))
        assert answer.status_code == 200

    assert web.store.facts.count() == 2
