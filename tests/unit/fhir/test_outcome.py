"""Problems become an OperationOutcome that says where and why, and nothing else."""

from afterdose.core.errors import Problem
from afterdose.fhir.outcome import operation_outcome


def test_each_problem_is_one_issue_with_code_place_and_sentence() -> None:
    outcome = operation_outcome(
        [Problem("value", "CarePlan.period.start", "is no dateTime"), Problem("structure", "", "no")]
    )

    assert outcome == {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": "value",
                "details": {"text": "is no dateTime"},
                "diagnostics": "is no dateTime",
                "expression": ["CarePlan.period.start"],
            },
            {"severity": "error", "code": "structure", "details": {"text": "no"}, "diagnostics": "no"},
        ],
    }


def test_no_problem_is_said_too() -> None:
    outcome = operation_outcome([])

    assert outcome["issue"] == [
        {"severity": "information", "code": "informational", "details": {"text": "no problem was found"}}
    ]


def test_the_severity_can_be_chosen() -> None:
    outcome = operation_outcome([Problem("too-costly", "", "too large")], severity="fatal")

    assert [issue["severity"] for issue in outcome["issue"]] == ["fatal"]
