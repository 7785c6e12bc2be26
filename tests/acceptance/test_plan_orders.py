"""``afterdose plan`` on orders, explicit phases, weekend hours and the early edge."""

import json
from pathlib import Path
from typing import Any

from afterdose.content.content import load_content
from afterdose.content.locate import bundled
from afterdose.fhir.conform import check
from fhir_inputs import DEPRESSION, KETAMINE, a_file, at, infusion, local, run, spray

MARKS = "https://afterdose.org/fhir/CodeSystem/afterdose-mark"
_PROFILES = load_content().profiles

Resource = dict[str, Any]


def planned(*arguments: str) -> dict[str, Any]:
    """What the command answers; its resources conform to R4 and to our profiles."""
    result = run("plan", "--format", "json", *arguments)
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    for resource in document["resources"]:
        assert check.problems(resource, profiles=_PROFILES) == ()
    return document


def of_type(document: dict[str, Any], type_: str) -> list[Resource]:
    return [resource for resource in document["resources"] if resource["resourceType"] == type_]


def an_order(*times: str, **changes: Any) -> Resource:
    return {
        "resourceType": "MedicationRequest",
        "id": "order",
        "status": "active",
        "intent": "order",
        "authoredOn": at("2026-01-02 12:00"),
        "medicationCodeableConcept": KETAMINE,
        "subject": {"reference": "Patient/pat-1"},
        "reasonCode": [DEPRESSION],
        "dosageInstruction": [{"timing": {"event": [at(one) for one in times]}}],
    } | changes


def clinic(folder: Path, **changes: str) -> str:
    """The example clinic with some lines changed."""
    text = (bundled() / "mappings/clinics/example.toml").read_text(encoding="utf-8")
    for old, new in changes.items():
        line = next(one for one in text.splitlines() if one.removeprefix("# ").startswith(old))
        text = text.replace(line, f"{old} = {new}")
    path = folder / "clinic.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_an_order_without_a_dose_gives_a_plan_and_a_preparation_visit(tmp_path: Path) -> None:
    document = planned("--as-of-dose", a_file(tmp_path, an_order("2026-01-07 10:00")))
    (plan,) = of_type(document, "CarePlan")
    (visit,) = of_type(document, "Appointment")
    assert document["doses"] == []
    assert (visit["status"], visit["requestedPeriod"]) == (
        "proposed",
        [{"start": "2026-01-02T21:00:00Z", "end": "2026-01-07T14:00:00Z"}],
    )
    assert {"reference": "MedicationRequest/order"} in plan["supportingInfo"]
    assert plan["activity"][0]["reference"] == {"reference": f"Appointment/{visit['id']}"}
    assert "preparation phase" in plan["text"]["div"]
    assert "Book preparation session 1" in plan["text"]["div"]
    assert "Whether a therapist was present" not in plan["text"]["div"]
    assert "<p>No dose was given yet. The first one is planned for Wed 7 Jan 2026 10:00 EST.</p>" in plan["text"]["div"]
    assert "<table>" not in plan["text"]["div"]
    assert "ketamine" not in json.dumps(visit)


def test_an_order_that_does_not_say_when_it_was_made_gives_the_same_plan_on_every_day(tmp_path: Path) -> None:
    order = an_order("2026-01-07 10:00")
    del order["authoredOn"]
    dose = spray("1", "2026-01-05 10:00")
    document = planned("--as-of-dose", a_file(tmp_path, order, dose))

    assert document == planned("--as-of-dose", a_file(tmp_path, order, dose))
    assert max(one["period"]["start"] for one in of_type(document, "CarePlan")) == "2026-01-05T15:10:00Z"


def test_a_planned_dose_without_a_window_gives_a_task_before_its_day(tmp_path: Path) -> None:
    file = a_file(tmp_path, an_order("2026-01-16 10:00", "2026-01-19 10:00"))
    document = planned("--as-of-dose", file)
    (task,) = of_type(document, "Task")
    (plan,) = of_type(document, "CarePlan")
    told = "Dose planned for Fri 16 Jan 2026 10:00 EST: No time for a session after a planned dose"
    assert told in plan["text"]["div"]
    text = run("plan", "--as-of-dose", file).stdout
    assert told in text
    assert "Book preparation session 1 between" in text
    assert task["focus"] == {"reference": "MedicationRequest/order"}
    assert task["restriction"] == {"period": {"end": "2026-01-16T15:00:00Z"}}
    assert task["code"]["coding"][0]["code"] == "plan-ahead"


def test_the_next_dose_of_an_order_that_repeats_cuts_the_window(tmp_path: Path) -> None:
    repeat = {
        "boundsPeriod": {"start": "2026-01-05", "end": "2026-01-16"},
        "dayOfWeek": ["mon", "wed", "fri"],
        "timeOfDay": ["09:00:00"],
    }
    order = an_order(dosageInstruction=[{"timing": {"repeat": repeat}}])
    now = ("--now", "2026-01-05T16:00:00Z")
    (dose,) = planned(*now, a_file(tmp_path, order, infusion("dose", "2026-01-05 09:00")))["doses"]
    assert dose["window"]["cut_by"] == {"kind": "planned", "at": "2026-01-07T14:00:00Z"}


def test_a_cancelled_order_and_one_for_an_operation_prepare_nothing(tmp_path: Path) -> None:
    for changes in ({"status": "cancelled"}, {"reasonCode": [{"text": "operation"}]}, {"intent": "proposal"}):
        assert planned(a_file(tmp_path, an_order("2026-01-07 10:00", **changes)))["resources"] == []


