"""The shipped code files: every code can exist, every name is recognised as what it is."""

import json
from collections.abc import Iterator

import pytest

from afterdose.content import load_content
from afterdose.content.locate import bundled
from afterdose.core.codes import Codes
from afterdose.core.dose import Coding, Family, ProductKind, Route

SNOMED, LOINC, RXNORM = "http://snomed.info/sct", "http://loinc.org", "http://www.nlm.nih.gov/research/umls/rxnorm"


@pytest.fixture(scope="module")
def codes() -> Codes:
    return load_content().codes


def shipped(system: str) -> Iterator[str]:
    """Every code of a system in any file of mappings/codes and profiles."""
    for folder in ("mappings/codes", "profiles"):
        for path in sorted((bundled() / folder).glob("*.json")):
            yield from _codes(json.loads(path.read_text()), system)


def _codes(value: object, system: str) -> Iterator[str]:
    if isinstance(value, dict):
        if value.get("system") == system and "code" in value:
            yield value["code"]
        if value.get("system") == system:
            yield from (concept["code"] for concept in value.get("concept", []))
        if value.get("source") == system:
            yield from (element["code"] for element in value["element"])
        if value.get("target") == system:
            yield from (target["code"] for element in value["element"] for target in element["target"])
        for member in value.values():
            yield from _codes(member, system)
    elif isinstance(value, list):
        for member in value:
            yield from _codes(member, system)


