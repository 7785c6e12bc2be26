"""The rendered definitions of profiles/ say what the mappings say, promise nothing, and carry each number once."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from afterdose.cli import main
from afterdose.cli.render_profiles import rendered_profiles
from afterdose.content.locate import bundled
from afterdose.core.errors import BadContent
from afterdose.ehr.interactions import INTERACTIONS

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "profiles"
PLANS = ("PlanDefinition-ketamine-integration.json", "PlanDefinition-esketamine-integration.json")
RENDERED = rendered_profiles()
# Words that promise more than "may".
PROMISES = re.compile(r"\b(?:will|proven|proves|guarantees?|ensures?|optimi[sz]es?|cures?|heals?)\b", re.IGNORECASE)
DRUG_OR_DIAGNOSIS = re.compile(r"ketamin|spravato|depress|suicidal|infusion", re.IGNORECASE)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["render-profiles", *arguments])


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


def actions(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every action of a PlanDefinition by its id."""
    found: dict[str, dict[str, Any]] = {}
    waiting = list(plan["action"])
    while waiting:
        action = waiting.pop()
        assert action["id"] not in found
        found[action["id"]] = action
        waiting += action.get("action", [])
    return found


def test_every_rendered_file_is_current() -> None:
    result = run("--check", "--out", str(PROFILES))

    assert (result.exit_code, result.output) == (0, "")


def test_a_file_that_is_not_current_is_named(tmp_path: Path) -> None:
    run("--out", str(tmp_path / "profiles"))
    (tmp_path / "profiles" / PLANS[0]).write_text("{}")
    (tmp_path / "profiles" / "Questionnaire-integration-journal.json").unlink()

    result = run("--check", "--out", str(tmp_path / "profiles"))

    assert result.exit_code == 1
    assert [line.rpartition("/")[2] for line in result.output.splitlines()] == [
        f"{PLANS[0]} is not current",
        "Questionnaire-integration-journal.json is not current",
    ]


def test_a_changed_number_of_a_protocol_changes_the_plan_definition(tmp_path: Path) -> None:
    relative = "mappings/protocols/ketamine-integration.toml"
    text = (bundled() / relative).read_text()
    (tmp_path / relative).parent.mkdir(parents=True)
    (tmp_path / relative).write_text(text.replace("[[closes_after]]\nvalue = 72", "[[closes_after]]\nvalue = 60"))

    result = run("--overlay", str(tmp_path), "--out", str(tmp_path / "out"))

    assert result.exit_code == 0
    plan = json.loads((tmp_path / "out" / PLANS[0]).read_text())
    (related,) = actions(plan)["integration-session"]["relatedAction"]
    assert related["offsetRange"]["high"]["value"] == 60
    assert json.loads((tmp_path / "out" / PLANS[1]).read_text()) == RENDERED[PLANS[1]]


def test_a_mistake_in_the_activities_names_file_and_key(tmp_path: Path) -> None:
    relative = "mappings/activities/integration.toml"
    text = (bundled() / relative).read_text()
    (tmp_path / relative).parent.mkdir(parents=True)
    (tmp_path / relative).write_text(text.replace('questionnaire = "integration-journal"', 'questionnaire = "x"'))

    with pytest.raises(BadContent, match=r"integration\.toml: activities\.journaling\.questionnaire: there is no such"):
        rendered_profiles(tmp_path)


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_definition_has_three_phases_and_the_window_of_its_protocol(name: str) -> None:
    plan = RENDERED[name]
    by_id = actions(plan)

    assert [action["id"] for action in plan["action"]] == ["preparation", "experience", "integration"]
    (related,) = by_id["integration-session"]["relatedAction"]
    assert (related["actionId"], related["relationship"]) == ("dose", "after-end")
    hour = {"unit": "h", "system": "http://unitsofmeasure.org", "code": "h"}
    assert related["offsetRange"] == {"low": {"value": 24} | hour, "high": {"value": 72} | hour}
    assert all(one["actionId"] in by_id for action in by_id.values() for one in action.get("relatedAction", []))


