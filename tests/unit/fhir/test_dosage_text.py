"""A dose in words: taken where the words leave no doubt, and nothing where they do."""

import time
from decimal import Decimal

import pytest

from afterdose.content import load_content
from afterdose.fhir.decode.dosage import dose_quantity, rate_quantity
from afterdose.fhir.decode.dosage_text import told

CODES = load_content().codes


@pytest.mark.parametrize(
    ("text", "amount", "rate"),
    [
        ("0.5 mg/kg over 40 min", ("0.5", "mg/kg"), ("0.0125", "mg/kg/min")),
        ("Ketamine 0,5 mg/kg i.v. über 40 min", ("0.5", "mg/kg"), ("0.0125", "mg/kg/min")),
        ("35 mg IV over 40 minutes.", ("35", "mg"), ("0.875", "mg/min")),
        ("35mg in 40min", ("35", "mg"), ("0.875", "mg/min")),
        ("60 mg/1 h", ("60", "mg"), ("60", "mg/h")),
        ("35 mg in 100 mL NS over 40 min", ("35", "mg"), ("0.875", "mg/min")),
        ("0.5 mg per kg intramuscular", ("0.5", "mg/kg"), None),
        ("84 mg intranasally", ("84", "mg"), None),
        ("500 mcg", ("500", "ug"), None),
    ],
)
def test_one_amount_and_the_time_that_it_took_are_taken(
    text: str, amount: tuple[str, str], rate: tuple[str, str] | None
) -> None:
    found = told(text, CODES)
    assert found is not None
    assert (found.amount.value, found.amount.unit) == (Decimal(amount[0]), amount[1])
    assert (found.rate and (found.rate.value, found.rate.unit)) == (rate and (Decimal(rate[0]), rate[1]))


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "infusion as ordered",
        "0.5-1 mg/kg over 40 min",
        "0.5 to 1 mg/kg",
        "up to 0.5 mg/kg over 40 min",
        "0.5 mg/kg (35 mg) over 40 min",
        "ketamine 50 mg/mL, 35 mg IV",
        "35 mg, then 10 mg/h",
        "35 mg after 40 min",
        "35 mg, 40 min",
        "35 mg over 40 min, may repeat",
        "dose 3 of 6: 35 mg",
        "35 mg x2",
        "1,000 mg",
        "1.000,5 mg",
        "2 sprays",
        "35 mg, 100 mL",
        "35 units",
        "35 mg over 0 min",
        "35 mg over 40 min on 5 Jan",
        "0.2 mg/kg/h over 40 min",
        "35 mg not given",
        "<35 mg",
        "35 / 40 mg",
        "mg 35",
    ],
)
def test_where_there_is_a_doubt_nothing_is_taken(text: str | None) -> None:
    assert told(text, CODES) is None


def test_what_is_as_long_as_a_report_is_not_searched_for_a_dose() -> None:
    began = time.process_time()
    assert told("1 h " * 6_000 + "35 mg", CODES) is None
    assert time.process_time() - began < 1


def test_what_is_charted_as_a_quantity_wins_over_the_words() -> None:
    charted = {"dose": {"value": 20, "unit": "mg"}, "text": "35 mg over 40 min"}
    found = dose_quantity(charted, None, CODES)
    assert found is not None
    assert found.value == 20
    assert rate_quantity(charted, None, CODES) is None


def test_the_words_serve_where_no_number_was_charted() -> None:
    words = {"dose": {"unit": "mg"}, "text": "0.5 mg/kg over 40 min"}
    assert dose_quantity(words, None, CODES).unit == "mg/kg"
    assert rate_quantity(words, None, CODES).unit == "mg/kg/min"
