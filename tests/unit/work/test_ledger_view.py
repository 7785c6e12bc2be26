"""What a decision asks of the ledger."""

from uuid import UUID

import pytest

from afterdose.core.care import ArtifactKey, ArtifactKind, Standing
from afterdose.core.identity import artifact_id
from afterdose.store.rows import LedgerRow
from afterdose.work.delivery.ledger_view import has_plan


def rows(kind: ArtifactKind = ArtifactKind.CARE_PLAN, **columns) -> dict[ArtifactKey, LedgerRow]:
    key = ArtifactKey(kind, UUID(int=1))
    told = {"standing": Standing.WRITTEN, "ehr_id": "1", "ehr_status": "draft"} | columns
    row = LedgerRow(target="ehr", patient="p", key=key, identifier=artifact_id(key), resource_type="CarePlan", **told)
    return {key: row}


@pytest.mark.parametrize("told", [{}, {"ehr_status": "active"}, {"standing": Standing.TAKEN_OVER}])
def test_a_plan_that_people_may_act_on_stands(told) -> None:
    assert has_plan(rows(**told))


@pytest.mark.parametrize(
    "told",
    [
        {"ehr_status": "revoked"},
        {"ehr_status": "entered-in-error"},
        {"standing": Standing.WITHDRAWN},
        {"standing": Standing.REMOVED_BY_PERSON},
        {"standing": Standing.INTENDED, "ehr_id": None},
        {"kind": ArtifactKind.APPOINTMENT},
    ],
)
def test_a_plan_that_ended_or_was_only_meant_and_what_is_no_plan_do_not(told) -> None:
    assert not has_plan(rows(**told))
