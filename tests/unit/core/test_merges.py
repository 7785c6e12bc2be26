"""Which visit and which plan stay when dose sessions and courses merge and split."""

from collections.abc import Iterable
from dataclasses import replace

from lifecycle import (
    MONDAY,
    NOW,
    cancellations,
    course_of,
    people_did,
    session_of,
    tasks_of,
    with_doses,
    written,
)

from afterdose.core.care import (
    ArtifactKind,
    Care,
    PlanStatus,
    Snapshot,
)
from afterdose.core.plan import decide
from afterdose.core.reasons import Reason
from builders import (
    a_dose,
    a_snapshot,
    local,
    verdict_of,
)


def _apart() -> Snapshot:
    """Two sessions of one day, eight hours apart, both written."""
    return written(a_snapshot(a_dose("2026-01-05 08:00", id="a"), a_dose("2026-01-05 16:00", id="b")))


def test_sessions_that_merge_keep_the_older_visit() -> None:
    between = a_dose("2026-01-05 12:00", id="between", mg="5")
    care = decide(with_doses(_apart(), between), NOW)
    (verdict,) = care.verdicts
    assert verdict.session_id == session_of("a")
    assert len(verdict.administrations) == 3


def _booked(snapshot: Snapshot, ids: Iterable[str]) -> Snapshot:
    for one in ids:
        snapshot = people_did(
            snapshot, ArtifactKind.APPOINTMENT, session_of(one), booked=True, ehr_status="booked",
            start=local("2026-01-07 09:00"),
        )  # fmt: skip
    return snapshot


def _two_visits() -> Snapshot:
    """Two sessions far enough apart that both have a visit; the second was charted on the wrong day."""
    doses = a_dose("2026-01-05 10:00", id="a", mg="20"), a_dose("2026-01-08 10:00", id="b", mg="10")
    return written(a_snapshot(*doses))


def _merge(snapshot: Snapshot) -> Care:
    return decide(with_doses(snapshot, a_dose("2026-01-05 11:00", id="b", mg="10", heard="2026-01-05 12:00")), NOW)


def test_a_merge_withdraws_the_other_proposal() -> None:
    care = _merge(_two_visits())
    (verdict,) = care.verdicts
    assert verdict.session_id == session_of("a")
    assert [(key.subject, reason) for key, reason in cancellations(care)] == [(session_of("b"), Reason.SESSIONS_MERGED)]


def test_a_merge_keeps_what_is_booked() -> None:
    care = _merge(_booked(_two_visits(), ["b"]))
    (verdict,) = care.verdicts
    assert verdict.session_id == session_of("b")
    assert [key.subject for key, _ in cancellations(care)] == [session_of("a")]


def test_two_booked_visits_of_one_dose_are_a_persons_decision() -> None:
    care = _merge(_booked(_two_visits(), ["a", "b"]))
    assert cancellations(care) == []
    (task,) = tasks_of(care, ArtifactKind.BOOKED_TASK)
    assert task.reasons == (Reason.BOOKED_VISIT_AFFECTED, Reason.SESSIONS_MERGED)


def test_on_a_split_the_founder_keeps_the_session() -> None:
    together = written(a_snapshot(a_dose(id="a", mg="20"), a_dose("2026-01-05 11:00", id="b", mg="10")))
    care = decide(with_doses(together, a_dose("2026-01-15 10:00", id="b")), NOW)
    assert verdict_of(care, "a").session_id == session_of("a")
    assert verdict_of(care, "b").session_id == session_of("b")
    assert cancellations(care) == []


def test_courses_that_merge_leave_one_plan() -> None:
    snapshot = written(a_snapshot(MONDAY, a_dose("2026-06-01 10:00", id="june")))
    care = decide(with_doses(snapshot, a_dose("2026-03-20 10:00", id="march")), NOW)
    open_plan, ended = care.plans
    assert (open_plan.key.subject, open_plan.replaces) == (course_of("mon"), ended.key)
    assert (ended.key.subject, ended.status) == (course_of("june"), PlanStatus.ENTERED_IN_ERROR)
    assert cancellations(care) == []


def test_part_of_ties_administrations_that_lie_further_apart() -> None:
    parent = a_dose("2026-01-05 08:00", id="parent", mg="20")
    child = a_dose("2026-01-05 16:00", id="child", mg="10", part_of=("MedicationAdministration/parent",))
    assert len(decide(a_snapshot(parent, child), NOW).verdicts) == 1
    assert len(decide(a_snapshot(parent, replace(child, part_of=("Procedure/parent",))), NOW).verdicts) == 2


def test_on_a_split_the_founder_keeps_the_session_also_when_it_was_the_founder_that_moved() -> None:
    together = written(a_snapshot(a_dose(id="a", mg="20"), a_dose("2026-01-05 11:00", id="b", mg="10")))
    care = decide(with_doses(together, a_dose("2026-01-15 10:00", id="a")), NOW)
    assert verdict_of(care, "a").session_id == session_of("a")
    assert verdict_of(care, "b").session_id == session_of("b")
