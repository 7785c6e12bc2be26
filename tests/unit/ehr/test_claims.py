"""What is refused for a profile that it claims is sent without the claim, and nothing else is."""

import json
from pathlib import Path

import pytest

from afterdose.core.errors import EhrRefused
from afterdose.ehr.claims import Claims
from afterdose.ehr.outcomes import element_of

OURS, THEIRS = "https://ours.example/plan", "https://theirs.example/plan"
PLAN = {"resourceType": "CarePlan", "meta": {"profile": [OURS, THEIRS], "security": [{"code": "R"}]}, "title": "Care"}
HAPI = Path(__file__).parents[2] / "wire" / "hapi" / "create-422-unknown-profile" / "answer.json"


def refusal(element: str | None) -> EhrRefused:
    return EhrRefused("CarePlan create: the EHR answered 422", status=422, element=element)


def test_until_something_is_refused_everything_is_claimed() -> None:
    assert Claims().fit(PLAN) is PLAN


def test_the_claim_that_was_refused_is_left_out_from_then_on() -> None:
    claims = Claims()

    assert claims.learn(PLAN, refusal("CarePlan.meta.profile[0]"))
    assert claims.fit(PLAN) == {**PLAN, "meta": {"security": [{"code": "R"}], "profile": [THEIRS]}}
    assert PLAN["meta"]["profile"] == [OURS, THEIRS]


def test_where_no_place_is_named_all_claims_are_meant() -> None:
    claims = Claims()

    assert claims.learn(PLAN, refusal("CarePlan.meta.profile"))
    assert claims.fit(PLAN) == {**PLAN, "meta": {"security": [{"code": "R"}]}}


@pytest.mark.parametrize(
    "element", [None, "CarePlan.meta", "CarePlan.title", "CarePlan.meta.profile[2]", "Goal.profile"]
)
def test_whatever_else_is_refused_stays_refused(element: str | None) -> None:
    assert not Claims().learn(PLAN, refusal(element))


def test_what_claims_nothing_was_not_refused_for_a_claim() -> None:
    bare = {"resourceType": "CarePlan", "title": "Care"}
    claims = Claims()

    assert not claims.learn(bare, refusal("CarePlan.meta.profile[0]"))
    assert claims.fit(bare) is bare


def test_what_hapi_says_of_an_unknown_profile_is_understood() -> None:
    said = element_of(json.loads(HAPI.read_text())["body"])

    assert Claims().learn({"resourceType": "Appointment", "meta": {"profile": [OURS]}}, refusal(said))
