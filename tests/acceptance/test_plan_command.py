"""``afterdose plan`` on published dosing schedules, and on what people may feed it."""

import json
from pathlib import Path
from typing import Any

import pytest

from afterdose.content.content import load_content
from afterdose.content.locate import bundled
from afterdose.fhir.conform import check
from fhir_inputs import (
    ALCOHOL,
    DEPRESSION,
    ESKETAMINE_NASAL,
    FENTANYL,
    INTRAVENOUS,
    KETAMINE,
    a_file,
    at,
    body_weight,
    bundle,
    infusion,
    local,
    milligrams,
    run,
    spray,
)

_PROFILES = load_content().profiles

MONDAYS_AND_THURSDAYS = [f"2026-01-{day:02}" for day in (5, 8, 12, 15, 19, 22, 26, 29)]
THEN_MONDAYS = ["2026-02-02", "2026-02-09", "2026-02-16", "2026-02-23", "2026-03-02", "2026-03-16"]


def planned(*arguments: str, text: str | None = None) -> dict[str, Any]:
    """What the command answers; its resources conform to R4 and to our profiles."""
    result = run("plan", "--format", "json", *arguments, text=text)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    for resource in document["resources"]:
        assert check.problems(resource, profiles=_PROFILES) == ()
    return document


def sessions(document: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (local(session["start"]), session["hours_after"], session["class"], session["score"])
        for dose in document["doses"]
        if (session := dose["session"])
    ]


def without_id(resource: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in resource.items() if name != "id"}


def of_type(document: dict[str, Any], type_: str) -> list[dict[str, Any]]:
    return [resource for resource in document["resources"] if resource["resourceType"] == type_]


@pytest.fixture
def a1(tmp_path: Path) -> dict[str, Any]:
    days = [*MONDAYS_AND_THURSDAYS, *THEN_MONDAYS]
    return planned("--as-of-dose", a_file(tmp_path, *(spray(f"dose-{day}", f"{day} 10:00") for day in days)))


def test_a1_every_esketamine_dose_gets_the_next_day_half_past_ten(a1: dict[str, Any]) -> None:
    assert {entry[1:] for entry in sessions(a1)} == {(24.333333, "in-window", 0.996528)}
    assert {(start[:3], start[-5:]) for start, *_ in sessions(a1)} == {("Tue", "10:30"), ("Fri", "10:30")}
    assert len(sessions(a1)) == 14


def test_a1_monday_windows_of_the_first_weeks_are_cut_by_the_thursday_dose(a1: dict[str, Any]) -> None:
    windows = {dose["administrations"][0][-10:]: dose["window"] for dose in a1["doses"]}
    for day in MONDAYS_AND_THURSDAYS[::2]:
        assert local(windows[day]["closes"]).startswith("Thu")
        assert local(windows[day]["closes"]).endswith("09:00")
        assert windows[day]["cut_by"]["kind"] == "planned"
    assert all(windows[day]["cut_by"] is None for day in THEN_MONDAYS)


def test_a1_weekly_dosing_becomes_maintenance_when_the_week_before_held_one_dose(a1: dict[str, Any]) -> None:
    phases = {dose["administrations"][0][-10:]: dose["phase"] for dose in a1["doses"]}
    assert {phases[day] for day in [*MONDAYS_AND_THURSDAYS, "2026-02-02"]} == {"active"}
    assert {phases[day] for day in THEN_MONDAYS[1:]} == {"maintenance"}


def test_a1_is_one_course_with_an_appointment_a_dose(a1: dict[str, Any]) -> None:
    (plan,) = of_type(a1, "CarePlan")
    appointments = {f"Appointment/{one['id']}" for one in of_type(a1, "Appointment")}
    assert len(appointments) == 14
    named = {activity["reference"]["reference"] for activity in plan["activity"]}
    assert {one for one in named if one.startswith("Appointment/")} == appointments
    assert {dose["course"] for dose in a1["doses"]} != {None}
    for one in of_type(a1, "Appointment"):
        named = [information.get("reference") for information in one["supportingInformation"]]
        assert f"CarePlan/{plan['id']}" in named


MON_WED_FRI = ["2026-01-05", "2026-01-07", "2026-01-09", "2026-01-12", "2026-01-14", "2026-01-16"]


