"""What those who run afterdose can do and see: pause, shadow mode, copies put back, alarms, who was given up."""

from __future__ import annotations

import io
import json
import shutil
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from stories import DOSE, ENDED
from ward import OPEN_APPOINTMENTS, OPEN_PLANS, PATIENT, Ward, dose

from afterdose import logs
from afterdose.core.errors import StoreUnusable
from afterdose.core.reasons import Outcome, Reason
from afterdose.sandbox import Behaviour, faults
from afterdose.store import copies
from afterdose.work.watch import Watch

pytestmark = pytest.mark.faults

FOR_EVER = 1_000_000
LEASE = timedelta(seconds=60)
OTHER = "p-2"


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    with Ward(tmp_path) as running:
        yield running


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    yield stream
    logs.configure("warning", "json")


def alarms(log: io.StringIO) -> list[str]:
    told = [json.loads(line) for line in log.getvalue().splitlines()]
    return [line["alarm"] for line in told if line["level"] == "error" and "alarm" in line]


def look(ward: Ward) -> None:
    Watch(store=ward.store, clock=ward.clock, stop=threading.Event()).look()


def test_a_patient_whose_work_ends_its_process_again_and_again_is_given_up_aloud(ward: Ward, log: io.StringIO) -> None:
    ward.chart(DOSE)
    for _ in range(8):
        assert ward.store.agenda.claim("dies", lease=LEASE, now=ward.clock()) is not None
        ward.clock.advance(2 * LEASE)

    assert ward.step()

    (parked,) = ward.store.agenda.parked()
    assert parked.parked == "poison"
    assert alarms(log) == ["parked"]
    assert ward.plans() == []


def test_processes_that_are_stopped_now_and_then_give_nobody_up(ward: Ward) -> None:
    ward.chart(DOSE)
    for _ in range(7):
        ward.store.agenda.claim("stopped", lease=LEASE, now=ward.clock())
        ward.clock.advance(2 * LEASE)
    ward.settle()
    ward.check()
    assert len(ward.plans(*OPEN_PLANS)) == 1


def test_refused_credentials_park_nobody(ward: Ward, log: io.StringIO) -> None:
    ward.ehr.fail_next("*", "", faults.status(401), times=FOR_EVER)
    ward.chart(DOSE)
    for _ in range(20):
        ward.step()
        ward.clock.advance(timedelta(minutes=20))
    assert ward.store.agenda.parked() == []
    assert set(alarms(log)) <= {"away", "credentials"}
    assert alarms(log).count("away") == 1

    ward.ehr.clear_faults()
    ward.settle()
    ward.check()
    assert len(ward.plans(*OPEN_PLANS)) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 406])
def test_an_ehr_that_does_not_say_what_it_takes_is_asked_again_and_alarmed_once(
    ward: Ward, log: io.StringIO, status: int
) -> None:
    said = b'{"resourceType": "OperationOutcome"}'
    answer = faults.Answer(status, (("Content-Type", "application/fhir+json"),), said)
    ward.ehr.fail_next("GET", "/metadata", lambda *_: answer, times=FOR_EVER)
    ward.chart(DOSE)
    for _ in range(20):
        ward.step()
        ward.clock.advance(timedelta(minutes=20))
    assert ward.store.agenda.parked() == []
    assert alarms(log) == ["metadata"]
    assert ward.plans() == []

    ward.ehr.clear_faults()
    ward.settle()
    ward.check()
    assert len(ward.plans(*OPEN_PLANS)) == 1
    assert alarms(log) == ["metadata"]
    assert '"an EHR says again what it takes"' in log.getvalue()


def test_an_artifact_that_may_not_be_read_any_more_is_a_question_with_the_code_of_the_ehr(ward: Ward) -> None:
    ward.chart(DOSE)
    ward.settle()
    ward.ehr.fail_next("GET", "/Appointment/", faults.status(403))
    ward.store.agenda.put("ehr", PATIENT, ward.clock(), "test")
    assert ward.step()

    (question,) = ward.store.reviews.open(10)
    assert question.reasons == (Reason.EHR_REFUSED,)
    assert question.codes == ("http-403",)
    assert ward.store.agenda.parked() == []


