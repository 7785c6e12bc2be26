"""What else is said around a dose: marks of its request and episode, procedures, consents. Pure and tolerant."""

from collections.abc import Iterable, Iterator, Sequence
from zoneinfo import ZoneInfo

from afterdose.core.codes import Codes
from afterdose.core.dose import Coding, Happening
from afterdose.fhir.decode.effective import effective
from afterdose.fhir.elements import JsonObject, codings, member, members, text, words

_HAPPENED = frozenset({"completed", "in-progress", "stopped"})
"""http://hl7.org/fhir/R4/valueset-event-status.html"""
_NO_CONSENT = frozenset({"rejected", "entered-in-error", "draft", "proposed"})
"""http://hl7.org/fhir/R4/valueset-consent-state-codes.html"""


def marks_of(*resources: JsonObject | None) -> Iterator[Coding]:
    """Tags, categories and types of a dose, its request, its encounter and its episode of care.

    Words stand under the empty system, in lower case.
    """
    for resource in resources:
        for tag in members(member(resource, "meta"), "tag"):
            yield from codings({"coding": [tag]})
        kinds = ("category", "courseOfTherapyType", "type") if resource is not None else ()
        for concept in (one for kind in kinds for one in members(resource, kind)):
            yield from concept_codings(concept)


def concept_codings(concept: JsonObject) -> Iterator[Coding]:
    """The codings of a concept, and its words under the empty system, in lower case."""
    yield from codings(concept)
    for word in words(concept):
        yield Coding(system="", code=" ".join(word.casefold().split()))


def happenings(procedures: Iterable[JsonObject], zone: ZoneInfo | None) -> Iterator[Happening]:
    """Procedures, and administrations, that took place: in the spellings of R4 (``performed[x]``, ``effective[x]``) and
    R5 (``occurrence[x]``)."""
    for procedure in procedures:
        if text(procedure, "status") in _HAPPENED:
            timed = {name.replace("performed", "effective"): value for name, value in procedure.items()}
            when, _ = effective(timed, zone)
            found = tuple(one for kind in ("code", "category") for one in codings(member(procedure, kind)))
            yield Happening(codings=found, start=when.start, end=when.end)


def consent_of(consents: Sequence[JsonObject], codes: Codes) -> bool | None:
    """What the newest Consent that counts says; None where there is none that counts."""
    counting = [one for one in consents if codes.consents.holds_any(_scopes(one))]
    if not counting:
        return None
    newest = max(counting, key=lambda one: text(one, "dateTime") or text(one, "date") or "")
    denies = text(member(newest, "provision"), "type") == "deny" or text(newest, "decision") == "deny"
    return text(newest, "status") == "active" and not denies


def _scopes(consent: JsonObject) -> Iterator[Coding]:
    for name in ("scope", "category"):
        for concept in members(consent, name):
            yield from codings(concept)
