"""The sweep against HAPI FHIR: what was never sent is found over real pages, once, and so is its deletion."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from afterdose.settings import load_settings
from afterdose.store.migrate import migrate
from afterdose.workshop import Workshop
from servers import RunningServer

HEADERS = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}
SETTINGS = """
data_dir = "{folder}"
[targets.ehr]
base_url = "{ehr}"
clinic = "example-7-days"
mode = "shadow"
[sources.ehr]
target = "ehr"
[[sources.ehr.secrets]]
value = "sender-55555555555555555555555555555555"
[sources.ehr.poll]
strategy = "last-updated"
interval = "1ms"
overlap = "10s"
look_back = "1m"
"""


@pytest.mark.hapi
def test_what_hapi_never_sent_is_found_once_and_what_was_deleted_there_is_gone(
    hapi: RunningServer, tmp_path: Path
) -> None:
    def put(resource: dict[str, object]) -> None:
        url = f"{hapi.base_url}/{resource['resourceType']}/{resource['id']}"
        assert requests.put(url, json=resource, headers=HEADERS, timeout=20).status_code in (200, 201)

    run = uuid.uuid4().hex[:8]
    put({"resourceType": "Patient", "id": f"p-{run}", "birthDate": "1980-02-01"})
    ended = datetime.now(UTC) - timedelta(hours=1)
    ids = [f"d-{run}-{number}" for number in range(30)]
    for id_ in ids:
        put(
            {
                "resourceType": "MedicationAdministration",
                "id": id_,
                "status": "completed",
                "medicationCodeableConcept": {
                    "coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "6130"}]
                },
                "subject": {"reference": f"Patient/p-{run}"},
                "effectiveDateTime": ended.isoformat(),
            }
        )
    (tmp_path / "afterdose.toml").write_text(SETTINGS.format(folder=tmp_path, ehr=hapi.base_url))
    settings = load_settings(tmp_path / "afterdose.toml", {})
    migrate(settings.database)
    with Workshop(settings) as workshop:
        sweeper, facts = workshop.sweeper("ehr"), workshop.store.facts
        sweeper.sweep()
        found = facts.count()
        sweeper.sweep()

        assert [facts.latest("ehr", id_) is not None for id_ in ids] == [True] * 30
        assert facts.count() == found

        while workshop.worker("w").work_once():
            pass
        url = f"{hapi.base_url}/MedicationAdministration/{ids[0]}"
        assert requests.delete(url, headers=HEADERS, timeout=20).ok
        sweeper.sweep()

        latest = facts.latest("ehr", ids[0])
        assert latest is not None
        assert latest.interaction == "delete"
