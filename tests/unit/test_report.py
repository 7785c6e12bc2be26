"""What reports and outcome rows say of verdicts."""

from dataclasses import replace
from uuid import UUID

import pytest

from afterdose.core.care import ArtifactKey, ArtifactKind, Care, Known, Membership
from afterdose.core.dose import DoseKey, PlannedDose
from afterdose.core.identity import course_id, dose_session_id
from afterdose.core.plan import decide
from afterdose.core.reasons import Outcome, Reason
from afterdose.work.reports.report import dose_report, outcome_rows
from builders import a_clinic, a_dose, a_snapshot, hours, local

NOW = local("2026-01-05 12:00")
FOUNDER = DoseKey("ehr", "a")
SESSION, COURSE = dose_session_id(FOUNDER), course_id(FOUNDER)


def care_of(*doses: object, **changes: object) -> Care:
    return decide(a_snapshot(*doses, **changes), NOW)


def outcomes(care: Care, *refused: ArtifactKey) -> dict[str, Outcome]:
    rows = outcome_rows(care, target="ehr", patient="pat-1", refused=refused)
    return {row.key.id: row.outcome for row in rows}


def artifact(kind: ArtifactKind, subject: UUID) -> ArtifactKey:
    return ArtifactKey(kind, subject)


def test_a_planned_dose_is_reported_whole() -> None:
    (verdict,) = care_of(
        a_dose("2026-01-05 10:00", id="a"), planned=(PlannedDose(at=local("2026-01-07 10:00")),)
    ).verdicts
    assert dose_report(verdict) == {
        "administrations": ["MedicationAdministration/a"],
        "anchor": "2026-01-05T15:40:00Z",
        "anchor_basis": "end",
        "eligibility": "eligible",
        "reasons": ["psychiatric-indication", "dose-within-envelope"],
        "course": str(COURSE),
        "phase": "active",
        "outcome": "planned",
        "window": {
            "opens": "2026-01-06T15:40:00Z",
            "closes": "2026-01-07T14:00:00Z",
            "cut_by": {"kind": "planned", "at": "2026-01-07T15:00:00Z"},
        },
        "session": {
            "state": "proposed",
            "start": "2026-01-06T16:00:00Z",
            "end": "2026-01-06T17:00:00Z",
            "hours_after": 24.333333,
            "class": "in-window",
            "score": 0.996528,
            "reason": None,
        },
    }


def test_under_review_the_window_is_shown_and_no_session() -> None:
    (verdict,) = care_of(a_dose("2026-01-05 10:00", id="a", reasons=())).verdicts
    report = dose_report(verdict)
    assert (report["eligibility"], report["session"]) == ("review", None)
    assert report["window"]["opens"] == "2026-01-06T15:40:00Z"


def test_an_unmet_session_gives_its_reason_and_no_time() -> None:
    (verdict,) = care_of(a_dose("2026-01-05 10:00", id="a"), clinic=a_clinic(days=())).verdicts
    assert dose_report(verdict)["session"] == {
        "state": "unmet",
        "start": None,
        "end": None,
        "hours_after": None,
        "class": None,
        "score": None,
        "reason": "no-clinic-hours",
    }


def test_a_dose_that_is_not_over_has_a_waiting_session_and_no_eligibility_yet() -> None:
    (verdict,) = care_of(a_dose("2026-01-05 10:00", id="a", status="in-progress")).verdicts
    report = dose_report(verdict)
    assert (report["outcome"], report["eligibility"]) == ("waiting", None)
    assert (report["session"]["state"], report["session"]["reason"]) == ("waiting", "in-progress")


def test_what_was_withdrawn_is_not_eligible() -> None:
    (verdict,) = care_of(a_dose("2026-01-05 10:00", id="a", status="entered-in-error")).verdicts
    report = dose_report(verdict)
    assert (report["outcome"], report["eligibility"], report["reasons"]) == (
        "withdrawn",
        "not-eligible",
        ["entered-in-error"],
    )


def test_the_founder_is_planned_and_the_others_joined() -> None:
    care = care_of(a_dose("2026-01-05 10:00", id="a"), a_dose("2026-01-05 10:50", id="b", minutes=5))
    assert outcomes(care) == {"a": Outcome.PLANNED, "b": Outcome.JOINED}


def test_members_of_a_session_that_is_not_planned_share_its_outcome() -> None:
    doses = (a_dose("2026-01-05 10:00", id="a", reasons=()), a_dose("2026-01-05 10:50", id="b", minutes=5, reasons=()))
    assert outcomes(care_of(*doses)) == {"a": Outcome.REVIEW, "b": Outcome.REVIEW}


def test_a_withdrawn_member_is_withdrawn_while_its_session_stays_planned() -> None:
    member = Membership(session_id=SESSION, course_id=COURSE)
    known = Known(memberships={FOUNDER: member, DoseKey("ehr", "b"): member})
    gone = a_dose("2026-01-05 10:50", id="b", minutes=5, status="entered-in-error")
    care = care_of(a_dose("2026-01-05 10:00", id="a"), gone, known=known)
    assert outcomes(care) == {"a": Outcome.PLANNED, "b": Outcome.WITHDRAWN}


@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        (artifact(ArtifactKind.APPOINTMENT, SESSION), Outcome.PARKED),
        (artifact(ArtifactKind.CARE_PLAN, COURSE), Outcome.PARKED),
        (artifact(ArtifactKind.APPOINTMENT, UUID(int=1)), Outcome.PLANNED),
    ],
)
def test_a_session_is_parked_when_what_serves_it_was_refused(refused: ArtifactKey, expected: Outcome) -> None:
    assert outcomes(care_of(a_dose("2026-01-05 10:00", id="a")), refused) == {"a": expected}


def test_a_refused_review_task_parks_its_session_and_a_refused_plan_does_not() -> None:
    care = care_of(a_dose("2026-01-05 10:00", id="a", reasons=()))
    assert outcomes(care, artifact(ArtifactKind.REVIEW_TASK, SESSION)) == {"a": Outcome.PARKED}
    assert outcomes(care, artifact(ArtifactKind.CARE_PLAN, COURSE)) == {"a": Outcome.REVIEW}


def test_what_needs_no_writing_is_never_parked() -> None:
    care = care_of(a_dose("2026-01-05 10:00", id="a", status="in-progress"))
    assert outcomes(care, artifact(ArtifactKind.CARE_PLAN, COURSE)) == {"a": Outcome.WAITING}


def test_a_row_keeps_ids_reasons_the_report_and_the_next_look() -> None:
    care = care_of(a_dose("2026-01-05 10:00", id="a"))
    (row,) = outcome_rows(care, target="ehr", patient="pat-1", refused=())
    (verdict,) = care.verdicts
    assert (row.target, row.patient, row.key) == ("ehr", "pat-1", FOUNDER)
    assert (row.session_id, row.course_id) == (SESSION, COURSE)
    assert row.reasons == (Reason.PSYCHIATRIC_INDICATION, Reason.DOSE_WITHIN_ENVELOPE)
    assert row.details == dose_report(verdict)
    assert row.next_look == verdict.wake_up == local("2026-01-05 10:40") + hours(2)


def test_every_administration_has_exactly_one_row() -> None:
    doses = [a_dose(f"2026-01-{day:02} 10:00", id=f"d{day}") for day in range(5, 12)]
    doses.append(replace(a_dose("2026-01-05 10:50", id="e"), removed=True))
    rows = outcome_rows(care_of(*doses), target="ehr", patient="pat-1", refused=())
    assert sorted(row.key.id for row in rows) == sorted(dose.key.id for dose in doses)
