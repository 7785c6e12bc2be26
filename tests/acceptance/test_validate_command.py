"""``afterdose validate``: one OperationOutcome a resource, and an exit status for scripts."""

import json
from pathlib import Path
from typing import Any

from fhir_inputs import a_file, bundle, run, spray

TASK = {"resourceType": "Task", "status": "requested", "intent": "proposal"}
WRONG = {"resourceType": "Task", "status": "SECRET", "intent": "proposal"}


def issues(output: str) -> list[dict[str, Any]]:
    """The first issue of every OperationOutcome, one a line."""
    outcomes = [json.loads(line) for line in output.splitlines()]
    assert {outcome["resourceType"] for outcome in outcomes} == {"OperationOutcome"}
    return [outcome["issue"][0] for outcome in outcomes]


def test_a_clean_resource_is_all_ok(tmp_path: Path) -> None:
    result = run("validate", a_file(tmp_path, TASK, name="task.json"))
    assert result.exit_code == 0
    (issue,) = issues(result.stdout)
    assert (issue["severity"], issue["code"], issue["details"]["text"]) == ("information", "informational", "All OK")
    assert issue["diagnostics"].endswith("task.json, Task: All OK")


def test_an_error_is_named_by_element_and_never_by_value(tmp_path: Path) -> None:
    result = run("validate", a_file(tmp_path, WRONG))
    assert result.exit_code == 1
    (issue,) = issues(result.stdout)
    assert (issue["severity"], issue["code"], issue["expression"]) == ("error", "code-invalid", ["Task.status"])
    assert "SECRET" not in result.output


def test_ndjson_and_bundles_get_an_outcome_for_every_resource(tmp_path: Path) -> None:
    result = run(
        "validate", a_file(tmp_path, TASK, WRONG), a_file(tmp_path, bundle(TASK, WRONG, TASK), name="bundle.json")
    )
    assert result.exit_code == 1
    found = issues(result.stdout)
    assert [issue["severity"] for issue in found] == ["information", "error", "information", "error", "information"]
    assert "line 2, Task: " in found[1]["diagnostics"]
    assert "bundle.json, Bundle.entry[1].resource, Task: " in found[3]["diagnostics"]


def test_resources_of_other_types_are_passed_over_with_a_warning(tmp_path: Path) -> None:
    patient = {"resourceType": "Patient", "id": "pat-1"}
    result = run("validate", a_file(tmp_path, bundle(patient, TASK)))
    assert result.exit_code == 0
    assert [issue["severity"] for issue in issues(result.stdout)] == ["warning", "information"]


def test_a_type_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    assert run("validate", a_file(tmp_path, {"resourceType": "Careplan"})).exit_code == 1


def test_what_cannot_be_read_ends_with_2(tmp_path: Path) -> None:
    result = run("validate", "-", a_file(tmp_path, WRONG), text='{"resourceType": "Task"')
    assert result.exit_code == 2
    assert [issue["severity"] for issue in issues(result.stdout)] == ["error", "error"]
    assert run("validate", str(tmp_path / "missing.json")).exit_code == 2


def test_what_our_own_profiles_ask_for_is_checked(tmp_path: Path) -> None:
    made = json.loads(run("plan", "--as-of-dose", "--format", "json", a_file(tmp_path, _dose())).stdout)["resources"]
    assert run("validate", a_file(tmp_path, bundle(*made), name="made.json")).exit_code == 0
    (appointment,) = (one for one in made if one["resourceType"] == "Appointment")
    del appointment["requestedPeriod"]
    result = run("validate", a_file(tmp_path, appointment, name="changed.json"))
    assert result.exit_code == 1
    assert "requestedPeriod" in result.stdout


def _dose() -> dict[str, Any]:
    return spray("dose", "2026-01-05 10:00")
