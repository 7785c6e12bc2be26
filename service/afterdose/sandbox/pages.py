"""The record as a coordinator would read it in an EHR: plain HTML, no script, nothing loaded from anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, abort, render_template
from markupsafe import Markup

from afterdose.sandbox.capability import PURPOSE
from afterdose.sandbox.interactions import Interactions
from afterdose.sandbox.narrative import harmless
from afterdose.sandbox.outcome import Json
from afterdose.sandbox.search import at_path, local_reference, matches, parse

TIMEZONE = "http://hl7.org/fhir/StructureDefinition/timezone"
_CSP = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_SHOWN = ("CarePlan", "Appointment", "Task", "MedicationAdministration")
_UNLISTED = frozenset({*_SHOWN, "Patient", "Subscription", "Provenance", "AuditEvent"})


def pages(interactions: Interactions) -> Blueprint:
    """The list of patients, and a page for each."""
    routes = Blueprint("pages", __name__, template_folder="templates")
    record = _Record(interactions)

    @routes.get("/")
    def patients() -> str:
        rows = [_patient_row(patient, record) for patient in record.all("Patient")]
        return render_template("patients.html", purpose=PURPOSE, patients=sorted(rows, key=lambda row: row["name"]))

    @routes.get("/patients/<id_>")
    def patient(id_: str) -> str:
        found = record.one("Patient", id_)
        if found is None:
            abort(404)
        return render_template(
            "patient.html",
            purpose=PURPOSE,
            patient=_patient_row(found, record),
            plans=[_plan_row(plan) for plan in record.of("CarePlan", id_)],
            appointments=_by_time([_appointment_row(item, record) for item in record.of("Appointment", id_)]),
            tasks=_by_time([_task_row(item) for item in record.of("Task", id_)]),
            doses=_by_time([_dose_row(item) for item in record.of("MedicationAdministration", id_)]),
            others=[_row(item) for type_ in record.other_types() for item in record.of(type_, id_)],
        )

    @routes.after_request
    def protect(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = _CSP
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"
        return response

    return routes


class _Record:
    """What the store holds, as the staff see it: everything, at once, whatever the search index lags behind."""

    def __init__(self, interactions: Interactions) -> None:
        self._store = interactions.store
        self._base_url = interactions.base_url

    def all(self, type_: str) -> list[Json]:
        return [version.resource for version in self._store.living(type_) if version.resource]

    def one(self, type_: str, id_: str) -> Json | None:
        version = self._store.latest(type_, id_)
        return version.resource if version else None

    def of(self, type_: str, patient_id: str) -> list[Json]:
        query = parse(type_, [("patient", f"Patient/{patient_id}")])
        if not query.criteria:
            return []
        return [resource for resource in self.all(type_) if matches(resource, query, self._base_url)]

    def at(self, reference: object) -> Json | None:
        type_, _, id_ = local_reference(str(reference), self._base_url).partition("/")
        return self.one(type_, id_)

    def other_types(self) -> list[str]:
        return [type_ for type_ in self._store.types() if type_ not in _UNLISTED]


def _row(resource: Json) -> Json:
    return {
        "type": resource["resourceType"],
        "id": resource["id"],
        "status": _text(resource, "status") or _text(resource, "lifecycleStatus"),
        "intent": _text(resource, "intent"),
        "raw": json.dumps(resource, indent=2, ensure_ascii=False),
        "order": "",
    }


def _patient_row(patient: Json, record: _Record) -> Json:
    id_ = patient["id"]
    plans = [_text(plan, "status") for plan in record.of("CarePlan", id_)]
    return {
        **_row(patient),
        "name": _name(patient) or f"Patient {id_}",
        "birth_date": _text(patient, "birthDate"),
        "identifiers": ", ".join(str(value) for value in at_path(patient, "identifier.value")),
        "plan_statuses": plans,
        "counts": {type_: len(record.of(type_, id_)) for type_ in _SHOWN},
    }


def _plan_row(plan: Json) -> Json:
    div = _text(plan, "text.div")
    return {
        **_row(plan),
        "title": _text(plan, "title") or "Care plan",
        # S704: what `harmless` gives back it has built itself, out of allowed elements and escaped text.
        "narrative": Markup(harmless(div)) if div else "",  # noqa: S704
    }


def _appointment_row(appointment: Json, record: _Record) -> Json:
    zone = _zone(appointment, record)
    period: Json = next(at_path(appointment, "requestedPeriod"), {})
    booked: Json = {key: appointment[key] for key in ("start", "end") if key in appointment}
    return {
        **_row(appointment),
        "requested": _span(period, zone),
        "booked": _span(booked, zone),
        "zone": str(zone),
        "minutes": appointment.get("minutesDuration", ""),
        "says": [_text(appointment, name) for name in ("description", "comment", "patientInstruction")],
        "order": _text(booked, "start") or _text(period, "start"),
    }


def _task_row(task: Json) -> Json:
    deadline = _text(task, "restriction.period.end")
    return {
        **_row(task),
        "description": _text(task, "description") or _concept(task.get("code")),
        "owner": _text(task, "owner.display") or _text(task, "owner.reference"),
        "deadline": _moment(deadline, _own_zone(task)),
        "order": deadline,
    }


def _dose_row(dose: Json) -> Json:
    when = _text(dose, "effectiveDateTime")
    period: Json = next(at_path(dose, "effectivePeriod"), {"start": when} if when else {})
    amount = f"{_text(dose, 'dosage.dose.value')} {_text(dose, 'dosage.dose.unit')}".strip()
    medication = _concept(dose.get("medicationCodeableConcept")) or _text(dose, "medicationReference.display")
    return {
        **_row(dose),
        "when": _span(period, _own_zone(dose)) if "end" in period else _moment(when, _own_zone(dose)),
        "medication": medication,
        "amount": amount or _text(dose, "dosage.text"),
        "route": _concept(next(at_path(dose, "dosage.route"), None)),
        "order": _text(period, "start"),
    }


def _text(resource: Json, path: str) -> str:
    value = next(at_path(resource, path), "")
    return str(value) if isinstance(value, str | int | float) else ""


def _name(patient: Json) -> str:
    name = next(at_path(patient, "name"), None)
    if not isinstance(name, dict):
        return ""
    return _text(name, "text") or " ".join([*map(str, at_path(name, "given")), _text(name, "family")]).strip()


def _concept(concept: Any) -> str:
    if not isinstance(concept, dict):
        return ""
    return _text(concept, "text") or _text(concept, "coding.display") or _text(concept, "coding.code")


def _zones(resource: Json | None) -> Iterator[ZoneInfo]:
    for path in ("extension", "requestedPeriod.extension", "_start.extension"):
        for extension in at_path(resource, path):
            if isinstance(extension, dict) and extension.get("url") == TIMEZONE:
                try:
                    yield ZoneInfo(str(extension.get("valueCode") or extension.get("valueString")))
                except (KeyError, OSError, ValueError):
                    continue


def _zone(appointment: Json, record: _Record) -> tzinfo:
    """The zone that the Appointment names, or else its clinic's, or else UTC."""
    places = (record.at(reference) for reference in at_path(appointment, "participant.actor.reference"))
    return next((zone for resource in (appointment, *places) for zone in _zones(resource)), ZoneInfo("UTC"))


def _own_zone(resource: Json) -> tzinfo | None:
    return next(_zones(resource), None)


def _moment(text: str, zone: tzinfo | None) -> str:
    """A time in words; in the zone given, or as it was written. What is no time is shown as it stands."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    if len(text) <= len("2000-01-01") or moment.tzinfo is None:
        return text
    local = moment.astimezone(zone) if zone else moment
    return f"{local:%a %d %b %Y, %H:%M} {'' if isinstance(zone, ZoneInfo) else local.tzname()}".strip()


def _span(period: Json, zone: tzinfo | None) -> str:
    start, end = (_moment(_text(period, key), zone) for key in ("start", "end"))
    day = start.partition(",")[0] + ","
    if end.startswith(day):
        end = end.removeprefix(day).strip()
        written_zone = end.partition(" ")[2]
        start = start.removesuffix(written_zone).strip()
    return " \N{EN DASH} ".join(part for part in (start, end) if part)


def _by_time(rows: list[Json]) -> list[Json]:
    return sorted(rows, key=lambda row: row["order"])
