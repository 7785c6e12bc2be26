"""What stands in the EHR under a record that is the patient's no more: told of, and asked about, never touched.

After a merge the artifacts that name the former record stay where they are (decision 0018). Whoever works with them has
to decide; some EHRs move them by themselves, and then nothing is asked any more.
"""

from dataclasses import replace
from uuid import UUID

from afterdose.core.care import ArtifactKey, ArtifactKind, DesiredTask, KnownArtifact
from afterdose.core.desk import Desk, labels_of
from afterdose.core.reasons import Reason

_PLANS = (ArtifactKind.CARE_PLAN, ArtifactKind.DOSE_PLAN, ArtifactKind.APPOINTMENT)


def merge_tasks(desk: Desk) -> list[DesiredTask]:
    """One Task for each course of which something stands under a former record, and those whose cause is gone."""
    by_course: dict[UUID, list[KnownArtifact]] = {}
    for row in sorted(desk.standings.under_former_records(), key=_plans_first):
        by_course.setdefault(_course(row, desk), []).append(row)
    wanted = [_task(course, rows, desk) for course, rows in sorted(by_course.items())]
    wanted = [one for one in wanted if not desk.standings.is_tombstone(one.key.kind, one.key.subject)]
    keys = {one.key for one in wanted}
    for row in desk.standings.still_open(ArtifactKind.MERGED_TASK):
        if row.key not in keys:
            reasons = (Reason.PATIENT_MERGED,)
            ended = DesiredTask(key=row.key, verdict=None, reasons=reasons, due=None, cancelled=True)
            wanted.append(replace(ended, patient=row.named))
    return wanted


def _task(course: UUID, rows: list[KnownArtifact], desk: Desk) -> DesiredTask:
    about = [one for one in desk.judged.verdicts if one.course_id == course and one.session_id is not None]
    latest = max(about, key=lambda one: (one.anchor is not None, one.anchor, one.founder)) if about else None
    booked = (Reason.BOOKED_VISIT_AFFECTED,) if any(row.booked for row in rows) else ()
    key = desk.standings.key(ArtifactKind.MERGED_TASK, course)
    before = desk.standings.latest(ArtifactKind.MERGED_TASK, course)
    return DesiredTask(
        key=key,
        verdict=latest,
        reasons=(Reason.PATIENT_MERGED, *booked),
        due=latest.window.closes if latest is not None and latest.window is not None else None,
        focus=rows[0].key,
        labels=labels_of(about, desk.snapshot),
        former=rows[0].named,
        patient=before.named if before is not None and before.key == key else None,
    )


def _plans_first(row: KnownArtifact) -> tuple[int, ArtifactKey]:
    return (_PLANS.index(row.key.kind) if row.key.kind in _PLANS else len(_PLANS), row.key)


def _course(row: KnownArtifact, desk: Desk) -> UUID:
    """The course that an artifact belongs to, by its dose session or as the course itself; else its own subject."""
    course = desk.course_of(row.key.subject)
    return course.subject if course is not None else desk.judged.merged.get(row.key.subject, row.key.subject)
