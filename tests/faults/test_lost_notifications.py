"""What a sender loses, sends twice or in another order is known in the end, and none of it twice: the sweep asks."""

from __future__ import annotations

import io
import json
import random
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from ward import MONDAY, PATIENT, Ward, dose

from afterdose import logs
from afterdose.bootstrap import web_app
from afterdose.sandbox import Behaviour, faults

pytestmark = pytest.mark.faults

ENDED = MONDAY - timedelta(hours=1)
FIVE_MINUTES = timedelta(minutes=5)
POLL = '[sources.ehr.poll]\nstrategy = "last-updated"\n'


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    with Ward(tmp_path, more=POLL) as opened:
        yield opened


def test_of_200_notifications_5_percent_are_lost_and_the_rest_comes_in_any_order_and_every_dose_is_known_once(
    ward: Ward,
) -> None:
    chance = random.Random(5)  # noqa: S311 - nothing secret depends on it
    sweeper = ward.workshop.sweeper("ehr")
    sweeper.sweep()
    stored = []
    for number in range(200):
        ward.clock.advance(timedelta(seconds=1))
        stored.append(ward.ehr.put(dose(f"d-{number}", ENDED, subject={"reference": f"Patient/p-{number}"})))
    arriving = [one for place, one in enumerate(stored) if place % 20 != 7]
    chance.shuffle(arriving)
    for one in arriving:
        ward.send(one)
    assert ward.store.facts.count() == 190

    ward.clock.advance(FIVE_MINUTES)
    for _ in range(3):
        sweeper.sweep()
        ward.clock.advance(FIVE_MINUTES)

    assert {f"d-{n}" for n in range(200) if ward.store.facts.latest("ehr", f"d-{n}")} == {one["id"] for one in stored}
    assert ward.store.facts.count() == 200


def test_a_lost_dose_is_planned_for(ward: Ward) -> None:
    ward.ehr.put(dose("d-1", ENDED))

    ward.workshop.sweeper("ehr").sweep()
    ward.settle()

    assert len(ward.appointments("proposed")) == 1
    ward.check()


def test_a_dose_that_came_before_its_notification_was_late_is_not_planned_for_twice(ward: Ward) -> None:
    stored = ward.ehr.put(dose("d-1", ENDED))
    ward.workshop.sweeper("ehr").sweep()
    ward.settle()

    ward.send(stored)
    ward.settle()

    assert len(ward.appointments()) == 1
    ward.check()


def test_a_lost_correction_moves_the_proposal_although_the_dose_is_of_long_ago(ward: Ward) -> None:
    ward.chart(dose("d-1", ENDED))
    ward.settle()
    before = ward.appointments("proposed")[0]["requestedPeriod"]
    ward.clock.advance(timedelta(hours=2))
    ward.ehr.put(dose("d-1", ENDED - timedelta(hours=1)))

    ward.workshop.sweeper("ehr").sweep()
    ward.settle()

    assert ward.appointments("proposed")[0]["requestedPeriod"] != before
    ward.check()


def test_a_lost_deletion_withdraws_the_plan(ward: Ward) -> None:
    ward.chart(dose("d-1", ENDED))
    ward.settle()
    ward.ehr.delete("MedicationAdministration", "d-1")

    ward.workshop.sweeper("ehr").sweep()
    ward.settle()

    assert ward.appointments("proposed") == []
    assert ward.plans("draft", "active") == []


def test_a_dose_that_the_source_never_had_is_not_taken_for_a_deleted_one_because_its_patient_was_found(
    ward: Ward,
) -> None:
    """The sender knows the patient by a number, and passes on what its base URL does not serve."""
    number = {"system": "urn:mrn", "value": "1"}
    ward.ehr.put({"resourceType": "Patient", "id": PATIENT, "birthDate": "1980-02-01", "identifier": [number]})
    ward.send(dose("d-1", ENDED, subject={"identifier": number}))
    ward.settle()
    sweeper = ward.workshop.sweeper("ehr")
    for _ in range(2):
        sweeper.sweep()
        ward.clock.advance(FIVE_MINUTES)
    ward.settle()

    assert len(ward.appointments("proposed")) == 1


def test_a_dose_is_read_again_until_its_window_has_closed(ward: Ward) -> None:
    ward.chart(dose("d-1", ENDED))
    ward.settle()
    sweeper = ward.workshop.sweeper("ehr")

    def reads() -> int:
        return sum(one.path == "/fhir/MedicationAdministration/d-1" for one in ward.ehr.requests)

    ward.clock.advance_to(ENDED + timedelta(hours=71))
    before = reads()
    sweeper.sweep()
    assert reads() == before + 1

    ward.clock.advance_to(ENDED + timedelta(hours=73))
    sweeper.sweep()
    assert reads() == before + 1


def test_what_was_charted_while_the_ehr_was_away_is_found_when_it_is_back(ward: Ward) -> None:
    sweeper = ward.workshop.sweeper("ehr")
    sweeper.sweep()
    ward.ehr.put(dose("d-1", ENDED))
    ward.ehr.fail_next("GET", ".*MedicationAdministration.*", faults.status(503))
    ward.clock.advance(FIVE_MINUTES)
    sweeper.sweep()
    assert ward.store.facts.count() == 0

    ward.clock.advance(timedelta(hours=10))
    sweeper.sweep()

    assert ward.store.facts.count() == 1


