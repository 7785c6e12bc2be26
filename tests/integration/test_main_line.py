"""The main job: a dose event comes in, a plan and an Appointment stand in the EHR, and follow every change of the dose.

The same suite runs against the sandbox EHR and against HAPI FHIR; the EHR itself delivers by a rest-hook Subscription.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from afterdose.sandbox import SandboxEHR
from running_service import RunningService

Resource = dict[str, Any]
DELETES = "http://hapifhir.io/fhir/StructureDefinition/subscription-send-delete-messages"
HEADERS = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json", "Cache-Control": "no-cache"}
EHRS = ["sandbox", pytest.param("hapi", marks=pytest.mark.hapi)]


class Ehr:
    """What the staff of a hospital do in their EHR, over FHIR REST."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.patient = f"p-{uuid.uuid4().hex[:12]}"
        self.put({"resourceType": "Patient", "id": self.patient, "birthDate": "1980-02-01"})

    def put(self, resource: Resource) -> Resource:
        url = f"{self.base_url}/{resource['resourceType']}/{resource['id']}"
        answer = requests.put(url, json=resource, headers=HEADERS, timeout=20)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    def delete(self, type_: str, id_: str) -> None:
        assert requests.delete(f"{self.base_url}/{type_}/{id_}", headers=HEADERS, timeout=20).ok

    def read(self, reference: str) -> Resource:
        answer = requests.get(f"{self.base_url}/{reference}", headers=HEADERS, timeout=20)
        assert answer.ok, answer.text
        return answer.json()

    def of_patient(self, type_: str) -> list[Resource]:
        answer = requests.get(f"{self.base_url}/{type_}", params={"patient": self.patient}, headers=HEADERS, timeout=20)
        return [entry["resource"] for entry in answer.json().get("entry", [])]

    def plans(self, *statuses: str) -> list[Resource]:
        return [plan for plan in self.of_patient("CarePlan") if not statuses or plan["status"] in statuses]

    def appointments(self, *statuses: str) -> list[Resource]:
        found = self.of_patient("Appointment")
        return [appointment for appointment in found if not statuses or appointment["status"] in statuses]

    def subscribe(self, service: RunningService, type_: str = "MedicationAdministration") -> str:
        subscription = {
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "test",
            "criteria": f"{type_}?",
            "channel": {
                "extension": [{"url": DELETES, "valueBoolean": True}],
                "type": "rest-hook",
                "endpoint": service.fhir,
                "payload": "application/fhir+json",
                "header": [f"Authorization: Bearer {service.token}"],
            },
        }
        answer = requests.post(f"{self.base_url}/Subscription", json=subscription, headers=HEADERS, timeout=20)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def dose(self, id_: str, ended: datetime, **changes: Any) -> Resource:
        return {
            "resourceType": "MedicationAdministration",
            "id": id_,
            "status": "completed",
            "medicationCodeableConcept": {
                "coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "6130"}]
            },
            "subject": {"reference": f"Patient/{self.patient}"},
            "effectivePeriod": {"start": (ended - timedelta(minutes=40)).isoformat(), "end": ended.isoformat()},
            "reasonCode": [{"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "F33.2"}]}],
            "dosage": {
                "route": {"coding": [{"system": "http://snomed.info/sct", "code": "47625008"}]},
                "dose": {"value": 35, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"},
            },
            **changes,
        }


def eventually(condition: Callable[[], Any], deadline: float = 20.0) -> Any:
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.05)
    return pytest.fail(f"not true within {deadline} s")


@contextmanager
def an_ehr(request: pytest.FixtureRequest, name: str) -> Iterator[str]:
    """The base URL of the EHR of that name."""
    if name == "hapi":
        yield request.getfixturevalue("hapi").base_url
    else:
        with SandboxEHR() as sandbox:
            yield sandbox.base_url


@pytest.fixture(scope="module", params=EHRS)
def base_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with an_ehr(request, request.param) as url:
        yield url


@pytest.fixture(scope="module")
def service(base_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    staff = Ehr(base_url)
    with RunningService(tmp_path_factory.mktemp("service"), base_url) as running:
        subscription = staff.subscribe(running)
        eventually(lambda: staff.read(f"Subscription/{subscription}")["status"] == "active")
        yield running
        staff.delete("Subscription", subscription)


@pytest.fixture
def ehr(base_url: str) -> Ehr:
    return Ehr(base_url)


@pytest.fixture
def ended() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def decided(service: RunningService, dose: Resource) -> Resource | None:
    """What the service says of a dose, once it has decided."""
    told = service.explain(f"MedicationAdministration/{dose['id']}")
    return told if told is not None and told["outcome"] is not None else None


def new_id() -> str:
    return f"d-{uuid.uuid4().hex[:12]}"


def test_a_dose_becomes_one_plan_and_one_proposed_appointment(
    ehr: Ehr, service: RunningService, ended: datetime
) -> None:
    dose = ehr.put(ehr.dose(new_id(), ended))

    plan = eventually(ehr.plans)[0]

    (appointment,) = ehr.appointments()
    assert plan["status"] == "draft"
    assert plan["intent"] == "proposal"
    assert plan["activity"][0]["reference"]["reference"] == f"Appointment/{appointment['id']}"
    assert plan["supportingInfo"][0]["reference"] == f"MedicationAdministration/{dose['id']}"
    assert appointment["status"] == "proposed"
    period = appointment["requestedPeriod"][0]
    assert datetime.fromisoformat(period["start"]) == ended + timedelta(hours=24)
    assert datetime.fromisoformat(period["end"]) == ended + timedelta(hours=72)
    assert "ketamine" not in str({**plan, "text": None, "instantiatesCanonical": None}).lower()


def test_the_plan_has_a_provenance_that_names_the_dose(ehr: Ehr, service: RunningService, ended: datetime) -> None:
    dose = ehr.put(ehr.dose(new_id(), ended))
    plan = eventually(ehr.plans)[0]

    def provenances() -> list[Resource]:
        answer = requests.get(
            f"{ehr.base_url}/Provenance", params={"target": f"CarePlan/{plan['id']}"}, headers=HEADERS, timeout=20
        )
        return [entry["resource"] for entry in answer.json().get("entry", [])]

    (provenance,) = eventually(provenances)
    assert f"MedicationAdministration/{dose['id']}" in str(provenance["entity"])


def test_a_corrected_time_moves_the_one_proposal(ehr: Ehr, service: RunningService, ended: datetime) -> None:
    dose = ehr.put(ehr.dose(new_id(), ended))
    eventually(ehr.plans)

    ehr.put(ehr.dose(dose["id"], ended + timedelta(minutes=30)))

    opens = ended + timedelta(hours=24, minutes=30)
    eventually(lambda: datetime.fromisoformat(ehr.appointments()[0]["requestedPeriod"][0]["start"]) == opens)
    assert len(ehr.appointments()) == 1
    assert len(ehr.plans()) == 1


def test_a_dose_entered_in_error_takes_plan_and_proposal_back(
    ehr: Ehr, service: RunningService, ended: datetime
) -> None:
    dose = ehr.put(ehr.dose(new_id(), ended))
    eventually(ehr.plans)

    ehr.put(ehr.dose(dose["id"], ended, status="entered-in-error"))

    eventually(lambda: ehr.appointments("cancelled") and ehr.plans("entered-in-error"))
    assert not ehr.appointments("proposed")
    assert not ehr.plans("draft", "active")


# HAPI deletes nothing that a plan refers to.
@pytest.mark.parametrize("base_url", ["sandbox"], indirect=True, scope="module")
def test_a_deleted_dose_takes_plan_and_proposal_back(ehr: Ehr, service: RunningService, ended: datetime) -> None:
    dose = ehr.put(ehr.dose(new_id(), ended))
    eventually(ehr.plans)
    ehr.delete("MedicationAdministration", dose["id"])

    eventually(lambda: ehr.appointments("cancelled") and ehr.plans("entered-in-error"))


def test_an_announced_deletion_that_the_ehr_does_not_confirm_changes_nothing(
    ehr: Ehr, service: RunningService, ended: datetime
) -> None:
    dose = ehr.put(ehr.dose(new_id(), ended))
    plan = eventually(ehr.plans)[0]

    answer = requests.delete(
        f"{service.fhir}/MedicationAdministration/{dose['id']}",
        headers={"Authorization": f"Bearer {service.token}"},
        timeout=10,
    )

    assert answer.status_code in (200, 204)
    eventually(lambda: len((decided(service, dose) or {}).get("versions", [])) >= 3)
    assert decided(service, dose)["outcome"] == "planned"
    assert ehr.read(f"CarePlan/{plan['id']}")["meta"]["versionId"] == plan["meta"]["versionId"]


def test_the_same_delivery_again_changes_nothing(ehr: Ehr, service: RunningService, ended: datetime) -> None:
    dose = ehr.put(ehr.dose(new_id(), ended))
    plan = eventually(ehr.plans)[0]
    (appointment,) = ehr.appointments()

    answers = [service.send(dose) for _ in range(5)]
    other = Ehr(ehr.base_url)
    other.put(other.dose(new_id(), ended))
    eventually(other.plans)

    assert {(answer.status_code, answer.content) for answer in answers} == {(200, b"")}
    assert [one["meta"]["versionId"] for one in ehr.plans()] == [plan["meta"]["versionId"]]
    assert [one["meta"]["versionId"] for one in ehr.appointments()] == [appointment["meta"]["versionId"]]


def test_a_second_dose_amends_the_plan_and_adds_an_appointment(
    ehr: Ehr, service: RunningService, ended: datetime
) -> None:
    ehr.put(ehr.dose(new_id(), ended - timedelta(hours=50)))
    eventually(ehr.plans)

    ehr.put(ehr.dose(new_id(), ended))

    plan = eventually(lambda: [plan for plan in ehr.plans() if len(plan["supportingInfo"]) == 2])[0]
    assert len(ehr.plans()) == 1
    named = [entry["reference"]["reference"] for entry in plan["activity"]]
    assert len([one for one in named if one.startswith("Appointment/")]) == len(ehr.appointments("proposed"))


def test_a_booked_visit_is_left_alone_and_a_person_is_asked(ehr: Ehr, service: RunningService, ended: datetime) -> None:
    dose = ehr.put(ehr.dose(new_id(), ended))
    eventually(ehr.plans)
    (appointment,) = ehr.appointments()
    start = ended + timedelta(hours=30)
    times = {"start": start.isoformat(), "end": (start + timedelta(hours=1)).isoformat()}
    booked = ehr.put({**appointment, "status": "booked", **times})

    ehr.put(ehr.dose(dose["id"], ended, status="entered-in-error"))

    eventually(lambda: [task for task in ehr.of_patient("Task") if "booked" in task["description"]])
    assert ehr.read(f"Appointment/{appointment['id']}")["meta"]["versionId"] == booked["meta"]["versionId"]


def test_once_a_plan_is_active_the_patient_is_asked_too_and_only_once(
    ehr: Ehr, service: RunningService, ended: datetime
) -> None:
    ehr.put(ehr.dose(new_id(), ended - timedelta(hours=50)))
    plan = eventually(ehr.plans)[0]
    before = ehr.of_patient("Task")
    ehr.put({**plan, "status": "active", "intent": "plan"})

    ehr.put(ehr.dose(new_id(), ended))

    def journals() -> list[Resource]:
        return [task for task in ehr.of_patient("Task") if task["description"] == "Journaling"]

    (journal,) = eventually(journals)
    assert before
    assert not [task for task in before if task.get("owner", {}).get("reference") == f"Patient/{ehr.patient}"]
    assert datetime.fromisoformat(journal["restriction"]["period"]["end"]) == ended + timedelta(hours=24)


def test_what_a_person_wrote_into_the_plan_stays(ehr: Ehr, service: RunningService, ended: datetime) -> None:
    ehr.put(ehr.dose(new_id(), ended - timedelta(hours=50)))
    plan = eventually(ehr.plans)[0]
    ehr.put({**plan, "title": "Plan of the team", "status": "active", "description": "call first"})

    ehr.put(ehr.dose(new_id(), ended))

    amended = eventually(lambda: [plan for plan in ehr.plans() if len(plan["supportingInfo"]) == 2])[0]
    assert (amended["title"], amended["status"], amended["description"]) == ("Plan of the team", "active", "call first")


def test_a_proposal_that_a_person_cancelled_is_not_made_again(
    ehr: Ehr, service: RunningService, ended: datetime
) -> None:
    dose = ehr.put(ehr.dose(new_id(), ended))
    eventually(ehr.plans)
    (appointment,) = ehr.appointments()
    ehr.put({**appointment, "status": "cancelled"})

    ehr.put(ehr.dose(dose["id"], ended + timedelta(minutes=20)))

    opens = (ended + timedelta(hours=24, minutes=20)).isoformat().replace("+00:00", "Z")
    eventually(lambda: (decided(service, dose) or {}).get("dose", {}).get("window", {}).get("opens") == opens)
    assert [one["status"] for one in ehr.appointments()] == ["cancelled"]


def test_an_anaesthetic_dose_leaves_nothing_in_the_ehr(ehr: Ehr, service: RunningService, ended: datetime) -> None:
    push = {"system": "http://terminology.hl7.org/CodeSystem/v3-RouteOfAdministration", "code": "IVPUSH"}
    dosage = {"route": {"coding": [push]}, "dose": {"value": 150, "unit": "mg", "code": "mg"}}
    anaesthetic = ehr.dose(new_id(), ended, dosage=dosage)
    del anaesthetic["reasonCode"]
    encounter = {
        "resourceType": "Encounter",
        "id": new_id(),
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "subject": {"reference": f"Patient/{ehr.patient}"},
    }
    ehr.put(encounter)
    dose = ehr.put({**anaesthetic, "context": {"reference": f"Encounter/{encounter['id']}"}})

    found = eventually(lambda: decided(service, dose))

    assert found["outcome"] == "not-eligible"
    assert not ehr.plans()
    assert not ehr.appointments()


def test_the_plan_is_in_the_ehr_within_a_few_seconds(ehr: Ehr, service: RunningService, ended: datetime) -> None:
    ehr.put(ehr.dose(new_id(), ended))

    eventually(ehr.plans, deadline=5)


def test_an_r5_spelling_is_understood(ehr: Ehr, service: RunningService, ended: datetime) -> None:
    coding = {"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "2119390"}
    answer = service.send(
        {
            "resourceType": "MedicationAdministration",
            "id": new_id(),
            "status": "completed",
            "medication": {"concept": {"coding": [coding]}},
            "subject": {"reference": f"Patient/{ehr.patient}"},
            "occurenceDateTime": ended.isoformat(),
            "dosage": {"route": {"coding": [{"system": "http://snomed.info/sct", "code": "46713006"}]}},
        }
    )

    assert answer.status_code == 200
    eventually(ehr.plans)


def test_nothing_of_a_patient_is_in_the_log(ehr: Ehr, service: RunningService, ended: datetime) -> None:
    dose = ehr.put(ehr.dose(new_id(), ended, note=[{"text": "CANARY-NOTE"}]))
    eventually(ehr.plans)

    log = service.log.read_text(encoding="utf-8")

    for secret in (dose["id"], ehr.patient, "CANARY-NOTE", service.token):
        assert secret not in log
