"""Protocol and clinic files: what they mean, and that a mistake in one is told with file and key."""

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from afterdose.content import load_content
from afterdose.content.locate import bundled
from afterdose.core.dose import Family, Route
from afterdose.core.errors import BadContent
from afterdose.core.protocol import Rules
from afterdose.core.reasons import Reason

KETAMINE = "mappings/protocols/ketamine-integration.toml"
EXAMPLE = "mappings/clinics/example.toml"
Edit = Callable[[str, str, str], Path]


@pytest.fixture
def edit(tmp_path: Path) -> Edit:
    """A site overlay with one delivered file in which one text was replaced."""

    def edited(relative: str, old: str, new: str) -> Path:
        text = (bundled() / relative).read_text()
        assert old in text
        target = tmp_path / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.replace(old, new, 1))
        return tmp_path

    return edited


def complaint(overlay: Path) -> str:
    with pytest.raises(BadContent) as caught:
        load_content(overlay).clinic("example")
    return str(caught.value).replace(str(overlay), "SITE")


def test_the_numbers_of_the_design_are_in_force_for_both_families() -> None:
    for family, protocol in load_content().protocols.items():
        rules = protocol.rules_on(date(2026, 1, 5))
        hours = [
            rules.opens_after,
            rules.peak_after,
            rules.plateau_ends_after,
            rules.closes_after,
            rules.nothing_before,
        ]
        assert hours == [timedelta(hours=n) for n in (24, 24, 48, 72, 2)]
        assert (rules.lead_time, rules.post_window_until) == (timedelta(hours=4), timedelta(days=7))
        assert (rules.score_at_opens, rules.score_at_plateau_end, rules.score_at_closes) == (
            Decimal(1),
            Decimal("0.75"),
            Decimal("0.25"),
        )
        assert (rules.cluster_gap, rules.course_gap) == (timedelta(hours=6), timedelta(days=90))
        assert (rules.future_tolerance, rules.longest_administration) == (timedelta(minutes=15), timedelta(hours=24))
        assert rules.earliest_plausible == date(2000, 1, 1)
        assert (rules.active_phase, rules.active_trailing) == (timedelta(days=28), timedelta(days=7))
        assert rules.active_trailing_doses == 2
        assert rules.dose_needed is (family is Family.KETAMINE)


def test_the_ketamine_envelopes_are_those_of_psychiatric_use() -> None:
    envelopes = load_content().protocols[Family.KETAMINE].rules_on(date(2026, 1, 5)).envelopes
    iv = envelopes[Route.INTRAVENOUS]
    assert (iv.mg_per_kg_min, iv.mg_per_kg_max, iv.total_mg_max) == (Decimal("0.1"), Decimal("1.0"), Decimal(100))
    assert (iv.duration_min, iv.duration_max) == (timedelta(minutes=10), timedelta(minutes=120))
    assert envelopes[Route.INTRAMUSCULAR].mg_per_kg_max == envelopes[Route.SUBCUTANEOUS].mg_per_kg_max == Decimal("1.5")
    assert (envelopes[Route.ORAL].mg_per_kg_max, envelopes[Route.SUBLINGUAL].total_mg_max) == (Decimal(7), Decimal(400))
    assert envelopes[Route.NASAL].total_mg_max == Decimal(150)
    assert Route.INTRAVENOUS_PUSH not in envelopes


def test_every_number_of_a_protocol_file_has_a_source() -> None:
    for path in (bundled() / "mappings/protocols").glob("*.toml"):
        told = tomllib.loads(path.read_text())
        del told["citations"]
        entries = [one for value in told.values() if isinstance(value, list) for one in value]
        dated = [one for one in entries if isinstance(one, dict)]
        assert len(dated) >= len(fields(Rules))
        assert all(one["reference"]["title"] and one["reference"]["url"] for one in dated)


