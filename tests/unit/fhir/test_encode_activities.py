"""A course's Goal and activities as FHIR: valid, neutral, with their deadlines, and never a promise."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest

from afterdose.content.content import Content, load_content
from afterdose.core.activities import ACTIVITIES
from afterdose.core.care import ArtifactKind, Care, DesiredActivity, PlanStatus, Snapshot, Standing
from afterdose.core.dose import Coding, Family
from afterdose.core.plan import decide
from afterdose.core.reasons import Reason
from afterdose.core.wishes import OPTIONAL
from afterdose.fhir.conform import check
from afterdose.fhir.encode.activities import activity, goal
from afterdose.fhir.encode.care import RESOURCE_TYPE, Letterhead
from afterdose.fhir.encode.sentences import Wording
from afterdose.work.reports.preview import resources
from builders import a_context, a_dose, a_planned_dose, a_snapshot, after_writing, codes_for_tests, local

Resource = dict[str, Any]
NOW = local("2026-01-05 12:00")
LABEL = Coding("http://terminology.hl7.org/CodeSystem/v3-ActCode", "PSY")
DOSE = replace(a_dose("2026-01-05 10:00", id="mon"), labels=(LABEL,), conditions=("Condition/c1",))
PROMISES = re.compile(
    r"\b(?:will|proven|proves?|guarantees?|ensures?|optimi[sz]es?|cures?|heals?|always works?)\b", re.IGNORECASE
)
DRUG_OR_DIAGNOSIS = re.compile(r"ketamin|spravato|depress|infusion|F33\.", re.IGNORECASE)


@cache
def content() -> Content:
    return load_content()


def site(snapshot: Snapshot) -> Snapshot:
    """The snapshot at the example clinic, with the protocols and codes that come with the product."""
    clinic = replace(content().clinic("example"), pool="CareTeam/456")
    return replace(snapshot, clinic=clinic, protocols=content().protocols)


def head(**changes: Any) -> Letterhead:
    words = Wording(
        clinic=replace(content().clinic("example"), pool="CareTeam/456"),
        protocols=content().protocols,
        plan=content().words,
        reason_text=content().reason_text,
        software="afterdose",
    )
    return Letterhead(
        patient="pat-1",
        canonicals=content().canonicals,
        codes=content().codes,
        words=replace(words, **changes),
        dose_bases={},
        references={},
    )


@cache
def whole() -> Care:
    """A course with everything that a course can have."""
    marks = {Coding("urn:test:mark", str(kind)): kind for kind in OPTIONAL}
    preferences = {(mark.system, mark.code): kind for mark, kind in marks.items()}
    codes = replace(codes_for_tests(), preferences=preferences, modalities=frozenset(OPTIONAL))
    dose = replace(DOSE, context=a_context(marks=tuple(marks)))
    snapshot = site(a_snapshot(dose, accept_auto=True, codes=codes, crisis_plans=()))
    care = decide(snapshot, NOW)
    (reminded,) = [one for one in care.activities if one.key.kind is ArtifactKind.COMMITMENTS]
    reminder = replace(
        reminded, key=reminded.key._replace(kind=ArtifactKind.COMMITMENTS_REMINDER), for_patient=False, starts=None
    )
    return replace(care, activities=(*care.activities, reminder))


def one(kind: ArtifactKind) -> DesiredActivity:
    return next(found for found in whole().activities if found.key.kind is kind)


def made(kind: ArtifactKind) -> Resource:
    return activity(one(kind), head())


def flaws(resource: Resource) -> list[str]:
    return [f"{found.path}: {found.text}" for found in check.problems(resource, profiles=content().profiles)]


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("system", "url", "reference", "valueCanonical"):
                yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


def test_there_is_an_activity_of_every_kind() -> None:
    assert {found.key.kind for found in whole().activities} == set(ACTIVITIES)


@pytest.mark.parametrize("kind", ACTIVITIES)
def test_every_activity_is_valid(kind: ArtifactKind) -> None:
    resource = made(kind)
    assert resource["resourceType"] == RESOURCE_TYPE[kind]
    assert flaws(resource) == []
    assert flaws(activity(replace(one(kind), cancelled=True), head())) == []


@pytest.mark.parametrize("kind", ACTIVITIES)
def test_an_activity_that_is_ended_says_so(kind: ArtifactKind) -> None:
    ended = activity(replace(one(kind), cancelled=True), head())
    assert ended["status"] == ("cancelled" if ended["resourceType"] == "Task" else "revoked")


@pytest.mark.parametrize("kind", ACTIVITIES)
def test_an_activity_names_no_drug_and_no_diagnosis_and_promises_nothing(kind: ArtifactKind) -> None:
    for text in texts(made(kind)):
        assert DRUG_OR_DIAGNOSIS.search(text) is None, text
        assert PROMISES.search(text) is None, text


@pytest.mark.parametrize("kind", ACTIVITIES)
def test_an_activity_carries_the_labels_of_its_sources_and_the_evidence_for_itself(kind: ArtifactKind) -> None:
    resource = made(kind)
    assert {label["code"] for label in resource["meta"]["security"]} == {"PSY", "DEVAST"}
    notes = [note["text"] for note in resource["note"]]
    assert content().words.activities[kind].evidence in notes


@pytest.mark.parametrize("kind", [kind for kind in ACTIVITIES if one(kind).for_patient])
def test_what_a_patient_reads_has_the_limits_of_the_evidence_and_whom_to_turn_to(kind: ArtifactKind) -> None:
    notes = " ".join(note["text"] for note in made(kind)["note"])
    for sentence in content().protocols[Family.KETAMINE].evidence:
        assert sentence in notes
    assert "988" in notes


def test_staff_are_asked_by_the_pool_and_the_patient_in_person() -> None:
    assert made(ArtifactKind.RELAPSE_PLAN)["owner"]["reference"] == "CareTeam/456"
    assert made(ArtifactKind.JOURNALING)["owner"]["reference"] == "Patient/pat-1"
    assert made(ArtifactKind.MINDFULNESS)["performer"] == [{"reference": "Patient/pat-1"}]


def test_the_journal_has_four_prompts_its_questionnaire_and_its_deadline() -> None:
    journal = made(ArtifactKind.JOURNALING)
    prompts = [part["valueString"] for part in journal["input"] if "valueString" in part]
    assert len(prompts) == 4
    assert any("/Questionnaire/" in part.get("valueCanonical", "") for part in journal["input"])
    assert journal["executionPeriod"] == {"start": "2026-01-05T17:40:00Z", "end": "2026-01-06T15:40:00Z"}
    assert journal["restriction"] == {"period": {"end": "2026-01-06T15:40:00Z"}}
    assert (journal["status"], journal["intent"]) == ("requested", "plan")


def test_mindfulness_is_a_repeating_request_with_its_own_evidence() -> None:
    practice = made(ArtifactKind.MINDFULNESS)
    assert practice["occurrenceTiming"]["repeat"] == {
        "boundsPeriod": {"start": "2026-01-05T17:40:00Z", "end": "2026-01-08T15:40:00Z"},
        "frequency": 1,
        "period": 1,
        "periodUnit": "d",
        "count": 3,
        "duration": 10,
        "durationMax": 20,
        "durationUnit": "min",
    }
    assert "controlled data on this approach are limited" in str(practice["note"])


def test_sleep_is_supported_at_bedtime() -> None:
    repeat = made(ArtifactKind.SLEEP)["occurrenceTiming"]["repeat"]
    assert (repeat["when"], repeat["count"]) == (["HS"], 3)


def test_the_relapse_plan_has_its_four_parts() -> None:
    prompts = [part["valueString"] for part in made(ArtifactKind.RELAPSE_PLAN)["input"] if "valueString" in part]
    assert len(prompts) == 4
    for part in ("warning signs", "Action plan", "Maintenance treatment, if", "does not depend on the treatment"):
        assert any(part in prompt for prompt in prompts)


def test_psychotherapy_recurs_and_names_no_dose() -> None:
    request = made(ArtifactKind.PSYCHOTHERAPY)
    assert "supportingInfo" not in request
    assert "MedicationAdministration" not in str(request)
    assert request["occurrenceTiming"]["repeat"] == {
        "boundsPeriod": {"start": "2026-01-06T15:40:00Z"},
        "frequency": 1,
        "period": 7,
        "periodUnit": "d",
    }
    assert (request["status"], request["intent"]) == ("draft", "proposal")


def test_an_assumed_date_says_that_it_is() -> None:
    assert "The date is assumed" in str(made(ArtifactKind.COMMITMENTS)["note"])
    known = site(a_snapshot(DOSE, accept_auto=True, planned=(a_planned_dose("2026-01-12 10:00"),)))
    found = next(one for one in decide(known, NOW).activities if one.key.kind is ArtifactKind.COMMITMENTS)
    assert "assumed" not in str(activity(found, head()))


@pytest.mark.parametrize("status", PlanStatus)
def test_a_goal_is_valid_and_says_may(status: PlanStatus) -> None:
    (wanted,) = whole().goals
    resource = goal(replace(wanted, status=status), head())
    assert flaws(resource) == []
    assert " may " in resource["description"]["text"]
    for text in texts(resource):
        assert DRUG_OR_DIAGNOSIS.search(text) is None, text
        assert PROMISES.search(text) is None, text


def test_the_plan_names_its_goal_its_activities_their_phase_and_its_conditions() -> None:
    built = resources(whole(), head())
    (plan,) = [resource for resource in built if resource["resourceType"] == "CarePlan"]
    there = {f"{resource['resourceType']}/{resource['id']}" for resource in built}
    named = {entry["reference"]["reference"] for entry in plan["activity"]}
    assert plan["goal"][0]["reference"] in there
    assert named == {one for one in there if one.partition("/")[0] in ("Appointment", "Task", "ServiceRequest")} - {
        f"Task/{resource['id']}" for resource in built if "reminder" in str(resource.get("code"))
    }
    assert {entry["extension"][0]["valueString"] for entry in plan["activity"]} == {"Integration", "Preparation"}
    assert plan["addresses"] == [{"reference": "Condition/c1"}]
    assert [problem for resource in built for problem in flaws(resource)] == []


@pytest.mark.parametrize("plan_type", ["DocumentReference", "Communication"])
def test_what_belongs_to_a_plan_that_is_a_note_or_a_message_refers_to_it_and_is_valid(plan_type: str) -> None:
    noted = replace(head(), plan_type=plan_type)
    built = [activity(one, noted) for one in whole().activities]
    assert {resource["resourceType"] for resource in built} == {"ServiceRequest", "Task"}
    assert [problem for resource in built for problem in flaws(resource)] == []
    for resource in built:
        assert f"'type': '{plan_type}'" in str(resource)


def test_goals_come_first_and_the_plan_last() -> None:
    kinds = [resource["resourceType"] for resource in resources(whole(), head())]
    assert (kinds[0], kinds[1], kinds[-1]) == ("Goal", "Appointment", "CarePlan")


def narrative(snapshot: Snapshot, **changes: Any) -> str:
    (plan,) = [
        resource
        for resource in resources(decide(site(snapshot), NOW), head(**changes))
        if resource["resourceType"] == "CarePlan"
    ]
    return str(plan["text"]["div"])


def test_the_narrative_says_what_is_next_then_the_doses_then_what_to_do_then_why() -> None:
    text = narrative(a_snapshot(DOSE))
    parts = [
        "<b>Next, dose 1: Book a session that starts between Tue 6 Jan 2026 10:40 EST",
        "<table>",
        "<b>Preparation.</b>",
        "<b>Experience.</b>",
        "<b>Integration.</b>",
        "<b>For staff</b>",
        "<b>For the patient, once a clinician has activated this plan</b>",
        "Journaling: from Mon 5 Jan 2026 12:40 EST to Tue 6 Jan 2026 10:40 EST.",
        "Why:",
        "growing and mainly observational",
        "988",
        "software, not a person",
    ]
    places = [text.find(part) for part in parts]
    assert -1 not in places, parts[places.index(-1)]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("people", "told", "state"),
    [
        (
            {"booked": True, "ehr_status": "booked", "start": local("2026-01-06 13:00")},
            "The session is in the hands of staff, Tue 6 Jan 2026 13:00 EST as far as is known.",
            "with staff",
        ),
        (
            {"booked": True, "ehr_status": "noshow"},
            "No session: Visit missed or cancelled. The window closes Thu 8 Jan 2026 10:40 EST.",
            "unmet",
        ),
        (
            {"standing": Standing.REMOVED_BY_PERSON, "ehr_status": "cancelled"},
            "No session: Cancelled by a person.",
            "unmet",
        ),
    ],
)
def test_what_staff_did_with_a_visit_is_told_and_nobody_is_asked_to_book_it(
    people: dict[str, Any], told: str, state: str
) -> None:
    snapshot = a_snapshot(DOSE)
    after = after_writing(snapshot, decide(snapshot, NOW))
    rows = after.known.artifacts.items()
    rows_now = {key: replace(row, **people) if key.kind is ArtifactKind.APPOINTMENT else row for key, row in rows}
    text = narrative(replace(after, known=replace(after.known, artifacts=rows_now)))
    assert f"Next, dose 1: {told}</b>" in text
    assert f"<td>{told}</td><td>{state}</td>" in text
    assert "Book a session" not in text


def test_what_had_to_be_over_before_a_later_dose_is_told_as_past() -> None:
    text = narrative(a_snapshot(DOSE, a_dose("2026-01-07 10:00", id="wed")))
    assert "<td>Was proposed for Tue 6 Jan 2026 11:00 EST.</td><td>past</td>" in text
    assert "<td>to book</td>" in text
    assert text.count("Book a session") == 2  # on top, and in the row of the latest dose


def test_what_the_next_dose_limits_is_the_end_of_the_session() -> None:
    text = narrative(a_snapshot(DOSE, planned=(a_planned_dose("2026-01-07 10:00"),)))
    assert (
        "Book a session from Tue 6 Jan 2026 10:40 EST on that is over by Wed 7 Jan 2026 09:00 EST; "
        "suggested Tue 6 Jan 2026 11:00 EST.</b>"
    ) in text


def test_the_narrative_holds_the_whole_agenda_and_the_way_with_distress() -> None:
    text = narrative(a_snapshot(DOSE))
    for passage in content().words.agenda:
        assert passage.title in text
    assert "If distress is high or dissociation persists, a clinician is contacted before" in text


@pytest.mark.parametrize(
    ("present", "said"),
    [(True, "A therapist was present"), (False, "medical monitoring only:"), (None, "not on record")],
)
def test_the_agenda_begins_with_how_the_dose_was_accompanied(present: bool | None, said: str) -> None:
    care = decide(site(a_snapshot(DOSE)), NOW)
    plans = tuple(replace(plan, therapist_present=present) for plan in care.plans)
    (plan,) = [one for one in resources(replace(care, plans=plans), head()) if one["resourceType"] == "CarePlan"]
    assert said in plan["text"]["div"]


def test_once_the_plan_is_active_the_narrative_waits_for_nobody() -> None:
    text = narrative(a_snapshot(DOSE, accept_auto=True))
    assert "<b>For the patient</b>" in text
    assert "once a clinician" not in text


def test_a_plan_that_has_ended_tells_no_one_what_to_do() -> None:
    care = decide(site(a_snapshot(DOSE)), NOW)
    ended = tuple(replace(plan, status=PlanStatus.REVOKED) for plan in care.plans)
    (plan,) = [one for one in resources(replace(care, plans=ended), head()) if one["resourceType"] == "CarePlan"]
    assert "For staff" not in plan["text"]["div"]


def test_nothing_that_is_written_promises_more_than_may() -> None:
    for resource in resources(whole(), head()):
        for text in texts(resource):
            assert PROMISES.search(text) is None, text
    for reason in Reason:
        assert PROMISES.search(content().reason_text(reason)) is None, reason


def test_outside_its_narrative_a_plan_names_no_drug() -> None:
    for resource in resources(whole(), head()):
        outward = {name: value for name, value in resource.items() if name not in ("text", "instantiatesCanonical")}
        for text in texts(outward):
            assert DRUG_OR_DIAGNOSIS.search(text) is None, text


def test_a_site_may_keep_the_drug_out_of_the_narrative_too() -> None:
    assert DRUG_OR_DIAGNOSIS.search(narrative(a_snapshot(DOSE), name_drug=False)) is None


def test_the_same_care_gives_the_same_bytes() -> None:
    assert json.dumps(resources(whole(), head())) == json.dumps(resources(whole(), head()))


def test_a_repeat_that_is_no_whole_number_of_days_is_told_in_hours() -> None:
    practice = one(ArtifactKind.MINDFULNESS)
    assert practice.repeats is not None
    twice = replace(practice, repeats=replace(practice.repeats, every=timedelta(hours=12)))
    assert activity(twice, head())["occurrenceTiming"]["repeat"]["period"] == 12


def test_a_check_says_which_it_is_by_the_days_since_the_dose() -> None:
    told = [made(kind)["description"] for kind in (ArtifactKind.OUTCOME_CHECK, ArtifactKind.LATER_OUTCOME_CHECK)]
    assert told == ["Outcome check, day 7", "Outcome check, day 14"]
    assert made(ArtifactKind.OUTCOME_CHECK)["code"]["text"] == "Outcome check"
