"""OperationOutcome: how FHIR says what is wrong (http://hl7.org/fhir/R4/operationoutcome.html)."""

from collections.abc import Iterable
from typing import Literal

from afterdose.core.errors import Problem
from afterdose.fhir.strict_json import Json

Severity = Literal["fatal", "error", "warning", "information"]


def operation_outcome(problems: Iterable[Problem], *, severity: Severity = "error") -> dict[str, Json]:
    """One issue a problem; without problems the one issue that says so (an OperationOutcome has at least one).

    The sentence stands in ``details.text``, where R4 wants it, and in ``diagnostics``, which is the only
    place some clients show.
    """
    issues: list[Json] = [_issue(problem, severity) for problem in problems]
    if not issues:
        issues = [{"severity": "information", "code": "informational", "details": {"text": "no problem was found"}}]
    return {"resourceType": "OperationOutcome", "issue": issues}


def _issue(problem: Problem, severity: Severity) -> Json:
    issue: dict[str, Json] = {
        "severity": severity,
        "code": problem.code,
        "details": {"text": problem.text},
        "diagnostics": problem.text,
    }
    if problem.path:
        issue["expression"] = [problem.path]
    return issue
