"""A resource is made to fit an EHR: nothing that it refuses is left, and ours can be known again."""

from uuid import UUID

from afterdose.fhir.encode.fit import carries, fit, reference
from afterdose.fhir.encode.plain import plain_text
from afterdose.fhir.encode.rungs import TypeFacts

IDENTIFIER = UUID("3f9c2a1b-0000-5000-8000-000000000001")
VISIT = {
    "resourceType": "Appointment",
    "meta": {"profile": ["urn:x"], "security": [{"code": "DEVAST"}]},
    "status": "proposed",
    "comment": "Book a session.",
    "reasonCode": [{"text": "Follow-up"}, {"text": "Other"}],
}


def test_what_is_not_taken_is_left_out_and_no_profile_is_claimed_then() -> None:
    fitted = fit(VISIT, TypeFacts(fields=frozenset({"meta", "status"})), IDENTIFIER)

    assert fitted == {"resourceType": "Appointment", "meta": {"security": [{"code": "DEVAST"}]}, "status": "proposed"}


def test_an_ehr_that_takes_everything_gets_the_resource_as_it_is() -> None:
    assert fit(VISIT, TypeFacts(), IDENTIFIER) == VISIT


def test_a_list_is_cut_to_one_and_a_value_set() -> None:
    facts = TypeFacts(single=frozenset({"reasonCode"}), values={"status": "pending"})

    assert fit(VISIT, facts, IDENTIFIER) | {"reasonCode": [{"text": "Follow-up"}], "status": "pending"} == fit(
        VISIT, facts, IDENTIFIER
    )


def test_the_reference_stays_in_a_text_that_is_too_long() -> None:
    facts = TypeFacts(mark="reasonCode.text", longest={"reasonCode.text": 40})
    fitted = fit({**VISIT, "reasonCode": [{"text": "long " * 60}]}, facts, IDENTIFIER)

    text = fitted["reasonCode"][0]["text"]
    assert len(text) == 40
    assert text.endswith(f"({reference(IDENTIFIER)})")
    assert carries(fitted, facts, IDENTIFIER)
    assert not carries(VISIT, facts, IDENTIFIER)


def test_a_narrative_in_plain_text_has_a_line_for_each_row_and_no_markup() -> None:
    div = "<div><p><b>Next &amp; now</b></p><table><tr><td>1</td><td>Mon</td></tr></table><ul><li>a</li></ul></div>"

    assert plain_text(div) == "Next & now\n1 | Mon\n- a"
