"""Doubles of commercial EHRs: what they declare and what they refuse is as their vendors document it.

Sources: the vendors' published CapabilityStatements (R4) and write documentation, read in August 2026. A double keeps
its resources in the sandbox EHR, which also is how its staff work (`ehr.staff`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from flask import Flask, Response, request

from afterdose.sandbox import SandboxEHR
from doubles.serving import Double

Resource = dict[str, Any]
MERGED: Resource = {
    "resourceType": "OperationOutcome",
    "issue": [{"severity": "warning", "code": "processing", "details": {"coding": [{"code": "4107"}]}}],
}
"""What Epic adds to an answer about a patient whose record was merged."""
LOOK = frozenset({"read", "search-type"})
READ_FROM = dict.fromkeys(("Patient", "MedicationRequest", "Encounter", "Appointment", "CarePlan", "Goal"), LOOK)


@dataclass(frozen=True)
class Rules:
    """One vendor. ``refuses``: why a create or update of a resource is 422, None where it is taken; ``patches``: the
    same for a patch, from what stood there to what would; ``searches``: why a search by some parameters is 400.

    ``keeps``: the elements that are stored of a type, all where it is not named. ``search``: the parameters of a type.
    """

    declared: Mapping[str, frozenset[str]]
    refuses: Callable[[Resource], str | None] = lambda _: None
    keeps: Mapping[str, frozenset[str]] = field(default_factory=dict)
    search: Mapping[str, frozenset[str]] = field(default_factory=dict)
    searches: Callable[[str, Mapping[str, str]], str | None] = lambda _type, _given: None
    patches: Callable[[Resource, Resource], str | None] = lambda _before, _after: "not-supported"
    empty_answers: bool = False
    answers_for_merged: bool = True
    """Whether a former record is answered for with the survivor, as Epic does; else its new address is named."""
    unknown_parameters: str = "refused"
    fhir_version: str = "4.0.1"


class VendorEhr(Double):
    """A double that answers on a real socket."""

    def __init__(self, rules: Rules, staff: SandboxEHR | None = None) -> None:
        self.rules = rules
        self.refused: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.lose_answers = 0
        self.merged: dict[str, str] = {}
        self.locked = 0
        super().__init__(self._app(), staff or SandboxEHR())

    def all(self, type_: str) -> list[Resource]:
        """What stands in this EHR."""
        return self.staff.all(type_)

    def _app(self) -> Flask:
        app = Flask(__name__)

        @app.before_request
        def note() -> None:
            self.requests.append((request.method, request.path))

        @app.get("/fhir/metadata")
        def metadata() -> Response:
            return _json(_statement(self.rules))

        @app.get("/fhir/<type_>/<id_>")
        def read(type_: str, id_: str) -> Response:
            if "read" not in self._declared(type_):
                return self._refuse(404, "not-supported")
            if type_ == "Patient" and id_ in self.merged and not self.rules.answers_for_merged:
                return Response(b"", 301, {"Location": f"{self.base_url}/Patient/{self.merged[id_]}"})
            found = self.staff.get(type_, self.merged.get(id_, id_) if type_ == "Patient" else id_)
            return _json(self._shown(found), etag=_etag(found)) if found else self._refuse(404, "not-found")

        @app.get("/fhir/<type_>")
        def search(type_: str) -> Response:
            return self._search(type_, request.args.items(multi=True))

        @app.post("/fhir/<type_>/_search")
        def search_by_post(type_: str) -> Response:
            return self._search(type_, parse_qsl(request.get_data(as_text=True)))

        @app.post("/fhir/<type_>")
        def create(type_: str) -> Response:
            if "create" not in self._declared(type_):
                return self._refuse(403, "forbidden")
            resource = request.get_json(force=True)
            if (why := self.rules.refuses(resource)) is not None:
                return self._refuse(422, why)
            return self._answer(self.staff.create(self._kept(resource)), 201)

        @app.put("/fhir/<type_>/<id_>")
        def update(type_: str, id_: str) -> Response:
            if "update" not in self._declared(type_):
                return self._refuse(405, "not-supported")
            resource, found = request.get_json(force=True), self.staff.get(type_, id_)
            if found is None:
                return self._refuse(404, "not-found")
            if "If-Match" not in request.headers:
                return self._refuse(412, "required")
            if request.headers["If-Match"] != _etag(found):
                return self._refuse(409, "conflict")
            if (why := self.rules.refuses(resource)) is not None:
                return self._refuse(422, why)
            return self._answer(self.staff.put(self._kept(resource)), 200)

        @app.patch("/fhir/<type_>/<id_>")
        def patch(type_: str, id_: str) -> Response:
            if "patch" not in self._declared(type_):
                return self._refuse(405, "not-supported")
            if request.mimetype != "application/json-patch+json":
                return self._refuse(415, "not-supported")
            found = self.staff.get(type_, id_)
            if found is None:
                return self._refuse(404, "not-found")
            if self.locked:
                self.locked -= 1
                return self._refuse(423, "lock-error")
            if "If-Match" not in request.headers:
                return self._refuse(412, "required")
            if request.headers["If-Match"] != _etag(found):
                return self._refuse(409, "conflict")
            changed = dict(found)
            for operation in request.get_json(force=True):
                if operation["op"] != "replace" or operation["path"].count("/") != 1:
                    return self._refuse(422, "unsupported-operation")
                changed[operation["path"].removeprefix("/")] = operation["value"]
            if (why := self.rules.patches(found, changed)) is not None:
                return self._refuse(422, why)
            stored = self.staff.put(changed)
            if self.lose_answers:
                self.lose_answers -= 1
                return Response("gateway", 502, content_type="text/html")
            return Response(b"", 200, {"ETag": _etag(stored)}, content_type="text/html")

        return app

    def _declared(self, type_: str) -> frozenset[str]:
        return self.rules.declared.get(type_, frozenset())

    def _kept(self, resource: Resource) -> Resource:
        kept = self.rules.keeps.get(resource["resourceType"])
        names = {"resourceType", "id"}
        return resource if kept is None else {name: resource[name] for name in resource if name in kept | names}

    def _answer(self, stored: Resource, status: int) -> Response:
        if self.lose_answers:
            self.lose_answers -= 1
            return Response("gateway", 502, content_type="text/html")
        headers = {"ETag": _etag(stored), "Location": f"{self.base_url}/{stored['resourceType']}/{stored['id']}"}
        if self.rules.empty_answers:
            return Response(b"", status, headers)
        return _json(stored, status, etag=_etag(stored))

    def _search(self, type_: str, pairs: Iterable[tuple[str, str]]) -> Response:
        if "search-type" not in self._declared(type_):
            return self._refuse(404, "not-supported")
        given = dict(pairs)
        known = self.rules.search.get(type_, frozenset({"patient", "identifier", "_id", "category", "date", "status"}))
        if set(given) - known and self.rules.unknown_parameters == "refused":
            return self._refuse(400, "not-supported")
        asked = given.get("patient", "").removeprefix("Patient/")
        person = self.merged.get(asked, asked)
        if (why := self.rules.searches(type_, given)) is not None:
            return self._refuse(400, why)
        found = [one for one in self.staff.all(type_) if not person or f'"Patient/{person}"' in json.dumps(one)]
        if type_ == "Appointment" and "date" in given:
            found = [one for one in found if one["status"] != "proposed"]
        if "identifier" in given and "identifier" in known:
            value = given["identifier"].rpartition("|")[2]
            found = [one for one in found if value in json.dumps(one.get("identifier", []))]
        entries = [{"resource": one, "search": {"mode": "match"}} for one in found]
        if person != asked:
            entries.append({"resource": MERGED, "search": {"mode": "outcome"}})
        return _json({"resourceType": "Bundle", "type": "searchset", "total": len(found), "entry": entries})

    def _shown(self, resource: Resource) -> Resource:
        """What others see of a resource."""
        return resource

    def _refuse(self, status: int, why: str) -> Response:
        self.refused.append(f"{request.method} {request.path}: {status} {why}")
        issue = {"severity": "error", "code": "processing", "details": {"coding": [{"code": why.replace(" ", "-")}]}}
        return _json({"resourceType": "OperationOutcome", "issue": [issue]}, status)


def _statement(rules: Rules) -> Resource:
    resources = [
        {"type": type_, "interaction": [{"code": one} for one in sorted(codes)]}
        for type_, codes in rules.declared.items()
    ]
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "fhirVersion": rules.fhir_version,
        "rest": [{"mode": "server", "interaction": [{"code": "batch"}], "resource": resources}],
    }


def _etag(resource: Resource) -> str:
    """Opaque, as Oracle's can be."""
    version = resource["meta"]["versionId"]
    return f'W/"{version}-{version}"'