def test_what_an_ehr_refuses_for_good_stands_in_the_log_with_its_code_and_element(
    tmp_path: Path, log: io.StringIO
) -> None:
    issue = {
        "severity": "error",
        "code": "processing",
        "diagnostics": "p-1",
        "expression": ["Appointment.extension[1]"],
    }
    body = json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}).encode()
    answer = faults.Answer(422, (("Content-Type", "application/fhir+json"),), body)
    with Ward(tmp_path, behaviour=Behaviour(transaction="undeclared")) as ward:
        ward.ehr.fail_next("POST", "/Appointment$", lambda *_: answer)
        ward.chart(DOSE)
        ward.step()

        (told,) = [line for line in map(json.loads, log.getvalue().splitlines()) if "element" in line]
        assert (told["resource_type"], told["status"], told["code"]) == ("Appointment", 422, "processing")
        assert (told["element"], told["level"]) == ("Appointment.extension[1]", "warning")
        assert len(ward.plans(*OPEN_PLANS)) == 1
        assert [one.reasons for one in ward.store.reviews.open(10)] == [(Reason.EHR_REFUSED,)]


def test_while_an_ehr_is_left_alone_nothing_counts_against_its_other_patients(ward: Ward) -> None:
    ward.ehr.put({"resourceType": "Patient", "id": OTHER, "birthDate": "1980-02-01"})
    ward.ehr.fail_next("*", "", faults.drop(), times=FOR_EVER)
    ward.chart(DOSE)
    while not ward.workshop.shut():
        ward.step()
        row = ward.store.agenda.find("ehr", PATIENT)
        assert row is not None
        ward.clock.advance_to(row.due_at or ward.clock())
    ward.send(ward.ehr.put(dose("d-2", ENDED, subject={"reference": f"Patient/{OTHER}"})))
    other = ward.store.agenda.find("ehr", OTHER)

    assert other is not None
    assert other.attempts == 0
    assert other.due_at is not None


def test_a_paused_target_is_neither_read_nor_written_and_goes_on_where_it_was(ward: Ward) -> None:
    assert ward.store.pauses.pause("ehr")
    assert not ward.store.pauses.pause("ehr")
    ward.ehr.fail_next("*", "", faults.status(500), times=FOR_EVER)
    ward.send({**DOSE, "meta": {"versionId": "1"}})
    assert not ward.step()
    assert ward.ehr.faults_left == FOR_EVER
    ward.ehr.clear_faults()
    ward.ehr.put(DOSE)

    assert ward.store.pauses.resume("ehr")
    ward.settle()
    ward.check()
    assert len(ward.plans(*OPEN_PLANS)) == 1


def test_a_pause_ends_the_work_for_the_patient_in_hand(ward: Ward) -> None:
    ward.chart(DOSE)

    def pausing(serve: faults.Serve, _pause: object) -> object:
        ward.store.pauses.pause("ehr")
        return serve()

    ward.ehr.fail_next("GET", "", pausing)
    assert ward.step()
    row = ward.store.agenda.find("ehr", PATIENT)
    assert row is not None
    assert (row.attempts, row.lease_owner) == (0, None)
    assert ward.plans() == []


def test_in_shadow_mode_it_is_decided_and_nothing_is_written_until_the_target_goes_live(tmp_path: Path) -> None:
    with Ward(tmp_path, mode="shadow") as ward:
        ward.chart(DOSE)
        ward.settle()
        (row,) = ward.store.outcomes.of_patient("ehr", PATIENT)
        assert (row.outcome, row.shadow) == (Outcome.PLANNED, True)
        assert ward.plans() == ward.appointments() == []
        assert ward.store.ledger.load("ehr", PATIENT) == []
        ward.workshop.close()

        ward.reopen(mode="live")
        ward.workshop.start()
        patience = time.monotonic() + 20
        while not ward.plans(*OPEN_PLANS) and time.monotonic() < patience:
            time.sleep(0.1)
        ward.workshop.stop()
        assert len(ward.plans(*OPEN_PLANS)) == 1
        assert ward.store.outcomes.decided_in_shadow("ehr") == []


