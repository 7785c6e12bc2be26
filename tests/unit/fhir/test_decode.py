"""From FHIR JSON of every version to the dose that the rules decide on."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterdose.content import load_content
from afterdose.core.codes import Product
from afterdose.core.dose import (
    Coding,
    Context,
    Dose,
    DoseKey,
    Drug,
    Effective,
    Family,
    Precision,
    ProductKind,
    Quantity,
    Route,
)
from afterdose.core.reasons import Reason
from afterdose.fhir.decode.dose import decode_context, decode_dose, references_of

DATA = Path(__file__).parents[2] / "data" / "administrations"
CODES = load_content().codes
NEW_YORK = ZoneInfo("America/New_York")
HEARD = datetime(2026, 1, 5, 16, tzinfo=UTC)
RXNORM, SNOMED = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://snomed.info/sct"
KETAMINE = {"coding": [{"system": RXNORM, "code": "6130", "display": "ketamine"}]}
ESKETAMINE = {"coding": [{"system": RXNORM, "code": "2201623", "display": "esketamine Nasal Spray"}]}


def decode(
    *, zone: ZoneInfo | None = NEW_YORK, context: Context | None = None, patient: str | None = "1", **members: Any
) -> Dose:
    resource = {
        "resourceType": "MedicationAdministration",
        "id": "d",
        "status": "completed",
        "subject": {"reference": "Patient/1"},
        "effectiveDateTime": "2026-01-05T15:00:00Z",
        **(
            {}
            if "medicationReference" in members or "medication" in members
            else {"medicationCodeableConcept": KETAMINE}
        ),
        **members,
    }
    return decode_dose(
        {name: value for name, value in resource.items() if value is not None},
        key=DoseKey("ehr", "d"),
        patient=patient,
        heard_at=HEARD,
        codes=CODES,
        zone=zone,
        context=context or Context(),
    )


def example(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text(), parse_float=Decimal)
    return found


def decode_example(name: str) -> Dose:
    return decode_dose(
        example(name), key=DoseKey("s", "x"), patient="pat1", heard_at=HEARD, codes=CODES, zone=None, context=Context()
    )


# ---- published examples ---------------------------------------------------------------------------------------------


def test_the_same_administration_in_r4_and_in_r5_is_the_same_dose() -> None:
    assert decode_example("r4-medadmin0301") == decode_example("r5-medadmin0301")
    assert references_of(example("r4-medadmin0301")) == references_of(example("r5-medadmin0301"))


def test_an_r4_example_is_read_whole() -> None:
    dose = decode_example("r4-medadmin0301")
    assert (dose.status, dose.patient, dose.version) == ("in-progress", "pat1", None)
    assert dose.drug == Drug(family=None)
    assert dose.effective == Effective(start=datetime(2015, 1, 15, 13, 30, tzinfo=UTC), end=None, is_period=True)
    assert (dose.route, dose.quantity) == (Route.INTRAVENOUS_PUSH, Quantity(value=Decimal(500), unit="mg"))
    assert (dose.encounter, dose.request) == ("Encounter/f001", "MedicationRequest/medrx0318")
    assert [coding.code for coding in dose.reasons] == ["b"]
    assert dose.problems == ()


def test_an_infusion_example_has_its_end_its_volume_and_its_rate() -> None:
    dose = decode_example("r4-medadmin0309")
    assert dose.effective.end == datetime(2015, 1, 16, 1, 3, tzinfo=UTC)
    assert dose.quantity == Quantity(value=Decimal(1000), unit="mL")
    assert dose.rate_quantity == Quantity(value=Decimal(50), unit="mL/h")
    assert dose.route is Route.INTRAVENOUS


def test_mimic_rows_are_read() -> None:
    ward, icu = decode_example("mimic-ward"), decode_example("mimic-icu")
    assert (ward.quantity, ward.category) == (Quantity(value=Decimal(100), unit="mg"), "inpatient")
    assert ward.problems == icu.problems == ()
    assert icu.quantity == Quantity(value=Decimal(100), unit="mL")


def test_what_hangs_on_an_administration_is_named() -> None:
    found = references_of(example("r4-medadmin0301"))
    assert (found.medication, found.request, found.encounter) == (None, "MedicationRequest/medrx0318", "Encounter/f001")
    assert found.performers == ("Practitioner/f007",)


def test_an_episode_of_care_is_no_encounter_and_reasons_are_conditions_to_read() -> None:
    found = references_of(
        {
            "context": {"reference": "EpisodeOfCare/1"},
            "medication": {"reference": {"reference": "Medication/2"}},
            "reasonReference": [{"reference": "Condition/3"}, {"reference": "#inside"}],
            "reason": [{"reference": {"reference": "Condition/4"}}],
        }
    )
    assert (found.encounter, found.medication, found.reasons) == (None, "Medication/2", ("Condition/3", "Condition/4"))


# ---- the drug -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("concept", "expected"),
    [
        (KETAMINE, Drug(family=Family.KETAMINE, kind=ProductKind.SINGLE_INGREDIENT)),
        (
            {**KETAMINE, "text": "ketamine 35 mg IV"},
            Drug(family=Family.KETAMINE, kind=ProductKind.SINGLE_INGREDIENT),
        ),
        (ESKETAMINE, Drug(family=Family.ESKETAMINE, kind=ProductKind.NASAL_ESKETAMINE)),
        (
            {"coding": [{"system": SNOMED, "code": "373464007", "display": "Ketamine"}]},
            Drug(family=Family.KETAMINE, kind=ProductKind.SINGLE_INGREDIENT),
        ),
        (
            {"coding": [{"system": RXNORM, "code": "2119365"}], "text": "Spravato"},
            Drug(family=Family.ESKETAMINE, kind=ProductKind.NASAL_ESKETAMINE),
        ),
        (
            {"coding": [{"system": RXNORM, "code": "2119365"}], "text": "Ketanest S"},
            Drug(family=Family.ESKETAMINE, kind=ProductKind.ANAESTHETIC_ESKETAMINE),
        ),
        (
            {"coding": [{"system": RXNORM, "code": "6130", "display": "esketamine 28 mg nasal spray"}]},
            Drug(family=Family.KETAMINE, kind=ProductKind.SINGLE_INGREDIENT, conflicting=True),
        ),
        (
            {**KETAMINE, "text": "NOT ketamine"},
            Drug(family=Family.KETAMINE, kind=ProductKind.SINGLE_INGREDIENT, conflicting=True),
        ),
        (
            {**KETAMINE, "text": "ketamine 5%/ lidocaine 5%"},
            Drug(family=Family.KETAMINE, kind=ProductKind.SINGLE_INGREDIENT, conflicting=True),
        ),
        (
            {"coding": [*KETAMINE["coding"], *ESKETAMINE["coding"]]},
            Drug(family=Family.KETAMINE, kind=ProductKind.NASAL_ESKETAMINE, conflicting=True),
        ),
        (
            {"text": "ketamine infusion"},
            Drug(family=Family.KETAMINE, kind=ProductKind.SINGLE_INGREDIENT, by_text=True),
        ),
        (
            {"coding": [{"system": "urn:local", "code": "K1", "display": "Ketamine 50 mg/mL"}]},
            Drug(family=Family.KETAMINE, kind=ProductKind.SINGLE_INGREDIENT, by_text=True),
        ),
        (
            {"text": "Ketamine / Gabapentin cream"},
            Drug(family=Family.KETAMINE, kind=ProductKind.COMBINATION, by_text=True),
        ),
        ({"text": "NOT ketamine - see allergy"}, Drug(family=None)),
        ({"text": "norketamine"}, Drug(family=None)),
        ({"coding": [{"system": RXNORM, "code": "26225", "display": "ondansetron"}]}, Drug(family=None)),
        ({"coding": [{"system": "urn:local", "code": "6130"}]}, Drug(family=None)),
        (
            {"extension": [{"url": "http://example.org/masked", "valueCode": "masked"}]},
            Drug(family=None, unresolved=True),
        ),
    ],
)
def test_a_drug_is_recognised_by_code_then_by_words(concept: dict[str, Any], expected: Drug) -> None:
    assert decode(medicationCodeableConcept=concept).drug == expected
    assert decode(medication={"concept": concept}).drug == expected


def test_a_code_that_the_site_excluded_counts_whatever_the_words_say() -> None:
    excluded = replace(CODES, products={**CODES.products, ("urn:local", "K9"): Product(family=None, kind=None)})
    resource = {
        "medicationCodeableConcept": {"coding": [{"system": "urn:local", "code": "K9", "display": "Ketamine kit"}]}
    }
    dose = decode_dose(
        resource, key=DoseKey("s", "x"), patient="1", heard_at=HEARD, codes=excluded, zone=None, context=Context()
    )
    assert dose.drug == Drug(family=None)


def medication(*ingredients: dict[str, Any], **members: Any) -> dict[str, Any]:
    resource = {"resourceType": "Medication", "id": "m", **members}
    return {**resource, "ingredient": list(ingredients)} if ingredients else resource


CONTAINED: dict[str, Any] = {"medicationReference": {"reference": "#m"}}
SALINE = {"itemCodeableConcept": {"text": "Sodium chloride 0.9 %"}}
STRENGTH = {
    "numerator": {"value": 50, "code": "mg"},
    "denominator": {"value": 250, "unit": "milliliter (iso1000)", "code": "mL"},
}


def test_a_contained_medication_is_resolved() -> None:
    assert decode(**CONTAINED, contained=[medication(code=KETAMINE)]).drug.family is Family.KETAMINE
    inside = {"medication": {"reference": {"reference": "#m"}}, "contained": [medication(code=ESKETAMINE)]}
    assert decode(**inside).drug.family is Family.ESKETAMINE


def test_a_medication_that_was_read_is_used() -> None:
    read = Context(medication=medication(code=KETAMINE))
    assert decode(medicationReference={"reference": "Medication/m"}, context=read).drug == Drug(
        family=Family.KETAMINE, kind=ProductKind.SINGLE_INGREDIENT
    )


@pytest.mark.parametrize(
    "reference",
    [
        {"reference": "Medication/m"},
        {"reference": "#missing"},
        {"reference": "http://169.254.169.254/latest/meta-data/"},
        {"identifier": {"value": "x"}},
    ],
)
def test_a_medication_that_nobody_could_read_is_unresolved(reference: dict[str, Any]) -> None:
    assert decode(medicationReference=reference).drug == Drug(family=None, unresolved=True)


def test_the_display_of_an_unread_medication_still_names_it() -> None:
    drug = decode(medicationReference={"reference": "Medication/m", "display": "Ketamine 50 mg/mL"}).drug
    assert (drug.family, drug.by_text, drug.unresolved) == (Family.KETAMINE, True, True)


def test_a_medication_that_says_nothing_is_unresolved() -> None:
    assert decode(**CONTAINED, contained=[medication()]).drug == Drug(family=None, unresolved=True)


def test_ketamine_in_saline_is_ketamine() -> None:
    drug = decode(**CONTAINED, contained=[medication({"itemCodeableConcept": KETAMINE}, SALINE)]).drug
    assert drug == Drug(family=Family.KETAMINE, kind=ProductKind.SINGLE_INGREDIENT)


def test_ketamine_with_another_active_drug_is_a_combination() -> None:
    other = {"itemCodeableConcept": {"text": "morphine"}}
    inside = [medication({"itemCodeableConcept": KETAMINE}, other, code={"text": "PCA syringe"})]
    assert decode(**CONTAINED, contained=inside).drug.kind is ProductKind.COMBINATION
    r5 = [medication({"item": {"concept": KETAMINE}}, {"item": {"concept": {"text": "morphine"}}})]
    assert decode(**CONTAINED, contained=r5).drug.kind is ProductKind.COMBINATION
    inactive = [medication({"itemCodeableConcept": KETAMINE}, {**other, "isActive": False})]
    assert decode(**CONTAINED, contained=inactive).drug.kind is ProductKind.SINGLE_INGREDIENT


def test_an_ingredient_by_reference_is_read_where_it_is_contained() -> None:
    substance = {"resourceType": "Medication", "id": "k", "code": KETAMINE}
    inside = [medication({"itemReference": {"reference": "#k"}}), substance]
    assert decode(**CONTAINED, contained=inside).drug == Drug(
        family=Family.KETAMINE, kind=ProductKind.SINGLE_INGREDIENT
    )
    unread = [medication({"itemCodeableConcept": KETAMINE}, {"itemReference": {"reference": "Medication/9"}})]
    assert decode(**CONTAINED, contained=unread).drug.unresolved


def test_a_medication_of_another_drug_is_another_drug() -> None:
    inside = [medication({"itemCodeableConcept": {"text": "ondansetron"}}, code={"text": "ondansetron 4 mg"})]
    assert decode(**CONTAINED, contained=inside).drug == Drug(family=None)


# ---- the dose -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dose", "expected"),
    [
        ({"value": Decimal("35.00"), "unit": "mg", "code": "mg"}, Quantity(value=Decimal("35.00"), unit="mg")),
        ({"value": 35, "unit": "MG"}, Quantity(value=Decimal(35), unit="mg")),
        ({"value": 35, "unit": "milligrams", "code": "local-7"}, Quantity(value=Decimal(35), unit="mg")),
        ({"value": 500, "unit": "mcg"}, Quantity(value=Decimal(500), unit="ug")),
        ({"value": 500, "unit": "µg"}, Quantity(value=Decimal(500), unit="ug")),
        ({"value": 35, "unit": "g", "code": "g"}, Quantity(value=Decimal(35), unit="g")),
        ({"value": Decimal("0.5"), "unit": "mg/kg"}, Quantity(value=Decimal("0.5"), unit="mg/kg")),
        ({"value": 2, "unit": "EA"}, Quantity(value=Decimal(2), unit="{device}")),
        ({"value": -35, "unit": "mg"}, Quantity(value=Decimal(-35), unit="mg")),
        ({"value": 35}, Quantity(value=Decimal(35), unit=None)),
        ({"value": 35, "unit": "pinch"}, Quantity(value=Decimal(35), unit=None)),
        ({"value": 0.1, "unit": "mg"}, Quantity(value=Decimal("0.1"), unit="mg")),
        ({"value": float("nan"), "unit": "mg"}, None),
        ({"value": True, "unit": "mg"}, None),
        ({"unit": "mg"}, None),
        ("35 mg", None),
    ],
)
def test_a_dose_is_kept_as_charted_with_its_ucum_unit(dose: object, expected: Quantity | None) -> None:
    found = decode(dosage={"dose": dose}).quantity
    assert found == expected
    assert expected is None or found is None or str(found.value) == str(expected.value)


def test_a_volume_becomes_an_amount_by_the_strength_of_the_ingredient() -> None:
    inside = [medication({"itemCodeableConcept": KETAMINE, "strength": STRENGTH}, SALINE)]
    for value, unit in ((Decimal(175), "mL"), (Decimal("0.175"), "L")):
        dosage = {
            "dose": {"value": value, "unit": unit},
            "rateRatio": {"numerator": {"value": 525, "unit": "ml"}, "denominator": {"value": 2, "unit": "hr"}},
        }
        dose = decode(**CONTAINED, contained=inside, dosage=dosage)
        assert dose.quantity == Quantity(value=Decimal(35), unit="mg")
        assert dose.rate_quantity == Quantity(value=Decimal("52.5"), unit="mg/h")


def test_devices_become_an_amount_by_the_strength_of_one_device() -> None:
    each = {"numerator": {"value": 28, "unit": "mg"}, "denominator": {"value": 1, "unit": "device"}}
    inside = [medication({"item": {"concept": ESKETAMINE}, "strengthRatio": each})]
    dose = decode(**CONTAINED, contained=inside, dosage={"dose": {"value": 3, "unit": "EA"}})
    assert dose.quantity == Quantity(value=Decimal(84), unit="mg")


@pytest.mark.parametrize("per", [{"value": 0, "code": "mL"}, {"value": 1, "unit": "vial"}, {}])
def test_a_volume_stays_a_volume_where_the_strength_is_not_understood(per: dict[str, Any]) -> None:
    strength = {"numerator": {"value": 50, "code": "mg"}, "denominator": per}
    inside = [medication({"itemCodeableConcept": KETAMINE, "strength": strength})]
    dose = decode(**CONTAINED, contained=inside, dosage={"dose": {"value": 1, "unit": "mL"}})
    assert dose.quantity == Quantity(value=Decimal(1), unit="mL")


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        ({"rateQuantity": {"value": 20, "unit": "mg/hr"}}, Quantity(value=Decimal(20), unit="mg/h")),
        ({"rateQuantity": {"value": 5, "unit": "mcg/kg/min"}}, Quantity(value=Decimal(5), unit="ug/kg/min")),
        ({"rateQuantity": {"value": 5}}, Quantity(value=Decimal(5), unit=None)),
        (
            {"rateRatio": {"numerator": {"value": 10, "unit": "mg"}, "denominator": {"value": 4, "unit": "h"}}},
            Quantity(value=Decimal("2.5"), unit="mg/h"),
        ),
        ({"rateRatio": {"numerator": {"value": 10, "unit": "mg"}, "denominator": {"value": 0, "unit": "h"}}}, None),
        ({}, None),
    ],
)
def test_a_rate_is_read_from_a_quantity_or_a_ratio(rate: dict[str, Any], expected: Quantity | None) -> None:
    assert decode(dosage=rate).rate_quantity == expected


@pytest.mark.parametrize(
    ("dosage", "expected"),
    [
        ({"route": {"coding": [{"system": SNOMED, "code": "47625008"}]}}, Route.INTRAVENOUS),
        ({"route": {"coding": [{"system": SNOMED, "code": "46713006"}]}}, Route.NASAL),
        (
            {
                "route": {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/v3-RouteOfAdministration",
                            "code": "IVPUSH",
                        }
                    ]
                }
            },
            Route.INTRAVENOUS_PUSH,
        ),
        ({"route": {"coding": [{"system": "urn:local", "code": "IVCI"}]}}, Route.INTRAVENOUS),
        ({"route": {"coding": [{"system": "urn:local", "code": "318167", "display": "IM"}]}}, Route.INTRAMUSCULAR),
        ({"route": {"text": "IV  Push"}}, Route.INTRAVENOUS_PUSH),
        ({"route": {"text": "po"}}, Route.ORAL),
        ({"route": {"text": "IV"}, "method": {"text": "IV Push"}}, Route.INTRAVENOUS_PUSH),
        ({"route": {"text": "IM"}, "method": {"text": "IV Push"}}, Route.INTRAMUSCULAR),
        ({"method": {"text": "IV Push"}}, None),
        (
            {"route": {"coding": [{"system": SNOMED, "code": "47625008"}, {"system": SNOMED, "code": "78421000"}]}},
            None,
        ),
        ({"route": {"text": "somehow"}}, None),
        ({}, None),
    ],
)
def test_a_route_is_read_by_code_then_by_words(dosage: dict[str, Any], expected: Route | None) -> None:
    assert decode(dosage=dosage).route is expected


# ---- the time -------------------------------------------------------------------------------------------------------


def at(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def moment(start: datetime, **members: Any) -> Effective:
    return Effective(start=start, end=start, **members)


@pytest.mark.parametrize("element", ["effectiveDateTime", "occurenceDateTime", "occurrenceDateTime"])
def test_a_time_with_an_offset_is_an_instant_in_every_spelling(element: str) -> None:
    dose = decode(**{"effectiveDateTime": None, element: "2026-01-05T10:40:00-05:00"})
    assert dose.effective == moment(at(1, 5, 15, 40))
    assert dose.problems == ()


def test_a_timing_with_one_event_is_that_event() -> None:
    dose = decode(effectiveDateTime=None, occurenceTiming={"event": ["2026-01-05T10:40:00-05:00"]})
    assert dose.effective == moment(at(1, 5, 15, 40))
    several = decode(effectiveDateTime=None, occurrenceTiming={"event": ["2026-01-05", "2026-01-06"]})
    assert several.problems == (Reason.TIME_TOO_COARSE,)


@pytest.mark.parametrize("element", ["effectivePeriod", "occurencePeriod", "occurrencePeriod"])
def test_a_period_has_both_ends_in_every_spelling(element: str) -> None:
    period = {"start": "2026-01-05T10:00:00-05:00", "end": "2026-01-05T10:40:00-05:00"}
    dose = decode(**{"effectiveDateTime": None, element: period})
    assert dose.effective == Effective(start=at(1, 5, 15), end=at(1, 5, 15, 40), is_period=True)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("2026-01-05T10:40:00", at(1, 5, 15, 40)),
        ("2026-07-05T10:40:00", at(7, 5, 14, 40)),
        ("2026-11-01T01:30:00", at(11, 1, 6, 30)),
        ("2026-03-08T02:30:00", at(3, 8, 7, 30)),
    ],
)
def test_a_time_without_offset_is_read_in_the_zone_of_the_source_and_marked(said: str, expected: datetime) -> None:
    dose = decode(effectiveDateTime=said)
    assert dose.effective == moment(expected, zone_assumed=True)
    assert dose.problems == ()


def test_an_ambiguous_hour_with_an_offset_is_not_ambiguous() -> None:
    assert decode(effectiveDateTime="2026-11-01T01:30:00-04:00").effective == moment(at(11, 1, 5, 30))


def test_a_time_without_offset_and_zone_is_no_time() -> None:
    dose = decode(effectiveDateTime="2026-01-05T10:40:00", zone=None)
    assert dose.effective == Effective(start=None, end=None)
    assert dose.problems == (Reason.ZONE_UNKNOWN,)


def test_a_day_alone_is_the_whole_local_day_and_a_persons_business() -> None:
    dose = decode(effectiveDateTime="2026-03-08")
    assert dose.effective == Effective(start=at(3, 8, 5), end=at(3, 9, 4), precision=Precision.DATE, zone_assumed=True)
    assert dose.problems == (Reason.DATE_ONLY,)
    assert decode(effectiveDateTime="2026-03-08", zone=None).problems == (Reason.DATE_ONLY, Reason.ZONE_UNKNOWN)


@pytest.mark.parametrize("said", ["2026", "2026-03"])
def test_less_than_a_day_is_too_coarse(said: str) -> None:
    dose = decode(effectiveDateTime=said)
    assert dose.effective == Effective(start=None, end=None, precision=Precision.COARSE)
    assert dose.problems == (Reason.TIME_TOO_COARSE,)


@pytest.mark.parametrize(
    ("members", "problems"),
    [
        ({"effectiveDateTime": None}, (Reason.TIME_MISSING,)),
        ({"effectiveDateTime": "yesterday"}, (Reason.TIME_MISSING,)),
        ({"effectiveDateTime": 1763647200}, (Reason.TIME_MISSING,)),
        ({"effectiveDateTime": None, "effectivePeriod": {"extension": [{}]}}, (Reason.TIME_MISSING,)),
        (
            {
                "effectiveDateTime": None,
                "effectivePeriod": {"start": "2026-01-05T11:00:00Z", "end": "2026-01-05T10:00:00Z"},
            },
            (Reason.PERIOD_REVERSED,),
        ),
        (
            {"effectiveDateTime": None, "effectivePeriod": {"start": "2026-01-05", "end": "2026-01-05T10:00:00Z"}},
            (Reason.DATE_ONLY,),
        ),
        ({"effectiveDateTime": "0001-01-01T00:00:00"}, (Reason.TIME_IMPLAUSIBLE,)),
        ({"effectiveDateTime": "0001-01-01T01:00:00Z"}, (Reason.TIME_IMPLAUSIBLE,)),
        ({"effectiveDateTime": "9999-12-31T23:00:00Z"}, (Reason.TIME_IMPLAUSIBLE,)),
        ({"effectiveDateTime": "9999-12-31T23:00:00"}, (Reason.TIME_IMPLAUSIBLE,)),
        ({"effectiveDateTime": "9999-12-31"}, (Reason.TIME_IMPLAUSIBLE,)),
    ],
)
def test_a_time_that_is_no_time_is_a_problem(members: dict[str, Any], problems: tuple[Reason, ...]) -> None:
    assert decode(**members).problems == problems


# ---- the rest -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        (
            {"modifierExtension": [{"url": "http://example.org/was-placebo", "valueBoolean": True}]},
            Reason.MODIFIER_UNKNOWN,
        ),
        ({"dosage": {"modifierExtension": [{"url": "http://example.org/x"}]}}, Reason.MODIFIER_UNKNOWN),
        ({"implicitRules": "http://example.org/rules/inverted"}, Reason.IMPLICIT_RULES),
        ({"isSubPotent": True}, Reason.STOPPED_PARTIAL_DOSE),
        ({"subject": {"reference": "Patient/1", "type": "Device"}}, Reason.PATIENT_UNRESOLVED),
        ({"patient": None}, Reason.PATIENT_UNRESOLVED),
        (
            {
                "dosage": {
                    "method": {
                        "coding": [
                            {
                                "system": "http://mimic.mit.edu/fhir/mimic/CodeSystem/mimic-medication-method",
                                "code": "Not Given",
                            }
                        ]
                    }
                }
            },
            Reason.NOT_GIVEN_METHOD,
        ),
        ({"dosage": {"method": {"text": "Patient refused"}}}, Reason.NOT_GIVEN_METHOD),
    ],
)
def test_what_a_person_has_to_decide_is_a_problem(members: dict[str, Any], problem: Reason) -> None:
    dose = decode(**members)
    assert dose.problems == (problem,)
    assert (dose.patient is None) is (problem is Reason.PATIENT_UNRESOLVED)


def test_a_patient_found_by_identifier_stays_found() -> None:
    assert decode(subject={"identifier": {"system": "urn:example:mrn", "value": "123"}}).patient == "1"


@pytest.mark.parametrize("status", [None, "given", 5])
def test_a_status_that_does_not_exist_is_unknown(status: object) -> None:
    assert decode(status=status).status == "unknown"


def test_reasons_come_from_codes_concepts_and_contained_conditions() -> None:
    mdd = {"coding": [{"system": SNOMED, "code": "370143000"}], "text": "Depression"}
    expected = (Coding(SNOMED, "370143000"),)
    inside = {"resourceType": "Condition", "id": "c", "code": mdd}
    refuted = {**inside, "verificationStatus": {"coding": [{"code": "refuted"}]}}
    assert decode(reasonCode=[mdd]).reasons == expected
    assert decode(reasonCode=[mdd]).reason_text == "Depression"
    assert decode(reason=[{"concept": mdd}]).reasons == expected
    assert decode(reasonReference=[{"reference": "#c"}], contained=[inside]).reasons == expected
    assert decode(reason=[{"reference": {"reference": "#c"}}], contained=[inside]).reasons == expected
    assert decode(reasonReference=[{"reference": "#c"}], contained=[refuted]).reasons == ()


def test_labels_versions_parts_and_references_are_kept() -> None:
    restricted = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
    dose = decode(
        meta={"versionId": "7", "security": [restricted]},
        partOf=[{"reference": "https://ehr.example/fhir/MedicationAdministration/first/_history/1"}],
        encounter={"reference": "https://ehr.example/fhir/Encounter/5"},
        performer=[
            {"actor": {"reference": "Practitioner/1"}},
            {"actor": {"reference": {"reference": "Practitioner/2"}}},
        ],
    )
    assert dose.version == "7"
    assert dose.labels == (Coding(restricted["system"], "R"),)
    assert dose.part_of == ("MedicationAdministration/first",)
    assert dose.encounter == "Encounter/5"
    assert dose.context.location_ids == ("Practitioner/1", "Practitioner/2")
    assert (dose.key, dose.heard_at, dose.removed) == (DoseKey("ehr", "d"), HEARD, False)


def test_a_context_is_read_from_r4_resources() -> None:
    place = {"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "PSY"}
    context = decode_context(
        request={
            "reasonCode": [{"coding": [{"system": SNOMED, "code": "370143000"}]}],
            "instantiatesCanonical": ["http://clinic.example/PlanDefinition/ketamine|2"],
            "meta": {"tag": [{"system": "urn:order-sets", "code": "KET"}]},
            "basedOn": [{"reference": "CarePlan/5"}],
        },
        encounter={
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
            "serviceType": {"coding": [{"system": SNOMED, "code": "394587001"}]},
            "location": [{"location": {"reference": "Location/9"}}],
            "serviceProvider": {"reference": "Organization/1"},
        },
        patient={"birthDate": "1980-02-29"},
        locations=[{"resourceType": "Location", "id": "9", "type": [{"coding": [place]}]}],
        conditions=[{"code": {"coding": [{"system": SNOMED, "code": "724715004"}]}}],
        reasons=[{"code": {"coding": [{"system": SNOMED, "code": "66344007"}]}}],
        weight={"valueQuantity": {"value": 150, "code": "[lb_av]"}},
        medication={"resourceType": "Medication"},
    )
    assert context.request_reasons == (Coding(SNOMED, "370143000"), Coding(SNOMED, "66344007"))
    assert context.request_protocols == (
        "http://clinic.example/PlanDefinition/ketamine|2",
        "http://clinic.example/PlanDefinition/ketamine",
        "urn:order-sets|KET",
        "CarePlan/5",
    )
    assert context.encounter_class == "AMB"
    assert context.location_types == (Coding(place["system"], "PSY"),)
    assert context.location_ids == ("Location/9", "Organization/1")
    assert context.specialties == (Coding(SNOMED, "394587001"),)
    assert context.conditions == (Coding(SNOMED, "724715004"),)
    assert context.birth_date == date(1980, 2, 29)
    assert context.weight_kg == Decimal("68.0388555")
    assert context.medication == {"resourceType": "Medication"}


def test_a_context_is_read_from_r5_resources() -> None:
    psychiatry = {"coding": [{"system": SNOMED, "code": "394587001"}]}
    context = decode_context(
        request={"reason": [{"concept": {"coding": [{"system": SNOMED, "code": "370143000"}]}}]},
        encounter={"class": [{"coding": [{"code": "EMER"}]}], "serviceType": [{"concept": psychiatry}]},
        locations=[{"resourceType": "PractitionerRole", "id": "r", "specialty": [psychiatry]}],
    )
    assert [coding.code for coding in context.request_reasons] == ["370143000"]
    assert context.encounter_class == "EMER"
    assert [coding.code for coding in context.specialties] == ["394587001", "394587001"]
    assert context.location_ids == ("PractitionerRole/r",)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("1980", date(1980, 12, 31)),
        ("1980-02", date(1980, 2, 29)),
        ("1980-02-30", None),
        ("unknown", None),
        (None, None),
    ],
)
def test_a_birthday_that_is_not_known_to_the_day_makes_nobody_older(said: str | None, expected: date | None) -> None:
    assert decode_context(patient={"birthDate": said}).birth_date == expected


def test_an_empty_context_says_nothing() -> None:
    assert decode_context() == Context()


def test_a_weight_may_have_its_unit_in_words() -> None:
    weight = {"valueQuantity": {"value": 150, "unit": "Lbs"}}
    assert decode_context(weight=weight, units={"lbs": "[lb_av]"}).weight_kg == Decimal("68.0388555")
    assert decode_context(weight=weight).weight_kg is None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals(allow_nan=False)
    | st.sampled_from(["#m", "2026-01-05", "2026-01-05T10:00:00", "ketamine", "mg", "6130", "Patient/1", "mL"])
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "coding",
                    "code",
                    "system",
                    "text",
                    "display",
                    "reference",
                    "concept",
                    "value",
                    "unit",
                    "start",
                    "end",
                    "event",
                    "dose",
                    "route",
                    "method",
                    "rateRatio",
                    "numerator",
                    "denominator",
                    "ingredient",
                    "itemCodeableConcept",
                    "strength",
                    "id",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
ELEMENTS = [
    "id",
    "meta",
    "implicitRules",
    "contained",
    "modifierExtension",
    "status",
    "category",
    "medicationCodeableConcept",
    "medicationReference",
    "medication",
    "subject",
    "context",
    "encounter",
    "effectiveDateTime",
    "effectivePeriod",
    "occurenceTiming",
    "performer",
    "reasonCode",
    "reasonReference",
    "reason",
    "request",
    "partOf",
    "dosage",
]


@given(st.dictionaries(st.sampled_from(ELEMENTS), JSON, max_size=8), JSON)
def test_decoding_never_raises(resource: dict[str, Any], other: Any) -> None:
    related = other if isinstance(other, dict) else {"ingredient": other}
    context = decode_context(
        request=related, encounter=related, medication=related, patient=related, locations=[related], weight=related
    )
    dose = decode_dose(
        resource, key=DoseKey("s", "x"), patient="1", heard_at=HEARD, codes=CODES, zone=NEW_YORK, context=context
    )
    assert isinstance(dose, Dose)
    assert references_of(resource) == references_of(resource)