def _json(body: Resource, status: int = 200, *, etag: str | None = None) -> Response:
    headers = {"ETag": etag} if etag else {}
    return Response(json.dumps(body), status, headers, content_type="application/fhir+json")


def _oracle(resource: Resource) -> str | None:
    match resource["resourceType"]:
        case "Appointment":
            return _oracle_appointment(resource)
        case "DocumentReference":
            return _oracle_note(resource)
        case "Communication":
            payload = resource.get("payload", [{}])[0]
            fits = resource["status"] == "completed" and resource.get("sender", {}).get("reference", "").startswith(
                "Practitioner/"
            )
            return None if fits and "contentAttachment" in payload else "communication"
    return None


def _oracle_appointment(one: Resource) -> str | None:
    allowed = {"resourceType", "id", "meta", "status", "serviceType", "reasonCode", "participant", "requestedPeriod"}
    if set(one) - allowed:
        return "unsupported-fields"
    actors = [each["actor"].get("reference", "").partition("/")[0] for each in one["participant"]]
    if actors.count("Patient") != 1 or set(actors) != {"Patient", "Location"}:
        return "participants"
    if any("type" in each or each["status"] != "needs-action" for each in one["participant"]):
        return "participant-type"
    if len(one["serviceType"]) != 1 or len(one["reasonCode"]) != 1 or len(one["reasonCode"][0]["text"]) > 255:
        return "service-type-or-reason"
    (period,) = one["requestedPeriod"]
    return None if one["status"] == "proposed" and {"start", "end"} <= set(period) else "status-or-period"


