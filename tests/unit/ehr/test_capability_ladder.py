"""The ladder: what an EHR declares, what is known of it and what the site pins decide where each artifact goes."""

from collections.abc import Mapping

import pytest

from afterdose.content.content import load_content
from afterdose.core.errors import BadSettings
from afterdose.ehr.capabilities import Capabilities
from afterdose.ehr.ladder import PlanMode, check_pins, decide
from afterdose.fhir.encode.rungs import GENERIC, STEPS, Artifact

ALL = frozenset({"read", "search-type", "create", "update"})
SITE = frozenset({"location", "pool", "sender"})
EVERYTHING = {type_: ALL for steps in STEPS.values() for type_ in steps}


def declares(interactions: Mapping[str, frozenset[str]], version: str = "4.0.1") -> Capabilities:
    return Capabilities(
        fhir_version=version,
        transaction=False,
        interactions=interactions,
        conditional_create={},
        update_create={},
        versioning={},
    )


def without(*types: str) -> Capabilities:
    return declares({type_: codes for type_, codes in EVERYTHING.items() if type_ not in types})


@pytest.mark.parametrize(
    ("artifact", "missing", "rung"),
    [
        (Artifact.CARE_PLAN, (), "CarePlan"),
        (Artifact.CARE_PLAN, ("CarePlan",), "DocumentReference"),
        (Artifact.CARE_PLAN, ("CarePlan", "DocumentReference"), "Communication"),
        (Artifact.CARE_PLAN, ("CarePlan", "DocumentReference", "Communication"), None),
        (Artifact.APPOINTMENT, ("Appointment",), "ServiceRequest"),
        (Artifact.APPOINTMENT, ("Appointment", "ServiceRequest"), None),
        (Artifact.TASK, ("Task",), "Communication"),
        (Artifact.GOAL, ("Goal",), None),
        (Artifact.PROVENANCE, ("Provenance",), None),
    ],
)
def test_the_first_rung_that_can_be_created_is_taken(
    artifact: Artifact, missing: tuple[str, ...], rung: str | None
) -> None:
    ladder = decide(without(*missing), GENERIC, {}, SITE)

    assert ladder.type_of(artifact) == rung
    assert all(type_ in ladder.decisions[artifact].why for type_ in missing)


def test_a_pin_wins_over_what_is_declared_and_says_so() -> None:
    pins = {Artifact.CARE_PLAN: "document-reference", Artifact.TASK: "worklist"}
    ladder = decide(without("DocumentReference"), GENERIC, pins, SITE)

    assert ladder.type_of(Artifact.CARE_PLAN) == "DocumentReference"
    assert ladder.decisions[Artifact.CARE_PLAN].why == "pinned by the site, though it declares no create"
    assert ladder.decisions[Artifact.TASK].pinned
    assert ladder.type_of(Artifact.TASK) is None


def test_a_rung_that_does_not_belong_to_an_artifact_is_refused() -> None:
    with pytest.raises(BadSettings, match=r"rungs\.goal: expected one of goal, worklist"):
        check_pins({Artifact.GOAL: "task"}, GENERIC, SITE)


def test_what_the_site_has_not_told_makes_a_rung_impossible() -> None:
    oracle = load_content().ehr("oracle-health")
    told = SITE - {"location"}

    assert decide(without(), oracle, {}, told).type_of(Artifact.APPOINTMENT) == "ServiceRequest"
    with pytest.raises(BadSettings, match="needs a location in the clinic's file at Oracle Health"):
        check_pins({Artifact.APPOINTMENT: "appointment"}, oracle, told)


def test_a_plan_that_cannot_be_amended_is_one_of_children() -> None:
    declared = declares(EVERYTHING | {"CarePlan": frozenset({"create"})})

    assert decide(declared, GENERIC, {}, SITE).plan_mode is PlanMode.CHILD
    assert decide(without(), GENERIC, {}, SITE).plan_mode is PlanMode.COURSE
    assert (
        decide(without("CarePlan", "DocumentReference", "Communication"), GENERIC, {}, SITE).plan_mode is PlanMode.NONE
    )


@pytest.mark.parametrize("version", ["5.0.0", "3.0.2", ""])
def test_another_release_of_fhir_cannot_work(version: str) -> None:
    assert decide(declares(EVERYTHING, version), GENERIC, {}, SITE).faults
    assert not decide(declares(EVERYTHING, "4.3.0"), GENERIC, {}, SITE).faults