def infusions(tmp_path: Path) -> str:
    return a_file(tmp_path, *(infusion(f"dose-{day}", f"{day} 09:00") for day in MON_WED_FRI))


def test_a3_a_friday_dose_before_a_monday_dose_is_unmet_on_weekdays_and_the_last_one_is_an_edge(
    tmp_path: Path,
) -> None:
    document = planned("--as-of-dose", infusions(tmp_path))
    usual = (24.333333, "in-window", 0.996528)
    assert sessions(document) == [
        ("Tue 2026-01-06 10:00", *usual),
        ("Thu 2026-01-08 10:00", *usual),
        (None, None, None, None),
        ("Tue 2026-01-13 10:00", *usual),
        ("Thu 2026-01-15 10:00", *usual),
        ("Mon 2026-01-19 09:00", 71.333333, "edge", 0.263889),
    ]
    friday = document["doses"][2]
    assert (friday["outcome"], friday["session"]["state"], friday["session"]["reason"]) == (
        "unmet",
        "unmet",
        "window-cut",
    )
    assert local(friday["window"]["opens"]) == "Sat 2026-01-10 09:40"
    assert local(friday["window"]["closes"]) == "Mon 2026-01-12 08:00"
    assert friday["eligibility"] == "eligible"


def test_a3_a_clinic_that_is_open_on_saturday_meets_the_friday_dose(tmp_path: Path) -> None:
    document = planned("--as-of-dose", "--clinic", "example-7-days", infusions(tmp_path))
    assert [start for start, *_ in sessions(document)][2::3] == ["Sat 2026-01-10 10:00", "Sat 2026-01-17 10:00"]
    assert {entry[1] for entry in sessions(document)} == {24.333333}


@pytest.mark.parametrize(
    ("dose", "opens", "closes", "start"),
    [
        ("2026-03-07 10:00", "Sun 2026-03-08 11:40", "Tue 2026-03-10 11:40", "Sun 2026-03-08 12:00"),
        ("2026-10-31 10:00", "Sun 2026-11-01 09:40", "Tue 2026-11-03 09:40", "Sun 2026-11-01 10:00"),
    ],
    ids=["T1 clocks go forward", "T2 clocks go back"],
)
def test_24_hours_are_24_hours_when_the_clocks_change(
    tmp_path: Path, dose: str, opens: str, closes: str, start: str
) -> None:
    document = planned("--as-of-dose", "--clinic", "example-7-days", a_file(tmp_path, infusion("dose", dose)))
    window = document["doses"][0]["window"]
    assert (local(window["opens"]), local(window["closes"])) == (opens, closes)
    assert sessions(document)[0][0] == start
    assert window["opens"].endswith("Z")


def test_a10_the_window_counts_from_the_end_of_a_long_infusion(tmp_path: Path) -> None:
    dose = infusion("dose", "2026-01-14 10:00", minutes=52, reasonCode=[ALCOHOL])
    dose["dosage"] = {"route": INTRAVENOUS, "dose": milligrams(56.8)}
    document = planned("--as-of-dose", a_file(tmp_path, body_weight(80, "2026-01-14 09:00"), dose))
    assert sessions(document) == [("Thu 2026-01-15 11:00", 24.133333, "in-window", 0.998611)]
    assert document["doses"][0]["anchor"] == "2026-01-14T15:52:00Z"
    assert document["doses"][0]["anchor_basis"] == "end"
    assert document["doses"][0]["reasons"] == ["psychiatric-indication", "dose-within-envelope"]


def test_the_weight_that_was_last_measured_before_the_dose_decides(tmp_path: Path) -> None:
    weights = [
        body_weight(20, "2025-01-05 09:00"),
        body_weight(80, "2026-01-05 09:00"),
        body_weight(20, "2026-01-05 09:30", status="entered-in-error"),
        body_weight(20, "2026-01-06 09:00"),
    ]
    document = planned("--as-of-dose", a_file(tmp_path, *weights, infusion("dose", "2026-01-05 10:00")))
    assert document["doses"][0]["eligibility"] == "eligible"


def test_with_now_every_dose_is_heard_now(tmp_path: Path) -> None:
    file = a_file(tmp_path, spray("dose", "2026-01-05 10:00"))
    document = planned("--now", at("2026-01-06 12:00"), file)
    assert sessions(document)[0][0] == "Tue 2026-01-06 16:00"
    assert document["wake_up"] == "2026-01-06T19:10:00Z"


