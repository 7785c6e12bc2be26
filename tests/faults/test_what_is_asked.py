"""What the worker asks an EHR about a dose: only what can change the decision, a bounded number of calls, once a hint.

And what it makes of EHRs that refuse, do not know, or answer about somebody else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from ward import MONDAY, OURS, PATIENT, Resource, Ward, dose

from afterdose.core.dose import DoseKey
from afterdose.sandbox import Behaviour, faults

pytestmark = pytest.mark.faults

ENDED = MONDAY - timedelta(hours=1)
SUBJECT = {"reference": f"Patient/{PATIENT}"}
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
CLASSES = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
ROLES = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
SNOMED = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"
ONDANSETRON = {"coding": [{"system": RXNORM, "code": "26225"}]}
KETAMINE = {"coding": [{"system": RXNORM, "code": "6130"}]}
SPRAY = {"coding": [{"system": RXNORM, "code": "2119390"}]}
INTRAVENOUS = {"coding": [{"system": SNOMED, "code": "47625008"}]}
FOR_A_PLAN = ["DocumentReference", "DocumentReference", "Observation"]
"""Asked once a plan follows: the crisis plan, by type and by category, and what the patient prefers."""


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    with Ward(tmp_path) as opened:
        yield opened


def condition(id_: str, code: str, patient: str = PATIENT) -> Resource:
    return {
        "resourceType": "Condition",
        "id": id_,
        "code": {"coding": [{"system": ICD, "code": code}]},
        "subject": {"reference": f"Patient/{patient}"},
    }


def encounter(code: str, **changes: Any) -> Resource:
    kind = {"system": CLASSES, "code": code}
    return {"resourceType": "Encounter", "id": "e1", "status": "finished", "class": kind, "subject": SUBJECT, **changes}


def request(**changes: Any) -> Resource:
    return {
        "resourceType": "MedicationRequest",
        "id": "r1",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": KETAMINE,
        "subject": SUBJECT,
        **changes,
    }


def weight(id_: str, kilograms: int, at: datetime, patient: str = PATIENT) -> Resource:
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": at.isoformat(),
        "valueQuantity": {"value": kilograms, "unit": "kg", "system": UCUM, "code": "kg"},
    }


def milligrams(value: int) -> Resource:
    return {"route": INTRAVENOUS, "dose": {"value": value, "unit": "mg", "system": UCUM, "code": "mg"}}


def bare(id_: str, **changes: Any) -> Resource:
    """A dose that says nothing of why it was given."""
    made = dose(id_, ENDED, **changes)
    del made["reasonCode"]
    return made


def asked(ward: Ward) -> list[str]:
    """What the worker asked about anything but its own resources, by type, in order."""
    paths = [one.path.strip("/").split("/") for one in ward.ehr.requests]
    types = [next((part for part in path if part[:1].isupper()), "") for path in paths]
    return [type_ for type_ in types if type_ and type_ not in (*OURS, "Provenance", "MedicationAdministration")]


def judged(ward: Ward, id_: str) -> tuple[str, set[str]]:
    row = ward.store.outcomes.find("ehr", id_)
    assert row is not None
    return row.outcome.value, {reason.value for reason in row.reasons}


def about_others(*resources: Resource) -> Any:
    """A server that ignores the parameters of a search."""

    def fault(_serve: Any, _pause: Any) -> faults.Answer:
        bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": one} for one in resources]}
        return faults.Answer(200, (("Content-Type", "application/fhir+json"),), json.dumps(bundle).encode())

    return fault


def test_nothing_is_asked_about_another_drug(ward: Ward) -> None:
    ward.chart(dose("d1", ENDED, medicationCodeableConcept=ONDANSETRON, context={"reference": "Encounter/e1"}))
    ward.settle()

    assert ward.ehr.requests == []


def test_a_medication_that_turns_out_to_be_another_drug_is_all_that_is_asked(ward: Ward) -> None:
    ward.ehr.put({"resourceType": "Medication", "id": "m1", "code": ONDANSETRON})
    given = dose("d1", ENDED, medicationReference={"reference": "Medication/m1"})
    del given["medicationCodeableConcept"]

    ward.chart(given)
    ward.settle()

    assert asked(ward) == ["Medication"]
    assert judged(ward, "d1")[0] == "unrelated"


def test_nothing_around_a_dose_that_was_not_given_is_asked(ward: Ward) -> None:
    ward.chart(dose("d1", ENDED, status="entered-in-error", context={"reference": "Encounter/e1"}))
    ward.settle()

    assert asked(ward) == []


def test_what_cannot_become_a_plan_is_not_asked_about_further(ward: Ward) -> None:
    ward.ehr.put(encounter("IMP"))
    ward.chart(bare("d1", context={"reference": "Encounter/e1"}))
    ward.settle()

    assert asked(ward) == ["Encounter"]
    assert judged(ward, "d1")[0] == "not-eligible"


def test_the_weight_is_not_asked_for_where_the_dose_does_not_depend_on_it(ward: Ward) -> None:
    nasal = {"route": {"coding": [{"system": SNOMED, "code": "46713006"}]}, "dose": milligrams(84)["dose"]}
    ward.chart(dose("d1", ENDED, medicationCodeableConcept=SPRAY, dosage=nasal))
    per_weight = {"route": INTRAVENOUS, "dose": {"value": 0.5, "unit": "mg/kg", "system": UCUM, "code": "mg/kg"}}
    ward.chart(dose("d2", ENDED - timedelta(days=2), dosage=per_weight))
    ward.settle()

    assert sorted(asked(ward)) == sorted(["Condition", "Patient", "Procedure", *FOR_A_PLAN])


def test_what_is_known_serves_until_a_newer_hint(ward: Ward) -> None:
    ward.ehr.put(request(reasonCode=[{"coding": [{"system": ICD, "code": "F33.2"}]}]))
    given = ward.chart(bare("d1", request={"reference": "MedicationRequest/r1"}))
    ward.settle()
    first = asked(ward)

    ward.send({**given, "note": [{"text": "x"}]})
    ward.settle()

    weighed = ["Condition", "MedicationRequest", "Observation", "Patient", "Procedure"]
    assert sorted(first) == sorted([*weighed, *FOR_A_PLAN])
    assert asked(ward)[len(first) :] == ["MedicationRequest"]


def test_a_dose_costs_a_bounded_number_of_calls_however_much_it_refers_to(ward: Ward) -> None:
    for number in range(20):
        ward.ehr.put(condition(f"c{number}", "Z00.0"))
        kinds = [{"coding": [{"system": ROLES, "code": "HOSP"}]}]
        ward.ehr.put({"resourceType": "Location", "id": f"l{number}", "type": kinds})
        ward.ehr.put({"resourceType": "PractitionerRole", "id": f"r{number}"})
    stays = [{"location": {"reference": f"Location/l{number}"}} for number in range(20)]
    ward.ehr.put(encounter("AMB", location=stays))

    ward.chart(
        dose(
            "d1",
            ENDED,
            context={"reference": "Encounter/e1"},
            reasonReference=[{"reference": f"Condition/c{number}"} for number in range(20)],
            performer=[{"actor": {"reference": f"PractitionerRole/r{number}"}} for number in range(20)],
        )
    )
    ward.settle()

    assert judged(ward, "d1")[0] == "planned"
    assert {type_: asked(ward).count(type_) for type_ in set(asked(ward))} == {
        "Condition": 6,
        "DocumentReference": 2,
        "Encounter": 1,
        "Location": 5,
        "Observation": 2,
        "Patient": 1,
        "PractitionerRole": 5,
        "Procedure": 1,
    }


def test_a_specialty_of_who_gave_it_is_evidence(ward: Ward) -> None:
    psychiatry = [{"coding": [{"system": SNOMED, "code": "394587001"}]}]
    ward.ehr.put({"resourceType": "PractitionerRole", "id": "pr1", "specialty": psychiatry})

    ward.chart(bare("d1", performer=[{"actor": {"reference": "PractitionerRole/pr1"}}]))
    ward.settle()

    assert judged(ward, "d1")[0] == "planned"


def test_anaesthesia_at_the_hour_of_the_dose_is_heard_of(ward: Ward) -> None:
    code = {"coding": [{"system": SNOMED, "code": "50697003"}]}
    when = {"start": (ENDED - timedelta(hours=1)).isoformat(), "end": ENDED.isoformat()}
    anaesthesia = {"resourceType": "Procedure", "id": "x1", "status": "completed", "code": code, "subject": SUBJECT}
    ward.ehr.put({**anaesthesia, "performedPeriod": when})

    ward.chart(dose("d1", ENDED))
    ward.settle()

    assert judged(ward, "d1")[0] == "not-eligible"


def test_a_search_that_answers_about_others_says_nothing(ward: Ward) -> None:
    ward.ehr.put(weight("w1", 220, ENDED))
    ward.ehr.fail_next("POST", "Condition/_search", about_others(condition("c1", "F20.0", "somebody")))
    ward.ehr.fail_next("POST", "Observation/_search", about_others(weight("w2", 220, ENDED, "somebody")))

    ward.chart(dose("d1", ENDED, dosage=milligrams(110)))
    ward.settle()

    assert judged(ward, "d1") == ("review", {"psychiatric-indication", "dose-outside-envelope"})


def test_the_latest_weight_that_was_measured_before_the_dose_counts(ward: Ward) -> None:
    ward.ehr.put(weight("w1", 90, ENDED - timedelta(days=90)))
    ward.ehr.put(weight("w2", 220, ENDED - timedelta(days=9)))
    ward.ehr.put(weight("w3", 60, ENDED + timedelta(minutes=30)))

    ward.chart(dose("d1", ENDED, dosage=milligrams(110)))
    ward.settle()

    assert judged(ward, "d1")[0] == "planned"


@pytest.mark.parametrize("types", [{"Condition"}, {"Condition", "Observation", "Location", "PractitionerRole"}])
def test_what_the_ehr_does_not_have_is_left_out_and_not_asked_for(tmp_path: Path, types: set[str]) -> None:
    with Ward(tmp_path, behaviour=Behaviour(absent=frozenset(types))) as ward:
        ward.ehr.put(encounter("AMB", location=[{"location": {"reference": "Location/l1"}}]))

        ward.chart(dose("d1", ENDED, context={"reference": "Encounter/e1"}))
        ward.settle()

        assert judged(ward, "d1")[0] == "planned"
        assert types.isdisjoint(asked(ward))


def test_what_is_refused_later_stays_as_it_was_known(ward: Ward) -> None:
    ward.ehr.put(request(reasonCode=[{"coding": [{"system": ICD, "code": "F33.2"}]}]))
    given = ward.chart(bare("d1", request={"reference": "MedicationRequest/r1"}))
    ward.settle()
    ward.ehr.fail_next("GET", "MedicationRequest/r1", faults.status(403))

    ward.send({**given, "note": [{"text": "x"}]})
    ward.settle()

    assert ward.ehr.faults_left == 0
    assert judged(ward, "d1")[0] == "planned"


@pytest.fixture
def mute(tmp_path: Path) -> Iterator[Ward]:
    """An EHR that takes plans and gives nothing of what its doses hang on."""
    with Ward(tmp_path, readable=False) as opened:
        yield opened


def test_what_was_pushed_serves_where_nothing_can_be_read(mute: Ward) -> None:
    mute.send(request(reasonCode=[{"coding": [{"system": ICD, "code": "F33.2"}]}]))
    mute.send(bare("d1", request={"reference": "MedicationRequest/r1"}))
    mute.settle()

    assert judged(mute, "d1")[0] == "planned"
    assert sorted(asked(mute)) == FOR_A_PLAN  # which is asked where plans are written to


def test_what_is_pushed_after_the_dose_decides_anew(mute: Ward) -> None:
    mute.send(bare("d1", context={"reference": "Encounter/e1"}, request={"reference": "MedicationRequest/r1"}))
    mute.settle()
    assert judged(mute, "d1")[0] == "review"

    mute.send(request(reasonCode=[{"coding": [{"system": ICD, "code": "F33.2"}]}]))
    mute.settle()
    assert judged(mute, "d1")[0] == "planned"

    mute.send({"resourceType": "Patient", "id": PATIENT, "birthDate": "2012-02-01"})
    mute.settle()
    assert "patient-minor" in judged(mute, "d1")[1]

    mute.send(encounter("EMER"))
    mute.settle()
    assert "emergency" in judged(mute, "d1")[1]


def test_a_push_that_is_older_than_what_was_read_does_not_replace_it(ward: Ward) -> None:
    ward.ehr.put(encounter("AMB"))
    ward.chart(dose("d1", ENDED, context={"reference": "Encounter/e1"}))
    ward.settle()

    ward.send(encounter("EMER", meta={"versionId": "0", "lastUpdated": "2020-01-01T00:00:00Z"}))
    ward.settle()

    assert judged(ward, "d1")[0] == "planned"


def prepared(ward: Ward, *statuses: str) -> list[Resource]:
    """What stands in the EHR, open or in ``statuses``, although no dose was given."""
    resources = [one for type_ in ("Appointment", "Task", "ServiceRequest") for one in ward.ehr.all(type_)]
    return [one for one in resources if one["status"] in (statuses or ("proposed", "requested", "draft", "active"))]


def indicated_order(ward: Ward, **changes: Any) -> Resource:
    when = (ward.clock() + timedelta(days=9)).isoformat()
    reason = [{"coding": [{"system": ICD, "code": "F33.2"}]}]
    return request(reasonCode=reason, dosageInstruction=[{"timing": {"event": [when]}}], **changes)


def test_an_order_without_a_dose_is_prepared_for_and_its_end_takes_that_back(ward: Ward) -> None:
    ordered = indicated_order(ward)
    ward.send(ordered)
    ward.settle()
    assert prepared(ward)

    ward.send({**ordered, "status": "cancelled"})
    ward.settle()
    assert not prepared(ward)


def test_what_was_made_from_an_order_says_so(ward: Ward) -> None:
    ward.send(indicated_order(ward))
    ward.settle()

    (record,) = ward.ehr.all("Provenance")
    (visit,), (plan,) = ward.appointments("proposed"), ward.plans()
    named = {one["reference"] for one in record["target"]}
    assert {f"Appointment/{visit['id']}", f"CarePlan/{plan['id']}"} <= named
    assert {"role": "derivation", "what": {"reference": "MedicationRequest/r1"}} in record["entity"]
    (protocol,) = (one["what"] for one in record["entity"] if one["what"].get("type") == "PlanDefinition")
    assert protocol["identifier"]["value"] == plan["instantiatesCanonical"][0]
    assert record["agent"][0]["who"]["display"] == f"afterdose {version('afterdose')} (software)"


def test_a_deleted_order_takes_back_what_it_brought_about(ward: Ward) -> None:
    ward.send(indicated_order(ward))
    ward.settle()
    assert prepared(ward)

    ward.unsend("MedicationRequest", "r1")
    ward.settle()
    assert not prepared(ward)


def test_an_order_for_a_minor_is_not_prepared_for(ward: Ward) -> None:
    ward.ehr.put({"resourceType": "Patient", "id": PATIENT, "birthDate": "2012-02-01"})
    ward.send(indicated_order(ward))
    ward.settle()

    assert not prepared(ward)
    assert "Patient" in asked(ward)


def test_an_order_of_another_drug_is_not_asked_about(ward: Ward) -> None:
    ward.send(indicated_order(ward, medicationCodeableConcept=ONDANSETRON, encounter={"reference": "Encounter/e1"}))
    ward.settle()

    assert asked(ward) == []


def test_an_order_changed_in_nothing_that_matters_changes_nothing(ward: Ward) -> None:
    ordered = indicated_order(ward)
    ward.send(ordered)
    ward.settle()
    before = ward.end_state()
    ward.clock.advance(timedelta(hours=3))

    ward.send({**ordered, "note": [{"text": "x"}]})
    ward.settle()

    assert ward.end_state() == before


def test_an_order_whose_drug_is_a_reference_announces_doses_too(ward: Ward) -> None:
    ward.ehr.put({"resourceType": "Medication", "id": "m1", "code": KETAMINE})
    ordered = request(
        medicationReference={"reference": "Medication/m1"},
        dosageInstruction=[{"timing": {"event": [(ENDED + timedelta(hours=48)).isoformat()]}}],
    )
    del ordered["medicationCodeableConcept"]
    ward.send(ordered)

    ward.chart(dose("d1", ENDED))
    ward.settle()

    (appointment,) = ward.appointments()
    closes = datetime.fromisoformat(appointment["requestedPeriod"][0]["end"])
    assert closes <= ENDED + timedelta(hours=48)


def test_an_order_that_was_only_read_with_its_dose_announces_the_next_one(ward: Ward) -> None:
    timing = {"timing": {"event": [ENDED.isoformat(), (ENDED + timedelta(hours=48)).isoformat()]}}
    ward.ehr.put(request(dosageInstruction=[timing]))

    ward.chart(dose("d1", ENDED, request={"reference": "MedicationRequest/r1"}))
    ward.settle()

    (appointment,) = ward.appointments()
    closes = datetime.fromisoformat(appointment["requestedPeriod"][0]["end"])
    assert closes <= ENDED + timedelta(hours=48)


def test_our_own_appointment_coming_back_is_not_looked_at_and_a_persons_change_is(ward: Ward) -> None:
    ward.chart(dose("d1", ENDED))
    ward.settle()
    (appointment,) = ward.appointments()
    before = len(ward.ehr.requests)

    ward.send(appointment)
    ward.settle()
    assert [one.method for one in ward.ehr.requests[before:]] == []

    start = ENDED + timedelta(hours=30)
    times = {"start": start.isoformat(), "end": (start + timedelta(hours=1)).isoformat()}
    ward.send(ward.ehr.put({**appointment, "status": "booked", **times}))
    ward.settle()

    booked = {row.ehr_status for row in ward.store.ledger.load("ehr", PATIENT) if row.ehr_id == appointment["id"]}
    assert booked == {"booked"}


def test_a_deleted_appointment_of_ours_is_noticed_and_not_made_again(ward: Ward) -> None:
    ward.chart(dose("d1", ENDED))
    ward.settle()
    (appointment,) = ward.appointments()
    ward.ehr.delete("Appointment", appointment["id"])

    ward.unsend("Appointment", appointment["id"])
    ward.settle()

    assert ward.appointments() == []
    assert judged(ward, "d1")[0] != "parked"
    assert DoseKey("ehr", "d1") in ward.store.facts.history("ehr", PATIENT)