def test_a_plan_that_is_missed_is_alarmed_twice_and_asked_about_until_it_is_there(ward: Ward, log: io.StringIO) -> None:
    ward.ehr.fail_next("POST", "", faults.drop(), times=FOR_EVER)
    ward.chart(DOSE)
    ward.step()
    for hours in (15, 20, 21, 47, 48, 60):
        ward.clock.advance_to(ENDED + timedelta(hours=hours))
        look(ward)
    assert alarms(log).count("undelivered") == 2
    assert ward.store.agenda.escalated_count() == 1
    (question,) = ward.store.reviews.open(10)
    assert question.reasons == (Reason.RETRIES_EXHAUSTED,)

    ward.ehr.clear_faults()
    ward.clock.advance(timedelta(hours=1))
    ward.settle()
    look(ward)
    assert ward.store.agenda.escalated_count() == 0
    assert ward.store.reviews.open(10) == []


def test_a_dose_of_which_nothing_could_be_decided_is_missed_too(ward: Ward, log: io.StringIO) -> None:
    ward.ehr.fail_next("*", "", faults.drop(), times=FOR_EVER)
    ward.chart(DOSE)
    ward.step()
    ward.clock.advance(timedelta(hours=21))
    look(ward)
    assert alarms(log).count("undelivered") == 1


def test_what_is_delivered_is_not_missed(ward: Ward, log: io.StringIO) -> None:
    ward.chart(DOSE)
    ward.settle()
    ward.clock.advance(timedelta(hours=30))
    look(ward)
    assert alarms(log) == []


def test_every_read_of_a_patient_is_in_the_audit_also_one_that_failed(ward: Ward) -> None:
    ward.ehr.fail_next("GET", f"/Patient/{PATIENT}", faults.status(503))
    ward.chart(DOSE)
    ward.settle()
    told = {(kept.entry.action, kept.entry.entity_type, kept.entry.outcome) for kept in ward.store.audit.entries()}

    assert {("R", "MedicationAdministration", "200"), ("R", "Patient", "503"), ("R", "Patient", "200")} <= told
    assert ("C", "CarePlan", "begun") in told
    assert ward.store.audit.first_broken() is None


def test_an_older_copy_put_back_makes_no_doubles_of_what_was_written_since(tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with Ward(tmp_path) as ward:
        url = ward.workshop.settings.database
        ward.send(ward.ehr.put(DOSE))
        copies.backup(url, copy)
        assert copy.stat().st_mode & 0o777 == 0o600
        ward.settle()
        before = ward.end_state()
        with pytest.raises(StoreUnusable, match="in use"):
            copies.restore(url, copy, clock=ward.clock)
        ward.workshop.close()

        assert copies.restore(url, copy, clock=ward.clock) == 1

        ward.reopen()
        ward.settle()
        ward.check()
        assert len(ward.plans(*OPEN_PLANS)) == len(ward.appointments(*OPEN_APPOINTMENTS)) == 1
        assert ward.end_state() == before


def test_what_is_no_sound_copy_is_not_put_back(tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with Ward(tmp_path) as ward:
        url = ward.workshop.settings.database
        copies.backup(url, copy)
        with pytest.raises(StoreUnusable, match="there already"):
            copies.backup(url, copy)
        ward.workshop.close()
        damaged = tmp_path / "damaged.db"
        shutil.copy(copy, damaged)
        damaged.write_bytes(b"no database" + damaged.read_bytes()[11:])
        with pytest.raises(StoreUnusable, match="no copy"):
            copies.restore(url, damaged, clock=ward.clock)
        ward.reopen()


def test_on_postgresql_its_own_tools_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="pg_dump"):
        copies.backup("postgresql://nobody@127.0.0.1:1/none", tmp_path / "copy")
