"""What is answered when we, and not the sender, are at fault."""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry

from afterdose import logs
from afterdose.content.v2 import read_v2
from afterdose.core.errors import StoreBusy, StoreUnusable
from afterdose.settings import load_settings
from afterdose.store.deliveries import Deliveries
from afterdose.store.engine import Database
from afterdose.store.rows import Arrival, Receipt
from afterdose.web.app import create_app
from afterdose.web.metrics import WebMetrics
from afterdose.web.services import WebServices
from afterdose.work.intake.messages import Messages
from web_server import OPERATIONS, TOKEN, write_settings

CANARY = "PHICANARY-Doe-Jane"
DOSE = (
    '{"resourceType":"MedicationAdministration","id":"d1","status":"completed","medicationCodeableConcept":{"text":"'
    + CANARY
    + '"},"subject":{"reference":"Patient/p1"},"effectiveDateTime":"2026-01-05T10:00:00Z"}'
)


class BrokenQuarantine:
    """Cannot keep anything."""

    def keep(self, *_: object) -> object:
        raise StoreBusy("locked")


def sick() -> str | None:
    raise StoreUnusable("run `afterdose migrate`")


@pytest.fixture
def client(tmp_path: Path) -> Callable[..., FlaskClient]:
    """A client of an application whose store raises the given error."""
    settings = load_settings(write_settings(tmp_path), {})
    services = WebServices(
        hurry=lambda _source: None,
        hear=lambda _reception, _origin: None,
        counts=lambda _source: True,
        keep_unread=lambda _source, _names: None,
        settings=settings,
        submit=lambda _arrivals: [],
        quarantine=BrokenQuarantine(),
        deliveries=Deliveries(Database(settings.database), lambda: datetime(2026, 1, 5, tzinfo=UTC)),
        clock=lambda: datetime(2026, 1, 5, tzinfo=UTC),
        messages=Messages(
            mapping=read_v2(None),
            desks={},
            submit=lambda _arrivals: [],
            versions=lambda _source, _id: [],
            quarantine=BrokenQuarantine(),
            clock=lambda: datetime(2026, 1, 5, tzinfo=UTC),
        ),
        checks={"database": sick, "disk": lambda: "only 3 MB are free", "clock": lambda: None},
        published_keys=list,
        metrics=WebMetrics(CollectorRegistry(), dict),
    )

    def failing(error: Exception) -> FlaskClient:
        def submit(_arrivals: Sequence[Arrival]) -> Sequence[Receipt]:
            raise error

        return create_app(replace(services, submit=submit)).test_client()

    return failing


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure("debug", "json", stream)
    yield stream
    logs.configure("warning", "json")


HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/fhir+json"}


def test_a_busy_store_asks_the_sender_to_come_again(client: Callable[..., FlaskClient]) -> None:
    answer = client(StoreBusy("locked")).post("/fhir", data=DOSE, headers=HEADERS)

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.get_json(force=True)["issue"][0]["code"] == "lock-error"


def test_an_unusable_store_takes_nothing(client: Callable[..., FlaskClient]) -> None:
    answer = client(StoreUnusable("disk full at /var/lib")).post("/fhir", data=DOSE, headers=HEADERS)

    assert answer.status_code == 503
    assert "/var/lib" not in answer.text


def test_an_error_that_nobody_expected_says_nothing_but_where_to_look(
    client: Callable[..., FlaskClient], log: io.StringIO
) -> None:
    answer = client(ValueError(CANARY)).post("/fhir", data=DOSE, headers=HEADERS)

    assert answer.status_code == 500
    issue = answer.get_json(force=True)["issue"][0]
    assert issue["code"] == "exception"
    line = json.loads(log.getvalue().splitlines()[-1])
    assert line["correlation_id"] in issue["diagnostics"]
    assert line["error"] == "ValueError"
    assert "test_problems.py" in line["at"][-1]
    assert CANARY not in log.getvalue()
    assert CANARY not in answer.text


def test_a_refusal_is_answered_although_it_cannot_be_kept(client: Callable[..., FlaskClient], log: io.StringIO) -> None:
    broken = client(StoreBusy("locked"))

    answer = broken.post("/fhir", data=DOSE.replace("completed", CANARY), headers=HEADERS)

    assert answer.status_code == 400
    metrics = broken.get("/metrics", headers={"Authorization": f"Bearer {OPERATIONS}"}).text
    assert 'afterdose_unquarantined_total{source="ehr"} 1.0' in metrics
    assert CANARY not in log.getvalue() + answer.text


def test_readiness_says_check_by_check_what_is_wrong(client: Callable[..., FlaskClient]) -> None:
    answer = client(StoreBusy("locked")).get("/readyz", headers={"Authorization": f"Bearer {OPERATIONS}"})

    assert answer.status_code == 503
    assert answer.get_json() == {
        "ready": False,
        "checks": {"clock": "ok", "database": "run `afterdose migrate`", "disk": "only 3 MB are free"},
        "paused": [],
        "polled": {},
        "subscriptions": [],
        "degraded": False,
    }


def test_the_process_is_healthy_whatever_the_store_does(client: Callable[..., FlaskClient]) -> None:
    assert client(StoreUnusable("gone")).get("/healthz").status_code == 200