def test_links_into_the_readme_name_a_heading_that_exists() -> None:
    headings = {
        re.sub(r"[^a-z -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in (bundled() / "mappings/README.md").read_text().splitlines()
        if line.startswith("#")
    }
    for path in (bundled() / "mappings/protocols").glob("*.toml"):
        assert set(re.findall(r"mappings/README\.md#([a-z-]+)", path.read_text())) <= headings


def test_the_evidence_sentences_promise_nothing() -> None:
    for protocol in load_content().protocols.values():
        said = " ".join(protocol.evidence)
        assert "may" in said
        assert not re.search(r"\b(will|proven|optimi[sz]es?|guarantee)", said)


def test_a_later_entry_counts_from_its_first_day_and_not_before(edit: Edit) -> None:
    new = "\n[[closes_after]]\nvalue = 60\nunit = 'h'\nfrom = 2026-03-01\nreference = {title = 'x', url = 'y'}\n"
    overlay = edit(KETAMINE, "# Nothing is scheduled and nobody", new + "# Nothing is scheduled and nobody")
    protocol = load_content(overlay).protocols[Family.KETAMINE]
    assert protocol.rules_on(date(2026, 2, 28)).closes_after == timedelta(hours=72)
    assert protocol.rules_on(date(2026, 3, 1)).closes_after == timedelta(hours=60)
    assert protocol.rules_on(date(2026, 3, 1)).opens_after == timedelta(hours=24)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (EXAMPLE, "value = 60", "value = 45", "session_length: expected 50 to 90 minutes"),
        (EXAMPLE, "value = 60", "value = 95", "session_length: expected 50 to 90 minutes"),
        (EXAMPLE, "value = 60", 'value = "60"', "session_length.value: expected a number without quotes"),
        (EXAMPLE, "value = 30", "value = 25", "slot_grid: expected minutes that divide an hour"),
        (EXAMPLE, "America/New_York", "New York", "zone: expected an IANA time zone"),
        (EXAMPLE, "crisis_text", "crises_text", "crises_text: this key is not known here"),
        (EXAMPLE, 'title = "', '# title = "', "title: is missing"),
        (EXAMPLE, "09:00-17:00", "9-5", "hours.monday[0]: expected opening hours"),
        (EXAMPLE, "09:00-17:00", "17:00-09:00", "hours.monday[0]: the clinic closes before it opens"),
        (EXAMPLE, '["09:00-17:00"]', '["09:00-13:00", "12:00-17:00"]', "hours.monday: the opening hours overlap"),
        (EXAMPLE, '["09:00-17:00"]', '"09:00-17:00"', "hours.monday: expected a list [...]"),
        (EXAMPLE, "09:00-17:00", "09:00-24:00", "hours.monday[0]: expected opening hours between 00:00 and 23:59"),
        (EXAMPLE, 'title = "', 'title = " ', "title: expected a text without white space around it"),
        (EXAMPLE, 'title = "Example clinic"', 'title = " "', "title: expected a text that is not empty"),
        (
            EXAMPLE,
            '# pool = "CareTeam/456"',
            'pool = "Team 4"',
            'pool: expected a reference of the EHR, such as "CareTeam',
        ),
        (EXAMPLE, "monday", "Montag", "hours.Montag: expected a weekday in English"),
        (EXAMPLE, "holidays = []", 'holidays = ["25.12."]', "holidays[0]: expected a day without quotes"),
        (EXAMPLE, '# location = "Location/123"', 'location = "Room 5"', "location: expected a reference of the EHR"),
        (EXAMPLE, "holidays = []", "holidays = [", "cannot be read as TOML"),
        (KETAMINE, 'family = "ketamine"', 'family = "esketamine"', "family: expected 'ketamine'"),
        (KETAMINE, 'family = "ketamine"', 'family = "Ketamine"', "family: expected 'ketamine' or 'esketamine'"),
        (KETAMINE, "min = 50, max = 90", "min = 90, max = 50", "session_length: expected min to be no more than max"),
        (
            KETAMINE,
            "[[peak_after]]",
            '[[opens_after]]\nvalue = 20\nunit = "h"\nfrom = 2000-01-01\n'
            'reference = { title = "Ours", url = "https://hospital.example/guide" }\n[[peak_after]]',
            "opens_after: two entries apply from 2000-01-01; which of them counts?",
        ),
        (KETAMINE, 'unit = "h"', 'unit = "hours"', "opens_after[0].unit: expected 'min' or 'h' or 'd'"),
        (KETAMINE, "value = 24", "value = 80", "peak_after: expected no less than opens_after"),
        (KETAMINE, "value = 24", "value = -24", "opens_after[0].value: expected a number that is not negative"),
        (KETAMINE, "[[lead_time]]", "[[leed_time]]", "lead_time: is missing"),
        (
            KETAMINE,
            "from = 2000-01-01",
            "from = 2020-01-01",
            "opens_after: the first entry has to apply from 2000-01-01",
        ),
        (KETAMINE, "value = true", 'value = "yes"', "dose_needed[0].value: expected true or false"),
        (KETAMINE, 'route = "nasal"', 'route = "nose"', "envelopes[6].route: expected"),
        (KETAMINE, "value = 2\nfrom", "value = 1.5\nfrom", "active_trailing_doses[0].value: expected a whole number"),
    ],
)
def test_a_mistake_is_told_with_file_key_and_what_was_expected(
    edit: Edit, file: str, old: str, new: str, said: str
) -> None:
    told = complaint(edit(file, old, new))
    assert f"SITE/{file}: {said}" in told


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        (
            "mappings/codes/ConceptMap-drug-products.json",
            lambda found: found["group"][0]["element"][0]["target"][0].update(code="ketamin"),
            "group[0].element[0].target: expected one of ketamine,",
        ),
        (
            "mappings/codes/ConceptMap-drug-products.json",
            lambda found: found["group"][0]["element"].append({"code": "6130", "target": [{"code": "other"}]}),
            "code: stands in this file twice, with different targets",
        ),
        (
            "mappings/codes/ConceptMap-drug-products.json",
            lambda found: found["group"][0]["element"][0]["target"][0].update(equivalence="unmatched"),
            "group[0].element[0].target: expected an equivalence of equal, equivalent, subsumes, wider",
        ),
        (
            "mappings/codes/ConceptMap-drug-products.json",
            lambda found: found["group"][0]["element"][0].update(code="6130 "),
            "group[0].element[0].code: expected a text without white space around it",
        ),
        (
            "mappings/codes/ConceptMap-drug-products.json",
            lambda found: found["group"][0]["element"][0].pop("target"),
            "group[0].element[0].target: is missing",
        ),
        (
            "mappings/codes/CodeSystem-product-terms.json",
            lambda found: found["concept"][0]["property"][0].update(valueString="("),
            "concept[0].property: pattern is not a regular expression",
        ),
        (
            "mappings/codes/ValueSet-psychiatric-places.json",
            lambda found: found.update(compse={}),
            "compse: this key is not known here",
        ),
        (
            "mappings/codes/ValueSet-psychiatric-indications.json",
            lambda found: found["compose"]["include"][0]["filter"][0].update(value="F3[23]"),
            "compose.include[0].filter[0].value: expected the beginning of a code",
        ),
        (
            "mappings/codes/ValueSet-psychiatric-places.json",
            lambda found: found.update(id="places"),
            "resourceType and id: expected ValueSet and psychiatric-places",
        ),
        (
            "profiles/CodeSystem-afterdose-reason.json",
            lambda found: found["concept"].pop(0),
            "concept: expected a code with a display for not-ketamine",
        ),
        (
            "profiles/NamingSystem-afterdose-artifact.json",
            lambda found: found["uniqueId"][0].update(preferred=False),
            "uniqueId: expected one of type 'uri' that is preferred",
        ),
        (
            "profiles/CodeSystem-afterdose-task.json",
            lambda found: found.pop("url"),
            "url: expected the canonical URL",
        ),
    ],
)
def test_a_mistake_in_a_json_file_is_told_with_file_and_place(
    tmp_path: Path, file: str, change: Callable[[dict[str, object]], object], said: str
) -> None:
    found = json.loads((bundled() / file).read_text())
    change(found)
    target = tmp_path / file
    target.parent.mkdir(parents=True)
    target.write_text(json.dumps(found))
    told = complaint(tmp_path)
    assert told.startswith(f"SITE/{file}: ")
    assert said in told