def test_a_dose_heard_of_after_more_than_a_week_is_history_only(tmp_path: Path) -> None:
    document = planned("--now", at("2026-01-15 10:00"), a_file(tmp_path, spray("dose", "2026-01-05 10:00")))
    (dose,) = document["doses"]
    assert (dose["outcome"], dose["session"]["state"], dose["session"]["reason"]) == ("unmet", "unmet", "too-late")
    assert document["resources"] == []
    assert document["wake_up"] is None


def test_the_present_is_the_default(tmp_path: Path) -> None:
    document = planned(a_file(tmp_path, spray("dose", "2020-01-05 10:00")))
    assert document["doses"][0]["session"]["reason"] == "too-late"


def test_a_dose_without_psychiatric_evidence_is_a_persons_decision(tmp_path: Path) -> None:
    document = planned("--as-of-dose", a_file(tmp_path, infusion("dose", "2026-01-05 10:00", reasonCode=None)))
    (dose,) = document["doses"]
    assert (dose["eligibility"], dose["outcome"], dose["session"]) == ("review", "review", None)
    assert "no-psychiatric-evidence" in dose["reasons"]
    assert local(dose["window"]["opens"]) == "Tue 2026-01-06 10:40"
    assert [resource["resourceType"] for resource in document["resources"]] == ["Task"]


def test_r5_spelling_is_the_same_dose(tmp_path: Path) -> None:
    r4 = infusion("dose", "2026-01-05 10:00")
    r5 = {name: r4[name] for name in ("resourceType", "id", "status", "subject", "dosage")} | {
        "category": [r4["category"]],
        "medication": {"concept": KETAMINE},
        "occurencePeriod": r4["effectivePeriod"],
        "reason": [{"concept": DEPRESSION}],
    }
    assert planned("--as-of-dose", a_file(tmp_path, r5)) == planned("--as-of-dose", a_file(tmp_path, r4))


def test_times_without_a_zone_are_those_of_the_clinic_unless_said_otherwise(tmp_path: Path) -> None:
    dose = spray("dose", "2026-01-05 10:00", effectivePeriod=None, effectiveDateTime="2026-01-05T10:10:00")
    file = a_file(tmp_path, dose)
    assert planned("--as-of-dose", file)["doses"][0]["anchor"] == "2026-01-05T15:10:00Z"
    berlin = planned("--as-of-dose", "--zone", "Europe/Berlin", file)
    assert berlin["doses"][0]["anchor"] == "2026-01-05T09:10:00Z"
    assert "zone-assumed" in berlin["doses"][0]["reasons"]


def test_devices_of_one_kit_are_one_row_and_two_appointments_are_never_made(tmp_path: Path) -> None:
    document = planned(
        "--as-of-dose",
        a_file(tmp_path, spray("b", "2026-01-05 10:05", minutes=5), spray("a", "2026-01-05 10:00", minutes=1)),
    )
    (dose,) = document["doses"]
    assert dose["administrations"] == ["MedicationAdministration/a", "MedicationAdministration/b"]
    assert len(of_type(document, "Appointment")) == 1


