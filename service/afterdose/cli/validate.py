"""``afterdose validate``: our conformance check for resources in files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import click

from afterdose.cli.inputs import FILES, bytes_of, name_of
from afterdose.content.content import load_content
from afterdose.core.errors import Problem
from afterdose.fhir.conform.check import CHECKED_TYPES
from afterdose.fhir.conform.validate import Checked, validate_text
from afterdose.fhir.outcome import Severity, operation_outcome

_ALL_OK = Problem("informational", "", "All OK")
_UNREADABLE = frozenset({"structure", "value", "too-costly"})


@click.command(short_help="Check CarePlans, Appointments, Tasks and their like.")
@FILES
@click.option(
    "--overlay",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The site overlay, where it changes profiles.",
)
def validate(files: Sequence[BinaryIO], overlay: Path | None) -> None:
    """Check the CarePlans, Appointments, Tasks, Goals and Provenances in FILEs.

    A FILE holds FHIR R4 JSON: a resource, a Bundle or NDJSON; "-" is standard input. Prints one OperationOutcome a
    resource and line. Exit status: 1 when a resource has an error, 2 when a resource cannot be read.
    """
    profiles = load_content(overlay).profiles
    status = 0
    for file in files:
        for checked in validate_text(bytes_of(file), profiles=profiles):
            severity, problems = _judged(checked)
            click.echo(json.dumps(_outcome(name_of(file), checked, severity, problems), ensure_ascii=False))
            if severity == "error":
                status = max(status, 2 if _is_unreadable(checked) else 1)
    raise click.exceptions.Exit(status)


def _judged(checked: Checked) -> tuple[Severity, tuple[Problem, ...]]:
    """How grave it is. A resource of R4 that we do not check is no error: Bundles bring them along."""
    if not checked.problems:
        return "information", (_ALL_OK,)
    if checked.resource_type is not None and checked.resource_type not in CHECKED_TYPES:
        return "warning", checked.problems
    return "error", checked.problems


def _is_unreadable(checked: Checked) -> bool:
    return checked.resource_type is None and any(problem.code in _UNREADABLE for problem in checked.problems)


def _outcome(name: str, checked: Checked, severity: Severity, problems: Sequence[Problem]) -> Mapping[str, object]:
    """The outcome of one resource; ``diagnostics`` says which it is."""
    place = ", ".join(part for part in (name, checked.place, checked.resource_type) if part)
    outcome = operation_outcome(problems, severity=severity)
    issues = outcome["issue"]
    for issue in issues if isinstance(issues, list) else ():
        if isinstance(issue, dict):
            issue["diagnostics"] = f"{place}: {issue['diagnostics']}"
    return outcome
