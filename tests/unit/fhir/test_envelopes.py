"""Envelopes: none is taken for FHIR, no FHIR for one, and whatever stands in one, nothing breaks."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterdose.core.errors import BadInput, Problem
from afterdose.fhir.decode.envelopes import Envelope, Event, Unread, read
from afterdose.work.intake.envelopes import receive
from afterdose.work.intake.reception import Origin, Reception

ORIGIN = Origin("store", "ehr", "https://ehr.example.org/fhir")
DOSE = "MedicationAdministration"
NAMES = (
    *("resourceType", "id", "type", "event", "resource", "subscription", "message", "attributes", "action", "data"),
    *(
        "payloadType",
        "storeName",
        "eventType",
        "specversion",
        "resourceFhirId",
        "resourceFhirAccount",
        "validationCode",
    ),
)
VALUES = (
    *(DOSE, "Patient", "Observation", "d1", "../x", "notification", "handshake", "create", "delete", "CreateResource"),
    *(
        "DeleteResource",
        "NameOnly",
        "FullResource",
        "Microsoft.HealthcareApis.FhirResourceCreated",
        "1.0",
        "",
        "\u0000",
    ),
    *("Microsoft.EventGrid.SubscriptionValidationEvent", "projects/p/fhirStores/s", "a.fhir.azurehealthcareapis.com"),
    *(
        base64.b64encode(one).decode()
        for one in (b"fhir/MedicationAdministration/d1", b'{"resourceType":"Patient"}', b"{")
    ),
)
LEAVES = st.one_of(st.sampled_from(VALUES), st.none(), st.booleans(), st.integers(), st.text(max_size=5))
BODIES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=25,
)


@given(BODIES)
def test_whatever_stands_in_an_envelope_it_is_read_or_it_is_none(body: Any) -> None:
    envelope = read(body)

    assert envelope is None or all(isinstance(part, Event | Unread) for part in envelope.parts)
    if isinstance(body, dict) and "resourceType" in body:
        assert envelope is None


@given(BODIES)
def test_whatever_comes_is_taken_in_part_or_refused_with_a_reason_that_repeats_none_of_it(body: Any) -> None:
    secret = "PHICANARY-7"
    reception: Reception | None = None
    told: list[Problem] = []
    try:
        reception = receive(json.dumps(body).replace('"d1"', f'"{secret}"').encode(), ORIGIN)
    except BadInput as bad:
        told += bad.problems
    if reception is not None:
        told += [problem for entry in reception.entries for problem in entry.problems]
        assert all(arrival.source == "store" for arrival in reception.arrivals)
        assert all(entry.problems for entry in reception.entries if entry.refused)

    assert told or reception is not None
    assert all(secret not in problem.text + problem.path for problem in told)


def event(**members: Any) -> dict[str, Any]:
    data = {"resourceType": DOSE, "resourceFhirId": "d1", "resourceFhirAccount": "a.fhir.azurehealthcareapis.com"}
    return {"eventType": "Microsoft.HealthcareApis.FhirResourceCreated", "data": data | members}


@pytest.mark.parametrize(
    ("account", "base_url", "elsewhere"),
    [
        ("a.fhir.azurehealthcareapis.com", "https://a.fhir.azurehealthcareapis.com", False),
        ("A.fhir.azurehealthcareapis.com", "https://a.FHIR.azurehealthcareapis.com/", False),
        ("b.fhir.azurehealthcareapis.com", "https://a.fhir.azurehealthcareapis.com", True),
        ("b.fhir.azurehealthcareapis.us", "https://a.fhir.azurehealthcareapis.us", True),
        ("b.fhir.azurehealthcareapis.com", "https://gateway.hospital.example.org/fhir", False),
    ],
)
def test_a_server_of_azure_is_told_by_its_host_where_ours_is_known_by_it(
    account: str, base_url: str, elsewhere: bool
) -> None:
    envelope = read([event(resourceFhirAccount=account)])

    assert envelope is not None
    assert [part.is_elsewhere(base_url) for part in envelope.parts if isinstance(part, Event)] == [elsewhere]


def push(store: str) -> Envelope | None:
    attributes = {"action": "CreateResource", "resourceType": DOSE, "payloadType": "NameOnly", "storeName": store}
    name = base64.b64encode(f"{store}/fhir/{DOSE}/d1".encode()).decode()
    return read({"message": {"attributes": attributes, "data": name}})


@pytest.mark.parametrize(
    ("store", "base_url", "elsewhere"),
    [
        ("projects/p/fhirStores/s", "https://healthcare.googleapis.com/v1/projects/p/fhirStores/s/fhir", False),
        ("projects/p/fhirStores/s", "https://healthcare.googleapis.com/v1beta1/projects/p/fhirStores/s/fhir/", False),
        ("projects/p/fhirStores/s", "https://healthcare.googleapis.com/v1/projects/p/fhirStores/ss/fhir", True),
        ("projects/p/fhirStores/s", "https://healthcare.googleapis.com/v1/projects/pp/fhirStores/s/fhir", True),
        ("projects/p/fhirStores/s", "https://proxy.hospital.example.org/fhir", False),
    ],
)
def test_a_store_of_google_is_told_by_its_name_where_ours_is_known_by_it(
    store: str, base_url: str, elsewhere: bool
) -> None:
    envelope = push(store)

    assert envelope is not None
    assert [part.is_elsewhere(base_url) for part in envelope.parts if isinstance(part, Event)] == [elsewhere]


def test_events_of_other_kinds_are_passed_over() -> None:
    other = {"eventType": "Microsoft.HealthcareApis.DicomImageCreated", "data": {}}

    assert read([other, other]) == Envelope()
    assert read({"specversion": "1.0", "type": "com.example.other"}) == Envelope()
    assert read([]) is None
    assert read([1, {"a": 1}]) is None
    assert read({"message": "x"}) is None
