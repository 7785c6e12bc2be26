"""Every folder here is a story of one patient; it must end as its `expected.toml` says."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from afterdose.content.content import Content, load_content
from afterdose.core.activities import BESIDES
from afterdose.core.care import ArtifactKind, Care, DoseVerdict, Known, Snapshot, Standing
from afterdose.core.clinic import Clinic
from afterdose.core.dose import Dose, DoseKey, PlannedDose
from afterdose.core.identity import dose_session_id, preparation_id
from afterdose.core.person import Person
from afterdose.core.plan import decide
from afterdose.core.reasons import Reason
from afterdose.fhir.decode.announced import announcements
from afterdose.fhir.decode.around import happenings
from afterdose.fhir.decode.dose import decode_context, decode_dose
from afterdose.fhir.decode.offline import Entry, Pool
from afterdose.fhir.decode.person import read_person
from builders import after_writing

HERE = Path(__file__).parent
CASES = sorted(path.parent for path in HERE.glob("*/case.toml"))
PATIENT = "patient-1"
_ENDED = (Standing.WITHDRAWN, Standing.REMOVED_BY_PERSON)
VISITS = {
    Standing.WRITTEN: "proposed",
    Standing.WITHDRAWN: "cancelled",
    Standing.REMOVED_BY_PERSON: "cancelled by staff",
}


@cache
def content() -> Content:
    return load_content()


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(), parse_float=Decimal)


def _around(case: Path) -> dict[str, Any]:
    """What decode_context is told, from the files of ``ehr/``."""
    by_type: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((case / "ehr").glob("*.json")):
        resource = _json(path)
        by_type.setdefault(resource["resourceType"], []).append(resource)
    single = {"request": "MedicationRequest", "encounter": "Encounter", "patient": "Patient", "weight": "Observation"}
    found: dict[str, Any] = {name: by_type.get(kind, [None])[0] for name, kind in single.items()}
    procedures = tuple(happenings(by_type.get("Procedure", []), None))
    lists = {"locations": by_type.get("Location", []), "conditions": by_type.get("Condition", [])}
    return {**found, **lists, "procedures": procedures}


def _arrived(event: Mapping[str, Any], case: Path, doses: Mapping[DoseKey, Dose], clinic: Clinic) -> Dose:
    at = event["at"].astimezone(UTC)
    if "deleted" in event:
        return replace(doses[DoseKey("ehr", event["deleted"])], removed=True)
    resource = _json(case / "events" / event["file"])
    key = DoseKey("ehr", resource["id"])
    dose = decode_dose(
        resource,
        key=key,
        patient=resource["subject"]["reference"].removeprefix("Patient/"),
        heard_at=at,
        codes=content().codes,
        zone=clinic.zone,
        context=decode_context(**_around(case)),
    )
    before = doses.get(key)
    same = before is not None and before.effective == dose.effective
    return replace(dose, heard_at=before.heard_at) if before is not None and same else dose


def _ordered(event: Mapping[str, Any], case: Path, snapshot: Snapshot) -> Snapshot:
    """The snapshot with an order as it arrived, and the doses that it announces."""
    at, around = event["at"].astimezone(UTC), [_json(path) for path in sorted((case / "ehr").glob("*.json"))]
    pool = Pool(Entry(one) for one in (_json(case / "events" / event["order"]), *around))
    found = announcements(pool, snapshot.codes, snapshot.clinic.zone, source="ehr", heard_at=lambda _: at)
    for one in found:
        if one.order is not None:
            orders = (*(old for old in snapshot.orders if old.key != one.order.key), one.order)
            planned = (*(old for old in snapshot.planned if old.order != one.order.key), *one.doses)
            snapshot = replace(snapshot, orders=orders, planned=planned)
    return snapshot


def _staff_did(event: Mapping[str, Any], snapshot: Snapshot) -> Snapshot:
    """People booked or cancelled the visit after a dose, or activated or revoked the plan."""
    rows = dict(snapshot.known.artifacts)
    if event["staff"] == "revoked the plan":
        plans = {key: row for key, row in rows.items() if key.kind is ArtifactKind.CARE_PLAN}
        end = {
            "standing": Standing.REMOVED_BY_PERSON,
            "ehr_status": "revoked",
            "closed_at": event["at"].astimezone(UTC),
        }
        rows |= {key: replace(row, **end) for key, row in plans.items()}
        return replace(snapshot, known=Known(memberships=snapshot.known.memberships, artifacts=rows))
    if event["staff"] == "activated the plan":
        plans = {key: row for key, row in rows.items() if key.kind is ArtifactKind.CARE_PLAN}
        rows |= {key: replace(row, was_active=True, ehr_status="active") for key, row in plans.items()}
        return replace(snapshot, known=Known(memberships=snapshot.known.memberships, artifacts=rows))
    for key, row in rows.items():
        if key.kind is not ArtifactKind.APPOINTMENT or key.subject != dose_session_id(DoseKey("ehr", event["dose"])):
            continue
        if event["staff"] == "booked the visit":
            rows[key] = replace(row, booked=True, ehr_status="booked", start=event["start"].astimezone(UTC))
        elif event["staff"] == "cancelled the visit":
            rows[key] = replace(row, standing=Standing.REMOVED_BY_PERSON, ehr_status="cancelled")
        else:
            raise ValueError(f"unknown: {event['staff']}")
    return replace(snapshot, known=Known(memberships=snapshot.known.memberships, artifacts=rows))


def _said_of_person(event: Mapping[str, Any], case: Path, snapshot: Snapshot) -> Snapshot:
    """The EHR says something new of the patient: a death, a record out of use, or whose record this one went up in.

    After a merge what is written names the former record.
    """
    patient = _json(case / "events" / event["patient"])
    said = read_person(patient, asked=patient["id"], base_url="", zone=snapshot.clinic.zone)
    if said.successors:
        (survivor,) = said.successors
        rows = {key: replace(row, named=snapshot.patient) for key, row in snapshot.known.artifacts.items()}
        known = Known(memberships=snapshot.known.memberships, artifacts=rows)
        return replace(snapshot, patient=survivor, known=known)
    died_by = said.died_by or event["at"].astimezone(UTC) if said.deceased else None
    return replace(snapshot, person=Person(hold=None if said.active else Reason.PATIENT_INACTIVE, died_by=died_by))


def run(case: Path) -> tuple[Snapshot, Care]:
    told = tomllib.loads((case / "case.toml").read_text())
    own = case / "clinic.toml"
    clinic = content().clinic(str(own) if own.is_file() else told["clinic"])
    snapshot = Snapshot(patient=PATIENT, doses=(), protocols=content().protocols, clinic=clinic, codes=content().codes)
    planned = tuple(PlannedDose(at=one.astimezone(UTC)) for one in told.get("next_doses_ordered_for", []))
    snapshot = replace(snapshot, planned=planned)
    doses: dict[DoseKey, Dose] = {}
    for event in told["event"]:
        if "staff" in event:
            snapshot = _staff_did(event, snapshot)
        elif "order" in event:
            snapshot = _ordered(event, case, snapshot)
        elif "patient" in event:
            snapshot = _said_of_person(event, case, snapshot)
            doses = {key: replace(dose, patient=snapshot.patient) for key, dose in doses.items()}
        elif "time_passed" not in event:
            dose = _arrived(event, case, doses, clinic)
            doses[dose.key] = dose
        snapshot = replace(snapshot, doses=tuple(doses.values()))
        care = decide(snapshot, event["at"].astimezone(UTC))
        snapshot = after_writing(snapshot, care)
    return snapshot, decide(snapshot, told["event"][-1]["at"].astimezone(UTC))


def _local(moment: datetime, clinic: Clinic) -> str:
    there = moment.astimezone(clinic.zone)
    return f"{there:%a} {there.day} {there:%b %Y %H:%M %Z}"


def _dose_told(verdict: DoseVerdict, clinic: Clinic) -> dict[str, Any]:
    told: dict[str, Any] = {
        "administrations": [key.id for key in verdict.administrations],
        "outcome": str(verdict.outcome),
        "because": [str(reason) for reason in verdict.reasons],
    }
    if verdict.withdrawn:
        told["withdrawn"] = [key.id for key in verdict.withdrawn]
    if verdict.phase:
        told["phase"] = str(verdict.phase)
    if verdict.window:
        told["window"] = f"{_local(verdict.window.opens, clinic)} to {_local(verdict.window.closes, clinic)}"
    session = verdict.session
    if session and session.start and session.hours_after is not None:
        told["visit"] = _local(session.start, clinic)
        told["hours_after"] = round(session.hours_after, 2)
        told["visit_is"] = str(session.session_class)
    if session and session.reasons:
        told["visit_labels"] = [str(reason) for reason in session.reasons]
    return told


def _ehr_told(snapshot: Snapshot, care: Care) -> list[str]:
    """What stands in the EHR at the end, in words."""
    founders = {dose_session_id(dose.key): dose.key.id for dose in snapshot.doses}
    courses = {member.course_id for member in snapshot.known.memberships.values()}
    preparations = {preparation_id(course, number): number for course in courses for number in (1, 2, 3)}
    statuses = {plan.key: str(plan.status) for plan in care.plans}
    told = []
    for key, row in snapshot.known.artifacts.items():
        if key.kind in BESIDES:
            continue
        if key.kind is ArtifactKind.CARE_PLAN:
            told.append(f"care plan: {row.ehr_status if row.standing in _ENDED else statuses[key]}")
        elif key.subject in preparations:
            told.append(f"preparation visit {preparations[key.subject]}: {VISITS[row.standing]}")
        elif key.kind is ArtifactKind.APPOINTMENT:
            told.append(f"visit after {founders[key.subject]}: {'booked' if row.booked else VISITS[row.standing]}")
        elif key.subject in courses:
            told.append(f"{key.kind} for the course: {'taken back' if row.standing is Standing.WITHDRAWN else 'open'}")
        else:
            state = "taken back" if row.standing is Standing.WITHDRAWN else "open"
            told.append(f"{key.kind} for {founders.get(key.subject, 'a planned dose')}: {state}")
    return sorted(told)


def _asked_told(care: Care, clinic: Clinic) -> list[str]:
    """What belongs to the plans besides the sessions, in words: from when, until when."""
    told = []
    for one in care.activities:
        if one.cancelled or one.hold or one.waits:
            continue
        said = f"{one.key.kind}, {'patient' if one.for_patient else 'staff'}"
        said += f", from {_local(one.starts, clinic)}" if one.starts else ""
        said += f", by {_local(one.due, clinic)}" if one.due else ""
        told.append(said + (" (assumed)" if one.due_assumed else ""))
    return told


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_story_ends_as_expected(case: Path) -> None:
    snapshot, care = run(case)
    expected = tomllib.loads((case / "expected.toml").read_text())
    if "asked" in expected:
        assert _asked_told(care, snapshot.clinic) == expected.pop("asked")
    assert {
        "in_the_ehr": _ehr_told(snapshot, care),
        "dose": [_dose_told(verdict, snapshot.clinic) for verdict in care.verdicts],
    } == expected


def test_every_folder_is_a_whole_case() -> None:
    folders = [path for path in HERE.iterdir() if path.is_dir() and not path.name.startswith("_")]
    assert folders
    for folder in folders:
        assert (folder / "case.toml").is_file(), folder.name
        assert (folder / "expected.toml").is_file(), folder.name
        events = tomllib.loads((folder / "case.toml").read_text())["event"]
        used = {event[kind] for event in events for kind in ("file", "order", "patient") if kind in event}
        assert used == {path.name for path in (folder / "events").iterdir()}, folder.name
