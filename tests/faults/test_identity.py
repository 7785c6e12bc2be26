"""Records of one patient that are merged and parted while care is planned: nothing moves, nothing is doubled."""

from __future__ import annotations

import json
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import DOSE, ENDED, book
from ward import OPEN_APPOINTMENTS, OPEN_PLANS, OURS, PATIENT, Resource, Ward, dose

from afterdose.sandbox import Behaviour, faults

pytestmark = pytest.mark.faults

OTHER, THIRD = "p-2", "p-3"
SECOND = dose("d-2", ENDED + timedelta(hours=50), subject={"reference": f"Patient/{OTHER}"})


def patient(id_: str, **said: Any) -> Resource:
    return {"resourceType": "Patient", "id": id_, "birthDate": "1980-02-01", **said}


def replaced_by(other: str) -> dict[str, Any]:
    return {"active": False, "link": [{"other": {"reference": f"Patient/{other}"}, "type": "replaced-by"}]}


def replaces(other: str) -> dict[str, Any]:
    return {"link": [{"other": {"reference": f"Patient/{other}"}, "type": "replaces"}]}


def merge(ward: Ward, former: str = PATIENT, survivor: str = OTHER) -> None:
    """The EHR merges two records, as FHIR R4 says it, and tells of both."""
    ward.chart(patient(survivor, **replaces(former)))
    ward.chart(patient(former, **replaced_by(survivor)))
    ward.settle_all()


def part(ward: Ward) -> None:
    """The merge is taken back."""
    ward.clock.advance(timedelta(minutes=1))
    ward.chart(patient(PATIENT))
    ward.chart(patient(OTHER))
    ward.settle_all()


def moved(ward: Ward) -> None:
    """The EHR lets every reference to the former record point to the survivor."""
    for type_ in (*OURS, "MedicationAdministration"):
        for one in ward.ehr.all(type_):
            ward.ehr.put(json.loads(json.dumps(one).replace(f"Patient/{PATIENT}", f"Patient/{OTHER}")))


def tasks(ward: Ward, code: str, *statuses: str) -> list[Resource]:
    found = [one for one in ward.ehr.all("Task") if one["code"]["coding"][0]["code"] == code]
    return [one for one in found if not statuses or one["status"] in statuses]


def outcome(ward: Ward, id_: str = "d-1") -> tuple[str, str, set[str]]:
    row = ward.store.outcomes.find("ehr", id_)
    assert row is not None
    return row.patient, str(row.outcome), {str(reason) for reason in row.reasons}


def subjects(ward: Ward) -> set[str]:
    return {one["subject"]["reference"] for one in ward.plans(*OPEN_PLANS)}


