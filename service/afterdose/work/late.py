"""Sessions that could not be proposed while there was time: an EHR was away for longer than their window.

A proposal whose period is over when it would be written for the first time is not written any more; a person is asked
instead. What stands in the EHR already is not touched: periods do not move with time alone (decision 0008, rule 16).
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from afterdose.core.care import ArtifactKey, Care
from afterdose.ehr.ladder import Ladder
from afterdose.fhir.encode.rungs import Artifact
from afterdose.store.rows import LedgerRow


def missed_sessions(
    care: Care, rows: Mapping[ArtifactKey, LedgerRow], ladder: Ladder | None, now: datetime
) -> frozenset[UUID]:
    """The dose sessions whose proposal is not in the EHR, although this EHR takes it, and comes too late now."""
    if ladder is None or ladder.type_of(Artifact.APPOINTMENT) is None:
        return frozenset()
    there = {key for key, row in rows.items() if row.ehr_id is not None}
    return frozenset(
        one.key.subject
        for one in care.appointments
        if not one.cancelled
        and not one.hold
        and one.key not in there
        and one.verdict.session is not None
        and one.verdict.session.period_end is not None
        and one.verdict.session.period_end <= now
    )