def test_daily_doses_leave_a_week_without_a_session_and_that_is_told(tmp_path: Path) -> None:
    days = [f"2026-01-{day:02}" for day in (5, 6, 7, 8, 9)]
    document = planned("--as-of-dose", a_file(tmp_path, *(infusion(f"dose-{day}", f"{day} 10:00") for day in days)))
    owed = [task for task in of_type(document, "Task") if task["code"]["coding"][0]["code"] == "weekly-session"]
    assert [task["restriction"]["period"]["end"] for task in owed] == ["2026-01-12T05:00:00Z"]


def test_a1_the_labels_own_phase_wins_where_the_request_tells_it(tmp_path: Path) -> None:
    acute = [f"2026-01-{day:02}" for day in (5, 8, 12, 15, 19, 22, 26, 29)]
    weekly = ["2026-02-02", "2026-02-09", "2026-02-16", "2026-02-23", "2026-03-02", "2026-03-16"]
    later = an_order(
        id="later", status="completed", meta={"tag": [{"system": MARKS, "code": "maintenance"}]}, dosageInstruction=[]
    )
    doses = [spray(day, f"{day} 10:00") for day in acute]
    doses += [spray(day, f"{day} 10:00", request={"reference": "MedicationRequest/later"}) for day in weekly]
    document = planned("--as-of-dose", a_file(tmp_path, later, *doses))
    assert [dose["phase"] for dose in document["doses"]] == ["active"] * 8 + ["maintenance"] * 6


def test_an_episode_of_care_tells_the_phase_too(tmp_path: Path) -> None:
    episode = {
        "resourceType": "EpisodeOfCare",
        "id": "episode",
        "status": "active",
        "type": [{"text": "Maintenance phase"}],
        "patient": {"reference": "Patient/pat-1"},
    }
    dose = spray("dose", "2026-01-05 10:00", context={"reference": "EpisodeOfCare/episode"})
    assert planned("--as-of-dose", a_file(tmp_path, episode, dose))["doses"][0]["phase"] == "maintenance"


def test_a3_weekend_telehealth_meets_the_friday_doses(tmp_path: Path) -> None:
    days = ["2026-01-05", "2026-01-07", "2026-01-09", "2026-01-12", "2026-01-14", "2026-01-16"]
    file = a_file(tmp_path, *(infusion(f"dose-{day}", f"{day} 09:00") for day in days))
    document = planned("--as-of-dose", "--clinic", clinic(tmp_path, saturday='["10:00-14:00"]'), file)
    fridays = [dose["session"] for dose in document["doses"]][2::3]
    assert [(local(one["start"]), one["hours_after"], one["class"]) for one in fridays] == [
        ("Sat 2026-01-10 10:00", 24.333333, "in-window"),
        ("Sat 2026-01-17 10:00", 24.333333, "in-window"),
    ]
    assert {one["reason"] for one in fridays} == {"extended-hours"}
    assert "by telehealth" in of_type(document, "CarePlan")[0]["text"]["div"]


def test_the_early_edge_is_labelled_and_has_its_own_score(tmp_path: Path) -> None:
    file = a_file(tmp_path, infusion("dose", "2026-01-08 15:40"))
    assert planned("--as-of-dose", file)["doses"][0]["session"]["class"] == "post-window"
    early = planned("--as-of-dose", "--clinic", clinic(tmp_path, early_edge="true"), file)["doses"][0]["session"]
    assert (local(early["start"]), early["class"], early["score"], early["reason"]) == (
        "Fri 2026-01-09 12:30",
        "early-edge",
        0.7,
        "early-edge",
    )


def test_a_dose_charted_late_tells_how_much_of_its_window_has_gone(tmp_path: Path) -> None:
    file = a_file(tmp_path, spray("dose", "2026-01-05 10:00"))
    document = planned("--now", at("2026-01-07 05:40"), file)
    assert "19 h of the window have gone" in of_type(document, "CarePlan")[0]["text"]["div"]


def a_document(**changes: Any) -> Resource:
    subject = {"reference": "Patient/pat-1"}
    return {"resourceType": "DocumentReference", "id": "doc-1", "status": "current", "subject": subject} | changes


def crisis_tasks(document: dict[str, Any]) -> list[Resource]:
    return [one for one in of_type(document, "Task") if one["code"]["coding"][0]["code"] == "crisis-pointer"]


def test_a_patient_whose_documents_hold_no_crisis_plan_gets_a_task_and_one_without_documents_does_not(
    tmp_path: Path,
) -> None:
    dose = infusion("1", "2026-01-05 10:00")
    note = a_document(type={"coding": [{"system": "http://loinc.org", "code": "18776-5"}]})
    plan = a_document(type={"coding": [{"system": "http://snomed.info/sct", "code": "736253002"}]})

    (task,) = crisis_tasks(planned("--as-of-dose", a_file(tmp_path, dose, note)))
    on_file = planned("--as-of-dose", a_file(tmp_path, dose, plan))

    assert task["restriction"]["period"]["end"] == "2026-01-06T15:40:00Z"
    assert crisis_tasks(on_file) == crisis_tasks(planned("--as-of-dose", a_file(tmp_path, dose))) == []
    assert {"reference": "DocumentReference/doc-1"} in of_type(on_file, "CarePlan")[0]["supportingInfo"]


def test_what_a_patient_states_to_prefer_is_proposed(tmp_path: Path) -> None:
    stated = {
        "resourceType": "Observation",
        "id": "preference-1",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "75773-2"}]},
        "subject": {"reference": "Patient/pat-1"},
        "effectiveDateTime": at("2026-01-02 12:00"),
        "valueString": "Art therapy",
    }

    document = planned("--as-of-dose", a_file(tmp_path, infusion("1", "2026-01-05 10:00"), stated))

    proposed = {one["code"]["coding"][0]["code"] for one in of_type(document, "ServiceRequest")}
    assert proposed == {"art-work", "ongoing-psychotherapy"}
