"""The definitions of ``profiles/`` that follow from the mappings (https://hl7.org/fhir/R4/clinicalreasoning-module.html).

Pure: the same content gives the same resources. The PlanDefinitions are in ``render_plan``.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from afterdose.content.activities import Activity, ActivityFile, Questions, read_activities
from afterdose.content.content import Content
from afterdose.content.locate import find
from afterdose.content.protocols import ProtocolFile, read_protocol
from afterdose.content.render_plan import Drawing, plan_definition, repeat
from afterdose.core.dose import Family
from afterdose.core.protocol import DoseEnvelope
from afterdose.fhir.r4 import Canonicals

Resource = dict[str, Any]

_ACTIVITY_CODES = "afterdose-activity"
_QUALIFYING = "qualifying-administration"
_OPERATION = "http://hl7.org/fhir/OperationDefinition/"
_FHIR = "http://hl7.org/fhir/StructureDefinition"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Everything that definitions are made from."""

    words: ActivityFile
    protocols: Mapping[Family, ProtocolFile]
    canonicals: Canonicals


def read_sources(content: Content) -> Sources:
    """The files behind the definitions, of the same installation as ``content``. Raises BadContent."""
    overlay = content.overlay
    files = {family: read_protocol(find(f"mappings/protocols/{family}-integration.toml", overlay)) for family in Family}
    return Sources(words=read_activities(overlay), protocols=files, canonicals=content.canonicals)


def render(sources: Sources, *, served: Resource, called: Mapping[str, Collection[str]]) -> dict[str, Resource]:
    """Every rendered definition, by the name of its file.

    ``served``: CapabilityStatement.rest of what our endpoint offers. ``called``: what we ask of an EHR, resource
    type -> interactions, and operations behind a "$"; the type "" stands for the server as a whole.
    """
    drawing = _drawing(sources)
    made = [plan_definition(family, file, drawing) for family, file in sources.protocols.items()]
    made += [_activity_definition(name, one, sources, drawing) for name, one in sources.words.activities.items()]
    made += [_questionnaire(name, one, drawing) for name, one in sources.words.questionnaires.items()]
    made.append(_activity_codes(drawing))
    made.append(_qualifying_administration(sources, drawing))
    made.append(_capability_server(served, drawing))
    made.append(_capability_client(called, sources, drawing))
    return {f"{resource['resourceType']}-{resource['id']}.json": resource for resource in made}


def as_text(resource: Resource) -> str:
    """The file's text: two spaces a level, in the order in which the members were made."""
    return json.dumps(resource, indent=2, ensure_ascii=False) + "\n"


def _drawing(sources: Sources) -> Drawing:
    canonicals = sources.canonicals
    base = canonicals.reason_code_system.partition("/CodeSystem/")[0]
    return Drawing(
        words=sources.words,
        base=base,
        plan_definitions=canonicals.plan_definitions,
        activity_codes=f"{base}/CodeSystem/{_ACTIVITY_CODES}",
        qualifying=f"{base}/StructureDefinition/{_QUALIFYING}",
    )


def _activity_definition(name: str, one: Activity, sources: Sources, drawing: Drawing) -> Resource:
    resource = drawing.head("ActivityDefinition", name, one.title, one.description)
    resource["subjectCodeableConcept"] = drawing.code("http://hl7.org/fhir/resource-types", "Patient")
    resource["relatedArtifact"] = drawing.documentation(one)
    resource["kind"] = one.kind
    if name == "integration-session":
        resource["profile"] = sources.canonicals.appointment_profile
    resource["code"] = drawing.activity_code(name, one)
    resource["intent"] = "proposal"
    resource["priority"] = "routine"
    timings = [repeat(name, file) for file in sources.protocols.values()]
    if timings[0] is not None and all(timing == timings[0] for timing in timings):
        resource["timingTiming"] = {"repeat": timings[0]}
    resource["participant"] = [{"type": one.who}]
    return resource


def _questionnaire(name: str, one: Questions, drawing: Drawing) -> Resource:
    resource = drawing.head("Questionnaire", name, one.title, one.description)
    resource["subjectType"] = ["Patient"]
    resource["item"] = [{"linkId": item.link_id, "text": item.text, "type": item.type} for item in one.items]
    return resource


def _activity_codes(drawing: Drawing) -> Resource:
    activities = drawing.words.activities
    resource = drawing.head(
        "CodeSystem", _ACTIVITY_CODES, "What follow-up care consists of", "Codes of the activities."
    )
    return resource | {
        "caseSensitive": True,
        "content": "complete",
        "count": len(activities),
        "concept": [
            {"code": name, "display": one.title, "definition": one.description} for name, one in activities.items()
        ],
    }