def verhoeff(code: str) -> bool:
    """The check digit of SNOMED CT (https://confluence.ihtsdotools.org/display/DOCRELFMT/6+SNOMED+CT+Identifiers)."""
    check, inverse = 0, (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
    for place, digit in enumerate(reversed(code)):
        turned = int(digit)
        for _ in range(place % 8):
            turned = inverse[turned]
        check = _dihedral(check, turned)
    return check == 0


def _dihedral(a: int, b: int) -> int:
    if a < 5:
        return (a + b) % 5 if b < 5 else 5 + (a + b) % 5
    return 5 + (a - b) % 5 if b < 5 else (a - b) % 5


def mod_10(code: str) -> bool:
    """The check digit of LOINC (Luhn)."""
    number, _, check = code.partition("-")
    total = sum(
        sum(divmod(int(digit) * 2, 10)) if place % 2 == 0 else int(digit)
        for place, digit in enumerate(reversed(number))
    )
    return (10 - total % 10) % 10 == int(check)


def test_the_check_digit_catches_codes_that_do_not_exist() -> None:
    assert verhoeff("373464007")
    assert not any(verhoeff(wrong) for wrong in ("302247003", "711020003", "711415009", "1156248006"))
    assert mod_10("44249-1")
    assert not mod_10("44249-2")


def test_every_snomed_code_has_its_check_digit() -> None:
    found = list(shipped(SNOMED))
    assert len(found) > 40
    assert [code for code in found if not verhoeff(code)] == []


def test_every_loinc_code_has_its_check_digit() -> None:
    found = list(shipped(LOINC))
    assert found
    assert [code for code in found if not mod_10(code)] == []


def test_our_own_codes_in_outbound_exist_in_our_code_systems(codes: Codes) -> None:
    own = {}
    for path in (bundled() / "profiles").glob("CodeSystem-*.json"):
        system = json.loads(path.read_text())
        own[system["url"]] = {concept["code"] for concept in system["concept"]}
    ours = [
        coding for role in codes.outbound.values() for coding in role if coding.system.startswith("https://afterdose")
    ]
    assert ours
    assert [coding for coding in ours if coding.code not in own.get(coding.system, set())] == []


@pytest.mark.parametrize(
    "role",
    [
        "care-plan-category",
        "session-service-category",
        "session-service-type",
        "session-appointment-type",
        "session-specialty",
        "security-label",
        "provenance-agent",
        "review-task",
        "unmet-task",
        "booked-task",
        "warning-task",
        "guarantee-task",
        "waiting-task",
        "merged-task",
        "preparation-appointment-type",
        "body-weight",
    ],
)
def test_every_role_that_is_written_has_a_coding_with_a_display(codes: Codes, role: str) -> None:
    assert all(coding.system and coding.code and coding.display for coding in codes.outbound[role])
    assert codes.outbound[role]


def named(codes: Codes, words: str) -> tuple[Family | None, ProductKind | None] | None:
    for term in codes.product_terms:
        if term.pattern.search(words.casefold()):
            return term.product.family, term.product.kind
    return None


KETAMINE = (Family.KETAMINE, ProductKind.SINGLE_INGREDIENT)
ESKETAMINE = (Family.ESKETAMINE, ProductKind.SINGLE_INGREDIENT)
NASAL = (Family.ESKETAMINE, ProductKind.NASAL_ESKETAMINE)
ANAESTHETIC = (Family.ESKETAMINE, ProductKind.ANAESTHETIC_ESKETAMINE)
MIXTURE = (Family.KETAMINE, ProductKind.COMBINATION)
OTHER = (None, None)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ketamine", KETAMINE),
        ("Ketamine HCl", KETAMINE),
        ("KETAMINE HCL 50MG/ML INJ,SOLN", KETAMINE),
        ("kétamine", KETAMINE),
        ("Ketamin", KETAMINE),
        ("ketamina 500 mg", KETAMINE),
        ("Ketalar", KETAMINE),
        ("Ketamine 200mg/20mL 20mL Vial", KETAMINE),
        ("Ketamine (For Intubation)", KETAMINE),
        ("ketamine troches", KETAMINE),
        ("ketamine nasal spray", KETAMINE),
        ("ketamine in patient's own supply", KETAMINE),
        ("this is the patient's ketamine", KETAMINE),
        ("no preservative ketamine 10 mg/mL", KETAMINE),
        ("esketamine", ESKETAMINE),
        ("eskétamine", ESKETAMINE),
        ("Esketamin", ESKETAMINE),
        ("(S)-ketamine", ESKETAMINE),
        ("S-ketamine 25 mg", ESKETAMINE),
        ("S(+)-Ketamin", ESKETAMINE),
        ("Spravato 28 mg", NASAL),
        ("ESKETAMINE 28MG SOLN,SPRAY,NASAL", NASAL),
        ("Esketamine 28 Mg - Nasal Spray Device", NASAL),
        ("Ketanest S 25 mg/ml", ANAESTHETIC),
        ("Vesierra", ANAESTHETIC),
        ("Amitriptyline 2% / Ketamine 1% cream", MIXTURE),
        ("Ketamine + Morphine", MIXTURE),
        ("ketamine 5%/ lidocaine 5% / amit 2%", MIXTURE),
        ("ketamine 5%- gabapentin 10%-lidocaine 6%-amitripline 2%", MIXTURE),
        ("Ketamine/Gabapentin/Amitriptyline", MIXTURE),
        ("ketofol", MIXTURE),
        ("NOT ketamine - see allergy", OTHER),
        ("ketamine refused", OTHER),
        ("allergic to ketamine", OTHER),
        ("norketamine", None),
        ("nor-ketamine", OTHER),
        ("hydroxynorketamine level", OTHER),
        ("methoxetamine", OTHER),
        ("tiletamine / zolazepam", OTHER),
        ("arketamine", OTHER),
        ("(R)-ketamine", OTHER),
        ("ketamine level", OTHER),
        ("ondansetron 4 mg", None),
        ("ketorolac", None),
    ],
)
def test_words_name_the_product_that_they_mean(
    codes: Codes, words: str, expected: tuple[Family | None, ProductKind | None] | None
) -> None:
    found = named(codes, words)
    assert (found or OTHER) == (expected or OTHER)