def test_what_was_written_before_a_merge_stays_and_a_person_is_asked(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.chart(DOSE)
        ward.settle()
        (plan,), appointments = ward.plans(), ward.appointments()

        merge(ward)

        assert (ward.plans(), ward.appointments()) == ([plan], appointments)
        (task,) = tasks(ward, "look-at-merge")
        assert task["for"] == {"reference": f"Patient/{OTHER}"}
        assert task["focus"] == {"reference": f"CarePlan/{plan['id']}"}
        assert task["input"][0]["valueReference"] == {"reference": f"Patient/{PATIENT}"}
        assert outcome(ward)[:2] == (OTHER, "planned")
        assert "patient-merged" in outcome(ward)[2]
        assert ward.store.outcomes.of_patient("ehr", PATIENT) == []


def test_a_dose_of_a_former_record_is_planned_under_the_survivor(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.send(DOSE)
        merge(ward)

        assert subjects(ward) == {f"Patient/{OTHER}"}
        assert tasks(ward, "look-at-merge") == []
        ward.check()


def second_dose(ward: Ward) -> None:
    """The next dose of the course, two days later."""
    ward.clock.advance(timedelta(hours=51))
    ward.chart(SECOND)
    ward.settle()


def test_one_side_of_the_link_is_enough_and_so_is_the_other(tmp_path: Path) -> None:
    for number, said in enumerate((patient(PATIENT, **replaced_by(OTHER)), patient(OTHER, **replaces(PATIENT)))):
        (tmp_path / str(number)).mkdir()
        with Ward(tmp_path / str(number)) as ward:
            ward.chart(said)
            ward.chart(DOSE)
            ward.settle()

            assert subjects(ward) == {f"Patient/{OTHER}"}


def test_a_dose_after_a_merge_gets_its_visit_and_no_second_plan(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.chart(DOSE)
        ward.settle()
        merge(ward)
        second_dose(ward)

        assert len(ward.plans()) == 1
        assert len(tasks(ward, "look-at-merge", "requested")) == 1
        people = [one["participant"][0]["actor"]["reference"] for one in ward.appointments("proposed")]
        assert sorted(people) == [f"Patient/{PATIENT}", f"Patient/{OTHER}"]


def test_what_the_ehr_moves_itself_is_ours_as_before(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.chart(DOSE)
        ward.settle()
        moved(ward)
        merge(ward)
        assert tasks(ward, "look-at-merge", "requested") == []
        second_dose(ward)

        (plan,) = ward.plans()
        assert plan["subject"] == {"reference": f"Patient/{OTHER}"}
        assert len(plan["supportingInfo"]) == 2
        ward.check()


def test_what_a_person_marks_as_a_mistake_under_the_former_record_is_made_anew(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.chart(DOSE)
        ward.settle()
        merge(ward)
        (plan,) = ward.plans()

        ward.ehr.put({**plan, "status": "entered-in-error"})
        for one in ward.appointments():
            ward.ehr.delete("Appointment", one["id"])
        ward.store.agenda.put("ehr", OTHER, ward.clock(), "time")
        ward.settle()

        assert subjects(ward) == {f"Patient/{OTHER}"}


def test_a_merge_that_is_taken_back_gives_everything_back(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.chart(DOSE)
        ward.settle()
        merge(ward)
        second_dose(ward)

        part(ward)

        assert outcome(ward)[:2] == (PATIENT, "planned")
        assert outcome(ward, "d-2")[:2] == (OTHER, "planned")
        assert tasks(ward, "look-at-merge", "requested") == []
        assert subjects(ward) == {f"Patient/{PATIENT}", f"Patient/{OTHER}"}
        ward.clock.advance(timedelta(minutes=1))
        ward.chart(dose("d-1", ENDED, status="entered-in-error"))
        ward.settle()
        assert subjects(ward) == {f"Patient/{OTHER}"}


def test_a_chain_of_merges_ends_at_its_end(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.chart(DOSE)
        ward.settle()
        merge(ward)
        merge(ward, OTHER, THIRD)

        assert outcome(ward)[:2] == (THIRD, "planned")
        assert len(ward.plans()) == 1
        assert len(tasks(ward, "look-at-merge", "requested")) == 1


def test_links_that_lead_round_hold_everything(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.chart(patient(PATIENT, **replaced_by(OTHER)))
        ward.chart(patient(OTHER, **replaced_by(PATIENT)))
        ward.chart(DOSE)
        ward.settle()

        assert outcome(ward)[1] == "review"
        assert "patient-links-unclear" in outcome(ward)[2]
        assert [ward.ehr.all(type_) for type_ in OURS] == [[]] * len(OURS)


def test_a_write_without_an_answer_before_a_merge_is_looked_for_first(tmp_path: Path) -> None:
    for number, (fault, people) in enumerate(((faults.commit_then_drop, PATIENT), (faults.drop, OTHER))):
        (tmp_path / str(number)).mkdir()
        with Ward(tmp_path / str(number), behaviour=Behaviour(transaction="undeclared")) as ward:
            ward.ehr.fail_next("POST", "/fhir/CarePlan$", fault())
            ward.chart(DOSE)
            ward.step()
            assert ward.ehr.faults_left == 0

            merge(ward)

            assert subjects(ward) == {f"Patient/{people}"}
            assert len(ward.plans()) == 1


def test_a_record_out_of_use_holds_everything_until_it_is_in_use_again(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.chart(patient(PATIENT, active=False))
        ward.chart(DOSE)
        ward.settle()
        assert outcome(ward)[1] == "review"
        assert "patient-inactive" in outcome(ward)[2]
        assert [review.reasons[-1].value for review in ward.store.reviews.open(9)] == ["patient-inactive"]
        assert [ward.ehr.all(type_) for type_ in OURS] == [[]] * len(OURS)

        ward.clock.advance(timedelta(minutes=1))
        ward.chart(patient(PATIENT, active=True))
        ward.settle()

        assert outcome(ward)[1] == "planned"
        assert ward.store.reviews.open(9) == []
        assert len(ward.plans()) == 1
        ward.check()


def test_a_record_that_is_gone_holds_what_is_written(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.chart(DOSE)
        ward.settle()
        before = ward.end_state()
        ward.ehr.delete("Patient", PATIENT)
        ward.unsend("Patient", PATIENT)
        ward.settle()

        assert "patient-gone" in outcome(ward)[2]
        assert ward.end_state() == before


def test_a_death_ends_what_was_to_come(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.chart(DOSE)
        ward.settle()
        ward.clock.advance(timedelta(minutes=1))

        ward.chart(patient(PATIENT, deceasedBoolean=True))
        ward.settle()

        assert outcome(ward)[1] == "unmet"
        assert "patient-deceased" in outcome(ward)[2]
        (plan,), (visit,) = ward.plans(), ward.appointments()
        assert (plan["status"], visit["status"]) == ("revoked", "cancelled")
        assert "Patient has died" in plan["text"]["div"]
        assert {one["status"] for one in ward.ehr.all("Task")} <= {"cancelled"}
        assert {one["status"] for one in ward.ehr.all("ServiceRequest")} <= {"revoked"}


def test_a_booked_visit_of_one_who_died_is_asked_about(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.chart(DOSE)
        ward.settle()
        book(ward)

        ward.chart(patient(PATIENT, deceasedDateTime=ward.clock().isoformat()))
        ward.settle()

        assert [one["status"] for one in ward.appointments()] == ["booked"]
        assert len(tasks(ward, "check-booking", "requested")) == 1


def test_a_death_that_is_taken_back_makes_everything_anew(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.chart(DOSE)
        ward.settle()
        for said in ({"deceasedBoolean": True}, {"deceasedBoolean": False}):
            ward.clock.advance(timedelta(minutes=1))
            ward.chart(patient(PATIENT, **said))
            ward.settle()

        assert outcome(ward)[1] == "planned"
        assert [one["status"] for one in ward.plans(*OPEN_PLANS)] == ["draft"]
        assert len(ward.appointments("proposed")) == 1
        assert len(ward.appointments()) == 2


EVENTS: tuple[Resource, ...] = (
    DOSE,
    dose("d-2", ENDED - timedelta(hours=50), subject={"reference": f"Patient/{OTHER}"}),
    patient(PATIENT, **replaced_by(OTHER)),
    patient(OTHER, **replaces(PATIENT)),
)


@given(st.permutations(EVENTS), st.lists(st.booleans(), min_size=4, max_size=4))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_in_any_order_of_arrival_nothing_is_doubled(told: list[Resource], worked: list[bool]) -> None:
    with tempfile.TemporaryDirectory() as folder, Ward(Path(folder), readable=False) as ward:
        for resource, now in zip(told, worked, strict=True):
            ward.send(resource)
            if now:
                ward.settle_all()
            ward.clock.advance(timedelta(minutes=1))
        ward.settle_all()

        assert [outcome(ward, id_)[0] for id_ in ("d-1", "d-2")] == [OTHER, OTHER]
        for type_ in OURS:
            names = [one["identifier"][0]["value"] for one in ward.ehr.all(type_)]
            assert len(names) == len(set(names))
        founded = [one["supportingInformation"][0]["reference"] for one in ward.appointments(*OPEN_APPOINTMENTS)]
        assert sorted(founded) == sorted(set(founded))
        assert len([one for one in ward.plans(*OPEN_PLANS) if one["subject"]["reference"].endswith(OTHER)]) <= 1
        left = [one for one in ward.plans(*OPEN_PLANS) if one["subject"]["reference"].endswith(PATIENT)]
        assert bool(tasks(ward, "look-at-merge", "requested")) == bool(left)


@given(st.permutations(EVENTS))
@settings(max_examples=5, deadline=None, derandomize=True)
def test_what_is_known_before_anything_is_written_ends_alike_in_any_order(told: list[Resource]) -> None:
    with tempfile.TemporaryDirectory() as folder, Ward(Path(folder), readable=False) as ward:
        for resource in told:
            ward.send(resource)
            ward.clock.advance(timedelta(minutes=1))
        ward.settle_all()

        assert subjects(ward) == {f"Patient/{OTHER}"}
        assert [outcome(ward, id_)[:2] for id_ in ("d-1", "d-2")] == [(OTHER, "planned"), (OTHER, "unmet")]
        assert len(ward.appointments("proposed")) == 1
        assert tasks(ward, "look-at-merge") == []
