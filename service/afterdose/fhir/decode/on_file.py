"""What an EHR has on file about a patient besides doses: crisis plans, and stated preferences. Pure and tolerant."""

from collections.abc import Iterable, Iterator
from datetime import date
from zoneinfo import ZoneInfo

from afterdose.core.codes import Codes
from afterdose.core.dose import Coding
from afterdose.fhir.decode.around import concept_codings
from afterdose.fhir.decode.effective import effective
from afterdose.fhir.elements import JsonObject, codings, member, members, text

_STANDING = "current"
"""http://hl7.org/fhir/R4/valueset-document-reference-status.html"""
_READY = frozenset({"final", "amended", "appended", "corrected"})
"""http://hl7.org/fhir/R5/valueset-composition-status.html, R4's among them: a draft is nothing to rely on."""
_SETTLED = frozenset({"final", "amended", "corrected"})
"""http://hl7.org/fhir/R4/valueset-observation-status.html"""


def crisis_plans(documents: Iterable[JsonObject], codes: Codes) -> tuple[str, ...]:
    """The crisis plans that stand, as ``DocumentReference/id``: by their type or a category of theirs."""
    return tuple(
        sorted(
            f"DocumentReference/{id_}"
            for one in documents
            if text(one, "status") == _STANDING
            and text(one, "docStatus") in {None, *_READY}
            and codes.crisis_plans.holds_any(_kinds(one))
            and (id_ := text(one, "id")) is not None
        )
    )


def preferences(observations: Iterable[JsonObject], codes: Codes, zone: ZoneInfo | None) -> tuple[Coding, ...]:
    """What the patient says of ways of working. Only the last day counts on which anything was said.

    Values and components are read; words stand under the empty system, in lower case.
    """
    by_day: dict[date, set[Coding]] = {}
    for one in observations:
        asked = codes.preference_observations.holds_any(codings(member(one, "code")))
        if asked and text(one, "status") in _SETTLED:
            when, _ = effective(one, zone)
            by_day.setdefault(when.start.date() if when.start is not None else date.min, set()).update(_said(one))
    return tuple(sorted(by_day[max(by_day)], key=lambda one: (one.system, one.code))) if by_day else ()


def _kinds(document: JsonObject) -> Iterator[Coding]:
    for name in ("type", "category"):
        for concept in members(document, name):
            yield from codings(concept)


def _said(observation: JsonObject) -> Iterator[Coding]:
    for one in (observation, *members(observation, "component")):
        yield from concept_codings(member(one, "valueCodeableConcept"))
        word = text(one, "valueString")
        if word is not None:
            yield Coding(system="", code=" ".join(word.casefold().split()))
