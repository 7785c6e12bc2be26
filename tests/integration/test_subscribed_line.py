"""The whole service subscribes at an EHR, is notified, and notices when that ends; processes and sockets are real."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner

from afterdose.cli import main
from afterdose.sandbox import SandboxEHR
from running_service import OPERATIONS, TOKEN, RunningService


def dose(id_: str) -> dict[str, Any]:
    ended = datetime.now(UTC) - timedelta(hours=1)
    return {
        "resourceType": "MedicationAdministration",
        "id": id_,
        "status": "completed",
        "medicationCodeableConcept": {
            "coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "6130"}]
        },
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": ended.isoformat(),
    }


@pytest.mark.faults
def test_an_ehr_that_switches_us_off_is_asked_again_and_tells_of_the_next_dose(
    tmp_path: Path, sandbox: SandboxEHR, eventually: Callable[..., Any]
) -> None:
    sandbox.put({"resourceType": "Patient", "id": "p1", "birthDate": "1980-02-01"})
    (tmp_path / "token").write_text(TOKEN)
    service = RunningService(tmp_path, sandbox.base_url)
    text = service.config.read_text().replace(f'value = "{TOKEN}"', 'value_file = "token"')
    text = text.replace("[web]", f'[web]\nbase_url = "http://127.0.0.1:{service.port}"')
    service.config.write_text(f'{text}\n[sources.ehr.subscribe]\ncheck_interval = "200ms"\n')

    def stands(status: str) -> bool:
        return {one["status"] for one in sandbox.all("Subscription")} == {status}

    def ready() -> dict[str, Any]:
        url = f"http://127.0.0.1:{service.port}/readyz"
        told: dict[str, Any] = requests.get(url, headers={"Authorization": f"Bearer {OPERATIONS}"}, timeout=5).json()
        return told

    with service:
        done = CliRunner().invoke(main, ["subscribe", "ehr", "--config", str(service.config)])
        assert done.exit_code == 0, done.output
        assert stands("active")
        sandbox.put(dose("d1"))
        eventually(lambda: service.explain("MedicationAdministration/d1"))

        for one in sandbox.all("Subscription"):
            sandbox.put({**one, "status": "off"})
        eventually(lambda: stands("active"), 40)
        eventually(lambda: not ready()["degraded"], 40)
        sandbox.put(dose("d2"))
        eventually(lambda: service.explain("MedicationAdministration/d2"))

    log = service.log.read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    alarms = [one["level"] for one in lines if (one.get("alarm"), one.get("code")) == ("subscription", "off")]
    assert sorted(alarms) == ["error"] * 3 + ["warning"] * 3
    assert TOKEN not in log
