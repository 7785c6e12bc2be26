"""Two sources of one EHR that use the same ids and the same codes for different things never mix."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from test_main_line import Ehr, eventually

from afterdose.sandbox import SandboxEHR
from running_service import RunningService

pytestmark = pytest.mark.service

LAB = "lab-" + "4" * 60
LOCAL = "https://lab.example.org/formulary"
SECOND = f"""
[sources.lab]
target = "ehr"
readable = false
code_maps = ["lab"]
zone = "Asia/Kolkata"
[[sources.lab.secrets]]
value = "{LAB}"
"""
MAP = {
    "resourceType": "ConceptMap",
    "id": "lab",
    "status": "active",
    "group": [
        {
            "source": LOCAL,
            "target": "http://www.nlm.nih.gov/research/umls/rxnorm",
            "element": [{"code": "INJ-7", "target": [{"code": "6130", "equivalence": "wider"}]}],
        },
        {"target": "http://snomed.info/sct", "element": [{"code": "ivd", "target": [{"code": "47625008"}]}]},
    ],
}
MINE, THEIRS = "p-mine", "p-theirs"


@pytest.fixture
def ehr() -> Iterator[Ehr]:
    with SandboxEHR() as sandbox:
        known = Ehr(sandbox.base_url)
        for patient in (MINE, THEIRS):
            known.put({"resourceType": "Patient", "id": patient, "birthDate": "1980-02-01"})
        yield known


@pytest.fixture
def service(tmp_path: Path, ehr: Ehr, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningService]:
    codes = tmp_path / "site" / "mappings" / "codes"
    codes.mkdir(parents=True)
    (codes / "ConceptMap-lab.json").write_text(json.dumps(MAP))
    monkeypatch.setitem(os.environ, "AFTERDOSE_SITE_OVERLAY", str(tmp_path / "site"))
    with RunningService(tmp_path, ehr.base_url, auth=SECOND) as running:
        yield running


def send(service: RunningService, method: str, secret: str, resource: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/fhir+json"}
    url = f"{service.fhir}/MedicationAdministration/{resource['id']}"
    body = json.dumps(resource) if method == "PUT" else None
    assert requests.request(method, url, data=body, headers=headers, timeout=20).status_code == 200


def dose(ehr: Ehr, patient: str, **changes: Any) -> dict[str, Any]:
    ended = datetime.now(UTC) - timedelta(hours=3)
    return ehr.dose("same-id", ended) | {"subject": {"reference": f"Patient/{patient}"}} | changes


def test_the_same_id_of_two_sources_is_two_doses_and_a_local_code_means_something_for_its_source_alone(
    service: RunningService, ehr: Ehr
) -> None:
    local = {"coding": [{"system": LOCAL, "code": "INJ-7"}]}
    theirs = dose(ehr, THEIRS, medicationCodeableConcept=local)
    theirs["dosage"]["route"] = {"text": "IVD"}
    mine = dose(ehr, MINE)
    ehr.put(mine)
    ehr.put(mine | {"id": "unmapped", "medicationCodeableConcept": local})

    def plans(patient: str, *statuses: str) -> list[dict[str, Any]]:
        ehr.patient = patient
        return ehr.plans(*statuses)

    send(service, "PUT", service.token, mine)
    send(service, "PUT", LAB, theirs)
    send(service, "PUT", service.token, mine | {"id": "unmapped", "medicationCodeableConcept": local})

    assert eventually(lambda: plans(MINE), 60)
    assert eventually(lambda: plans(THEIRS), 60)
    told = eventually(lambda: service.explain("MedicationAdministration/unmapped"), 60)
    assert told["outcome"] == "unrelated"

    send(service, "DELETE", LAB, theirs)
    assert eventually(lambda: plans(THEIRS, "entered-in-error", "revoked"), 60)
    assert [plan["status"] for plan in plans(MINE)] == ["draft"]
    assert len(plans(THEIRS)) == 1
