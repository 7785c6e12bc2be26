"""Activating a plan is the agreement to it; any other status that a person gives it is the person's."""

import pytest

from afterdose.core.care import ArtifactKind
from afterdose.work.delivery.merge import fingerprint
from afterdose.work.delivery.observe import with_activation

DRAFT, ACTIVE = {"status": fingerprint("draft")}, {"status": fingerprint("active")}


def test_the_status_of_a_plan_stays_ours_when_a_person_activates_it():
    assert with_activation(ArtifactKind.CARE_PLAN, {"status": "active"}, DRAFT) == ACTIVE


@pytest.mark.parametrize("status", ["on-hold", "completed", "revoked"])
def test_any_other_status_is_the_persons(status):
    assert with_activation(ArtifactKind.CARE_PLAN, {"status": status}, DRAFT) == DRAFT


def test_who_takes_a_plan_up_again_after_its_end_is_not_overruled():
    ended = {"status": fingerprint("revoked")}

    assert with_activation(ArtifactKind.CARE_PLAN, {"status": "active"}, ended) == ended


def test_only_plans_are_activated():
    assert with_activation(ArtifactKind.PSYCHOTHERAPY, {"status": "active"}, DRAFT) == DRAFT
