"""A dose that comes as HL7 v2 is planned for like any other, in the chart of the patient whose number it gives."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests

from afterdose.sandbox import SandboxEHR
from afterdose.settings import load_settings
from afterdose.store.store import Store, open_store
from mllp_server import Sender, code, start_mllp
from running_service import RunningService

pytestmark = pytest.mark.service

Resource = dict[str, Any]
MRN = "https://hospital.example.org/mrn"
JSON = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}
LOCAL = ZoneInfo("America/New_York")
MESSAGE = """\
MSH|^~\\&|EMAR|GH|AFTERDOSE|GH|{sent}||RAS^O17^RAS_O17|{control}|P|2.5.1
PID|1||{mrn}^^^GH^MR
PV1|1|O
ORC|RE|P{order}|F{order}
RXA|0|1|{start}|{end}|6130^ketamine^RXNORM|35|mg^^UCUM||||||||||||F33.2^Depression^I10C|CP|{action}
RXR|IV^Intravenous^HL70162
"""


class Hospital:
    """A patient in the EHR, and the pharmacy system that tells of one dose."""

    def __init__(self, ehr: SandboxEHR, service: RunningService) -> None:
        self.base_url = ehr.base_url
        self.service = service
        self.patient = f"p-{uuid.uuid4().hex[:8]}"
        self.mrn = str(uuid.uuid4().int)[:8]
        self.order = uuid.uuid4().hex[:8]
        self.ended = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
        self.put(
            {"resourceType": "Patient", "id": self.patient, "birthDate": "1980-02-01", "identifier": [self.number]}
        )

    @property
    def number(self) -> Resource:
        return {"system": MRN, "value": self.mrn}

    def put(self, resource: Resource) -> None:
        url = f"{self.base_url}/{resource['resourceType']}/{resource['id']}"
        assert requests.put(url, json=resource, headers=JSON, timeout=20).ok

    def message(self, control: str, action: str = "A", *, ended: datetime | None = None) -> bytes:
        end = (ended or self.ended).astimezone(LOCAL)
        return MESSAGE.format(
            sent=datetime.now(LOCAL).strftime("%Y%m%d%H%M%S.%f")[:-2] + datetime.now(LOCAL).strftime("%z"),
            control=f"{self.order}{control}",
            mrn=self.mrn,
            order=self.order,
            start=(end - timedelta(minutes=40)).strftime("%Y%m%d%H%M%S"),
            end=end.strftime("%Y%m%d%H%M%S"),
            action=action,
        ).encode()

    def post(self, message: bytes) -> str:
        url = self.service.fhir.removesuffix("/fhir") + "/hl7v2"
        headers = {"Authorization": f"Bearer {self.service.token}", "Content-Type": "application/hl7-v2"}
        return code(requests.post(url, data=message, headers=headers, timeout=20).text)

    def of_patient(self, type_: str, *statuses: str) -> list[Resource]:
        answer = requests.get(f"{self.base_url}/{type_}", params={"patient": self.patient}, headers=JSON, timeout=20)
        found = [entry["resource"] for entry in answer.json().get("entry", [])]
        return [one for one in found if not statuses or one["status"] in statuses]

    def opens(self) -> datetime | None:
        """When the one proposed session may begin at the earliest."""
        proposed = self.of_patient("Appointment", "proposed")
        return datetime.fromisoformat(proposed[0]["requestedPeriod"][0]["start"]) if len(proposed) == 1 else None


def eventually(condition: Callable[[], Any], deadline: float = 30.0) -> Any:
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.05)
    return pytest.fail(f"not true within {deadline} s")


@pytest.fixture(scope="module")
def ehr() -> Iterator[SandboxEHR]:
    with SandboxEHR() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def service(ehr: SandboxEHR, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    started = RunningService(tmp_path_factory.mktemp("v2"), ehr.base_url)
    source = '[sources.ehr]\ntarget = "ehr"\n'
    text = started.config.read_text()
    assert source in text
    started.config.write_text(text.replace(source, f'{source}patient_identifier_system = "{MRN}"\n'))
    with started:
        yield started


@pytest.fixture
def hospital(ehr: SandboxEHR, service: RunningService) -> Hospital:
    return Hospital(ehr, service)


@pytest.fixture(scope="module")
def store(service: RunningService) -> Iterator[Store]:
    """What the service has stored."""
    with closing(open_store(load_settings(service.config, {}).database, clock=lambda: datetime.now(UTC))) as opened:
        yield opened


def questions(store: Store) -> set[str]:
    """The doses about which persons are asked."""
    return {one.founder.id for one in store.reviews.open(100)}


def is_at_rest(store: Store, patient: str) -> bool:
    """Whether nobody works on the patient, and nothing is due now."""
    row = store.agenda.find("ehr", patient)
    return row is not None and row.lease_owner is None and (row.due_at is None or row.due_at > datetime.now(UTC))


def test_a_message_becomes_a_plan_in_the_chart_of_the_patient(hospital: Hospital) -> None:
    assert hospital.post(hospital.message("M1")) == "AA"

    assert eventually(hospital.opens) == hospital.ended + timedelta(hours=24)
    (plan,) = eventually(lambda: hospital.of_patient("CarePlan"))
    assert plan["status"] == "draft"


def test_no_resource_refers_to_one_that_the_ehr_does_not_have(hospital: Hospital) -> None:
    hospital.post(hospital.message("M1"))
    (plan,) = eventually(lambda: hospital.of_patient("CarePlan"))

    (dose,) = [one for one in plan["supportingInfo"] if one.get("type") == "MedicationAdministration"]
    assert dose["identifier"]["value"].startswith("v2-")
    assert "MedicationAdministration/" not in str(plan)
    assert "MedicationAdministration/" not in str(hospital.of_patient("Appointment"))


def test_a_message_over_mllp_becomes_a_plan_too(hospital: Hospital) -> None:
    with start_mllp(hospital.service.config) as mllp, Sender(mllp.port) as sender:
        assert code(sender.send(hospital.message("M1"))) == "AA"

    assert eventually(hospital.opens)


def test_a_correction_moves_the_proposal_and_a_deletion_takes_it_back(hospital: Hospital) -> None:
    hospital.post(hospital.message("M1"))
    eventually(hospital.opens)

    later = hospital.ended + timedelta(minutes=30)
    assert hospital.post(hospital.message("M2", "U", ended=later)) == "AA"
    eventually(lambda: hospital.opens() == later + timedelta(hours=24))

    assert hospital.post(hospital.message("M3", "D")) == "AA"
    eventually(lambda: [one["status"] for one in hospital.of_patient("CarePlan")] == ["entered-in-error"])
    assert hospital.of_patient("Appointment", "proposed") == []


def test_the_first_message_again_does_not_undo_its_correction(hospital: Hospital, store: Store) -> None:
    first = hospital.message("M1")
    later = hospital.ended + timedelta(minutes=30)
    hospital.post(first)
    hospital.post(hospital.message("M2", "U", ended=later))
    eventually(lambda: hospital.opens() == later + timedelta(hours=24))

    assert hospital.post(first) == "AA"
    eventually(lambda: is_at_rest(store, hospital.patient))
    assert hospital.opens() == later + timedelta(hours=24)


def test_the_same_message_under_another_control_id_is_no_contradiction(hospital: Hospital, store: Store) -> None:
    first = hospital.message("M1")
    hospital.post(first)
    opens = eventually(hospital.opens)

    assert hospital.post(first.replace(f"{hospital.order}M1".encode(), f"{hospital.order}M9".encode())) == "AA"
    eventually(lambda: is_at_rest(store, hospital.patient))
    assert hospital.opens() == opens


def test_two_messages_of_one_moment_that_differ_go_to_a_person(hospital: Hospital, store: Store) -> None:
    before, first = questions(store), hospital.message("M1")
    hospital.post(first)
    eventually(hospital.opens)

    other = first.replace(f"{hospital.order}M1".encode(), f"{hospital.order}M9".encode()).replace(b"|35|mg", b"|40|mg")
    assert hospital.post(other) == "AA"
    eventually(lambda: questions(store) - before)


@pytest.mark.parametrize("first", ["v2", "fhir"])
def test_the_same_dose_by_message_and_by_fhir_is_one_session(hospital: Hospital, first: str) -> None:
    dose = {
        "resourceType": "MedicationAdministration",
        "id": f"d-{hospital.order}",
        "status": "completed",
        "medicationCodeableConcept": {
            "coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "6130"}]
        },
        "subject": {"reference": f"Patient/{hospital.patient}"},
        "effectivePeriod": {
            "start": (hospital.ended - timedelta(minutes=40)).isoformat(),
            "end": hospital.ended.isoformat(),
        },
        "reasonCode": [{"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "F33.2"}]}],
        "dosage": {
            "route": {"coding": [{"system": "http://snomed.info/sct", "code": "47625008"}]},
            "dose": {"value": 35, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"},
        },
    }
    hospital.put(dose)
    ways: list[Callable[[], object]] = [
        lambda: hospital.post(hospital.message("M1")),
        lambda: hospital.service.send(dose).raise_for_status(),
    ]
    for way in ways if first == "v2" else reversed(ways):
        way()
        eventually(hospital.opens)

    def decided() -> bool:
        told = hospital.service.explain(f"MedicationAdministration/d-{hospital.order}")
        return told is not None and told["outcome"] in ("planned", "joined")

    eventually(decided)
    assert len(hospital.of_patient("CarePlan", "draft")) == 1
    assert hospital.opens() == hospital.ended + timedelta(hours=24)


def test_a_number_that_nobody_has_goes_to_a_person_until_somebody_has_it(hospital: Hospital, store: Store) -> None:
    known, hospital.mrn = hospital.mrn, "unknown"
    before = questions(store)

    assert hospital.post(hospital.message("M1")) == "AA"
    eventually(lambda: questions(store) - before)
    assert hospital.of_patient("CarePlan") == []

    hospital.mrn = known
    assert hospital.post(hospital.message("M2", "U")) == "AA"
    assert eventually(hospital.opens)


def test_a_number_that_two_patients_have_plans_for_neither(hospital: Hospital, store: Store) -> None:
    other = f"{hospital.patient}-b"
    hospital.put({"resourceType": "Patient", "id": other, "identifier": [hospital.number]})
    before = questions(store)

    assert hospital.post(hospital.message("M1")) == "AA"
    eventually(lambda: questions(store) - before)

    assert hospital.of_patient("CarePlan") == []
    hospital.patient = other
    assert hospital.of_patient("CarePlan") == []


def test_nothing_of_a_patient_gets_into_the_log(hospital: Hospital) -> None:
    hospital.post(hospital.message("M1"))
    eventually(hospital.opens)

    log = hospital.service.log.read_text()
    for secret in (hospital.mrn, hospital.patient, hospital.order, "ketamine"):
        assert secret not in log
