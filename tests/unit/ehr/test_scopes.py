"""Which scopes are asked for: exactly what is called, in the words that the EHR knows; and what a grant leaves out."""

from typing import Any

import pytest

from afterdose.content.content import load_content
from afterdose.ehr.capabilities import Capabilities
from afterdose.ehr.interactions import INTERACTIONS, Interaction
from afterdose.ehr.ladder import decide
from afterdose.ehr.scopes import (
    ALL_WE_CALL,
    grants_any,
    left_out,
    of_ladders,
    only_reads,
    scopes_to_ask,
    without_subscriptions,
)

V2 = ("permission-v1", "permission-v2")
NEEDS = {
    "Appointment": frozenset(Interaction) - {Interaction.DELETE},
    "CarePlan": frozenset(Interaction) - {Interaction.DELETE},
    "Communication": frozenset({Interaction.SEARCH, Interaction.CREATE}),
    "Patient": frozenset({Interaction.READ}),
}


def ask(capabilities: Any = V2, supported: Any = (), needs: Any = NEEDS) -> tuple[str, ...]:
    return scopes_to_ask(needs, capabilities=capabilities, supported=supported)


def test_version_two_says_exactly_what_is_called() -> None:
    assert ask() == ("system/Appointment.crus", "system/CarePlan.crus", "system/Communication.cs", "system/Patient.r")


@pytest.mark.parametrize("capabilities", [(), ("permission-v1",), ("launch-ehr",)])
def test_a_server_that_does_not_declare_version_two_is_asked_in_version_one(capabilities: tuple[str, ...]) -> None:
    assert ask(capabilities) == (
        "system/Appointment.read",
        "system/Appointment.write",
        "system/CarePlan.read",
        "system/CarePlan.write",
        "system/Communication.read",
        "system/Communication.write",
        "system/Patient.read",
    )


def test_the_scopes_are_derived_from_the_calls_that_can_be_made() -> None:
    types = {scope.removeprefix("system/").partition(".")[0] for scope in ask(needs=ALL_WE_CALL)}

    assert types == set(INTERACTIONS)
    assert left_out(ask(needs=ALL_WE_CALL), ask((), needs=ALL_WE_CALL)) == ()


def test_only_where_we_subscribe_is_the_scope_for_that_asked_for() -> None:
    assert "system/Subscription.cruds" in ask(needs=ALL_WE_CALL)
    assert not any("Subscription" in scope for scope in ask(needs=without_subscriptions()))
    assert not any("d" in scope.rpartition(".")[2] for scope in ask(needs=without_subscriptions()))


def test_who_only_reads_asks_for_no_writing() -> None:
    asked = ask(needs=only_reads())

    assert all(set(scope.rpartition(".")[2]) <= {"r", "s"} for scope in asked)
    assert "system/MedicationAdministration.rs" in asked
    assert all(not scope.endswith(".write") for scope in ask((), needs=only_reads()))


def test_what_the_ehr_does_not_list_is_not_asked_for() -> None:
    listed = ("openid", "patient/CarePlan.crus", "system/Appointment.crus", "system/CarePlan.rs", "system/Patient.crus")

    assert ask(supported=listed) == ("system/Appointment.crus", "system/CarePlan.rs", "system/Patient.r")


def test_a_list_without_system_scopes_says_nothing() -> None:
    assert ask(supported=("openid", "fhirUser", "patient/Patient.rs")) == ask()


def test_a_wildcard_in_the_list_allows_every_type() -> None:
    assert ask(supported=("system/*.cruds",)) == ask()
    assert ask(supported=("system/*.read",)) == tuple(f"system/{type_}.read" for type_ in sorted(NEEDS))


def test_the_style_of_the_list_is_the_style_of_the_question() -> None:
    assert ask(V2, supported=("system/Patient.read", "system/Appointment.write")) == (
        "system/Appointment.write",
        "system/Patient.read",
    )
    assert ask((), supported=("system/Patient.rs",)) == ("system/Patient.r",)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("system/CarePlan.crus system/Patient.r", ()),
        ("system/CarePlan.rs system/Patient.r", ("system/CarePlan.crus",)),
        ("system/CarePlan.read system/CarePlan.write system/Patient.read", ()),
        ("system/*.cruds", ()),
        ("system/*.*", ()),
        ("system/*.read", ("system/CarePlan.crus",)),
        ("", ("system/CarePlan.crus", "system/Patient.r")),
        ("system/CarePlan.crus?category=a|b system/Patient.rs openid", ("system/CarePlan.crus",)),
    ],
)
def test_what_a_grant_leaves_out_is_named(given: str, missing: tuple[str, ...]) -> None:
    assert left_out(("system/CarePlan.crus", "system/Patient.r"), given.split()) == missing


