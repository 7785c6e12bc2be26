"""A protocol as a PlanDefinition (https://hl7.org/fhir/R4/plandefinition.html): three phases, each activity with its
time from the dose session, how sure the evidence is, and the sources for and against.

Pure. Every number is the protocol's, every word the activity file's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from afterdose.content.activities import PHASES, Activity, ActivityFile
from afterdose.content.protocols import ProtocolFile
from afterdose.core.dose import Family
from afterdose.core.protocol import Rules

Resource = dict[str, Any]

_DOSE = "dose"
_GOAL = "lasting-gain"
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_UCUM = "http://unitsofmeasure.org"
_DAY, _HOUR, _MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
_UNITS = {"d": _DAY, "h": _HOUR, "min": _MINUTE}
_BY_DEFAULT = "integration"
"""The phase whose visits are proposed by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What all definitions of one installation share. ``base``: of our canonical URLs."""

    words: ActivityFile
    base: str
    plan_definitions: Mapping[Family, str]
    activity_codes: str
    qualifying: str

    def head(self, kind: str, name: str, title: str, description: str) -> Resource:
        """What every definition begins with. They are drafts: no clinical body has approved them."""
        return {
            "resourceType": kind,
            "id": name,
            "url": f"{self.base}/{kind}/{name}",
            "version": self.words.version,
            "name": "".join(part.capitalize() for part in re.split(r"[-.]", name)),
            "title": title,
            "status": "draft",
            "experimental": False,
            "date": self.words.date.isoformat(),
            "publisher": "afterdose",
            "description": description,
        }

    def canonical(self, kind: str, name: str) -> str:
        """One of our definitions, with its version."""
        return f"{self.base}/{kind}/{name}|{self.words.version}"

    def code(self, system: str, code: str, display: str | None = None) -> Resource:
        """A CodeableConcept of one code."""
        return {"coding": [{"system": system, "code": code} | ({"display": display} if display else {})]}

    def activity_code(self, name: str, one: Activity) -> Resource:
        """The code of an activity; most have none in any public terminology."""
        return self.code(self.activity_codes, name, one.title) | {"text": one.title}

    def documentation(self, one: Activity) -> list[Resource]:
        """Why an activity is there, how sure that is, and what goes with it."""
        graded = {"extension": _grades(one), "language": "en", "title": "Grade of the evidence"}
        found: list[Resource] = [{"type": "justification", "display": one.evidence, "document": graded}]
        found += [{"type": "documentation", "display": sentence} for sentence in one.documentation]
        if one.questionnaire is not None:
            found.append({"type": "depends-on", "resource": self.canonical("Questionnaire", one.questionnaire)})
        return found


def _grades(one: Activity) -> list[Resource]:
    """HL7's extensions for the quality of the evidence and the strength of the recommendation.

    R4 allows them on an Attachment alone (https://hl7.org/fhir/R4/extension-cqf-qualityofevidence.html).
    """
    grades = {
        "cqf-qualityOfEvidence": ("evidence-quality", one.quality),
        "cqf-strengthOfRecommendation": ("recommendation-strength", one.strength),
    }
    return [
        {
            "url": f"http://hl7.org/fhir/StructureDefinition/{name}",
            "valueCodeableConcept": {"coding": [{"system": f"{_TERMINOLOGY}/{system}", "code": code}]},
        }
        for name, (system, code) in grades.items()
    ]


def plan_definition(family: Family, file: ProtocolFile, drawing: Drawing) -> Resource:
    """The PlanDefinition of a protocol, with the numbers that are in force last."""
    url, _, version = drawing.plan_definitions[family].partition("|")
    protocol, words = file.protocol, drawing.words
    head = drawing.head("PlanDefinition", protocol.id, protocol.title, " ".join(protocol.evidence))
    return head | {
        "url": url,
        "version": version,
        "type": drawing.code(f"{_TERMINOLOGY}/plan-definition-type", "clinical-protocol", "Clinical Protocol"),
        "subjectCodeableConcept": drawing.code("http://hl7.org/fhir/resource-types", "Patient"),
        "purpose": words.purpose,
        "usage": f"{words.usage} The numbers are due for review by {protocol.review_by.isoformat()}.",
        "topic": [drawing.code(f"{_TERMINOLOGY}/definition-topic", "treatment", "Treatment")],
        "relatedArtifact": _sources(file),
        "goal": [{"id": _GOAL, "description": {"text": words.goal}}],
        "action": [_phase(phase, file, drawing) for phase in PHASES],
    }


def _sources(file: ProtocolFile) -> list[Resource]:
    """The citations, those that contradict among them, then the published sources of single numbers."""
    found = [
        {
            "type": "citation",
            "label": str(one.bearing),
            "display": f"{one.finding} ({one.certainty})",
            "citation": one.citation,
        }
        | ({"url": one.url} if one.url is not None else {})
        for one in file.citations
    ]
    cited = {one.url for one in file.citations}
    return found + [
        {"type": "citation", "label": "source of a number", "citation": title, "url": url}
        for title, url in file.references
        if url not in cited
    ]


def _phase(phase: str, file: ProtocolFile, drawing: Drawing) -> Resource:
    text = drawing.words.phases[phase]
    inside = [
        action
        for name, one in drawing.words.activities.items()
        if one.phase == phase
        for action in _actions(name, one, file, drawing)
    ]
    if phase == "experience":
        inside.insert(0, {"id": _DOSE, "title": "Dose session", "description": "Everything counts from its end."})
    group: Resource = {"id": phase, "title": text.title, "description": text.description}
    trigger = _trigger(phase, drawing)
    if trigger is not None:
        group["trigger"] = [trigger]
    return group | {"groupingBehavior": "logical-group", "selectionBehavior": "any", "action": inside}


def _trigger(phase: str, drawing: Drawing) -> Resource | None:
    if phase == "preparation":
        return {"type": "data-added", "data": [{"type": "MedicationRequest"}]}
    if phase == _BY_DEFAULT:
        data = {"type": "MedicationAdministration", "profile": [drawing.qualifying]}
        return {"type": "data-added", "data": [data]}
    return None


def _actions(name: str, one: Activity, file: ProtocolFile, drawing: Drawing) -> list[Resource]:
    """The activity as one action, or as several where the protocol names several times for it."""
    offsets = _offsets(name, file.protocol.dated[-1][1])
    return [
        _action(name if index == 0 else f"{name}-{index + 1}", offset, (name, one), file, drawing)
        for index, offset in enumerate(offsets or [{}])
    ]


def _action(
    id_: str, offset: Resource, activity: tuple[str, Activity], file: ProtocolFile, drawing: Drawing
) -> Resource:
    name, one = activity
    by_default = one.phase == _BY_DEFAULT
    action: Resource = {
        "id": id_,
        "title": one.title,
        "description": one.description,
    }
    text = _in_words(name, file)
    if text is not None:
        action["textEquivalent"] = text
    action["code"] = [drawing.activity_code(name, one)]
    action["documentation"] = drawing.documentation(one)
    action["goalId"] = [_GOAL]
    relationship = "after-end" if by_default else "before-start"
    action["relatedAction"] = [{"actionId": _DOSE, "relationship": relationship} | offset]
    timing = repeat(name, file)
    if timing is not None:
        action["timingTiming"] = {"repeat": timing}
    action["participant"] = [{"type": one.who}]
    action["type"] = drawing.code(f"{_TERMINOLOGY}/action-type", "create")
    action["requiredBehavior"] = "could"
    action["precheckBehavior"] = "yes" if by_default and not one.optional else "no"
    action["cardinalityBehavior"] = "multiple" if timing is not None and "count" in timing else "single"
    action["definitionCanonical"] = drawing.canonical("ActivityDefinition", name)
    if one.agenda:
        action["groupingBehavior"] = "logical-group"
        action["action"] = [
            {"id": f"{id_}-{place}", "title": part.title, "description": part.description}
            for place, part in enumerate(one.agenda, start=1)
        ]
    return action


def _offsets(name: str, rules: Rules) -> list[Resource]:
    """relatedAction.offset[x] from the end of the dose session; a range has no low end where none is named."""
    numbers = rules.practices
    ranges: dict[str, tuple[timedelta | None, timedelta]] = {
        "integration-session": (rules.opens_after, rules.closes_after),
        "journaling": (rules.nothing_before, numbers.journal_due),
        "mindfulness-practice": (rules.nothing_before, numbers.mindfulness_until),
        "behavioural-activation": numbers.activation_due,
        "sleep-support": (rules.nothing_before, numbers.sleep_support),
        "commitments": (rules.opens_after, numbers.commitments_due),
        "relapse-prevention-plan": (None, numbers.relapse_plan_due),
    }
    if name == "outcome-check":
        return [{"offsetDuration": _quantity(after)} for after in numbers.outcome_checks]
    if name not in ranges:
        return []
    least, most = ranges[name]
    unit = _unit_of(most if least is None else least)
    low = {"low": _quantity(least, unit)} if least is not None else {}
    return [{"offsetRange": low | {"high": _quantity(most, unit)}}]


def repeat(name: str, file: ProtocolFile) -> Resource | None:
    """Timing.repeat of what is done more than once or has a length of its own, else None."""
    numbers = file.protocol.dated[-1][1].practices
    daily: Resource = {"frequency": 1, "period": 1, "periodUnit": "d"}
    if name == "preparation-session":
        least, most = numbers.preparation_sessions
        return {"count": least, "countMax": most}
    if name == "integration-session":
        return _lasting(file.shortest_session, file.longest_session)
    if name == "mindfulness-practice":
        bounds = {"boundsDuration": _quantity(numbers.mindfulness_until)}
        return bounds | _lasting(*numbers.mindfulness_length) | daily
    if name == "sleep-support":
        return {"boundsDuration": _quantity(numbers.sleep_support)} | daily | {"when": ["HS"]}
    return None


def _in_words(name: str, file: ProtocolFile) -> str | None:
    """What the structure cannot say."""
    numbers = file.protocol.dated[-1][1].practices
    if name == "integration-session":
        return (
            f"One after each dose session, at least {numbers.sessions_per_week} a week in the active phase; it goes on "
            "in the maintenance phase. The next dose ends the time earlier."
        )
    if name == "commitments":
        return "Before the next dose; the time given here counts where that is not known."
    if name == "relapse-prevention-plan":
        return "Counted from the first dose of a course, or by the end of the active phase if that comes earlier."
    return None


def _lasting(shortest: timedelta, longest: timedelta) -> Resource:
    return {"duration": shortest // _MINUTE, "durationMax": longest // _MINUTE, "durationUnit": "min"}


def _quantity(length: timedelta, unit: str | None = None) -> Resource:
    """A length of time as a Quantity of UCUM."""
    unit = unit or _unit_of(length)
    return {"value": length // _UNITS[unit], "unit": unit, "system": _UCUM, "code": unit}


def _unit_of(length: timedelta) -> str:
    """Days from a week on, else hours, minutes where it is no whole number of these."""
    return next(unit for unit, one in _UNITS.items() if not length % one and (unit != "d" or length >= 7 * _DAY))