def _qualifying_administration(sources: Sources, drawing: Drawing) -> Resource:
    """What an administration has to be like for a plan by rule; what is not like it is for a person or for nobody."""
    kind = "MedicationAdministration"
    resource = drawing.head(
        "StructureDefinition",
        _QUALIFYING,
        "Qualifying administration",
        "An administration of ketamine or esketamine after which integration care is planned by rule. This is what is "
        "looked for and no condition for sending: every administration is taken, and what falls short of this is "
        "put before a person, waits, or is left alone, always with a reason.",
    )
    elements: list[tuple[str, Resource]] = [
        ("", {"short": "A dose after which follow-up care is planned"}),
        ("status", {"short": "Over. Running doses wait; stopped ones go to a person", "fixedCode": "completed"}),
        ("medication[x]", {"short": "Known by a code of mappings/codes; known by words alone it goes to a person"}),
        (
            "subject",
            {
                "short": "The patient, by reference",
                "type": [{"code": "Reference", "targetProfile": [f"{_FHIR}/Patient"]}],
            },
        ),
        ("subject.reference", {"min": 1}),
        ("effective[x]", {"short": "With its end; everything counts from it. A day without a time goes to a person"}),
        ("reasonCode", {"short": "A psychiatric reason here or on the order, a psychiatric place or an enrolled one"}),
        (
            "dosage",
            {
                "short": "Route and dose; nasal esketamine needs no dose",
                "definition": " ".join(_dose_sentence(file) for file in sources.protocols.values()),
            },
        ),
    ]
    return resource | {
        "fhirVersion": "4.0.1",
        "kind": "resource",
        "abstract": False,
        "type": kind,
        "baseDefinition": f"{_FHIR}/{kind}",
        "derivation": "constraint",
        "differential": {
            "element": [
                {"id": f"{kind}.{path}".rstrip("."), "path": f"{kind}.{path}".rstrip(".")} | rules
                for path, rules in elements
            ]
        },
    }


def _dose_sentence(file: ProtocolFile) -> str:
    """The dose envelopes in force, in words."""
    rules = file.protocol.dated[-1][1]
    routes = "; ".join(f"{route} {_bounds(envelope)}" for route, envelope in rules.envelopes.items())
    need = "" if rules.dose_needed else " (not required)"
    return f"{file.protocol.family.capitalize()}{need}: {routes}."


def _bounds(envelope: DoseEnvelope) -> str:
    def span(least: object, most: object, unit: str) -> str:
        if least is None:
            return f"up to {most} {unit}"
        return f"{least} to {most} {unit}" if most is not None else f"from {least} {unit}"

    parts = []
    if envelope.mg_per_kg_min is not None or envelope.mg_per_kg_max is not None:
        parts.append(span(envelope.mg_per_kg_min, envelope.mg_per_kg_max, "mg/kg"))
    if envelope.total_mg_max is not None:
        parts.append(
            f"{'or, where the weight is not known, ' if parts else ''}{span(None, envelope.total_mg_max, 'mg')}"
        )
    if envelope.duration_min is not None or envelope.duration_max is not None:
        parts.append(f"in {span(_minutes(envelope.duration_min), _minutes(envelope.duration_max), 'min')}")
    return ", ".join(parts)


def _minutes(length: timedelta | None) -> int | None:
    return None if length is None else length // timedelta(minutes=1)


def _capability_server(served: Resource, drawing: Drawing) -> Resource:
    return _capability(
        drawing,
        "afterdose",
        "What afterdose offers",
        "The FHIR endpoint that takes events about administrations. It answers after the event is on disk.",
        served,
    )


def _capability_client(called: Mapping[str, Collection[str]], sources: Sources, drawing: Drawing) -> Resource:
    ours = {
        "CarePlan": [sources.canonicals.care_plan_profile],
        "Appointment": [sources.canonicals.appointment_profile],
    }
    resources: list[Resource] = []
    for kind, calls in sorted(called.items()):
        if kind:
            profiles = {"supportedProfile": ours[kind]} if kind in ours else {}
            interactions = [{"code": one} for one in sorted(calls) if not one.startswith("$")]
            operations = [one.removeprefix("$") for one in sorted(calls) if one.startswith("$")]
            named = [{"name": one, "definition": f"{_OPERATION}{kind}-{one}"} for one in operations]
            told = {"interaction": interactions} | ({"operation": named} if named else {})
            resources.append({"type": kind} | profiles | told)
    rest: Resource = {
        "mode": "client",
        "documentation": "The most that is asked of an EHR; what one does not offer is done another way or not at all.",
        "resource": resources,
    }
    if called.get(""):
        rest["interaction"] = [{"code": one} for one in sorted(called[""])]
    return _capability(
        drawing,
        "afterdose-client",
        "What afterdose asks of an EHR",
        "Every call that afterdose can make. The rights that it needs follow from this list.",
        rest,
    )


def _capability(drawing: Drawing, name: str, title: str, description: str, rest: Resource) -> Resource:
    return drawing.head("CapabilityStatement", name, title, description) | {
        "kind": "capability",
        "software": {"name": "afterdose"},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "rest": [rest],
    }


def stale(rendered: Mapping[str, Resource], folder: Path) -> list[str]:
    """The files of ``folder`` that are missing or say something else than what is rendered, by name."""
    return [name for name, resource in sorted(rendered.items()) if _text_of(folder / name) != as_text(resource)]


def _text_of(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