@pytest.mark.parametrize(
    ("system", "code", "kind"),
    [
        (RXNORM, "6130", ProductKind.SINGLE_INGREDIENT),
        ("urn:oid:2.16.840.1.113883.6.88", "6130", ProductKind.SINGLE_INGREDIENT),
        (RXNORM, "2201623", ProductKind.NASAL_ESKETAMINE),
        ("http://www.whocc.no/atc", "N01AX14", ProductKind.ANAESTHETIC_ESKETAMINE),
        ("http://www.whocc.no/atc", "N06AX27", ProductKind.NASAL_ESKETAMINE),
        ("http://hl7.org/fhir/sid/ndc", "50458-028-02", ProductKind.NASAL_ESKETAMINE),
        ("http://hl7.org/fhir/sid/ndc", "50458002802", ProductKind.NASAL_ESKETAMINE),
        ("http://mimic.mit.edu/fhir/mimic/CodeSystem/mimic-medication-icu", "221712", ProductKind.SINGLE_INGREDIENT),
    ],
)
def test_codes_name_their_product_under_every_name_of_their_system(
    codes: Codes, system: str, code: str, kind: ProductKind
) -> None:
    assert codes.products[(system, code)].kind is kind


def test_icd_10_codes_are_recognised_with_and_without_the_dot(codes: Codes) -> None:
    system = "http://hl7.org/fhir/sid/icd-10-cm"
    held = [Coding(system, code) for code in ("F33.2", "F332", "F32.A", "F43.12", "R45.851", "F31.81")]
    assert all(codes.psychiatric_indications.holds(coding) for coding in held)
    others = [Coding(system, code) for code in ("F32.81", "G89.4", "F20.9", "F4312X", "S72")]
    assert [coding.code for coding in others if codes.psychiatric_indications.holds(coding)] == ["F4312X"]
    assert codes.caution_conditions.holds(Coding(system, "F20.9"))


def test_a_mood_code_of_another_system_is_no_indication(codes: Codes) -> None:
    assert not codes.psychiatric_indications.holds(Coding("http://example.org/local", "F33.2"))


@pytest.mark.parametrize(
    ("word", "route"),
    [
        ("iv", Route.INTRAVENOUS),
        ("ivci", Route.INTRAVENOUS),
        ("iv bolus", Route.INTRAVENOUS_PUSH),
        ("p.o.", Route.ORAL),
        ("nas", Route.NASAL),
        ("sl", Route.SUBLINGUAL),
        ("buccal", Route.BUCCAL),
    ],
)
def test_route_words_are_known_in_lower_case(codes: Codes, word: str, route: Route) -> None:
    assert codes.route_words[word] is route


def test_every_unit_stands_in_lower_case_for_a_ucum_code(codes: Codes) -> None:
    assert codes.units["mcg/kg/min"] == "ug/kg/min"
    assert codes.units["ml"] == "mL"
    assert [unit for unit in codes.units if unit != unit.casefold()] == []


V2_ROUTES = "http://terminology.hl7.org/CodeSystem/v2-0162"
V3_ROUTES = "http://terminology.hl7.org/CodeSystem/v3-RouteOfAdministration"


@pytest.mark.parametrize(
    ("system", "code", "route"),
    [
        (V2_ROUTES, "B", Route.BUCCAL),
        (V2_ROUTES, "NS", Route.NASAL),
        (V2_ROUTES, "SC", Route.SUBCUTANEOUS),
        (V3_ROUTES, "IVINJBOL", Route.INTRAVENOUS_PUSH),
        (V3_ROUTES, "EPIDURINJ", Route.EPIDURAL),
        (V3_ROUTES, "EPIINJ", Route.EPIDURAL),
        (V3_ROUTES, "EPINJSP", Route.EPIDURAL),
    ],
)
def test_the_routes_of_hl7s_own_code_systems_are_known(codes: Codes, system: str, code: str, route: Route) -> None:
    assert codes.routes[system, code] is route


def test_no_code_is_left_without_a_word_on_how_sure_it_is() -> None:
    known = {
        "from memory, confirm before relying on it",
        "our own code",
        "a word of ours",
        "seen in HL7's own code system",
        "seen in a published source",
        "seen once in a secondary source",
        "seen in a hospital's own codes",
    }
    said = set()
    for path in sorted((bundled() / "mappings/codes").glob("ValueSet-*.json")):
        for include in json.loads(path.read_text())["compose"]["include"]:
            said |= {one["value"] for concept in include.get("concept", []) for one in concept.get("designation", [])}
    assert said <= known