def test_a_bundle_of_several_patients_is_sorted_out_by_its_own_urls(tmp_path: Path) -> None:
    patient = "urn:uuid:0d9c6f3e-51f5-4b0c-9a3a-0b6f1d6f7c11"
    order = "urn:uuid:1d9c6f3e-51f5-4b0c-9a3a-0b6f1d6f7c22"
    place = "http://ehr.example/fhir/Location/ward"
    mixed = bundle(
        {"resourceType": "Patient", "id": "zoe", "birthDate": "1980-05-01"},
        {"resourceType": "Patient", "id": "adam", "birthDate": "1980-05-01"},
        {
            "resourceType": "MedicationRequest",
            "id": "order",
            "status": "active",
            "intent": "order",
            "medicationCodeableConcept": KETAMINE,
            "subject": {"reference": patient},
            "reasonCode": [DEPRESSION],
            "dosageInstruction": [{"timing": {"event": [at("2026-01-08 10:00")]}}],
        },
        {"resourceType": "Location", "id": "ward", "type": [_role("ICU")]},
        {
            "resourceType": "Encounter",
            "id": "stay",
            "status": "in-progress",
            "class": {"code": "IMP"},
            "location": [{"location": {"reference": f"{place}/_history/3"}}],
        },
        infusion(
            "of-zoe",
            "2026-01-05 10:00",
            patient="",
            subject={"reference": patient},
            request={"reference": order},
            reasonCode=None,
        ),
        infusion("of-adam", "2026-01-05 11:00", patient="adam", context={"reference": "Encounter/stay"}),
        infusion("other-drug", "2026-01-05 12:00", patient="adam", medicationCodeableConcept=FENTANYL),
        infusion("nobodys", "2026-01-05 12:00", subject={"identifier": {"value": "12345"}}),
        urls={"zoe": patient, "order": order, "ward": place},
    )
    document = planned("--as-of-dose", a_file(tmp_path, mixed, name="bundle.json"))
    rows = [(dose["patient"], dose["administrations"][0][25:], dose["outcome"]) for dose in document["doses"]]
    assert rows == [
        ("Patient/adam", "of-adam", "not-eligible"),
        ("Patient/adam", "other-drug", "unrelated"),
        ("Patient/zoe", "of-zoe", "planned"),
        (None, "nobodys", "review"),
    ]
    assert document["doses"][0]["reasons"] == ["excluded-setting"]
    assert document["doses"][2]["reasons"][0] == "psychiatric-indication"
    assert document["doses"][2]["window"]["cut_by"] == {"kind": "planned", "at": "2026-01-08T15:00:00Z"}
    assert {plan["subject"]["reference"] for plan in of_type(document, "CarePlan")} == {"Patient/zoe"}


