"""EHRs that can only be asked about one patient at a time: whose doses are found, when, and at what cost."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ward import MONDAY, PATIENT, Ward, dose

from afterdose import logs
from afterdose.work.sources.cohort import CohortSweeper
from doubles.polled import PolledEhr

pytestmark = pytest.mark.faults

ENDED = MONDAY - timedelta(hours=1)
INTERVAL = timedelta(minutes=15)
STEP = timedelta(seconds=5)
POLL = """
[sources.ehr.poll]
strategy = "cohort"
types = [{types}]
[sources.ehr.poll.cohort]
{cohort}
"""


class Rounds(Ward):
    """A ward whose EHR is a vendor's, and what polls it."""

    front: PolledEhr

    def start(self) -> None:
        sweeper = self.workshop.sweeper("ehr")
        assert isinstance(sweeper, CohortSweeper)
        self.sweeper = sweeper

    def round(self, lasting: timedelta = INTERVAL) -> None:
        """Everybody's turn comes, in one go."""
        self.clock.advance(lasting)
        self.sweeper.sweep()

    def group(self, *patients: str, **changes: Any) -> None:
        """The members of Group/1."""
        members = [{"entity": {"reference": f"Patient/{one}"}} for one in patients]
        self.ehr.put(
            {"resourceType": "Group", "id": "1", "type": "person", "actual": True, "member": members, **changes}
        )

    def status_of(self, id_: str) -> list[str]:
        """The statuses of a dose, in the order in which they were heard of."""
        return [json.loads(fact.raw)["status"] for fact in self.store.facts.versions("ehr", id_) if fact.raw]


@contextmanager
def rounds(
    folder: Path,
    vendor: str = "epic",
    *,
    cohort: str = 'groups = ["Group/1"]',
    types: str = '"MedicationAdministration"',
    **front: Any,
) -> Iterator[Rounds]:
    more = POLL.format(types=types, cohort=cohort)
    with Rounds(folder, more=more, product=vendor, front=partial(PolledEhr, vendor, **front)) as ward:
        ward.start()
        yield ward


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure("warning", "json", stream)
    yield stream
    logs.configure("warning", "json")


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Rounds]:
    with rounds(tmp_path) as opened:
        opened.group(PATIENT)
        yield opened


def test_a_dose_of_a_member_is_found_and_of_nobody_else(ward: Rounds) -> None:
    ward.ehr.put(dose("d-1", ENDED))
    ward.ehr.put(dose("d-2", ENDED, subject={"reference": "Patient/stranger"}))

    ward.round()
    ward.settle()

    assert ward.store.facts.latest("ehr", "d-2") is None
    outcome = ward.store.outcomes.find("ehr", "d-1")
    assert outcome is not None
    assert outcome.outcome.value == "planned"


def test_what_did_not_change_is_stored_once_although_nothing_tells_its_version(ward: Rounds) -> None:
    ward.ehr.put(dose("d-1", ENDED))

    for _ in range(4):
        ward.round()
        ward.settle()

    found, read = ward.store.facts.versions("ehr", "d-1")
    assert (found.via, read.via) == ("poll", "read")


@pytest.mark.parametrize("vendor", ["epic", "oracle-health"])
def test_all_pages_of_a_patient_are_read_although_their_links_name_an_inner_host(tmp_path: Path, vendor: str) -> None:
    file = tmp_path / "patients"
    file.write_text(PATIENT)
    file.chmod(0o600)
    with rounds(tmp_path, vendor, cohort='file = "patients"', page_size=3) as ward:
        for number in range(10):
            ward.ehr.put(dose(f"d-{number}", ENDED - timedelta(hours=number)))

        ward.round()

        assert ward.store.facts.count() == 10
        assert ward.front.refused == []


