"""What intake checks of a MedicationAdministration before it says 2xx: that it can be kept and understood at all.

Structure only, and tolerant of version: R4, R4B, R5 and R6 spellings are accepted
(https://hl7.org/fhir/R4/medicationadministration.html, https://hl7.org/fhir/R5/medicationadministration.html;
R5 spells ``occurence[x]`` with one r). Unknown members are accepted and ignored. What a dose or a time
*means* is never a reason to refuse it: that is decided later, and goes to a person where it is unclear.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import chain, islice

from afterdose.core.errors import BadInput, Problem
from afterdose.fhir.decode import structure
from afterdose.fhir.times import parse_instant

TYPE = "MedicationAdministration"
STATUSES = frozenset({"in-progress", "not-done", "on-hold", "completed", "entered-in-error", "stopped", "unknown"})
"""http://hl7.org/fhir/R4/valueset-medication-admin-status.html"""

MEDICATION_ELEMENTS = ("medicationCodeableConcept", "medicationReference", "medication")
TIME_ELEMENTS = (
    "effectiveDateTime",
    "effectivePeriod",
    "occurenceDateTime",
    "occurencePeriod",
    "occurenceTiming",
    "occurrenceDateTime",
    "occurrencePeriod",
    "occurrenceTiming",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What is needed to file an administration.

    ``subject``: the reference as received; None where there is only an identifier, and where
    ``subject.type`` contradicts the reference (then nobody may be taken for the patient).
    ``last_updated``: UTC, None where it is absent or no instant.
    """

    id: str | None
    version: str | None
    last_updated: datetime | None
    subject: str | None


def envelope(resource: Mapping[str, object]) -> Envelope:
    """The envelope of a MedicationAdministration; never raises."""
    meta = resource.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    return Envelope(
        id=_text(resource.get("id")),
        version=_text(meta.get("versionId")),
        last_updated=_instant(meta.get("lastUpdated")),
        subject=subject_of(resource.get("subject")),
    )


def problems(resource: object) -> tuple[Problem, ...]:
    """What keeps a MedicationAdministration from being accepted (the first of it); empty when nothing does."""
    if not isinstance(resource, dict):
        return (Problem("structure", "", "is not a JSON object"),)
    type_ = resource.get("resourceType")
    if type_ != TYPE:
        misspelt = not isinstance(type_, str) or type_.casefold() == TYPE.casefold()
        return (Problem("structure" if misspelt else "invalid", "resourceType", f"is not {TYPE}"),)
    found = chain(
        structure.head(resource, TYPE),
        structure.code(resource, TYPE, "status", STATUSES),
        _choices(resource),
        structure.who(resource.get("subject"), f"{TYPE}.subject"),
        _when(resource),
        _drug(resource),
        _amounts(resource.get("dosage")),
        structure.void(resource, TYPE),
    )
    return tuple(islice(found, structure.MOST_PROBLEMS))


def _choices(resource: Mapping[str, object]) -> Iterator[Problem]:
    withdrawn = resource.get("status") == "entered-in-error"
    for names, what in ((MEDICATION_ELEMENTS, "medication"), (TIME_ELEMENTS, "effective")):
        present = [name for name in names if name in resource]
        if len(present) > 1:
            yield Problem("structure", f"{TYPE}.{what}", "is given more than once")
        if not present and not withdrawn and not any(f"_{name}" in resource for name in names):
            yield Problem("required", f"{TYPE}.{what}", "is missing")


def _when(resource: Mapping[str, object]) -> Iterator[Problem]:
    for name in TIME_ELEMENTS:
        value, path = resource.get(name), f"{TYPE}.{name}"
        if value is None:
            continue
        if name.endswith("DateTime"):
            yield from structure.datetime_(value, path)
        elif not isinstance(value, dict):
            yield Problem("structure", path, "is not an object")
        elif name.endswith("Period"):
            for end in ("start", "end"):
                if end in value:
                    yield from structure.datetime_(value[end], f"{path}.{end}")
        else:
            yield from _events(value.get("event"), f"{path}.event")


def _events(events: object, path: str) -> Iterator[Problem]:
    if events is not None and not isinstance(events, list):
        yield Problem("structure", path, "is not an array")
        return
    for index, event in enumerate(events or ()):
        yield from structure.datetime_(event, f"{path}[{index}]")


def _drug(resource: Mapping[str, object]) -> Iterator[Problem]:
    for name in MEDICATION_ELEMENTS:
        value, path = resource.get(name), f"{TYPE}.{name}"
        if value is None:
            continue
        if not isinstance(value, dict):
            yield Problem("structure", path, "is not an object")
        elif name == "medication":
            for part in ("concept", "reference"):
                if part in value and not isinstance(value[part], dict):
                    yield Problem("structure", f"{path}.{part}", "is not an object")
            if isinstance(value.get("concept"), dict):
                yield from _concept(value["concept"], f"{path}.concept")
        elif name == "medicationCodeableConcept":
            yield from _concept(value, path)


def _concept(concept: Mapping[str, object], path: str) -> Iterator[Problem]:
    codings = concept.get("coding", [])
    if not isinstance(codings, Sequence) or isinstance(codings, str):
        yield Problem("structure", f"{path}.coding", "is not an array")
        return
    for index, coding in enumerate(codings):
        if not isinstance(coding, dict):
            yield Problem("structure", f"{path}.coding[{index}]", "is not an object")
            continue
        for name in ("system", "code", "display"):
            if name in coding and not isinstance(coding[name], str):
                yield Problem("value", f"{path}.coding[{index}].{name}", "is not a string")
    if "text" in concept and not isinstance(concept["text"], str):
        yield Problem("value", f"{path}.text", "is not a string")


def _amounts(dosage: object) -> Iterator[Problem]:
    path = f"{TYPE}.dosage"
    if dosage is None:
        return
    if not isinstance(dosage, dict):
        yield Problem("structure", path, "is not an object")
        return
    if "rateRatio" in dosage and "rateQuantity" in dosage:
        yield Problem("structure", f"{path}.rate", "is given more than once")
    quantities = {f"{path}.{name}": dosage[name] for name in ("dose", "rateQuantity") if name in dosage}
    ratio = dosage.get("rateRatio")
    if isinstance(ratio, dict):
        quantities |= {
            f"{path}.rateRatio.{name}": ratio[name] for name in ("numerator", "denominator") if name in ratio
        }
    elif ratio is not None:
        yield Problem("structure", f"{path}.rateRatio", "is not an object")
    for place, quantity in quantities.items():
        if not isinstance(quantity, dict):
            yield Problem("structure", place, "is not an object")
        elif "value" in quantity and not _is_number(quantity["value"]):
            yield Problem("value", f"{place}.value", "is not a number")


def _is_number(value: object) -> bool:
    return isinstance(value, int | Decimal | float) and not isinstance(value, bool)


def subject_of(subject: object) -> str | None:
    """The literal reference of a ``subject``; None where it says that it is of another type than Patient."""
    if not isinstance(subject, dict):
        return None
    type_ = subject.get("type")
    if type_ is not None and (not isinstance(type_, str) or type_.rpartition("/")[2] != "Patient"):
        return None
    return _text(subject.get("reference"))


def _instant(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        return parse_instant(value)
    except BadInput:
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