def test_a_grant_that_allows_nothing_of_what_was_asked_is_known() -> None:
    assert not grants_any(("system/CarePlan.crus",), ("system/Patient.r", "openid"))
    assert grants_any(("system/CarePlan.crus",), ("system/CarePlan.read",))


def test_of_scopes_that_are_not_smarts_nothing_is_concluded() -> None:
    assert grants_any(("https://ehr.example/.default",), ("user_impersonation",))


SITE = frozenset({"location", "pool", "sender"})
LOOK = frozenset({"read", "search-type"})
DECLARED = {
    "oracle-health": {
        "CarePlan": LOOK,
        "Appointment": LOOK | {"create", "patch"},
        "DocumentReference": LOOK | {"create", "update"},
        "Communication": LOOK | {"create"},
        "ServiceRequest": LOOK,
    },
    "athenahealth": dict.fromkeys(("CarePlan", "Appointment", "DocumentReference", "ServiceRequest"), LOOK),
    "generic": dict.fromkeys(INTERACTIONS, LOOK | {"create", "update"}),
}
WRITTEN = {
    "oracle-health": {"Appointment.crus", "DocumentReference.crus", "Communication.cs", "ServiceRequest.rs"},
    "athenahealth": {"Appointment.rs", "DocumentReference.s", "ServiceRequest.rs"},
    "generic": {
        *("Appointment.crus", "CarePlan.crus", "Goal.crus", "Task.crus", "ServiceRequest.crus"),
        *("DocumentReference.s", "Provenance.cs"),
    },
}
OF_CARE = frozenset(
    {"Appointment", "CarePlan", "Communication", "DocumentReference", "Goal", "Provenance", "ServiceRequest", "Task"}
)


@pytest.mark.parametrize("vendor", DECLARED)
def test_of_what_is_written_only_the_chosen_rungs_are_asked_for(vendor: str) -> None:
    declared = Capabilities(
        fhir_version="4.0.1",
        transaction=False,
        interactions=DECLARED[vendor],
        conditional_create={},
        update_create={},
        versioning={},
    )
    ladder = decide(declared, load_content().ehr(vendor), {}, SITE)
    needs = of_ladders([ladder])

    asked = {scope.removeprefix("system/") for scope in ask(needs=needs)}
    old = {scope.removeprefix("system/") for scope in ask((), needs=needs)}

    assert {scope for scope in asked if scope.partition(".")[0] in OF_CARE} == WRITTEN[vendor]
    assert {"MedicationAdministration.rs", "Patient.rs"} <= asked
    assert ("Appointment.write" in old) == (vendor != "athenahealth")
    assert ("CarePlan.write" in old) == (vendor == "generic")


def test_of_several_ladders_everything_that_any_needs_is_asked_for() -> None:
    declared = Capabilities(
        fhir_version="4.0.1",
        transaction=False,
        interactions=DECLARED["oracle-health"],
        conditional_create={},
        update_create={},
        versioning={},
    )
    facts = load_content().ehr("oracle-health")
    ladders = [decide(declared, facts, {}, site) for site in (SITE, SITE - {"location"})]

    assert "system/Appointment.crus" in ask(needs=of_ladders(ladders))
    assert "system/Appointment.rs" in ask(needs=of_ladders(ladders[1:]))


@pytest.mark.parametrize("product", ["generic", "medplum"])
def test_what_the_server_reads_with_our_rights_to_take_a_resource_is_asked_for(product: str) -> None:
    declared = Capabilities(
        fhir_version="4.0.1",
        transaction=False,
        interactions=DECLARED["generic"],
        conditional_create={},
        update_create={},
        versioning={},
    )
    needs = of_ladders([decide(declared, load_content().ehr(product), {}, SITE)])

    assert ("system/StructureDefinition.rs" in ask(needs=needs)) == (product == "medplum")
    assert "system/StructureDefinition.rs" not in ask(needs=only_reads())
