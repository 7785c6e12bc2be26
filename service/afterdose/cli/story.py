"""Reads the demo's story from ``story.toml`` and writes its resources as an EHR would."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any, Literal
from zoneinfo import ZoneInfo

Resource = dict[str, Any]
What = Literal["charted", "corrected", "retracted", "booked", "activated", "looked"]

_OTHERS: tuple[What, ...] = ("corrected", "retracted", "booked", "activated", "looked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happens at ``at``; ``start`` and ``treatment`` say what was given when, where it was."""

    at: datetime
    who: str
    what: What
    words: str
    dose: str
    start: datetime | None
    treatment: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """The people, the steps in the order of time, and what must be in the EHR at the end: type -> status -> number.

    ``crisis_plan``: the Coding by which an EHR files one.
    """

    zone: ZoneInfo
    people: Mapping[str, Mapping[str, Any]]
    crisis_plan: Mapping[str, str]
    steps: tuple[Step, ...]
    expected: Mapping[str, Mapping[str, Mapping[str, int]]]

    def name(self, who: str) -> str:
        """A person's whole name."""
        return f"{self.people[who]['given']} {self.people[who]['family']}"


def load_story() -> Story:
    """The story that is shipped with the program."""
    told = tomllib.loads(files("afterdose.cli").joinpath("story.toml").read_text(encoding="utf-8"))
    zone = ZoneInfo(told["zone"])

    def moment(said: str) -> datetime:
        return datetime.strptime(f"{told['year']}-{said}", "%Y-%m-%d %H:%M").replace(tzinfo=zone)

    def step(entry: Mapping[str, Any]) -> Step:
        treatment = told["treatments"][entry["treatment"]] if "treatment" in entry else None
        start = moment(entry["start"]) if "start" in entry else None
        what: What = next((name for name in _OTHERS if name in entry), "charted")
        if what == "charted" and start is not None and treatment is not None:
            at = start + timedelta(minutes=treatment["minutes"] + told["charted_after"])
        else:
            at = moment(entry[what])
        return Step(
            at=at,
            who=entry["who"],
            what=what,
            words=entry["words"],
            dose=f"{entry['who']}-{entry['dose']}",
            start=start,
            treatment=treatment,
        )

    steps = sorted((step(entry) for entry in told["steps"]), key=lambda one: (one.at, one.who))
    return Story(
        zone=zone,
        people=told["people"],
        crisis_plan=told["crisis_plan"],
        steps=tuple(steps),
        expected=told["expected"],
    )


def administration(step: Step) -> Resource:
    """The MedicationAdministration of a charted or corrected dose (FHIR R4)."""
    if step.treatment is None or step.start is None:
        raise ValueError("only a charted or corrected dose has an administration of its own")
    given, end = step.treatment, step.start + timedelta(minutes=step.treatment["minutes"])
    resource: Resource = {
        "resourceType": "MedicationAdministration",
        "id": step.dose,
        "status": "completed",
        "medicationCodeableConcept": {"coding": [given["drug"]], "text": given["text"]},
        "subject": {"reference": f"Patient/{step.who}"},
        "context": {"reference": f"Encounter/{step.dose}"},
        "effectivePeriod": {"start": step.start.isoformat(), "end": end.isoformat()},
        "dosage": {
            "route": {"coding": [given["route"]]},
            "dose": {"value": given["milligrams"], "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"},
        },
    }
    if "reason" in given:
        resource["reasonCode"] = [{"coding": [given["reason"]]}]
    return resource


def encounter(step: Step) -> Resource:
    """The Encounter in which a dose was given: outpatient unless the treatment says otherwise."""
    outpatient = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
    return {
        "resourceType": "Encounter",
        "id": step.dose,
        "status": "finished",
        "class": (step.treatment or {}).get("encounter_class", outpatient),
        "subject": {"reference": f"Patient/{step.who}"},
    }


def patient(story: Story, who: str) -> Resource:
    """The Patient resource of a person of the story."""
    named = story.people[who]
    return {
        "resourceType": "Patient",
        "id": who,
        "name": [{"given": [named["given"]], "family": named["family"]}],
        "birthDate": "1984-05-17",
    }


def crisis_plan(story: Story, who: str) -> Resource | None:
    """The crisis plan that is on file about a person of the story, None where there is none."""
    if story.people[who].get("without_crisis_plan", False):
        return None
    return {
        "resourceType": "DocumentReference",
        "id": f"crisis-plan-{who}",
        "status": "current",
        "type": {"coding": [dict(story.crisis_plan)]},
        "subject": {"reference": f"Patient/{who}"},
        "content": [{"attachment": {"title": "Crisis plan"}}],
    }
