"""What is no dose and yet decides: orders, booked visits, people, what hangs on a dose. EHRs as in the main line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from test_main_line import EHRS, Ehr, Resource, an_ehr, decided, eventually, new_id

from afterdose.settings import load_settings
from afterdose.store.store import open_store
from running_service import RunningService

TYPES = ["Appointment", "MedicationAdministration", "MedicationRequest", "Patient"]
KETAMINE = {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "6130"}]}
DEPRESSION = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "F33.2"}]}
UNITS = "http://unitsofmeasure.org"


@pytest.fixture(scope="module", params=EHRS)
def base_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with an_ehr(request, request.param) as url:
        yield url


@pytest.fixture(scope="module")
def service(base_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    staff = Ehr(base_url)
    with RunningService(tmp_path_factory.mktemp("service"), base_url) as running:
        subscriptions = [staff.subscribe(running, type_) for type_ in TYPES]
        for subscription in subscriptions:
            eventually(is_active(staff, subscription))
        yield running
        for subscription in subscriptions:
            staff.delete("Subscription", subscription)


@pytest.fixture
def ehr(base_url: str) -> Ehr:
    return Ehr(base_url)


@pytest.fixture
def ended() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def is_active(ehr: Ehr, subscription: str) -> Callable[[], bool]:
    return lambda: ehr.read(f"Subscription/{subscription}")["status"] == "active"


def order(ehr: Ehr, at: datetime | None = None, **changes: Any) -> Resource:
    timing = {"dosageInstruction": [{"timing": {"event": [at.isoformat()]}}]} if at is not None else {}
    return {
        "resourceType": "MedicationRequest",
        "id": new_id(),
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": KETAMINE,
        "subject": {"reference": f"Patient/{ehr.patient}"},
        **timing,
        **changes,
    }


def without_reason(ehr: Ehr, ended: datetime, **changes: Any) -> Resource:
    dose = ehr.dose(new_id(), ended, **changes)
    del dose["reasonCode"]
    return dose


def period_end(ehr: Ehr) -> datetime | None:
    proposed = ehr.appointments("proposed")
    return datetime.fromisoformat(proposed[0]["requestedPeriod"][0]["end"]) if proposed else None


def outcome(service: RunningService, dose: Resource) -> tuple[str, list[str]]:
    told = eventually(lambda: decided(service, dose))
    return told["outcome"], [reason["code"] for reason in told["reasons"]]


@pytest.mark.usefixtures("service")
def test_an_order_announced_before_the_dose_cuts_its_window_and_its_end_opens_it_again(
    ehr: Ehr, ended: datetime
) -> None:
    next_dose = ended + timedelta(hours=48)
    announced = ehr.put(order(ehr, next_dose))

    ehr.put(ehr.dose(new_id(), ended))

    # An EHR may tell of the dose first.
    eventually(lambda: ended + timedelta(hours=24) < (period_end(ehr) or ended) <= next_dose)

    ehr.put({**announced, "status": "cancelled"})

    eventually(lambda: period_end(ehr) == ended + timedelta(hours=72))
    assert len(ehr.appointments()) == 1


@pytest.mark.usefixtures("service")
def test_an_order_that_comes_after_the_dose_cuts_its_window_too(ehr: Ehr, ended: datetime) -> None:
    ehr.put(ehr.dose(new_id(), ended))
    eventually(lambda: period_end(ehr) == ended + timedelta(hours=72))

    ehr.put(order(ehr, ended + timedelta(hours=48)))

    eventually(lambda: (period_end(ehr) or ended + timedelta(days=9)) <= ended + timedelta(hours=48))


@pytest.mark.usefixtures("service")
def test_a_booked_dosing_visit_cuts_the_window(ehr: Ehr, ended: datetime) -> None:
    start = ended + timedelta(hours=50)
    patient = {"actor": {"reference": f"Patient/{ehr.patient}"}, "status": "accepted"}
    visit = {"resourceType": "Appointment", "id": new_id(), "status": "booked", "reasonCode": [KETAMINE]}
    times = {"start": start.isoformat(), "end": (start + timedelta(hours=2)).isoformat()}
    ehr.put({**visit, **times, "participant": [patient]})

    ehr.put(ehr.dose(new_id(), ended))

    # An EHR may tell of the dose first.
    eventually(lambda: (period_end(ehr) or ended + timedelta(days=9)) <= start)
    assert len(ehr.appointments("proposed")) == 1


def test_a_booking_is_heard_at_once_and_so_is_a_no_show(ehr: Ehr, service: RunningService, ended: datetime) -> None:
    dose = ehr.put(ehr.dose(new_id(), ended))
    eventually(ehr.plans)
    (appointment,) = ehr.appointments()
    start = ended + timedelta(hours=30)
    times = {"start": start.isoformat(), "end": (start + timedelta(hours=1)).isoformat()}

    def status() -> str | None:
        resources = (decided(service, dose) or {}).get("resources", [])
        return next((str(one["status"]) for one in resources if str(one).find(appointment["id"]) >= 0), None)

    booked = ehr.put({**appointment, "status": "booked", **times})
    eventually(lambda: status() == "booked")

    ehr.put({**booked, "status": "noshow"})
    eventually(lambda: status() == "noshow")


def test_what_we_wrote_ourselves_is_no_news(ehr: Ehr, service: RunningService, ended: datetime) -> None:
    dose = ehr.put(ehr.dose(new_id(), ended))
    plan = eventually(ehr.plans)[0]
    (appointment,) = ehr.appointments()

    other = Ehr(ehr.base_url)
    other.put(other.dose(new_id(), ended))
    eventually(other.plans)

    assert outcome(service, dose)[0] == "planned"
    assert [one["meta"]["versionId"] for one in ehr.plans()] == [plan["meta"]["versionId"]]
    assert [one["meta"]["versionId"] for one in ehr.appointments()] == [appointment["meta"]["versionId"]]


def test_a_minor_goes_to_review(ehr: Ehr, service: RunningService, ended: datetime) -> None:
    born = (ended - timedelta(days=16 * 365)).date().isoformat()
    ehr.put({"resourceType": "Patient", "id": ehr.patient, "birthDate": born})

    dose = ehr.put(ehr.dose(new_id(), ended))

    assert outcome(service, dose) == ("review", ["psychiatric-indication", "dose-within-envelope", "patient-minor"])
    eventually(lambda: not ehr.appointments("proposed"))


def test_a_death_is_heard_and_decides(ehr: Ehr, service: RunningService, ended: datetime) -> None:
    dose = ehr.put(ehr.dose(new_id(), ended))
    eventually(ehr.plans)

    ehr.put({"resourceType": "Patient", "id": ehr.patient, "birthDate": "1980-02-01", "deceasedBoolean": True})

    eventually(lambda: "patient-deceased" in outcome(service, dose)[1])


def test_a_merge_is_heard_and_its_doses_are_planned_under_the_survivor(
    ehr: Ehr, base_url: str, service: RunningService, ended: datetime
) -> None:
    survivor = Ehr(base_url)
    link = {"other": {"reference": f"Patient/{survivor.patient}"}, "type": "replaced-by"}
    ehr.put({"resourceType": "Patient", "id": ehr.patient, "active": False, "link": [link]})
    with closing(open_store(load_settings(service.config, {}).database, clock=lambda: datetime.now(UTC))) as store:
        # versions may be notified of in any order
        eventually(lambda: any(b"replaced-by" in v.raw for v in store.facts.versions("ehr", ehr.patient, "Patient")))

    dose = ehr.put(ehr.dose(new_id(), ended))

    (plan,) = eventually(survivor.plans)
    assert plan["supportingInfo"][0]["reference"].endswith(f"MedicationAdministration/{dose['id']}")
    assert ehr.plans() == []
    assert outcome(service, dose)[0] == "planned"


@pytest.mark.usefixtures("service")
def test_an_indication_on_the_request_alone_makes_the_dose_eligible(ehr: Ehr, ended: datetime) -> None:
    request = ehr.put(order(ehr, reasonCode=[DEPRESSION]))

    ehr.put(without_reason(ehr, ended, request={"reference": f"MedicationRequest/{request['id']}"}))

    eventually(ehr.plans)


@pytest.mark.usefixtures("service")
def test_an_indication_that_the_request_refers_to_makes_the_dose_eligible(ehr: Ehr, ended: datetime) -> None:
    subject = {"reference": f"Patient/{ehr.patient}"}
    problem = ehr.put({"resourceType": "Condition", "id": new_id(), "subject": subject, "code": DEPRESSION})
    request = ehr.put(order(ehr, reasonReference=[{"reference": f"Condition/{problem['id']}"}]))

    ehr.put(without_reason(ehr, ended, request={"reference": f"MedicationRequest/{request['id']}"}))

    eventually(ehr.plans)


def test_a_problem_on_the_list_can_warn_and_is_no_indication(
    ehr: Ehr, service: RunningService, ended: datetime
) -> None:
    psychosis = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "F20.0"}]}
    subject = {"reference": f"Patient/{ehr.patient}"}
    for code in (psychosis, DEPRESSION):
        ehr.put({"resourceType": "Condition", "id": new_id(), "subject": subject, "code": code})

    indicated = ehr.put(ehr.dose(new_id(), ended))
    assert "caution-condition" in outcome(service, indicated)[1]

    unclear = Ehr(ehr.base_url)
    subject = {"reference": f"Patient/{unclear.patient}"}
    unclear.put({"resourceType": "Condition", "id": new_id(), "subject": subject, "code": DEPRESSION})
    dose = unclear.put(without_reason(unclear, ended))
    assert "no-psychiatric-evidence" in outcome(service, dose)[1]


@pytest.mark.usefixtures("service")
def test_a_psychiatric_place_of_the_encounter_makes_the_dose_eligible(ehr: Ehr, ended: datetime) -> None:
    role = {"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "PSYCHF"}
    place = ehr.put({"resourceType": "Location", "id": new_id(), "type": [{"coding": [role]}]})
    encounter = {
        "resourceType": "Encounter",
        "id": new_id(),
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": {"reference": f"Patient/{ehr.patient}"},
        "location": [{"location": {"reference": f"Location/{place['id']}"}}],
    }
    ehr.put(encounter)

    ehr.put(without_reason(ehr, ended, context={"reference": f"Encounter/{encounter['id']}"}))

    eventually(ehr.plans)


def test_the_body_weight_brings_half_a_milligram_per_kilogram_into_the_envelope(
    ehr: Ehr, service: RunningService, ended: datetime
) -> None:
    dosage = {
        "route": {"coding": [{"system": "http://snomed.info/sct", "code": "47625008"}]},
        "dose": {"value": 110, "unit": "mg", "system": UNITS, "code": "mg"},
    }
    unknown = ehr.put(ehr.dose(new_id(), ended, dosage=dosage))
    assert outcome(service, unknown) == ("review", ["psychiatric-indication", "dose-outside-envelope"])

    heavy = Ehr(ehr.base_url)
    weight = {"system": "http://loinc.org", "code": "29463-7"}
    heavy.put(
        {
            "resourceType": "Observation",
            "id": new_id(),
            "status": "final",
            "code": {"coding": [weight]},
            "subject": {"reference": f"Patient/{heavy.patient}"},
            "effectiveDateTime": (ended - timedelta(days=3)).isoformat(),
            "valueQuantity": {"value": 220, "unit": "kg", "system": UNITS, "code": "kg"},
        }
    )
    heavy.put(heavy.dose(new_id(), ended, dosage=dosage))

    eventually(heavy.plans)