def test_the_turns_are_spread_over_the_interval_and_each_has_one(tmp_path: Path) -> None:
    with rounds(tmp_path) as ward:
        patients = [f"p-{number}" for number in range(90)]
        ward.group(*patients)
        most = 0
        for _ in range(2):
            asked_before = len(ward.front.asked)
            for _ in range(INTERVAL // STEP):
                before = len(ward.front.asked)
                ward.round(STEP)
                most = max(most, len(ward.front.asked) - before)
            assert sorted(ward.front.asked_for()[asked_before:]) == sorted(patients)

        assert most == 1


def test_a_source_is_known_until_its_least_known_member_was_asked_about(tmp_path: Path) -> None:
    with rounds(tmp_path) as ward:
        ward.group("p-1", "p-2", "p-3")
        ward.round(STEP)
        assert len(ward.front.asked_for()) == 1
        joined = ward.store.sweeps.polled()["ehr"]
        ward.round(INTERVAL / 2)
        ward.round(INTERVAL / 2)

        assert len(set(ward.front.asked_for())) == 3
        known = ward.store.sweeps.polled()["ehr"]
        assert joined is not None
        assert known is not None
        assert known > joined


def test_a_dose_that_is_charted_days_late_is_found(ward: Rounds) -> None:
    ward.round()
    ward.clock.advance(timedelta(days=5))
    ward.round()
    ward.ehr.put(dose("d-1", ENDED))

    ward.round()

    assert ward.store.facts.count() == 1


def test_after_an_outage_of_ten_days_everything_since_is_asked_for(ward: Rounds) -> None:
    ward.round()
    ward.front.away = True
    ward.round()
    ward.ehr.put(dose("d-1", ENDED + timedelta(hours=2)))
    ward.clock.advance(timedelta(days=10))
    ward.front.away = False

    ward.round()
    ward.round()

    assert ward.store.facts.count() == 1


def test_a_correction_that_keeps_its_time_is_seen_when_the_patient_has_left(ward: Rounds) -> None:
    ward.ehr.put(dose("d-1", ENDED))
    ward.round()
    ward.settle()
    ward.group("somebody-else")
    ward.ehr.put(dose("d-1", ENDED, status="entered-in-error"))

    ward.round()
    ward.settle()

    assert PATIENT not in ward.front.asked_for()[1:]
    assert ward.status_of("d-1")[-1] == "entered-in-error"
    outcome = ward.store.outcomes.find("ehr", "d-1")
    assert outcome is not None
    assert outcome.outcome.value == "withdrawn"


def test_a_dose_that_was_deleted_is_withdrawn(ward: Rounds) -> None:
    ward.ehr.put(dose("d-1", ENDED))
    ward.round()
    ward.settle()
    ward.ehr.delete("MedicationAdministration", "d-1")

    ward.round()
    ward.settle()

    outcome = ward.store.outcomes.find("ehr", "d-1")
    assert outcome is not None
    assert outcome.outcome.value == "withdrawn"


def test_a_version_that_arrives_after_its_deletion_is_withdrawn_where_the_ehr_has_it_no_more(ward: Rounds) -> None:
    """Nothing tells the times of versions, and the EHR does not tell what is gone from what never was."""
    ward.unsend("MedicationAdministration", "d-1")
    ward.send(dose("d-1", ENDED))
    ward.settle()

    outcome = ward.store.outcomes.find("ehr", "d-1")
    assert outcome is not None
    assert outcome.outcome.value == "withdrawn"


def test_a_dose_that_no_search_shows_any_more_is_read_by_its_id_until_its_window_has_closed(tmp_path: Path) -> None:
    with rounds(tmp_path) as ward:
        ward.group(PATIENT)
        ward.ehr.put(dose("d-1", ENDED))
        ward.round()
        ward.settle()
        ward.group()
        seen = ward.front.reads("d-1")
        ward.round()
        assert ward.front.reads("d-1") == seen + 1

        ward.clock.advance_to(ENDED + timedelta(hours=73))
        ward.round()
        ward.round()
        assert ward.front.reads("d-1") == seen + 1
        assert ward.store.cohorts.size("ehr") == 0


def test_a_record_that_stays_closed_keeps_nobody_waiting_and_is_read_when_it_opens(
    tmp_path: Path, log: io.StringIO
) -> None:
    with rounds(tmp_path) as ward:
        ward.group("shut-in", PATIENT)
        ward.front.denied = {"shut-in"}
        ward.ehr.put(dose("d-1", ENDED, subject={"reference": "Patient/shut-in"}))
        ward.ehr.put(dose("d-2", ENDED))
        for _ in range(3):
            ward.round()
        assert ward.status_of("d-2") == ["completed"]
        assert "4130" in log.getvalue()
        assert "shut-in" not in log.getvalue()
        ward.clock.advance(timedelta(days=8))
        ward.front.denied = set()

        ward.round()

        assert ward.status_of("d-1") == ["completed"]


def test_records_that_stay_closed_are_told_of_once_an_interval(tmp_path: Path, log: io.StringIO) -> None:
    with rounds(tmp_path) as ward:
        shut_in = {f"shut-in-{number}" for number in range(30)}
        ward.group(*shut_in)
        ward.front.denied = shut_in
        for _ in range(INTERVAL // STEP):
            ward.round(STEP)

        assert len(ward.front.asked) == len(shut_in)
        assert log.getvalue().count("4130") == 1


def test_what_is_broken_off_between_two_questions_is_asked_again_and_stored_once(tmp_path: Path) -> None:
    with rounds(tmp_path, types='"MedicationAdministration", "Encounter"') as ward:
        ward.group(PATIENT)
        ward.ehr.put(dose("d-1", ENDED))
        ward.front.goes_away_after = 1
        ward.round()
        assert ward.store.cohorts.due("ehr", asked_before=ward.clock(), most=1)[0].known_until is None
        ward.front.away, ward.front.goes_away_after = False, None

        ward.round()

        assert ward.front.asked_for() == [PATIENT, PATIENT]
        assert ward.store.facts.count() == 1


def test_another_process_takes_over_from_one_that_was_killed(ward: Rounds) -> None:
    """A process that is killed leaves its lease behind, and says nothing."""
    ward.ehr.put(dose("d-1", ENDED))
    begun = ward.store.sweeps.begin(
        "ehr", "(cohort)", owner="killed", interval=timedelta(0), lease=timedelta(minutes=2)
    )
    assert begun is not None
    ward.round(timedelta(minutes=1))
    assert ward.store.facts.count() == 0

    ward.round(timedelta(minutes=2))

    assert ward.store.facts.count() == 1


def test_answers_about_others_are_not_kept(ward: Rounds, capsys: pytest.CaptureFixture[str]) -> None:
    ward.front.careless = True
    ward.ehr.put(dose("d-1", ENDED, subject={"reference": "Patient/stranger"}))
    ward.ehr.put(dose("d-2", ENDED))

    ward.round()

    assert ward.store.facts.count() == 1
    told = capsys.readouterr()
    assert "stranger" not in told.out + told.err


def hour(start: datetime) -> dict[str, str]:
    return {"start": start.isoformat(), "end": (start + timedelta(hours=1)).isoformat()}


def surroundings() -> list[dict[str, Any]]:
    person = {"reference": f"Patient/{PATIENT}"}
    visit = {
        "status": "booked",
        **hour(MONDAY + timedelta(days=2)),
        "participant": [{"actor": person, "status": "accepted"}],
    }
    drug = dose("d-1", ENDED)["medicationCodeableConcept"]
    wanted = {"status": "active", "intent": "order", "subject": person}
    return [
        {"resourceType": "Appointment", "id": "a-1", **visit},
        {
            "resourceType": "Encounter",
            "id": "e-1",
            "status": "in-progress",
            "subject": person,
            "period": {"start": MONDAY.isoformat()},
        },
        {"resourceType": "MedicationRequest", "id": "r-1", "medicationCodeableConcept": drug, **wanted},
        {"resourceType": "ServiceRequest", "id": "s-1", **wanted},
    ]


@pytest.mark.parametrize("vendor", ["epic", "oracle-health"])
def test_what_the_plan_depends_on_is_heard_of_too(tmp_path: Path, vendor: str) -> None:
    types = ("Appointment", "Encounter", "MedicationAdministration", "MedicationRequest", "Patient", "ServiceRequest")
    file = tmp_path / "patients"
    file.write_text(f"Patient/{PATIENT}  # the clinic's first\n\n")
    file.chmod(0o600)
    named = ", ".join(f'"{one}"' for one in types)
    with rounds(tmp_path, vendor, cohort='file = "patients"', types=named) as ward:
        for one in surroundings():
            ward.ehr.put(one)

        ward.round()

        heard = {fact.resource_type for fact in ward.store.facts.others("ehr", PATIENT)}
        assert heard == set(types) - {"MedicationAdministration"}
        assert ward.front.refused == []


def test_a_file_is_read_anew_and_a_spoilt_one_loses_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "patients"
    file.write_text("p-1\n")
    file.chmod(0o600)
    with rounds(tmp_path, cohort='file = "patients"') as ward:

        def members_after(change: Callable[[], object]) -> set[str]:
            change()
            ward.round()
            return ward.store.cohorts.members("ehr")

        assert members_after(lambda: None) == {"p-1"}
        assert members_after(lambda: file.write_text("p-1\nPatient/p-2\n# p-3\n")) == {"p-1", "p-2"}
        assert members_after(lambda: file.write_text("p-2\nsomebody else\n")) == {"p-1", "p-2"}
        assert members_after(lambda: file.write_text("p-2\n")) == {"p-2"}
        assert members_after(lambda: file.chmod(0o644)) == {"p-2"}
        assert members_after(file.unlink) == {"p-2"}

    told = capsys.readouterr()
    assert "somebody" not in told.out + told.err


def test_who_left_a_group_or_was_taken_off_a_list_is_not_asked_about(tmp_path: Path) -> None:
    with rounds(tmp_path, cohort='groups = ["Group/1"]\nlists = ["List/1"]') as ward:
        names = ("in", "out", "over")
        members = [{"entity": {"reference": f"Patient/{one}"}} for one in names]
        members[1]["inactive"] = True
        members[2]["period"] = {"end": (MONDAY - timedelta(days=1)).isoformat()}
        ward.group(member=members)
        entries = [{"item": {"reference": f"Patient/{one}"}} for one in ("on", "off")]
        entries[1]["deleted"] = True
        ward.ehr.put({"resourceType": "List", "id": "1", "status": "current", "mode": "working", "entry": entries})

        ward.round()

        assert ward.store.cohorts.members("ehr") == {"in", "on"}


def test_a_group_that_cannot_be_read_keeps_its_members(ward: Rounds) -> None:
    ward.round()
    ward.ehr.delete("Group", "1")

    ward.round()

    assert ward.store.cohorts.members("ehr") == {PATIENT}


def test_who_visits_the_clinic_is_asked_about_from_the_morning_on_and_some_days_longer(tmp_path: Path) -> None:
    with rounds(tmp_path, "oracle-health", cohort='visits_at = ["Location/1"]') as ward:
        days = {"today": 0, "yesterday": -1, "tomorrow": 1, "long-ago": -9, "cancelled": 0, "elsewhere": 0}
        for name, day in days.items():
            place = "Location/2" if name == "elsewhere" else "Location/1"
            actors = (f"Patient/{name}", place)
            visit = {
                "resourceType": "Appointment",
                "id": f"a-{name}",
                "status": "cancelled" if name == "cancelled" else "booked",
                **hour(MONDAY + timedelta(days=day)),
                "participant": [{"actor": {"reference": one}, "status": "accepted"} for one in actors],
            }
            ward.ehr.put(visit)

        ward.round()
        assert ward.store.cohorts.members("ehr") == {"today", "yesterday"}

        ward.clock.advance(timedelta(days=1))
        ward.round()
        assert ward.store.cohorts.members("ehr") == {"today", "yesterday", "tomorrow"}
        assert ward.front.refused == []