def leads_back(serve: faults.Serve, _pause: faults.Pause) -> faults.Answer:
    """A page of results whose next page is always the same."""
    answer = serve()
    link = {"relation": "next", "url": "MedicationAdministration?_page=same"}
    body = json.dumps({**json.loads(answer.body), "link": [link]}).encode()
    headers = [(name, value) for name, value in answer.headers if name.lower() != "content-length"]
    return faults.Answer(answer.status, (*headers, ("Content-Length", str(len(body)))), body)


def test_what_stands_on_pages_that_lead_back_to_themselves_is_known_and_the_server_is_alarmed(
    ward: Ward, log: io.StringIO
) -> None:
    ward.ehr.put(dose("d-1", ENDED))
    ward.ehr.fail_next("GET", r".*MedicationAdministration\?.*", leads_back, times=3)

    ward.workshop.sweeper("ehr").sweep()

    assert [fact.via for fact in ward.store.facts.versions("ehr", "d-1")] == ["poll"]
    told = [json.loads(line) for line in log.getvalue().splitlines()]
    assert ("poll", "too-costly") in [(line.get("alarm"), line.get("code")) for line in told]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure("warning", "json", stream)
    yield stream
    logs.configure("warning", "json")


def test_a_source_that_cannot_be_polled_is_alarmed_once_and_again_when_it_can(ward: Ward, log: io.StringIO) -> None:
    sweeper = ward.workshop.sweeper("ehr")
    ward.ehr.fail_next("GET", ".*MedicationAdministration.*", faults.status(503), times=3)
    for _ in range(8):
        sweeper.sweep()
        ward.clock.advance(timedelta(minutes=10))

    told = [json.loads(line) for line in log.getvalue().splitlines()]
    assert ward.ehr.faults_left == 0
    assert [(line["level"], line["resource_type"]) for line in told if line.get("alarm") == "poll"] == [
        ("error", "MedicationAdministration"),
        ("warning", "MedicationAdministration"),
    ]


def test_what_many_pages_hold_is_found_whether_it_changed_one_after_the_other_or_all_at_once(tmp_path: Path) -> None:
    with Ward(tmp_path, more=POLL, behaviour=Behaviour(page_size=4)) as ward:
        for number in range(130):
            ward.clock.advance(timedelta(seconds=1) if number < 20 else timedelta(0))
            ward.ehr.put(dose(f"d-{number}", ENDED))

        ward.workshop.sweeper("ehr").sweep()

        assert ward.store.facts.count() == 130


def test_the_workers_poll_by_themselves_and_plan_for_what_was_lost(ward: Ward) -> None:
    ward.ehr.put(dose("d-1", ENDED))

    ward.workshop.start()

    deadline = time.monotonic() + 20
    while not ward.appointments("proposed") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(ward.appointments("proposed")) == 1


def test_nothing_is_asked_of_a_source_whose_target_is_paused(ward: Ward) -> None:
    ward.store.pauses.pause("ehr")

    ward.workshop.sweeper("ehr").sweep()

    assert ward.ehr.requests == []


def test_what_cannot_be_taken_is_kept_for_a_person_once_and_hides_nothing_else(ward: Ward) -> None:
    sweeper = ward.workshop.sweeper("ehr")
    ward.ehr.put(dose("d-1", ENDED, effectivePeriod={"start": "yesterday"}))
    ward.ehr.put(dose("d-2", ENDED))

    for _ in range(3):
        sweeper.sweep()
        ward.clock.advance(FIVE_MINUTES)

    assert ward.store.facts.latest("ehr", "d-2") is not None
    assert ward.store.quarantine.counts() == (1, 0)


def test_the_door_tells_when_a_source_was_last_polled(tmp_path: Path) -> None:
    operator = "operator-" + "7" * 55
    shown = {"Authorization": f"Bearer {operator}"}
    with Ward(tmp_path, more=f'{POLL}[[operations]]\nvalue = "{operator}"\n') as ward:
        door = web_app(ward.workshop.settings, ward.store, clock=ward.clock).test_client()
        assert door.get("/readyz", headers=shown).get_json()["polled"] == {"ehr": None}

        ward.workshop.sweeper("ehr").sweep()

        assert door.get("/readyz", headers=shown).get_json()["polled"]["ehr"].startswith("2026-01-05T15:00:00")
        told = door.get("/metrics", headers=shown).get_data(as_text=True)
        assert 'afterdose_source_polled_timestamp_seconds{source="ehr"} 1.7676' in told


def test_two_sources_with_equal_ids_are_polled_apart(tmp_path: Path) -> None:
    other = '\n[sources.other]\ntarget = "ehr"\nbase_url = "{}"\n[[sources.other.secrets]]\nvalue = "{}"\n'
    poll = POLL + POLL.replace("sources.ehr", "sources.other")
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
    with Ward(tmp_path / "other") as elsewhere:
        more = other.format(elsewhere.ehr.base_url, "other-" + "6" * 58) + poll
        with Ward(tmp_path / "one", more=more) as ward:
            ward.ehr.put(dose("d-1", ENDED))
            elsewhere.ehr.put(dose("d-1", ENDED - timedelta(days=1), subject={"reference": f"Patient/{PATIENT}"}))

            ward.workshop.sweeper("ehr").sweep()
            ward.workshop.sweeper("other").sweep()
            ward.settle()

            histories = ward.store.facts.history("ehr", PATIENT)
            assert sorted((key.source, key.id) for key in histories) == [("ehr", "d-1"), ("other", "d-1")]
            assert len({fact.raw for facts in histories.values() for fact in facts}) == 2
