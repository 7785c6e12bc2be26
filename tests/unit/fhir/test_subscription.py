"""How the Subscriptions that we make are written, by product and form; and that an older one is recognised."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from afterdose.content.ehrs import read_ehr
from afterdose.fhir.subscription import (
    DELETIONS,
    Form,
    SubscriptionFacts,
    Wanted,
    differs,
    mark_of,
    standing,
    tags,
    written,
)

ENDPOINT = "https://afterdose.hospital.example/fhir"
SYSTEM = "https://marks.example/s"
BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
PRODUCTS = sorted(path.stem for path in (Path(__file__).parents[3] / "mappings" / "ehrs").glob("*.toml"))


def facts(product: str) -> SubscriptionFacts:
    return read_ehr(product).subscriptions


def wanted(form: Form = "criteria", variant: str | None = None, **changed: Any) -> Wanted:
    elements: dict[str, Any] = {
        "resource_type": "MedicationAdministration",
        "variant": variant,
        "form": form,
        "mark": mark_of(ENDPOINT, "ehr", "MedicationAdministration", variant),
        "endpoint": ENDPOINT,
        "topic": None if form == "criteria" else "https://ehr.example/topics/mar",
        "content": "id-only",
        "heartbeat": timedelta(minutes=5),
        "headers": (("Authorization", "Bearer s3cr3t"),),
        "secret": "k3y",
    }
    return Wanted(**{**elements, **changed})


def made(product: str, form: Form = "criteria", variant: str | None = None, **changed: Any) -> dict[str, Any]:
    return written(wanted(form, variant, **changed), facts(product), SYSTEM)


def test_criteria_name_no_status_because_corrections_have_to_come_too() -> None:
    resource = made("generic")

    assert resource["criteria"] == "MedicationAdministration?"
    assert resource["status"] == "requested"
    assert resource["channel"] == {
        "type": "rest-hook",
        "endpoint": ENDPOINT,
        "payload": "application/fhir+json",
        "header": ["Authorization: Bearer s3cr3t"],
    }
    assert "k3y" not in str(resource)


def test_hapi_is_asked_for_deletions_on_the_channel() -> None:
    (extension,) = made("hapi")["channel"]["extension"]

    assert extension["url"].endswith("/subscription-send-delete-messages")
    assert extension["valueBoolean"] is True
    assert not facts("hapi").numbers


def test_medplum_signs_tries_long_and_tells_of_deletions_by_a_subscription_of_their_own() -> None:
    assert facts("medplum").variants == (None, DELETIONS)
    plain, deletions = (made("medplum", variant=one) for one in (None, DELETIONS))

    named = {one["url"].rpartition("/")[2]: one for one in plain["extension"]}
    assert named.keys() == {"subscription-secret", "subscription-max-attempts"}
    assert named["subscription-secret"]["valueString"] == "k3y"
    assert {one.get("valueCode") for one in deletions["extension"]} == {None, "delete"}
    assert tags(plain, SYSTEM) != tags(deletions, SYSTEM)
    assert "k3y" not in str(made("medplum", secret=None))


def test_medplum_activates_none_so_ours_are_active_from_the_start() -> None:
    assert made("medplum")["status"] == "active"
    assert "requested" not in facts("medplum").good


def test_a_topic_of_the_back_port_is_the_criteria() -> None:
    resource = made("generic", "topic-r4")

    assert resource["criteria"] == "https://ehr.example/topics/mar"
    (filtered,) = resource["_criteria"]["extension"]
    assert filtered == {"url": f"{BACKPORT}backport-filter-criteria", "valueString": "MedicationAdministration?"}
    assert resource["channel"]["extension"] == [
        {"url": f"{BACKPORT}backport-heartbeat-period", "valueUnsignedInt": 300}
    ]
    (content,) = resource["channel"]["_payload"]["extension"]
    assert content == {"url": f"{BACKPORT}backport-payload-content", "valueCode": "id-only"}
    assert standing(resource).heartbeat == timedelta(minutes=5)


def test_r5_has_elements_for_all_of_it() -> None:
    resource = made("generic", "topic-r5")

    assert resource["topic"] == "https://ehr.example/topics/mar"
    assert (resource["endpoint"], resource["content"], resource["heartbeatPeriod"]) == (ENDPOINT, "id-only", 300)
    assert resource["parameter"] == [{"name": "Authorization", "value": "Bearer s3cr3t"}]
    assert not {"criteria", "channel"} & resource.keys()
    assert standing(resource).heartbeat == timedelta(minutes=5)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("form", ["criteria", "topic-r4", "topic-r5"])
def test_what_was_written_is_recognised_and_is_not_another_one(product: str, form: Form) -> None:
    resource = made(product, form)
    standing_there = {**resource, "id": "1", "status": "active", "meta": {**resource["meta"], "versionId": "2"}}

    assert tags(standing_there, SYSTEM) == {str(wanted(form).mark)}
    assert not differs(standing_there, resource)
    assert differs({**standing_there, "reason": "another"}, resource)


def test_a_server_that_hides_the_headers_has_the_same_subscription_still() -> None:
    resource = made("generic")
    channel = {name: value for name, value in resource["channel"].items() if name != "header"}

    assert not differs({**resource, "channel": channel}, resource)
    assert differs({**resource, "channel": {**channel, "endpoint": "https://elsewhere.example"}}, resource)


def test_marks_tell_servers_sources_types_and_variants_apart_and_never_change() -> None:
    marks = [
        mark_of(*one)
        for one in (
            (ENDPOINT, "ehr", "Patient", None),
            (ENDPOINT, "ehr", "Patient", DELETIONS),
            (ENDPOINT, "ehr", "Encounter", None),
            (ENDPOINT, "other", "Patient", None),
            ("https://other.example/fhir", "ehr", "Patient", None),
        )
    ]

    assert len(set(marks)) == 5
    assert str(marks[0]) == str(mark_of(ENDPOINT, "ehr", "Patient", None))


@pytest.mark.parametrize(
    "resource",
    [{}, {"end": "soon", "status": 7}, {"heartbeatPeriod": -1}, {"channel": {"extension": [{"url": f"{BACKPORT}x"}]}}],
)
def test_what_a_subscription_says_in_other_shapes_is_not_there(resource: dict[str, Any]) -> None:
    found = standing(resource)

    assert (found.status, found.ends_at, found.heartbeat) == (None, None, None)
