"""How the story of `afterdose demo` ends: what the sandbox EHR holds, and whether that is everything."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from afterdose.cli.story import Story
from afterdose.core.reasons import Reason
from afterdose.fhir.encode.care import status_element
from afterdose.fhir.times import format_local
from afterdose.sandbox import SandboxEHR
from afterdose.workshop import Workshop

SOURCE = "sandbox"
"""What the demo calls its EHR."""
SHOWN = ("Goal", "Appointment", "Task", "ServiceRequest", "CarePlan")
"""What is told of all that is written."""


def summary(story: Story, ehr: SandboxEHR, workshop: Workshop) -> dict[str, Any]:
    """What became of every dose, and what is missing of what the story should leave in the EHR."""
    doses = []
    for id_ in dict.fromkeys(step.dose for step in story.steps):
        outcome = workshop.store.outcomes.find(SOURCE, id_)
        fact = workshop.store.facts.latest(SOURCE, id_)
        doses.append(
            {
                "patient": story.name(id_.partition("-")[0]),
                "administration": f"MedicationAdministration/{id_}",
                "heard_at": fact.received_at.isoformat() if fact else None,
                "outcome": str(outcome.outcome) if outcome else None,
                "unmet": _unmet(outcome.details, workshop) if outcome else None,
                "reasons": [str(reason) for reason in outcome.reasons] if outcome else [],
                "details": dict(outcome.details) if outcome else {},
            }
        )
    counts = {who: _counts(ehr, who) for who in story.people}
    missing = [
        f"{story.name(who)}: expected {dict(wanted)}, found {counts[who]}"
        for who, wanted in story.expected.items()
        if counts[who] != wanted
    ]
    return {"doses": doses, "resources": counts, "missing": missing, "ehr": ehr.base_url}


def _unmet(details: Mapping[str, Any], workshop: Workshop) -> str | None:
    """Why a window is not met, in words."""
    reason = (details.get("session") or {}).get("reason")
    return workshop.content.reason_text(Reason(reason)) if reason else None


def _counts(ehr: SandboxEHR, who: str) -> dict[str, dict[str, int]]:
    counted = {}
    for type_ in SHOWN:
        found = Counter(status_of(one) for one in ehr.all(type_) if owner_of(one) == f"Patient/{who}")
        if found:
            counted[type_] = dict(found)
    return counted


def owner_of(resource: Mapping[str, Any]) -> str:
    """The reference of the patient that a resource is about."""
    if resource["resourceType"] == "Appointment":
        return str(resource["participant"][0]["actor"]["reference"])
    return str((resource.get("subject") or resource["for"])["reference"])


def tell(found: Mapping[str, Any], story: Story, console: Console) -> None:
    """The same as a table for people."""
    table = Table(title="What became of every dose", show_lines=False)
    for heading in ("Patient", "Dose ended", "Window", "Session", "State"):
        table.add_column(heading)
    for dose in found["doses"]:
        details = dose["details"]
        window, session = details.get("window"), details.get("session") or {}
        table.add_row(
            dose["patient"],
            _local(details.get("anchor"), story),
            f"{_local(window['opens'], story)} -\n{_local(window['closes'], story)}" if window else "-",
            _local(session.get("start"), story) if session.get("start") else dose["unmet"] or "-",
            dose["outcome"] or "-",
        )
    console.print()
    console.print(table)
    for line in found["missing"]:
        console.print(f"[red]missing[/red] {line}")


def _local(instant: str | None, story: Story) -> str:
    return format_local(datetime.fromisoformat(instant), story.zone) if instant else "-"


def status_of(resource: Mapping[str, Any]) -> str:
    """The status of a resource, under whichever name it has one."""
    return str(resource[status_element(resource["resourceType"])])