@pytest.mark.parametrize("name", PLANS)
def test_only_visits_of_integration_are_proposed_by_default(name: str) -> None:
    for phase in RENDERED[name]["action"]:
        for action in phase["action"]:
            definition = action.get("definitionCanonical")
            if definition is None:
                continue
            path = definition.partition("|")[0].removeprefix("https://afterdose.org/fhir/")
            made = RENDERED[f"{path.replace('/', '-')}.json"]
            if made["kind"] == "Appointment":
                assert action["precheckBehavior"] == ("yes" if phase["id"] == "integration" else "no")


@pytest.mark.parametrize("name", PLANS)
def test_every_activity_of_a_plan_carries_its_own_grade_of_evidence(name: str) -> None:
    graded = [action for action in actions(RENDERED[name]).values() if "definitionCanonical" in action]

    assert len(graded) >= 10
    for action in graded:
        (grades,) = [one["document"]["extension"] for one in action["documentation"] if "document" in one]
        quality, strength = (one["valueCodeableConcept"]["coding"][0]["code"] for one in grades)
        assert quality in ("very-low", "low")
        assert strength == "weak"


@pytest.mark.parametrize("name", PLANS)
def test_papers_that_contradict_the_timing_are_listed(name: str) -> None:
    cited = RENDERED[name]["relatedArtifact"]

    assert {one["type"] for one in cited} == {"citation"}
    assert len([one for one in cited if one["label"] == "contradicts"]) == 2


def test_practice_and_session_last_as_long_as_the_protocols_say() -> None:
    practice = RENDERED["ActivityDefinition-mindfulness-practice.json"]["timingTiming"]["repeat"]
    session = RENDERED["ActivityDefinition-integration-session.json"]["timingTiming"]["repeat"]

    assert [practice[name] for name in ("duration", "durationMax", "durationUnit", "frequency", "period")] == [
        10,
        20,
        "min",
        1,
        1,
    ]
    assert timedelta(hours=practice["boundsDuration"]["value"]) == timedelta(days=3)
    assert (session["duration"], session["durationMax"]) == (50, 90)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("integration-journal", "text"), ("preparation-checklist", "boolean"), ("relapse-prevention-plan", "text")],
)
def test_a_questionnaire_has_its_four_items(name: str, kind: str) -> None:
    items = RENDERED[f"Questionnaire-{name}.json"]["item"]

    assert [item["type"] for item in items] == [kind] * 4
    assert len({item["linkId"] for item in items}) == 4


@pytest.mark.parametrize("name", RENDERED)
def test_nothing_is_promised(name: str) -> None:
    assert [text for text in texts(RENDERED[name]) if PROMISES.search(text)] == []


@pytest.mark.parametrize("name", [name for name in RENDERED if name.startswith(("Activity", "Questionnaire"))])
def test_what_patients_may_see_names_no_drug_and_no_diagnosis(name: str) -> None:
    assert [text for text in texts(RENDERED[name]) if DRUG_OR_DIAGNOSIS.search(text)] == []


def test_a_promise_or_a_drug_would_be_caught() -> None:
    assert PROMISES.search("This will help")
    assert PROMISES.search("optimises neuroplasticity")
    assert DRUG_OR_DIAGNOSIS.search("after your ketamine session")


def test_the_client_statement_is_the_table_of_calls() -> None:
    (rest,) = RENDERED["CapabilityStatement-afterdose-client.json"]["rest"]

    told = {one["type"]: {each["code"] for each in one["interaction"]} for one in rest["resource"]}
    assert told == {kind: {str(one) for one in calls} for kind, calls in INTERACTIONS.items()}


def test_every_profile_is_named_after_what_it_is() -> None:
    for path in sorted(PROFILES.glob("*.json")):
        resource = json.loads(path.read_text())
        assert path.name == f"{resource['resourceType']}-{resource['id']}.json"
        if "url" in resource:
            assert resource["url"] == f"https://afterdose.org/fhir/{resource['resourceType']}/{resource['id']}"