def _oracle_note(one: Resource) -> str | None:
    allowed = {
        "resourceType", "id", "meta", "identifier", "status", "docStatus", "type", "subject", "description", "content",
        "context",
    }  # fmt: skip
    if set(one) - allowed:
        return "unsupported-fields"
    if len(one["content"]) != 1 or ";charset=" not in one["content"][0]["attachment"]["contentType"]:
        return "content"
    return None if "end" in one["context"]["period"] and one["subject"]["reference"] else "context-or-subject"


def _epic(resource: Resource) -> str | None:
    if resource["resourceType"] == "ServiceRequest" and resource["intent"] != "order":
        return "59159"
    return None


def _oracle_patch(before: Resource, after: Resource) -> str | None:
    """Only the status, and only along the sequences that are documented."""
    steps = {"proposed": {"booked", "cancelled"}, "booked": {"arrived", "checked-in", "cancelled"}}
    if {name for name in before if before[name] != after.get(name)} != {"status"}:
        return "unsupported-path"
    return None if after["status"] in steps.get(before["status"], set()) else "status-sequence"


def _oracle_search(type_: str, given: Mapping[str, str]) -> str | None:
    """An Appointment is searched by id or by a patient and a time; a lower bound has its prefix and a time of day."""
    if type_ != "Appointment" or "_id" in given:
        return None
    times = [given[name] for name in ("date", "-date-or-req-period") if name in given]
    fits = "patient" in given and len(times) == 1 and times[0][:2] in ("ge", "lt") and "T" in times[0]
    return None if fits else "required"


_NOTES = LOOK | {"create", "update"}
ORACLE = Rules(
    declared=READ_FROM
    | {
        "MedicationAdministration": LOOK,
        "Appointment": LOOK | {"create", "patch"},
        "Communication": LOOK | {"create", "patch"},
        "DocumentReference": _NOTES,
        "Provenance": LOOK | {"create"},
        "ServiceRequest": LOOK,
    },
    refuses=_oracle,
    keeps={
        "DocumentReference": frozenset({"status", "docStatus", "type", "subject", "description", "content", "context"})
    },
    search={
        "Appointment": frozenset(
            {"_id", "date", "-date-or-req-period", "patient", "practitioner", "location", "status"}
        ),
        "Communication": frozenset({"_id", "category", "received", "recipient"}),
        "DocumentReference": frozenset({"_id", "patient", "encounter", "period", "type", "category", "date"}),
    },
    patches=_oracle_patch,
    searches=_oracle_search,
    empty_answers=True,
)
EPIC = Rules(
    declared=READ_FROM
    | {
        "MedicationAdministration": LOOK,
        "Communication": LOOK | {"create"},
        "DocumentReference": _NOTES,
        "Provenance": frozenset({"read"}),
        "ServiceRequest": _NOTES,
        "Task": LOOK | {"update"},
    },
    refuses=_epic,
    unknown_parameters="ignored",
)
MEDITECH = Rules(
    declared=READ_FROM
    | {
        "Communication": LOOK | {"create"},
        "DocumentReference": LOOK,
        "Provenance": frozenset({"read"}),
        "ServiceRequest": LOOK,
        "Task": frozenset({"read"}),
    },
    search={"Communication": frozenset({"_id", "patient", "recipient", "sender", "sent", "subject"})},
)
ATHENAHEALTH = Rules(declared=READ_FROM | {"DocumentReference": LOOK, "Provenance": LOOK, "ServiceRequest": LOOK})
VENDORS = {"oracle-health": ORACLE, "epic": EPIC, "meditech": MEDITECH, "athenahealth": ATHENAHEALTH}
