"""HL7's own validator finds nothing wrong with what is ours, and nothing that our check does not find too."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from test_conform import (
    BAD_NARRATIVES,
    BROKEN,
    VALID,
    Resource,
    appointment,
    booked,
    care_plan,
    changed,
    html,
    plain_plan,
)
from test_conform import PROFILES as OUR_RULES

from afterdose.cli import main
from afterdose.fhir import strict_json
from afterdose.fhir.conform import check
from hl7_validator import PROFILES, hl7_validation

pytestmark = pytest.mark.hapi

CASES = Path(__file__).parents[2] / "cases"
WRONG: tuple[object, ...] = ("", " x ", "x y", 5, -1, True, None, [], {}, ["x"], [{}], {"x": 1}, "2026-02-30")
"""What is put in the place of every value, one at a time."""


def errors(files: list[Path]) -> dict[str, list[str]]:
    """What HL7's validator calls an error, by the name of the file."""
    found = {
        file.name: [f"{issue.path} {issue.id}: {issue.text}" for issue in issues if issue.is_error]
        for file, issues in hl7_validation(files).items()
    }
    assert len(found) == len({file.name for file in files})
    return {name: told for name, told in found.items() if told}


def written(resources: dict[str, Any], folder: Path) -> list[Path]:
    files = [folder / f"{name}.json" for name in resources]
    for file, resource in zip(files, resources.values(), strict=True):
        file.write_bytes(strict_json.dumps(resource))
    return files


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*way, key)
        yield from places(inner, (*way, key))


def with_one_change(resource: Resource) -> Iterator[Resource]:
    """The resource with one element gone, one wrong value, or one unknown element, each in turn."""
    for way in places(resource):
        if way == ("resourceType",):
            continue
        for wrong in (None, *WRONG):
            copy: Any = deepcopy(resource)
            place = copy
            for step in way[:-1]:
                place = place[step]
            if wrong is None:
                del place[way[-1]]
            else:
                place[way[-1]] = wrong
            yield copy
        copy = deepcopy(resource)
        place = copy
        for step in way:
            place = place[step]
        if isinstance(place, dict):
            place["unheardOf"] = "x"
            yield copy


def test_our_profiles_are_valid() -> None:
    assert errors(sorted(PROFILES.glob("*.json"))) == {}


def test_the_examples_are_valid() -> None:
    examples = sorted((PROFILES / "examples").glob("*.json"))

    assert len(examples) >= 10
    assert errors(examples) == {}


def test_what_afterdose_plan_makes_is_valid(tmp_path: Path) -> None:
    made: dict[str, Any] = {}
    for case in sorted(path.parent for path in CASES.glob("*/case.toml")):
        files = [str(file) for folder in ("events", "ehr") for file in sorted((case / folder).glob("*.json"))]
        for way in (["--as-of-dose"], ["--now", "2026-01-20T12:00:00Z"]):
            result = CliRunner().invoke(main, ["plan", *files, *way, "--format", "json"])
            assert result.exit_code == 0, result.output
            for number, resource in enumerate(json.loads(result.stdout)["resources"]):
                made[f"{case.name}{way[0]}-{number}"] = resource

    assert {resource["resourceType"] for resource in made.values()} >= {"CarePlan", "Appointment", "Task"}
    assert errors(written(made, tmp_path)) == {}


def test_every_single_error_that_hl7_finds_is_found_by_our_check(tmp_path: Path) -> None:
    broken = {str(number): changed(row) for number, row in enumerate(BROKEN.values())}
    names = dict(zip(broken, BROKEN, strict=True))

    told = errors(written(broken, tmp_path))

    assert len(told) > len(broken) // 2
    missed = [names[file.removesuffix(".json")] for file in told if not ours(broken[file.removesuffix(".json")])]
    assert missed == []


def test_the_valid_resources_of_our_tests_are_valid(tmp_path: Path) -> None:
    assert errors(written({str(number): build() for number, build in enumerate(VALID.values())}, tmp_path)) == {}


def test_hl7_refuses_the_narratives_that_our_check_refuses(tmp_path: Path) -> None:
    plans = {}
    for number, inside in enumerate(BAD_NARRATIVES):
        plan = plain_plan()
        plan["text"]["div"] = html(inside)
        plans[str(number)] = plan

    assert len(errors(written(plans, tmp_path))) == len(BAD_NARRATIVES)


def is_looked_up(told: str) -> bool:
    """Whether a terminology server has to say so: our check looks no code up, but for our own."""
    return "Terminology_" in told and "https://afterdose.org/fhir/" not in told


@pytest.mark.parametrize("build", [care_plan, plain_plan, appointment, booked], ids=lambda build: build.__name__)
def test_our_check_finds_whatever_hl7_finds_after_any_one_change(build: Any, tmp_path: Path) -> None:
    changed_ones = {str(number): one for number, one in enumerate(with_one_change(build()))}
    # What our check finds need not be asked.
    passed = {name: one for name, one in changed_ones.items() if not ours(one)}

    found = errors(written(passed, tmp_path))
    assert [told for all_told in found.values() for told in all_told if not is_looked_up(told)] == []


def ours(resource: Resource) -> bool:
    """Whether our check finds anything, in the bytes as they would leave."""
    return bool(check.problems(strict_json.loads(strict_json.dumps(resource)), profiles=OUR_RULES))
