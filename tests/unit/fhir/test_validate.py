"""validate_text finds the resources of a text and says what is wrong with each."""

import json

from afterdose.fhir.conform.validate import Checked, validate_text

GOAL = {
    "resourceType": "Goal",
    "lifecycleStatus": "proposed",
    "description": {"text": "May help"},
    "subject": {"reference": "Patient/1"},
}


def told(checked: tuple[Checked, ...]) -> list[tuple[str, str | None, list[tuple[str, str]]]]:
    """Place, type, and code and path of the problems."""
    return [(one.place, one.resource_type, [(p.code, p.path) for p in one.problems]) for one in checked]


def test_one_resource_has_no_place() -> None:
    assert told(validate_text(json.dumps(GOAL, indent=2).encode())) == [("", "Goal", [])]


def test_each_line_of_ndjson_is_checked_by_itself() -> None:
    text = b"\n".join([json.dumps(GOAL).encode(), b"", b'{"resourceType":"Goal",}', b'{"resourceType":"Patient"}'])

    assert told(validate_text(text)) == [
        ("line 1", "Goal", []),
        ("line 3", None, [("structure", "")]),
        ("line 4", "Patient", [("not-supported", "")]),
    ]


def test_each_entry_of_a_bundle_is_checked_and_knows_its_neighbours() -> None:
    patient, other = "urn:uuid:0b9d56e4-4cf2-5b5e-8a3c-0d7f6a2b1c3d", "urn:uuid:1b9d56e4-4cf2-5b5e-8a3c-0d7f6a2b1c3d"
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"fullUrl": patient, "resource": {"resourceType": "Patient"}},
            {"fullUrl": other, "resource": GOAL | {"subject": {"reference": patient}}},
            {"resource": GOAL | {"subject": {"reference": other}}},
            {"request": {"method": "DELETE", "url": "Goal/1"}},
            None,
        ],
    }

    assert told(validate_text(json.dumps(bundle).encode())) == [
        ("Bundle.entry[0].resource", "Patient", [("not-supported", "")]),
        ("Bundle.entry[1].resource", "Goal", []),
        ("Bundle.entry[2].resource", "Goal", [("value", "Goal.subject")]),
        ("Bundle.entry[4]", None, [("structure", "")]),
    ]


def test_what_is_no_resource_is_said_to_be_none() -> None:
    assert told(validate_text(b"[]")) == [("", None, [("structure", "")])]
    assert told(validate_text(b"")) == [("", None, [("structure", "")])]
    assert told(validate_text(b'{"resourceType":"Smith"}')) == [("", None, [("not-supported", "")])]
    assert told(validate_text(b'{"resourceType":"Bundle","entry":{}}')) == [
        ("Bundle", "Bundle", [("structure", "Bundle.entry")])
    ]
