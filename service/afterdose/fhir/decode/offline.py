"""The resources of some files, related to each other as if a FHIR server held them all. Pure.

Files, Bundles and NDJSON lines of one input are one pool. What a Bundle calls by ``fullUrl`` becomes ``Type/id``, as a
server does when it takes a transaction (https://hl7.org/fhir/R4/http.html#trules), so that every reference that can be
followed here is relative afterwards. Ids are taken to be unique within one input; of several versions of a resource
the newest counts.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from afterdose.core.codes import Codes
from afterdose.core.dose import Coding, Context
from afterdose.core.errors import BadInput, Problem
from afterdose.fhir import strict_json
from afterdose.fhir.decode import administration
from afterdose.fhir.decode.around import consent_of, happenings
from afterdose.fhir.decode.dose import RelatedReferences, decode_context, references_of
from afterdose.fhir.decode.effective import effective
from afterdose.fhir.decode.on_file import crisis_plans, preferences
from afterdose.fhir.elements import JsonObject, codings, member, members, reference, text
from afterdose.fhir.references import contained, is_id, patient_id

_MOST_MEMBERS = 2_000_000
"""A file may be a whole export; what arrives over the network has a smaller limit."""
_TYPE = re.compile("[A-Z][A-Za-z]{1,63}")
_URN = re.compile("urn:uuid:([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})")
_ABSOLUTE = re.compile(r"(https?://[^\s?#]+/)([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_SETTLED = frozenset({"final", "amended", "corrected"})
"""Statuses of an Observation whose value counts (http://hl7.org/fhir/R4/valueset-observation-status.html)."""
_UNDATED = datetime.min.replace(tzinfo=UTC)
"""A weight that does not say when it was measured counts where no other is known."""
_PLACES = ("Location", "HealthcareService", "Organization", "PractitionerRole", "Practitioner")


@dataclass(frozen=True, slots=True)
class Entry:
    """One resource of an input, with the URL by which its Bundle calls it."""

    resource: JsonObject
    full_url: str | None = None

    @property
    def name(self) -> str | None:
        """``Type/id``, None where it has no id."""
        id_ = text(self.resource, "id")
        return f"{self.resource['resourceType']}/{id_}" if id_ is not None else None


def read(body: bytes) -> tuple[Entry, ...]:
    """The resources of a text: one resource, a Bundle (also nested), or NDJSON of these.

    Raises BadInput with every problem found; a path begins with the line where the text is NDJSON
    (``line 3: Bundle.entry[0].resource.status``). MedicationAdministrations are checked as intake checks them, other
    resources only for being resources.
    """
    problems: list[Problem] = []
    entries: list[Entry] = []
    for where, piece in _pieces(body):
        try:
            value = strict_json.loads(piece, max_members=_MOST_MEMBERS)
        except BadInput as error:
            problems += [_placed(problem, where, "") for problem in error.problems]
            continue
        for found in _entries(value, "", None):
            if isinstance(found, Problem):
                problems.append(_placed(found, where, found.path))
            else:
                entries.append(found)
    if problems:
        raise BadInput(*problems)
    return tuple(entries)


class Pool:
    """All resources of one input."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        found = list(entries)
        urls = {entry.full_url: entry.name for entry in found if entry.full_url is not None and entry.name is not None}
        bare = {entry.name for entry in found if entry.full_url is None and entry.name is not None}
        self._by_name: dict[str, JsonObject] = {}
        self._by_type: dict[str, list[JsonObject]] = defaultdict(list)
        for entry in sorted(found, key=_last_updated):
            resource = _related(entry.resource, urls, bare, _base(entry))
            if entry.name is not None:
                self._by_name[entry.name] = resource
            else:
                self._by_type[str(resource["resourceType"])].append(resource)
        for resource in self._by_name.values():
            self._by_type[str(resource["resourceType"])].append(resource)
        self._by_patient: dict[tuple[str, str], list[JsonObject]] = defaultdict(list)
        for type_ in ("Condition", "Observation", "Procedure", "Consent", "DocumentReference"):
            for resource in self._by_type[type_]:
                whose = patient_id(reference(resource, "subject") or reference(resource, "patient"), base_url="")
                if whose is not None:
                    self._by_patient[type_, whose].append(resource)

    def all(self, type_: str) -> Iterator[JsonObject]:
        """Every resource of a type, each once."""
        yield from self._by_type[type_]

    def find(self, ref: str | None, *types: str) -> JsonObject | None:
        """The resource of one of ``types`` that a reference names, None where the input has none."""
        name = re.sub("/_history/.*", "", ref or "")
        return self._by_name.get(name) if name.partition("/")[0] in types else None

    def crisis_plans(self, patient: str, codes: Codes) -> tuple[str, ...] | None:
        """The crisis plans of a patient; None where the input has no documents of theirs at all."""
        documents = self._by_patient["DocumentReference", patient]
        return crisis_plans(documents, codes) if documents else None

    def preferences(self, patient: str, codes: Codes, zone: ZoneInfo | None) -> tuple[Coding, ...]:
        """What a patient states about ways of working."""
        return preferences(self._by_patient["Observation", patient], codes, zone)

    def context(self, dose: JsonObject, codes: Codes, zone: ZoneInfo | None, *, until: datetime) -> Context:
        """What hangs on an administration; of the body weights the latest that was measured by ``until``."""
        related = references_of(dose)
        request = self.find(related.request, "MedicationRequest", "ServiceRequest")
        subject = patient_id(administration.subject_of(dose.get("subject")), base_url="")
        return self._context(dose, related, request, subject, codes, zone, until)

    def context_of_order(
        self, order: JsonObject, patient: str, codes: Codes, zone: ZoneInfo | None, *, until: datetime
    ) -> Context:
        """What hangs on an order, or on a booked visit and the order that it is based on."""
        based = [text(one, "reference") for one in members(order, "basedOn")]
        visit = order.get("resourceType") == "Appointment"
        request = next(iter(self._found(based, "ServiceRequest", "MedicationRequest")), None) if visit else order
        return self._context(order, references_of(order), request, patient, codes, zone, until)

    def _context(
        self,
        resource: JsonObject,
        related: RelatedReferences,
        request: JsonObject | None,
        subject: str | None,
        codes: Codes,
        zone: ZoneInfo | None,
        until: datetime,
    ) -> Context:
        within = reference(resource, "encounter") or reference(resource, "context")
        encounter = self.find(related.encounter, "Encounter") or contained(resource, within)
        places = [
            *(reference(stay, "location") for stay in members(encounter, "location")),
            reference(encounter, "serviceProvider"),
            *related.performers,
            reference(request, "requester"),
            *(text(one, "reference") for one in members(request, "performer")),
            *(reference(one, "actor") for one in members(resource, "participant")),
        ]
        reasons = [*related.reasons, *(references_of(request).reasons if request is not None else ())]
        episodes = [within, *(text(one, "reference") for one in members(encounter, "episodeOfCare"))]
        return decode_context(
            request=request,
            encounter=encounter,
            medication=self.find(related.medication, "Medication"),
            patient=self._by_name.get(f"Patient/{subject}"),
            locations=self._found(places, *_PLACES),
            conditions=[one for one in self._by_patient["Condition", subject or ""] if not _is_resolved(one)],
            reasons=self._found(reasons, "Condition"),
            weight=self._weight(subject, codes, zone, until),
            episode=next(iter(self._found(episodes, "EpisodeOfCare")), None),
            procedures=tuple(happenings(self._by_patient["Procedure", subject or ""], zone)),
            consent=consent_of(self._by_patient["Consent", subject or ""], codes),
            units=codes.units,
        )

    def _found(self, refs: Iterable[str | None], *types: str) -> list[JsonObject]:
        found = (self.find(ref, *types) for ref in dict.fromkeys(refs))
        return [resource for resource in found if resource is not None]

    def _weight(self, patient: str | None, codes: Codes, zone: ZoneInfo | None, until: datetime) -> JsonObject | None:
        wanted = frozenset(codes.outbound.get("body-weight", ()))
        measured = [
            (when, one)
            for one in self._by_patient["Observation", patient or ""]
            if wanted.intersection(codings(member(one, "code"))) and text(one, "status") in _SETTLED
            if (when := effective(one, zone)[0].start or _UNDATED) <= until
        ]
        return max(measured, key=lambda pair: pair[0])[1] if measured else None


def _pieces(body: bytes) -> list[tuple[str, bytes]]:
    """The JSON texts of a body, each with its place in it."""
    lines = [(number, line) for number, line in enumerate(body.split(b"\n"), start=1) if line.strip()]
    if len(lines) > 1 and (_is_object(lines[0][1]) or all(_looks_whole(line) for _, line in lines)):
        return [(f"line {number}", line) for number, line in lines]
    return [("", body)]


def _looks_whole(line: bytes) -> bool:
    return line.strip().startswith(b"{") and line.strip().endswith(b"}")


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(strict_json.loads(line, max_members=_MOST_MEMBERS), dict)
    except BadInput:
        return False


def _placed(problem: Problem, where: str, path: str) -> Problem:
    return Problem(problem.code, ": ".join(part for part in (where, path) if part), problem.text)


def _entries(value: object, path: str, url: str | None) -> Iterator[Entry | Problem]:
    """The resources in a value; ``path`` is where it stands in its Bundle."""
    kind = value.get("resourceType") if isinstance(value, dict) else None
    if not isinstance(value, dict):
        yield Problem("structure", path, "is not a JSON object")
    elif not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        yield Problem("structure", f"{path}.resourceType".removeprefix("."), "is missing or no resource type")
    elif kind == "Bundle":
        yield from _bundle(value, path or kind)
    else:
        yield from _entry(value, kind, path or kind, url)


def _bundle(bundle: JsonObject, path: str) -> Iterator[Entry | Problem]:
    listed = bundle.get("entry", [])
    if not isinstance(listed, list):
        yield Problem("structure", f"{path}.entry", "is not an array")
        return
    for number, entry in enumerate(listed):
        if not isinstance(entry, dict):
            yield Problem("structure", f"{path}.entry[{number}]", "is not a JSON object")
        elif "resource" in entry:
            yield from _entries(entry["resource"], f"{path}.entry[{number}].resource", text(entry, "fullUrl"))


def _entry(resource: JsonObject, kind: str, path: str, url: str | None) -> Iterator[Entry | Problem]:
    """The resource with an id: its own, or the UUID under which a Bundle calls it."""
    urn = _URN.fullmatch(url or "")
    if "id" not in resource and urn is not None:
        resource = {**resource, "id": urn[1]}
    id_ = resource.get("id")
    problems: list[Problem] = []
    if kind == administration.TYPE:
        problems += administration.problems(resource)
        if "id" not in resource:
            problems.append(Problem("required", f"{kind}.id", "is missing, so there is no name for the dose"))
    elif "id" in resource and not (isinstance(id_, str) and is_id(id_)):
        problems.append(Problem("value", f"{kind}.id", "is not 1 to 64 letters, digits, '-' and '.'"))
    for problem in problems:
        yield Problem(problem.code, path + problem.path.removeprefix(kind), problem.text)
    if not problems:
        yield Entry(resource, url if url is not None and ":" in url else None)


def _base(entry: Entry) -> str | None:
    """The base URL of the server that an entry comes from."""
    absolute = _ABSOLUTE.fullmatch(entry.full_url or "")
    return absolute[1] if absolute is not None else None


def _related(resource: JsonObject, urls: Mapping[str, str | None], bare: set[str], base: str | None) -> JsonObject:
    """The resource with relative references wherever they name something of this input or of its own server.

    ``bare``: names of resources that came without a URL and may be of any server.
    """

    def relative(ref: str) -> str:
        name = urls.get(ref)
        if name is not None:
            return name
        absolute = _ABSOLUTE.fullmatch(ref)
        if absolute is None:
            return ref
        known = urls.get(absolute[1] + absolute[2])
        return known or (absolute[2] if absolute[1] == base or absolute[2] in bare else ref)

    def walk(value: object) -> object:
        if isinstance(value, dict):
            return {
                name: relative(inner) if name == "reference" and isinstance(inner, str) else walk(inner)
                for name, inner in value.items()
            }
        return [walk(inner) for inner in value] if isinstance(value, list) else value

    return {name: walk(inner) for name, inner in resource.items()}


def _last_updated(entry: Entry) -> datetime:
    """By which versions are ordered; one without a date counts as the newest, then the last in the input."""
    return administration.envelope(entry.resource).last_updated or datetime.max.replace(tzinfo=UTC)


def _is_resolved(condition: JsonObject) -> bool:
    """Whether a problem is over and not expected back (http://hl7.org/fhir/R4/valueset-condition-clinical.html)."""
    return any(coding.code == "resolved" for coding in codings(member(condition, "clinicalStatus")))
