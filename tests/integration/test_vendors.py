"""The main job at EHRs that take no CarePlan: each artifact on the rung that the vendor's rules leave, once."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from afterdose.bootstrap import web_app
from afterdose.sandbox import Behaviour, SandboxEHR
from afterdose.settings import load_settings
from afterdose.store.migrate import migrate
from afterdose.store.rows import OutcomeRow
from afterdose.workshop import Workshop
from doubles.vendors import LOOK, READ_FROM, VENDORS, Rules, VendorEhr

pytestmark = pytest.mark.service

Resource = dict[str, Any]
CLINIC = (Path(__file__).parents[2] / "mappings" / "clinics" / "example-7-days.toml").read_text(encoding="utf-8")
TOKEN = "engine-" + "7" * 57
PATIENT = "p-1"
NOW = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
ENDED = NOW - timedelta(hours=1)
OURS = ("CarePlan", "Appointment", "DocumentReference", "ServiceRequest", "Communication", "Task", "Goal")
SETTINGS = """
data_dir = "{folder}"
[targets.ehr]
base_url = "{base_url}"
clinic = "{clinic}"
ehr = "{vendor}"
sender = "Practitioner/7"
[targets.ehr.rungs]
{pins}
[sources.ehr]
target = "ehr"
zone = "America/New_York"
readable = {readable}
[[sources.ehr.secrets]]
value = "{token}"
"""


def dose(**changes: Any) -> Resource:
    return {
        "resourceType": "MedicationAdministration",
        "id": "d-1",
        "status": "completed",
        "medicationCodeableConcept": {
            "coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "6130"}]
        },
        "subject": {"reference": f"Patient/{PATIENT}"},
        "effectivePeriod": {"start": (ENDED - timedelta(minutes=40)).isoformat(), "end": ENDED.isoformat()},
        "reasonCode": [{"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "F33.2"}]}],
        "dosage": {
            "route": {"coding": [{"system": "http://snomed.info/sct", "code": "47625008"}]},
            "dose": {"value": 35, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"},
        },
        **changes,
    }


def corrected() -> Resource:
    later = ENDED + timedelta(minutes=30)
    return dose(effectivePeriod={"start": (ENDED - timedelta(minutes=10)).isoformat(), "end": later.isoformat()})


class Site:
    """An integration engine, afterdose with one worker, and an EHR."""

    def __init__(
        self,
        folder: Path,
        ehr: VendorEhr | SandboxEHR,
        vendor: str = "generic",
        pins: str = "",
        readable: str = "false",
    ) -> None:
        self.ehr = ehr
        self.now = NOW
        clinic = folder / "clinic.toml"
        clinic.write_text('location = "Location/1"\npool = "CareTeam/coordinators"\n' + CLINIC, encoding="utf-8")
        config = folder / "afterdose.toml"
        config.write_text(
            SETTINGS.format(
                folder=folder,
                base_url=ehr.base_url,
                clinic=clinic,
                vendor=vendor,
                pins=pins,
                token=TOKEN,
                readable=readable,
            ),
            encoding="utf-8",
        )
        settings = load_settings(config, {})
        migrate(settings.database)
        self.workshop = Workshop(settings, clock=self._clock)
        self.store = self.workshop.store
        self._door = web_app(settings, self.store, clock=self._clock).test_client()
        self._worker = self.workshop.worker("w")

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.workshop.close()

    def _clock(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def push(self, resource: Resource) -> None:
        answer = self._door.post(
            "/fhir",
            data=json.dumps(resource),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/fhir+json"},
        )
        assert answer.status_code == 200
        self.work()

    def work(self) -> None:
        while self._worker.work_once():
            pass

    def later(self, by: timedelta) -> None:
        self.now += by
        self.work()

    def stands(self) -> dict[str, int]:
        return {type_: count for type_ in OURS if (count := len(self.ehr.all(type_)))}

    def outcome(self) -> OutcomeRow:
        found = self.store.outcomes.find("ehr", "d-1")
        assert found is not None
        return found

    def asked(self) -> set[str]:
        return {reason.value for review in self.store.reviews.open(10) for reason in review.reasons}


@pytest.fixture(params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(vendor: str, tmp_path: Path) -> Iterator[Site]:
    with VendorEhr(VENDORS[vendor]) as ehr, Site(tmp_path, ehr, vendor) as running:
        yield running


EXPECTED = {
    "oracle-health": {"Appointment": 1, "DocumentReference": 1},
    "epic": {"DocumentReference": 1, "ServiceRequest": 1},
    "meditech": {"Communication": 1},
    "athenahealth": {},
}


def refusals(site: Site) -> list[str]:
    assert isinstance(site.ehr, VendorEhr)
    return site.ehr.refused


def test_a_dose_stands_on_the_rungs_that_the_vendor_leaves(site: Site, vendor: str) -> None:
    site.push(dose())

    assert site.stands() == EXPECTED[vendor]
    assert site.outcome().outcome == "planned"
    assert refusals(site) == []
    assert site.asked() == ({"not-written-to-ehr"} if vendor == "athenahealth" else set())


def test_what_is_sent_again_changes_nothing(site: Site, vendor: str) -> None:
    site.push(dose())
    for _ in range(3):
        site.push(dose())
    site.push(dose(note=[{"text": "seen"}]))

    assert site.stands() == EXPECTED[vendor]
    assert refusals(site) == []


def test_a_withdrawn_dose_leaves_nothing_that_asks_for_a_session_unsaid(site: Site, vendor: str) -> None:
    site.push(dose())
    site.push(dose(status="entered-in-error"))

    assert site.outcome().outcome == "withdrawn"
    assert [one["status"] for one in site.ehr.all("DocumentReference")] in ([], ["entered-in-error"])
    assert [one["status"] for one in site.ehr.all("ServiceRequest")] in ([], ["revoked"])
    assert [one["status"] for one in site.ehr.all("Appointment")] in ([], ["cancelled"])
    assert len(site.ehr.all("Communication")) == (2 if vendor == "meditech" else 0)
    assert "ehr-keeps-old" not in site.asked()
    assert refusals(site) == []


def test_a_corrected_dose_is_followed_where_the_vendor_lets_it(site: Site, vendor: str) -> None:
    site.push(dose())
    site.push(corrected())

    opens = (ENDED + timedelta(hours=24, minutes=30)).isoformat().replace("+00:00", "Z")
    assert len(site.ehr.all("DocumentReference")) == EXPECTED[vendor].get("DocumentReference", 0)
    for order in site.ehr.all("ServiceRequest"):
        assert order["occurrencePeriod"]["start"] == opens
    proposals = [one for one in site.ehr.all("Appointment") if one["status"] == "proposed"]
    assert len(proposals) == EXPECTED[vendor].get("Appointment", 0)
    for proposal in proposals:
        assert proposal["requestedPeriod"][0]["start"] == opens
    assert {one["status"] for one in site.ehr.all("Appointment") if one not in proposals} <= {"cancelled"}
    assert len(site.ehr.all("Communication")) == (2 if vendor == "meditech" else 0)
    assert "ehr-keeps-old" not in site.asked()
    assert refusals(site) == []


def test_a_question_for_staff_goes_out_as_a_message_and_so_does_its_end(site: Site, vendor: str) -> None:
    site.push(dose(status="stopped"))
    asked = len(site.ehr.all("Communication"))
    site.push(dose(status="entered-in-error"))

    assert asked == (0 if vendor == "athenahealth" else 1)
    assert len(site.ehr.all("Communication")) == 2 * asked
    assert refusals(site) == []


def test_an_element_that_a_person_changed_in_the_note_stays(tmp_path: Path) -> None:
    with VendorEhr(VENDORS["epic"]) as ehr, Site(tmp_path, ehr, "epic") as site:
        site.push(dose())
        (before,) = ehr.all("DocumentReference")
        ehr.staff.put({**before, "description": "Plan of the team"})
        site.push(corrected())

        (note,) = ehr.all("DocumentReference")
        assert note["description"] == "Plan of the team"
        assert note["content"] != before["content"]


def test_an_order_that_a_person_revoked_is_not_made_again(tmp_path: Path) -> None:
    with VendorEhr(VENDORS["epic"]) as ehr, Site(tmp_path, ehr, "epic") as site:
        site.push(dose())
        (order,) = ehr.all("ServiceRequest")
        ehr.staff.put({**order, "status": "revoked"})
        site.push(corrected())

        assert [one["status"] for one in ehr.all("ServiceRequest")] == ["revoked"]


@pytest.mark.parametrize("trouble", ["no answer", "locked", "both"])
def test_a_proposal_is_cancelled_by_a_patch_whatever_becomes_of_its_answer(trouble: str, tmp_path: Path) -> None:
    with VendorEhr(VENDORS["oracle-health"]) as ehr, Site(tmp_path, ehr, "oracle-health") as site:
        site.push(dose())
        ehr.lose_answers = trouble != "locked"
        ehr.locked = trouble != "no answer"
        site.push(dose(status="entered-in-error"))
        for _ in range(3):
            site.later(timedelta(minutes=5))

        assert [one["status"] for one in ehr.all("Appointment")] == ["cancelled"]
        assert ehr.locked == ehr.lose_answers == 0
        assert site.asked() == set()
        assert {line.rpartition(": ")[2] for line in ehr.refused} <= {"423 lock-error"}


def test_a_booked_visit_is_not_patched(tmp_path: Path) -> None:
    with VendorEhr(VENDORS["oracle-health"]) as ehr, Site(tmp_path, ehr, "oracle-health") as site:
        site.push(dose())
        (proposal,) = ehr.all("Appointment")
        times = dict.fromkeys(("start", "end"), proposal["requestedPeriod"][0]["start"])
        ehr.staff.put({**proposal, **times, "status": "booked"})
        site.push(dose(status="entered-in-error"))

        assert [one["status"] for one in ehr.all("Appointment")] == ["booked"]
        assert "PATCH" not in {method for method, _ in ehr.requests}
        assert len(ehr.all("Communication")) == 1


def test_a_hospital_without_patch_has_a_person_told(tmp_path: Path) -> None:
    oracle = VENDORS["oracle-health"]
    declared = {**oracle.declared, "Appointment": oracle.declared["Appointment"] - {"patch"}}
    with VendorEhr(replace(oracle, declared=declared)) as ehr, Site(tmp_path, ehr, "oracle-health") as site:
        site.push(dose())
        site.push(dose(status="entered-in-error"))

        assert [one["status"] for one in ehr.all("Appointment")] == ["proposed"]
        assert site.asked() == {"ehr-keeps-old"}


@pytest.mark.parametrize("vendor", ["oracle-health", "epic", "meditech"], indirect=True)
def test_an_answer_that_is_lost_doubles_nothing(site: Site, vendor: str) -> None:
    assert isinstance(site.ehr, VendorEhr)
    site.ehr.lose_answers = 1
    site.push(dose())
    site.later(timedelta(minutes=5))
    site.later(timedelta(minutes=15))

    assert site.stands() == EXPECTED[vendor]


def test_what_everybody_sees_is_neutral(site: Site) -> None:
    site.push(dose())

    for type_ in OURS:
        for one in site.ehr.all(type_):
            assert "ketamine" not in json.dumps(one).lower()
    for message in site.ehr.all("Communication"):
        (payload,) = message["payload"]
        assert "ketamine" not in payload["contentString"].lower()


def test_a_note_reads_well_in_both_forms(tmp_path: Path) -> None:
    with VendorEhr(VENDORS["epic"]) as ehr, Site(tmp_path, ehr, "epic") as site:
        site.push(dose())
        html, plain = (
            base64.b64decode(one["attachment"]["data"]).decode() for one in ehr.all("DocumentReference")[0]["content"]
        )

    assert "<b>Next, dose 1: Book a session that starts between" in html
    assert plain.startswith("Next, dose 1: Book a session that starts between")
    assert "<" not in plain


ABSENT = {
    "CarePlan": {"DocumentReference": 1},
    "CarePlan DocumentReference": {"Communication": 1},
    "Appointment": {"ServiceRequest": 1},
}


@pytest.mark.parametrize("missing", ABSENT)
@pytest.mark.parametrize("how", ["absent", "read_only"])
def test_every_rung_takes_the_place_of_the_one_above(missing: str, how: str, tmp_path: Path) -> None:
    types = frozenset(missing.split())
    behaviour = Behaviour(absent=types) if how == "absent" else Behaviour(read_only=types)
    with SandboxEHR(behaviour=behaviour) as ehr, Site(tmp_path, ehr) as site:
        site.push(dose())
        site.push(corrected())

        stands = site.stands()
        assert not types & set(stands)
        for type_ in ABSENT[missing]:
            assert stands.get(type_, 0) >= 1
        assert site.outcome().outcome == "planned"


def test_what_was_written_stays_on_its_rung_when_the_ehr_learns_more(tmp_path: Path) -> None:
    with SandboxEHR(behaviour=Behaviour(absent=frozenset({"CarePlan"}))) as ehr, Site(tmp_path, ehr) as site:
        site.push(dose())
        ehr.behaviour = Behaviour()
        site.later(timedelta(hours=25))
        site.push(corrected())

        assert "CarePlan" not in site.stands()
        assert len(ehr.all("DocumentReference")) == 1


def test_a_pin_wins(tmp_path: Path) -> None:
    pins = 'care-plan = "document-reference"\nappointment = "worklist"'
    with SandboxEHR() as ehr, Site(tmp_path, ehr, pins=pins) as site:
        site.push(dose())

        assert {"DocumentReference"} <= set(site.stands())
        assert not {"CarePlan", "Appointment"} & set(site.stands())


WRITES = LOOK | {"create", "update"}
NO_UPDATE = Rules(declared=READ_FROM | {"CarePlan": LOOK | {"create"}, "Appointment": WRITES, "Task": WRITES})


def test_where_no_plan_can_be_amended_each_dose_has_one_that_is_part_of_the_course(tmp_path: Path) -> None:
    second = (ENDED + timedelta(days=4, minutes=-40), ENDED + timedelta(days=4))
    with VendorEhr(NO_UPDATE) as ehr, Site(tmp_path, ehr) as site:
        site.push(dose())
        site.later(timedelta(days=4))
        site.push(
            dose(
                id="d-2", effectivePeriod=dict(zip(("start", "end"), (one.isoformat() for one in second), strict=True))
            )
        )

        course, *parts = ehr.all("CarePlan")
        assert "partOf" not in course
        assert [part["partOf"] for part in parts] == [[{"reference": f"CarePlan/{course['id']}"}]] * 2
        assert len(ehr.all("Appointment")) == 2
        assert refusals(site) == []
        assert site.asked() == set()


def test_a_person_is_told_of_a_plan_that_cannot_be_taken_back(tmp_path: Path) -> None:
    with VendorEhr(NO_UPDATE) as ehr, Site(tmp_path, ehr) as site:
        site.push(dose())
        site.push(dose(status="entered-in-error"))

        assert {one["status"] for one in ehr.all("CarePlan")} == {"draft"}
        assert [one["status"] for one in ehr.all("Appointment")] == ["cancelled"]
        assert site.asked() == {"ehr-keeps-old"}
        assert refusals(site) == []


def test_an_ehr_of_another_fhir_release_is_written_nothing(tmp_path: Path) -> None:
    with VendorEhr(Rules(declared=NO_UPDATE.declared, fhir_version="5.0.0")) as ehr, Site(tmp_path, ehr) as site:
        site.push(dose())

        assert site.stands() == {}
        assert [row.parked for row in site.store.agenda.parked()] == ["ehr-refused"]
