"""`afterdose subscribe` against HAPI FHIR: what it makes is activated there and tells our whole service of doses."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result

from afterdose.cli import main
from running_service import OPERATIONS, TOKEN, RunningService
from servers import RunningServer

pytestmark = pytest.mark.hapi

HEADERS = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json", "Cache-Control": "no-cache"}
URL = "http://hl7.org/fhir/5.0/StructureDefinition/extension-SubscriptionTopic.url"
STATUS = "http://hl7.org/fhir/5.0/StructureDefinition/extension-SubscriptionTopic.status"
TRIGGER = "http://hl7.org/fhir/4.3/StructureDefinition/extension-SubscriptionTopic.resourceTrigger"


class Hapi:
    """What the EHR's own people do."""

    def __init__(self, server: RunningServer) -> None:
        self.base_url = server.base_url

    def put(self, resource: dict[str, Any]) -> None:
        url = f"{self.base_url}/{resource['resourceType']}/{resource['id']}"
        answer = requests.put(url, json=resource, headers=HEADERS, timeout=30)
        assert answer.status_code in (200, 201), answer.text

    def delete(self, place: str) -> None:
        answer = requests.delete(f"{self.base_url}/{place}", headers=HEADERS, timeout=30)
        assert answer.status_code == 200, answer.text

    def subscriptions(self, endpoint: str) -> list[dict[str, Any]]:
        bundle = requests.get(f"{self.base_url}/Subscription?_count=100", headers=HEADERS, timeout=30).json()
        found = [entry["resource"] for entry in bundle.get("entry", [])]
        return [one for one in found if one["channel"]["endpoint"] == endpoint]

    def give(self, id_: str) -> None:
        """A dose of ketamine to a patient of its own."""
        self.put({"resourceType": "Patient", "id": f"p-{id_}", "birthDate": "1980-02-01"})
        ended = datetime.now(UTC) - timedelta(hours=1)
        self.put(
            {
                "resourceType": "MedicationAdministration",
                "id": id_,
                "status": "completed",
                "medicationCodeableConcept": {
                    "coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "6130"}]
                },
                "subject": {"reference": f"Patient/p-{id_}"},
                "effectiveDateTime": ended.isoformat(),
            }
        )


@pytest.fixture
def server(hapi: RunningServer) -> Hapi:
    return Hapi(hapi)


def service(folder: Path, server: Hapi, subscribe: str) -> RunningService:
    (folder / "token").write_text(TOKEN)
    made = RunningService(folder, server.base_url)
    text = made.config.read_text().replace("[web]", f'[web]\nbase_url = "http://127.0.0.1:{made.port}"')
    text = text.replace('clinic = "example-7-days"', 'clinic = "example-7-days"\nmode = "shadow"\nehr = "hapi"')
    text = text.replace(f'value = "{TOKEN}"', 'value_file = "token"')
    made.config.write_text(f"{text}\n[sources.ehr.subscribe]\n{subscribe}")
    return made


def run(running: RunningService, *arguments: str) -> Result:
    done = CliRunner().invoke(main, ["subscribe", "ehr", "--config", str(running.config), *arguments])
    assert done.exit_code == 0, done.output
    return done


def active(server: Hapi, running: RunningService) -> bool:
    found = server.subscriptions(running.fhir)
    return bool(found) and all(one["status"] == "active" for one in found)


def test_criteria_tell_of_doses_and_their_deletion_and_are_made_once(
    server: Hapi, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    id_ = f"d-{uuid.uuid4().hex[:8]}"
    with service(tmp_path, server, 'types = ["MedicationAdministration"]') as running:
        assert run(running).output.count("created") == 1
        eventually(lambda: active(server, running))
        server.give(id_)
        eventually(lambda: running.explain(f"MedicationAdministration/{id_}"))
        server.delete(f"MedicationAdministration/{id_}")
        eventually(lambda: (running.explain(f"MedicationAdministration/{id_}") or {}).get("outcome") == "withdrawn")

        assert run(running).output.count("in order") == 1
        assert run(running, "--anew").output.count("updated") == 1
        assert len(server.subscriptions(running.fhir)) == 1
        eventually(lambda: active(server, running))
        assert run(running, "--remove").output.count("removed") == 1
        assert server.subscriptions(running.fhir) == []


def test_a_topic_of_the_back_port_names_doses_that_are_then_read(
    server: Hapi, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    topic = f"https://ehr.example/topics/{uuid.uuid4().hex}"
    trigger = [
        {"url": "resource", "valueUri": "MedicationAdministration"},
        {"url": "supportedInteraction", "valueCode": "create"},
        {"url": "supportedInteraction", "valueCode": "update"},
    ]
    server.put(
        {
            "resourceType": "Basic",
            "id": f"topic-{uuid.uuid4().hex[:8]}",
            "code": {"coding": [{"system": "http://hl7.org/fhir/fhir-types", "code": "SubscriptionTopic"}]},
            "extension": [{"url": URL, "valueUri": topic}, {"url": TRIGGER, "extension": trigger}],
            "modifierExtension": [{"url": STATUS, "valueCode": "active"}],
        }
    )
    asked = f'types = ["MedicationAdministration"]\nform = "topic-r4"\ntopic = "{topic}"'
    with service(tmp_path, server, asked) as running:
        run(running)
        eventually(lambda: active(server, running))

        def one_is_heard_of() -> bool:
            """HAPI looks for new topics once a minute; what happened before that is told to nobody."""
            id_ = f"d-{uuid.uuid4().hex[:8]}"
            server.give(id_)
            time.sleep(2)
            return running.explain(f"MedicationAdministration/{id_}") is not None

        eventually(one_is_heard_of, 120)

        def is_in_order() -> bool:
            headers = {"Authorization": f"Bearer {OPERATIONS}"}
            told = requests.get(f"http://127.0.0.1:{running.port}/readyz", headers=headers, timeout=10).json()
            return [(one["status"], one["troubles"]) for one in told["subscriptions"]] == [("active", {})]

        eventually(is_in_order, 40)
        run(running, "--remove")
