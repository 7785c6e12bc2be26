"""What an EHR takes on no rung, and so stands on our own worklist: said to a person, and in the outcome. Pure.

So is what the EHR refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from afterdose.core.care import ArtifactKey, Care, DoseVerdict, ReviewItem
from afterdose.core.dose import DoseKey
from afterdose.core.reasons import Outcome, Reason
from afterdose.ehr.ladder import Ladder
from afterdose.fhir.encode.rungs import Artifact
from afterdose.store.rows import OutcomeRow

_FOR_STAFF = frozenset({Outcome.PLANNED, Outcome.UNMET})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An artifact that cannot be written, or of which two stand: the reason, and the EHR's own code if any."""

    key: ArtifactKey
    reason: Reason
    code: str | None = None

    @property
    def written(self) -> bool:
        """Whether it stands all the same."""
        return self.reason is Reason.DOUBLE_IN_EHR


def on_worklist(care: Care, ladder: Ladder) -> list[ReviewItem]:
    """One item for each dose session of which nothing, or a Task of which nothing, reaches the EHR."""
    why: dict[DoseKey, tuple[Reason, ...]] = {one.founder: (Reason.NOT_WRITTEN,) for one in _unplanned(care, ladder)}
    if ladder.type_of(Artifact.TASK) is None:
        for task in care.tasks:
            if task.verdict is not None and not task.cancelled:
                known = why.get(task.verdict.founder, ())
                why[task.verdict.founder] = tuple(dict.fromkeys((*known, *task.reasons, Reason.NOT_WRITTEN)))
    return [
        ReviewItem(
            founder=verdict.founder,
            administrations=verdict.administrations,
            reasons=why[verdict.founder],
            due=verdict.window.opens if verdict.window else None,
        )
        for verdict in care.verdicts
        if verdict.founder in why
    ]


def said(rows: Sequence[OutcomeRow], care: Care, ladder: Ladder) -> list[OutcomeRow]:
    """The outcomes, those of unwritten dose sessions saying so."""
    unwritten = {key for verdict in _unplanned(care, ladder) for key in verdict.administrations}
    return [replace(row, reasons=(*row.reasons, Reason.NOT_WRITTEN)) if row.key in unwritten else row for row in rows]


def refused_items(care: Care, refusals: Sequence[Refusal]) -> list[ReviewItem]:
    """One question for each dose session whose resources, or whose course plan, could not be written."""
    items = []
    for verdict in care.verdicts:
        subjects = {verdict.session_id, verdict.course_id}
        mine = [refusal for refusal in refusals if refusal.key.subject in subjects]
        codes = [one.code for one in mine if one.code is not None and one.reason is Reason.EHR_REFUSED]
        if mine:
            items.append(
                ReviewItem(
                    founder=verdict.founder,
                    administrations=verdict.administrations,
                    reasons=tuple(dict.fromkeys(refusal.reason for refusal in mine)),
                    codes=tuple(dict.fromkeys(codes)),
                    due=verdict.window.opens if verdict.window else None,
                )
            )
    return items


def merged(items: Sequence[ReviewItem]) -> list[ReviewItem]:
    """One item for each founder, with the reasons of all."""
    by_founder: dict[DoseKey, ReviewItem] = {}
    for item in items:
        first = by_founder.get(item.founder)
        reasons = (*first.reasons, *item.reasons) if first is not None else item.reasons
        codes = (*first.codes, *item.codes) if first is not None else item.codes
        kept = replace(first or item, reasons=tuple(dict.fromkeys(reasons)), codes=tuple(dict.fromkeys(codes)))
        by_founder[item.founder] = kept
    return list(by_founder.values())


def _unplanned(care: Care, ladder: Ladder) -> list[DoseVerdict]:
    if any(ladder.type_of(one) is not None for one in (Artifact.CARE_PLAN, Artifact.APPOINTMENT)):
        return []
    return [verdict for verdict in care.verdicts if verdict.outcome in _FOR_STAFF and verdict.session_id is not None]
