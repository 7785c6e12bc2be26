"""A source's own codes: each gets its meaning beside it, and nothing else changes."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from afterdose.content.codes import read_codes, read_local_codes
from afterdose.core.dose import Coding, Context, Family
from afterdose.core.errors import BadContent
from afterdose.fhir.decode.local_codes import with_meanings
from afterdose.fhir.decode.medication import drug_of

RXNORM, SNOMED, OWN = (
    "http://www.nlm.nih.gov/research/umls/rxnorm",
    "http://snomed.info/sct",
    "https://north.example.org",
)
KETAMINE = Coding(system=RXNORM, code="6130", display=None)
NASAL = Coding(system=SNOMED, code="46713006", display="Nasal route")
LOCAL = {(OWN, "KET50"): (KETAMINE,), ("", "nas"): (NASAL,), (OWN, "AMB"): (NASAL,)}


def dose(**changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "MedicationAdministration",
        "status": "completed",
        "medicationCodeableConcept": {"coding": [{"system": OWN, "code": "KET50", "display": "Vial 7"}]},
        "dosage": {"route": {"text": " NAS "}, "dose": {"value": 50}},
        **changes,
    }


def test_a_meaning_stands_beside_the_code_that_was_sent() -> None:
    sent = dose()
    before = copy.deepcopy(sent)

    read = with_meanings(sent, LOCAL)

    assert read["medicationCodeableConcept"]["coding"] == [
        {"system": OWN, "code": "KET50", "display": "Vial 7"},
        {"system": RXNORM, "code": "6130"},
    ]
    assert read["dosage"]["route"]["coding"] == [{"system": SNOMED, "code": "46713006", "display": "Nasal route"}]
    assert sent == before
    assert with_meanings(read, LOCAL) == read
    assert drug_of(read, Context(), read_codes(None)).family is Family.KETAMINE
    assert drug_of(sent, Context(), read_codes(None)).family is None


@pytest.mark.parametrize(
    "coding",
    [{"system": OWN, "code": "KET5"}, {"code": "KET50"}, {"system": "https://south.example.org", "code": "KET50"}],
)
def test_another_code_or_system_means_nothing(coding: dict[str, Any]) -> None:
    sent = dose(medicationCodeableConcept={"coding": [coding]}, dosage={})

    assert with_meanings(sent, LOCAL) == sent


def test_contained_and_found_resources_are_read_too() -> None:
    bundle = {"entry": [{"resource": dose(contained=[{"code": {"coding": [{"code": "NAS"}]}}])}]}

    read = with_meanings(bundle, LOCAL)

    assert len(read["entry"][0]["resource"]["contained"][0]["code"]["coding"]) == 2


def test_the_class_of_an_encounter_is_one_coding_and_is_replaced() -> None:
    encounter = {"resourceType": "Encounter", "class": {"system": OWN, "code": "AMB"}}

    assert with_meanings(encounter, LOCAL)["class"]["code"] == NASAL.code
    several = {"class": [{"coding": [{"system": OWN, "code": "AMB"}]}]}
    assert len(with_meanings(several, LOCAL)["class"][0]["coding"]) == 2


@pytest.mark.parametrize("coding", [None, "x", [1, None, {"system": 3, "code": []}], [{"code": 5}], {"code": "NAS"}])
def test_what_is_no_coding_is_left_as_it_is(coding: Any) -> None:
    sent = dose(medicationCodeableConcept={"coding": coding}, dosage={})

    assert with_meanings(sent, LOCAL) == sent


def concept_map(folder: Path, *groups: dict[str, Any]) -> Path:
    codes = folder / "mappings" / "codes"
    codes.mkdir(parents=True)
    resource = {"resourceType": "ConceptMap", "id": "north", "status": "active", "group": list(groups)}
    (codes / "ConceptMap-north.json").write_text(json.dumps(resource))
    return folder


def group(*targets: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {
        "source": OWN,
        "target": RXNORM,
        "element": [{"code": "KET50", "target": [one]} for one in targets],
        **members,
    }


def test_the_maps_of_a_source_are_read_from_the_overlay(tmp_path: Path) -> None:
    words = {"target": SNOMED, "element": [{"code": "NAS", "target": [{"code": "46713006"}]}]}
    overlay = concept_map(tmp_path, group({"code": "6130", "equivalence": "wider"}, {"code": "1"}), words)

    assert read_local_codes(["north"], overlay) == {
        (OWN, "KET50"): (KETAMINE, Coding(system=RXNORM, code="1", display=None)),
        ("", "nas"): (Coding(system=SNOMED, code="46713006", display=None),),
    }
    assert read_local_codes([], overlay) == {}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            group({"code": "6130", "equivalence": "inexact"}),
            "an equivalence of equal, equivalent, subsumes",
        ),
        (group({"code": "6130", "equivalence": "narrower"}), "expected an equivalence"),
        ({"source": OWN, "element": [{"code": "a", "target": [{"code": "b"}]}]}, "expected a group with a target"),
    ],
)
def test_a_map_that_would_be_a_guess_is_refused(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(BadContent, match=said):
        read_local_codes(["north"], concept_map(tmp_path, wrong))


def test_a_map_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadContent, match="ConceptMap-south"):
        read_local_codes(["south"], concept_map(tmp_path, group({"code": "6130"})))


def test_a_code_of_which_nothing_is_known_is_found() -> None:
    codes = read_codes(None)

    assert codes.knows(KETAMINE)
    assert codes.knows(NASAL)
    assert not codes.knows(Coding(system=RXNORM, code="61300", display=None))
