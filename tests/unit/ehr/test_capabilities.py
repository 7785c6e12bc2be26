"""What an EHR declares is read tolerantly."""

import pytest

from afterdose.ehr.capabilities import decode_capabilities
from afterdose.fhir.strict_json import Json


def test_what_is_declared_for_server_and_types_is_read() -> None:
    capabilities = decode_capabilities(
        {
            "resourceType": "CapabilityStatement",
            "fhirVersion": "4.0.1",
            "rest": [
                {
                    "mode": "server",
                    "interaction": [{"code": "transaction"}],
                    "resource": [
                        {
                            "type": "CarePlan",
                            "interaction": [{"code": "read"}, {"code": "create"}],
                            "conditionalCreate": True,
                            "versioning": "versioned-update",
                        }
                    ],
                },
                {"mode": "client", "resource": [{"type": "Task", "interaction": [{"code": "create"}]}]},
            ],
        }
    )
    assert (capabilities.fhir_version, capabilities.transaction) == ("4.0.1", True)
    assert capabilities.interactions == {"CarePlan": frozenset({"read", "create"})}
    assert capabilities.conditional_create == {"CarePlan": True}
    assert capabilities.update_create == {"CarePlan": False}
    assert capabilities.versioning == {"CarePlan": "versioned-update"}
    assert capabilities.allows("CarePlan", "create")
    assert not capabilities.allows("Task", "create")


@pytest.mark.parametrize(
    "rest", [None, "x", {}, [], [None], [{"resource": "x"}], [{"resource": [{"type": 5}, {"interaction": [None, {}]}]}]]
)
def test_what_is_missing_or_of_the_wrong_kind_is_not_declared(rest: Json) -> None:
    capabilities = decode_capabilities({"resourceType": "CapabilityStatement", "fhirVersion": 4, "rest": rest})
    assert capabilities.fhir_version == ""
    assert not capabilities.transaction
    assert capabilities.interactions == {}