def test_a_file_that_is_no_json_is_told_by_name(tmp_path: Path) -> None:
    target = tmp_path / "mappings/codes/ConceptMap-units.json"
    target.parent.mkdir(parents=True)
    target.write_text("[]")
    assert "ConceptMap-units.json: expected a JSON object" in complaint(tmp_path)
    target.write_text("{")
    assert "ConceptMap-units.json: cannot be read as JSON" in complaint(tmp_path)


def test_the_example_clinics_are_open_as_their_names_say() -> None:
    content = load_content()
    assert set(content.clinic("example").hours) == {1, 2, 3, 4, 5}
    assert set(content.clinic("example-7-days").hours) == {1, 2, 3, 4, 5, 6, 7}
    example = content.clinic("example")
    assert datetime(2026, 1, 5, 14, tzinfo=UTC).astimezone(example.zone).hour == example.hours[1][0].opens.hour
    assert "988" in (example.crisis_text or "")


def test_a_protocol_is_found_by_name() -> None:
    content = load_content()
    assert content.protocol("esketamine-integration") == content.protocols[Family.ESKETAMINE]


def test_reason_codes_and_their_code_system_are_equal_sets() -> None:
    found = json.loads((bundled() / "profiles/CodeSystem-afterdose-reason.json").read_text())
    assert {concept["code"] for concept in found["concept"]} == {str(reason) for reason in Reason}
    assert all(concept["display"] and concept["definition"] for concept in found["concept"])
    assert found["count"] == len(found["concept"])


def test_every_reason_has_a_text_for_people() -> None:
    content = load_content()
    texts = [content.reason_text(reason) for reason in Reason]
    assert len(set(texts)) == len(texts)


def test_canonicals_are_those_of_the_profiles() -> None:
    content = load_content()
    assert content.canonicals.identifier_system.startswith("https://afterdose.org/fhir/")
    assert content.canonicals.plan_definitions[Family.KETAMINE].endswith("/PlanDefinition/ketamine-integration|1.0.0")


def test_profiles_are_named_by_type_and_id() -> None:
    for path in (bundled() / "profiles").glob("*.json"):
        resource = json.loads(path.read_text())
        assert path.stem == f"{resource['resourceType']}-{resource['id']}"
