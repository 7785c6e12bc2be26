"""What our own conformance check finds in what is about to be sent. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from afterdose.core.errors import Problem
from afterdose.fhir.conform import check
from afterdose.fhir.conform.profile_rules import ProfileRules

Resource = dict[str, Any]


def flaw(resource: Resource, current: Resource, profiles: Mapping[str, ProfileRules]) -> Problem | None:
    """The first problem of what we are about to send that did not stand in the EHR before; None where there is none."""
    found = check.problems(resource, profiles=profiles)
    if not found:
        return None
    there = {_kind(problem) for problem in check.problems(current, profiles=profiles)} if current else set()
    return next((problem for problem in found if _kind(problem) not in there), None)


def _kind(problem: Problem) -> tuple[str, str, str]:
    """A problem without the places in lists, which move when entries are added."""
    return problem.code, re.sub(r"\[\d+\]", "", problem.path), problem.text
