"""What an EHR has on file about a patient besides doses, read as received."""

from dataclasses import replace
from typing import Any

import pytest

from afterdose.core.codes import CodeSet
from afterdose.core.dose import Coding
from afterdose.fhir.decode.on_file import crisis_plans, preferences
from builders import NEW_YORK, codes_for_tests

CODES = replace(
    codes_for_tests(),
    crisis_plans=CodeSet(codes=frozenset({("urn:test:doc", "crisis")})),
    preference_observations=CodeSet(codes=frozenset({("urn:test:obs", "preference")})),
)
CRISIS = {"coding": [{"system": "urn:test:doc", "code": "crisis"}]}
ART, BODY = Coding("urn:test:way", "art"), Coding("urn:test:way", "body")


def document(**changes: Any) -> dict[str, Any]:
    return {"resourceType": "DocumentReference", "id": "d1", "status": "current", "type": CRISIS, **changes}


def statement(*said: Coding, **changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "urn:test:obs", "code": "preference"}]},
        "effectiveDateTime": "2026-01-05T10:00:00-05:00",
        "valueCodeableConcept": {"coding": [{"system": one.system, "code": one.code} for one in said]},
        **changes,
    }


def test_a_crisis_plan_is_known_by_its_type_or_by_a_category() -> None:
    filed = document(id="d2", type={"text": "note"}, category=[{"text": "plans"}, CRISIS])
    assert crisis_plans([filed, document()], CODES) == ("DocumentReference/d1", "DocumentReference/d2")
    assert crisis_plans([document(type={"text": "Mental health crisis plan"})], CODES) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "superseded"},
        {"status": "entered-in-error"},
        {"docStatus": "preliminary"},
        {"docStatus": "entered-in-error"},
        {"status": 7},
        {"type": [[]]},
        {"id": None},
    ],
)
def test_what_does_not_stand_is_no_crisis_plan(changes: dict[str, Any]) -> None:
    assert crisis_plans([document(**changes)], CODES) == ()
    assert crisis_plans([document(docStatus="final")], CODES) == ("DocumentReference/d1",)


def test_preferences_are_read_from_values_components_and_words() -> None:
    body = {"coding": [{"system": BODY.system, "code": BODY.code}]}
    found = preferences(
        [statement(ART, component=[{"valueCodeableConcept": body}]), statement(valueString=" Art  Therapy ")],
        CODES,
        NEW_YORK,
    )
    assert found == (Coding("", "art therapy"), ART, BODY)


def test_what_was_said_last_counts() -> None:
    later = "2026-02-05T10:00:00-05:00"
    said = [statement(BODY, effectiveDateTime=later), statement(ART)]
    assert preferences(said, CODES, NEW_YORK) == preferences(said[::-1], CODES, NEW_YORK) == (BODY,)
    assert preferences([*said, statement(ART, effectiveDateTime=later)], CODES, NEW_YORK) == (ART, BODY)


@pytest.mark.parametrize("changes", [{"status": "entered-in-error"}, {"status": "preliminary"}, {"code": {}}])
def test_what_is_not_settled_or_about_something_else_says_nothing(changes: dict[str, Any]) -> None:
    assert preferences([statement(ART, **changes)], CODES, NEW_YORK) == ()


def test_a_statement_without_a_day_counts_where_there_is_no_other() -> None:
    undated = statement(ART, effectiveDateTime="sometime")
    assert preferences([undated], CODES, NEW_YORK) == (ART,)
    assert preferences([undated, statement(BODY)], CODES, None) == (BODY,)
