"""Whatever doses and corrections come: what people did in the EHR stands."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from test_promises import NOW, any_dose

from afterdose.core.care import ArtifactKind, KnownArtifact, Snapshot, Standing
from afterdose.core.plan import decide
from afterdose.core.reasons import Outcome
from builders import a_snapshot, after_writing, local

BY_PEOPLE = (
    {},
    {},
    {"standing": Standing.REMOVED_BY_PERSON},
    {"standing": Standing.TAKEN_OVER},
    {"booked": True, "ehr_status": "booked", "start": local("2026-03-03 09:00")},
    {"booked": True, "ehr_status": "fulfilled"},
    {"booked": True, "ehr_status": "noshow"},
    {"booked": True, "ehr_status": "cancelled", "standing": Standing.REMOVED_BY_PERSON},
)


@st.composite
def histories(draw: st.DrawFn) -> Snapshot:
    """Doses that were written about, changed by people, and then corrected, more than once."""
    count = draw(st.integers(1, 6))
    snapshot = a_snapshot()
    for _ in range(draw(st.integers(1, 3))):
        snapshot = replace(snapshot, doses=tuple(draw(any_dose(number)) for number in range(count)))
        snapshot = after_writing(snapshot, decide(snapshot, NOW))
        rows = {key: _touched(draw, row) for key, row in snapshot.known.artifacts.items()}
        snapshot = replace(snapshot, known=replace(snapshot.known, artifacts=rows))
    return replace(snapshot, doses=tuple(draw(any_dose(number)) for number in range(count)))


def _touched(draw: st.DrawFn, row: KnownArtifact) -> KnownArtifact:
    if row.standing is not Standing.WRITTEN:
        return row
    changes = draw(st.sampled_from(BY_PEOPLE))
    return replace(row, **changes) if row.key.kind is ArtifactKind.APPOINTMENT or "booked" not in changes else row


def _theirs(row: KnownArtifact) -> bool:
    return row.booked or row.standing in (Standing.TAKEN_OVER, Standing.REMOVED_BY_PERSON)


@given(histories())
@settings(max_examples=150, deadline=None)
def test_what_is_theirs_is_neither_written_nor_cancelled(snapshot: Snapshot) -> None:
    care, known = decide(snapshot, NOW), snapshot.known.artifacts
    for one in care.appointments:
        row = known.get(one.key)
        assert one.hold or row is None or not _theirs(row)
    removed = {key for key, row in known.items() if row.standing is Standing.REMOVED_BY_PERSON}
    assert removed.isdisjoint(one.key for one in (*care.plans, *care.tasks))
    subjects = {(key.kind, key.subject) for key in removed}
    new = [one.key for one in (*care.plans, *care.appointments, *care.tasks)]
    assert subjects.isdisjoint((key.kind, key.subject) for key in new)


@given(histories())
@settings(max_examples=150, deadline=None)
def test_every_dose_still_has_one_outcome_and_every_artifact_one_key(snapshot: Snapshot) -> None:
    care = decide(snapshot, NOW)
    told = [key for verdict in care.verdicts for key in (*verdict.administrations, *verdict.withdrawn)]
    assert sorted(told) == sorted(dose.key for dose in snapshot.doses)
    keys = [(one.key.kind, one.key.subject) for one in (*care.plans, *care.appointments, *care.tasks)]
    assert len(set(keys)) == len(keys)
    sessions = [verdict.session_id for verdict in care.verdicts if verdict.session_id is not None]
    assert len(set(sessions)) == len(sessions)


@given(histories())
@settings(max_examples=150, deadline=None)
def test_nothing_of_ours_is_left_open_for_a_dose_that_is_gone(snapshot: Snapshot) -> None:
    care = decide(snapshot, NOW)
    if any(verdict.outcome is Outcome.WAITING for verdict in care.verdicts):
        return
    after = after_writing(snapshot, care)
    wanted = {one.key for one in care.appointments if not one.cancelled}
    held = {verdict.session_id for verdict in care.verdicts if verdict.outcome is Outcome.REVIEW}
    for key, row in after.known.artifacts.items():
        if key.kind is ArtifactKind.APPOINTMENT and row.standing is Standing.WRITTEN and not row.booked:
            assert key in wanted or key.subject in held


@given(histories())
@settings(max_examples=150, deadline=None)
def test_writing_once_is_enough(snapshot: Snapshot) -> None:
    care = decide(snapshot, NOW)
    again = decide(after_writing(snapshot, care), NOW)
    assert again.memberships == care.memberships
    assert {one.key for one in again.appointments} == {one.key for one in care.appointments if not one.cancelled}
    assert {one.key for one in again.tasks} == {one.key for one in care.tasks if not one.cancelled}