def _role(code: str) -> dict[str, Any]:
    return {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": code}]}


def an_order(**changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "ServiceRequest",
        "id": "order",
        "status": "active",
        "intent": "order",
        "code": ESKETAMINE_NASAL,
        "subject": {"reference": "Patient/pat-1"},
        "occurrenceDateTime": at("2026-01-07 10:00"),
    } | changes


def a_visit(**changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "Appointment",
        "id": "visit",
        "status": "booked",
        "start": at("2026-01-07 10:00"),
        "end": at("2026-01-07 11:00"),
        "serviceType": [ESKETAMINE_NASAL],
        "participant": [{"actor": {"reference": "Patient/pat-1"}, "status": "accepted"}],
    } | changes


@pytest.mark.parametrize(
    ("announced", "cuts"),
    [
        ([an_order()], True),
        ([an_order(status="draft")], False),
        ([an_order(intent="proposal")], False),
        ([an_order(doNotPerform=True)], False),
        ([an_order(code={"text": "ketamine infusion"})], False),
        ([an_order(subject={"reference": "Patient/pat-2"})], False),
        ([a_visit()], True),
        ([a_visit(status="proposed")], False),
        ([a_visit(serviceType=[{"text": "esketamine"}])], False),
        ([a_visit(serviceType=[{"text": "visit"}], basedOn=[{"reference": "ServiceRequest/order"}]), an_order()], True),
    ],
)
def test_only_what_clearly_is_an_ordered_or_booked_dose_cuts_the_window(
    tmp_path: Path, announced: list[dict[str, Any]], cuts: bool
) -> None:
    document = planned("--as-of-dose", a_file(tmp_path, spray("dose", "2026-01-05 10:00"), *announced))
    assert (document["doses"][0]["window"]["cut_by"] is not None) is cuts


def test_the_newest_version_of_a_dose_counts(tmp_path: Path) -> None:
    newer = spray("dose", "2026-01-05 11:00", meta={"lastUpdated": at("2026-01-05 13:00")})
    older = spray("dose", "2026-01-05 10:00", meta={"lastUpdated": at("2026-01-05 12:00")})
    document = planned("--as-of-dose", a_file(tmp_path, newer, older))
    assert [local(dose["anchor"]) for dose in document["doses"]] == ["Mon 2026-01-05 11:10"]


def test_a_dose_that_is_not_over_waits_and_one_in_error_is_withdrawn(tmp_path: Path) -> None:
    running = spray("running", "2026-01-05 10:00", status="in-progress")
    wrong = spray("wrong", "2026-01-06 10:00", status="entered-in-error")
    first, second = planned("--as-of-dose", a_file(tmp_path, running, wrong))["doses"]
    assert (first["outcome"], first["eligibility"], first["session"]["state"]) == ("waiting", None, "waiting")
    assert (second["outcome"], second["eligibility"], second["session"]) == ("withdrawn", "not-eligible", None)


def test_the_table_shows_local_times_and_the_reasons_in_words(tmp_path: Path) -> None:
    result = run("plan", "--as-of-dose", a_file(tmp_path, spray("dose-7", "2026-01-05 10:00")))
    assert result.exit_code == 0
    assert "dose-7" in result.stdout
    assert "Mon 5 Jan 2026 10:10 EST" in result.stdout
    assert "psychiatric use only" in result.stdout
    assert "1 care plan, 1 appointment, 0 tasks" in result.stdout


def test_standard_input_is_a_file_too() -> None:
    assert len(planned("--as-of-dose", "-", text=json.dumps(spray("dose", "2026-01-05 10:00")))["doses"]) == 1


def test_an_input_without_doses_says_so_and_plans_nothing(tmp_path: Path) -> None:
    result = run("plan", "--format", "json", a_file(tmp_path, {"resourceType": "Patient", "id": "pat-1"}))
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"doses": [], "resources": [], "wake_up": None}
    assert "no MedicationAdministration" in result.stderr


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"resourceType": "MedicationAdministration", "id": "SECRET"', "input.ndjson: the body is not JSON"),
        ('{"resourceType":"Patient","id":"a"}\n{"resourceType":SECRET}', "input.ndjson: line 2: the body is not JSON"),
        ('{"resourceType":SECRET}\n{"resourceType":"Patient","id":"a"}', "input.ndjson: line 1: the body is not JSON"),
        ('{"a": 1, "a": "SECRET"}', "input.ndjson: an object has the same key twice"),
        ('["SECRET"]', "input.ndjson: is not a JSON object"),
        ('{"resourceType": "SECRET secret"}', "input.ndjson: resourceType: is missing or no resource type"),
        (
            json.dumps(bundle(spray("dose", "2026-01-05 10:00", status="SECRET"))),
            "input.ndjson: Bundle.entry[0].resource.status: is not one of",
        ),
        (
            json.dumps(spray("dose", "2026-01-05 10:00"))
            + "\n"
            + json.dumps(spray("dose", "2026-01-05 10:00", effectivePeriod={"start": "SECRET"})),
            "input.ndjson: line 2: MedicationAdministration.effectivePeriod.start: ",
        ),
        (
            json.dumps(without_id(spray("dose", "2026-01-05 10:00"))),
            "input.ndjson: MedicationAdministration.id: is missing",
        ),
        (
            '{"resourceType":"Bundle","entry":[{"resource":["SECRET"]}]}',
            "input.ndjson: Bundle.entry[0].resource: is not a JSON object",
        ),
    ],
)
def test_what_cannot_be_read_is_named_by_file_line_and_element_and_never_quoted(
    tmp_path: Path, text: str, place: str
) -> None:
    file = tmp_path / "input.ndjson"
    file.write_text(text, encoding="utf-8")
    result = run("plan", "--format", "json", str(file))
    assert result.exit_code == 2
    assert place in result.output
    assert "secret" not in result.output.casefold()


def test_every_unreadable_file_is_named_at_once(tmp_path: Path) -> None:
    result = run("plan", *(a_file(tmp_path, {"resourceType": 1}, name=name) for name in ("a.json", "b.json")))
    assert result.exit_code == 2
    assert "a.json: resourceType" in result.output
    assert "b.json: resourceType" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--now", "yesterday"),
        ("--zone", "Mars/Olympus"),
        ("--now", "2026-01-05T15:10:00Z", "--as-of-dose"),
        ("no-such-file.json",),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert run("plan", a_file(tmp_path, spray("dose", "2026-01-05 10:00")), *arguments).exit_code == 2


def test_a_protocol_of_ones_own_takes_the_place_of_the_delivered_one(tmp_path: Path) -> None:
    delivered = (bundled() / "mappings/protocols/esketamine-integration.toml").read_text(encoding="utf-8")
    own = tmp_path / "own.toml"
    lines = ['version = "9.9.9"' if line.startswith("version") else line for line in delivered.splitlines()]
    own.write_text("\n".join(lines), encoding="utf-8")
    document = planned("--as-of-dose", "--protocol", str(own), a_file(tmp_path, spray("dose", "2026-01-05 10:00")))
    (plan,) = of_type(document, "CarePlan")
    assert plan["instantiatesCanonical"][0].endswith("|9.9.9")
