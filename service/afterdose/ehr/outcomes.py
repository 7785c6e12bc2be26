"""What an EHR's OperationOutcome says of a failure, as far as it may be shown and logged. Pure.

No message is ever taken from ``diagnostics`` or a text, which may hold patient data.
"""

import re
from collections.abc import Mapping

from afterdose.fhir.strict_json import Json

_ISSUE_CODE = re.compile(r"[A-Za-z0-9._-]{1,40}")
_PATH = re.compile(r"[A-Z][A-Za-z]{1,40}(?:\.[a-z][A-Za-z]{1,40}(?:\[(?:[0-9]{1,3}|x)\])?){1,8}")


def issue_code(outcome: Mapping[str, Json]) -> str | None:
    """The EHR's own code for what is wrong: details.coding where there is one, else issue.code."""
    issue = worst_issue(outcome) or {}
    codings = _objects(_object(issue.get("details")).get("coding"))
    for code in (*(coding.get("code") for coding in codings), issue.get("code")):
        if isinstance(code, str) and _ISSUE_CODE.fullmatch(code):
            return code
    return None


def element_of(outcome: Mapping[str, Json]) -> str | None:
    """Which element the EHR found wrong: a path of nothing but element names and places."""
    issue = worst_issue(outcome) or {}
    said = [_listed(issue.get(name)) for name in ("expression", "location")]
    return next((path for paths in said for path in paths if isinstance(path, str) and _PATH.fullmatch(path)), None)


def worst_issue(outcome: Mapping[str, Json], *, errors_only: bool = False) -> dict[str, Json] | None:
    """The issue that counts: the first grave one, else the first; with ``errors_only`` no other than a grave one."""
    issues = _objects(outcome.get("issue"))
    grave = [issue for issue in issues if issue.get("severity") in ("fatal", "error")]
    return next(iter(grave if errors_only else grave + issues), None)


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _objects(value: Json) -> list[dict[str, Json]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
