"""Messages become administrations as `mappings/v2/ras-o17.toml` says; each message is a file of tests/data/v2."""

from __future__ import annotations

import base64
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterdose.content.v2 import read_v2
from afterdose.core.errors import BadInput
from afterdose.fhir import strict_json
from afterdose.fhir.decode import administration
from afterdose.fhir.v2 import er7
from afterdose.fhir.v2.mapping import Action, FieldRef, V2Mapping
from afterdose.fhir.v2.translate import Facility, Translation, is_translated, translate

DATA = Path(__file__).parents[3] / "data" / "v2"
MAPPING = read_v2(None)
NEW_YORK = Facility(ZoneInfo("America/New_York"), "https://hospital.example.org/mrn")
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
FILES = sorted(path.stem for path in DATA.glob("*.er7"))


def translated(
    name: str | bytes, facility: Facility = NEW_YORK, mapping: V2Mapping = MAPPING
) -> tuple[Translation, ...]:
    raw = name if isinstance(name, bytes) else (DATA / f"{name}.er7").read_bytes()
    return translate(er7.parse(raw), mapping, facility)


def only(name: str | bytes, facility: Facility = NEW_YORK, mapping: V2Mapping = MAPPING) -> dict[str, Any]:
    (one,) = translated(name, facility, mapping)
    return one.resource


def changed(name: str, *changes: tuple[str, str]) -> bytes:
    text = (DATA / f"{name}.er7").read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return text.encode()


def problem(raw: bytes) -> tuple[str, str]:
    with pytest.raises(BadInput) as caught:
        translated(raw)
    return caught.value.problems[0].code, caught.value.problems[0].path


def check(raw: bytes) -> None:
    """What comes of a message can be stored; BadInput is the only error."""
    try:
        made = translated(raw)
    except BadInput:
        return
    for one in made:
        strict_json.loads(strict_json.dumps(one.resource))


@pytest.mark.parametrize("name", FILES)
def test_every_translation_is_an_administration_that_intake_takes(name: str) -> None:
    for one in translated(name):
        assert administration.problems(strict_json.loads(strict_json.dumps(one.resource))) == ()


def test_who_when_and_what_of_an_infusion() -> None:
    resource = only("infusion")

    assert resource["status"] == "completed"
    assert resource["meta"] == {"versionId": "M0001", "lastUpdated": "2026-01-05T16:20:00Z"}
    assert resource["effectivePeriod"] == {"start": "2026-01-05T10:30:00", "end": "2026-01-05T11:10:00"}
    assert resource["subject"]["identifier"]["system"] == "https://hospital.example.org/mrn"
    assert resource["subject"]["identifier"]["value"] == "70001"
    assert [one["value"] for one in resource["identifier"]] == ["P1001", "F2001"]
    assert resource["reasonCode"][0]["coding"][0]["code"] == "F33.2"
    assert resource["performer"] == [{"actor": {"type": "Practitioner", "identifier": {"value": "N123"}}}]
    assert resource["note"] == [{"text": "calm&well"}]


def test_dose_route_site_and_method_of_an_infusion() -> None:
    dosage = only("infusion")["dosage"]

    assert dosage["dose"] == {
        "value": Decimal(35),
        "unit": "milligram",
        "code": "mg",
        "system": "http://unitsofmeasure.org",
    }
    assert dosage["route"]["coding"][0] == {
        "system": "http://terminology.hl7.org/CodeSystem/v2-0162",
        "code": "IV",
        "display": "Intravenous",
    }
    assert dosage["site"]["text"] == "Left arm"
    assert dosage["method"]["text"] == "IV Push"


def test_a_strength_makes_the_drug_a_contained_medication_with_its_alternate_code() -> None:
    resource = only("infusion")

    (medication,) = [one for one in resource["contained"] if one["resourceType"] == "Medication"]
    assert resource["medicationReference"] == {"reference": f"#{medication['id']}"}
    assert [(coding.get("system"), coding["code"]) for coding in medication["code"]["coding"]] == [
        (RXNORM, "6130"),
        (None, "KET50"),
    ]
    strength = medication["ingredient"][0]["strength"]
    assert (strength["numerator"]["value"], strength["numerator"]["code"]) == (50, "mg")
    assert (strength["denominator"]["value"], strength["denominator"]["code"]) == (1, "mL")


def test_a_strength_may_be_told_in_one_unit() -> None:
    raw = changed("infusion", ("||50|mg|||||", "||50|mg/mL|||||"), ("CP|A||1|mL", "CP|A"))

    (medication,) = [one for one in only(raw)["contained"] if one["resourceType"] == "Medication"]
    strength = medication["ingredient"][0]["strength"]
    assert (strength["numerator"]["code"], strength["denominator"]) == (
        "mg",
        {"value": Decimal(1), "unit": "mL", "code": "mL"},
    )


def test_the_visit_is_a_contained_encounter() -> None:
    (encounter,) = [one for one in only("infusion")["contained"] if one["resourceType"] == "Encounter"]

    assert encounter["class"]["code"] == "AMB"
    assert encounter["identifier"] == [{"value": "V77001"}]
    assert encounter["location"] == [{"location": {"identifier": {"value": "PSY-OPD"}}}]


@pytest.mark.parametrize("name", ["PSY-OPD", "GH/PSY-OPD"])
def test_a_site_names_the_location_of_a_point_of_care(name: str) -> None:
    mapping = replace(MAPPING, locations={name: "Location/clinic"})

    (encounter,) = [one for one in only("infusion", mapping=mapping)["contained"] if one["resourceType"] == "Encounter"]
    assert encounter["location"] == [{"location": {"reference": "Location/clinic"}}]


def test_the_message_itself_is_kept_with_the_resource() -> None:
    resource = only("infusion")

    (original,) = [one for one in resource["contained"] if one["resourceType"] == "Binary"]
    assert resource["supportingInformation"] == [{"reference": f"#{original['id']}"}]
    assert base64.b64decode(original["data"]) == (DATA / "infusion.er7").read_bytes()


def test_names_and_birthdays_are_not_translated() -> None:
    assert "MUSTER" not in str({**only("infusion"), "contained": None})


def test_two_devices_are_two_administrations_with_their_routes() -> None:
    first, second = translated("esketamine-two-devices")

    assert first.id != second.id
    assert [one.resource["effectiveDateTime"] for one in (first, second)] == [
        "2026-01-05T10:00:00",
        "2026-01-05T10:05:00",
    ]
    assert [one.resource["dosage"]["route"]["coding"][0]["code"] for one in (first, second)] == ["NS", "NS"]


def test_rate_changes_are_administrations_with_rates_and_the_last_one_still_runs() -> None:
    parts = [one.resource for one in translated("infusion-rate-changes")]

    assert [part["status"] for part in parts] == ["completed", "completed", "in-progress"]
    assert parts[2]["effectivePeriod"] == {"start": "2026-01-05T10:40:00"}
    rates = [part["dosage"]["rateRatio"] for part in parts]
    assert [
        (rate["numerator"]["value"], rate["denominator"]["value"], rate["denominator"]["code"]) for rate in rates
    ] == [
        (20, 1, "h"),
        (30, 30, "min"),
        (30, 1, "h"),
    ]


def test_the_route_of_the_order_serves_where_none_follows_the_administration() -> None:
    assert {one.resource["dosage"]["route"]["coding"][0]["code"] for one in translated("infusion-rate-changes")} == {
        "IV"
    }


def test_each_order_of_a_message_keeps_its_own() -> None:
    first, second = (one.resource for one in translated("two-orders"))

    assert [one["value"] for one in second["identifier"]] == ["P1009", "F2009"]
    assert first["dosage"]["route"]["coding"][0]["code"] == "IV"
    assert second["dosage"]["route"]["coding"][0]["code"] == "PO"
    assert first["effectivePeriod"]["start"] == "2026-01-05T10:00:00+01:00"
    assert second["effectiveDateTime"] == "2026-01-05T11:00:00"


def test_a_correction_and_a_deletion_have_the_id_of_the_administration() -> None:
    (given_,), (corrected,), (deleted,) = map(translated, ("infusion", "infusion-corrected", "infusion-deleted"))

    assert given_.id == corrected.id == deleted.id
    assert is_translated(given_.id)
    assert [one.action for one in (given_, corrected, deleted)] == [Action.ADD, Action.UPDATE, Action.DELETE]
    assert deleted.resource["status"] == "entered-in-error"
    assert corrected.resource["dosage"]["dose"]["value"] == 40


@pytest.mark.parametrize(
    ("before", "after"),
    [("F2001", "F2002"), ("RXA|0|1", "RXA|0|2"), ("RXA|0|1", "RXA|1|1"), ("|GH|AFTERDOSE", "|OTHER|AFTERDOSE")],
)
def test_another_facility_order_or_number_is_another_administration(before: str, after: str) -> None:
    assert only(changed("infusion", (before, after)))["id"] != only("infusion")["id"]


def test_the_placer_s_number_serves_where_there_is_no_filler_s() -> None:
    without = changed("infusion", ("|F2001", "|"))

    assert only(without)["id"] != only("infusion")["id"]
    assert only(without)["id"] == only(changed("infusion", ("|F2001", "")))["id"]


def test_a_site_tells_doses_apart_by_their_start_where_numbers_do_not_count() -> None:
    by_start = replace(MAPPING, identity=(*MAPPING.identity, (FieldRef.of("RXA-3"),)))
    again = changed("infusion", ("20260105103000", "20260108103000"))

    assert only(again)["id"] == only("infusion")["id"]
    assert only(again, mapping=by_start)["id"] != only("infusion", mapping=by_start)["id"]


@pytest.mark.parametrize(
    ("said", "status"),
    [("CP", "completed"), ("PA", "stopped"), ("NA", "not-done"), ("RE", "not-done"), ("", "completed")],
)
def test_completion_becomes_status(said: str, status: str) -> None:
    assert only(changed("infusion", ("|CP|A", f"|{said}|A")))["status"] == status


def test_a_refusal_has_its_reason() -> None:
    assert only("refused")["statusReason"][0]["text"] == "Patient refusal"


@pytest.mark.parametrize(
    ("amount", "unit", "expected"),
    [
        ("12.50", "mg^^UCUM", {"value": Decimal("12.50")}),
        ("2", "devices", {"value": 2, "unit": "devices", "code": "devices"}),
        ("35", "", {"value": 35}),
    ],
)
def test_an_amount_is_kept_digit_for_digit(amount: str, unit: str, expected: dict[str, Any]) -> None:
    dose = only(changed("partial", ("|12.50|mg^^UCUM|", f"|{amount}|{unit}|")))["dosage"]["dose"]

    assert str(dose["value"]) == amount
    assert dose.items() >= expected.items()


@pytest.mark.parametrize("amount", ["35mg", "one vial", "1e9", "٣"])
def test_an_amount_in_words_is_kept_as_words(amount: str) -> None:
    dosage = only(changed("partial", ("|12.50|mg^^UCUM|", f"|{amount}||")))["dosage"]

    assert dosage["text"] == amount
    assert "dose" not in dosage


@pytest.mark.parametrize("amount", ["0", "999", '""', ""])
def test_an_amount_that_was_not_recorded_is_none(amount: str) -> None:
    assert "dose" not in only(changed("partial", ("|12.50|mg^^UCUM|", f"|{amount}||")))["dosage"]


def test_vendors_segments_line_ends_and_latin_1_are_read() -> None:
    resource = only("latin-1-with-z-segments")

    assert resource["medicationCodeableConcept"]["text"] == "Kétamine"
    assert resource["effectiveDateTime"] == "2026-01-05T10:00:00"
    assert resource["dosage"]["text"] == "35mg"


def test_delimiters_are_those_of_the_message() -> None:
    resource = only("other-delimiters")

    assert resource["effectiveDateTime"] == "2026-01-05"
    assert resource["subject"]["identifier"]["value"] == "70001"


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b"\r\r\n"])
def test_segments_may_end_in_any_way(end: bytes) -> None:
    raw = (DATA / "infusion.er7").read_bytes().replace(b"\n", end)

    assert {**only(raw), "contained": None} == {**only("infusion"), "contained": None}


@pytest.mark.parametrize(
    ("escaped", "meant"),
    [
        (r"a\F\b\S\c\R\d\E\e\T\f", r"a|b^c~d\e&f"),
        (r"a\X41\b", "aAb"),
        (r"a\XC3A9\b", "aéb"),
        (r"a\.br\b", "a\nb"),
        (r"\H\a\N\b", "ab"),
        (r"a\b", r"a\b"),
        (r"a\X4\b", "ab"),
        (r"a\.in+4\b", "ab"),
    ],
)
def test_escape_sequences_are_resolved(escaped: str, meant: str) -> None:
    assert only(changed("infusion", (r"calm\T\well", escaped)))["note"] == [{"text": meant}]


@pytest.mark.parametrize(
    ("sent", "zone", "expected"),
    [
        ("20260105112000-0500", "America/New_York", "2026-01-05T10:30:00"),
        ("20260105112000", "America/New_York", "2026-01-05T10:30:00"),
        ("20260105162000+0000", "America/New_York", "2026-01-05T10:30:00+00:00"),
        ("20260105112000-0500", None, "2026-01-05T10:30:00-05:00"),
        ("20260105112000", None, "2026-01-05T10:30:00"),
        ("20260801112000-0400", "America/New_York", "2026-01-05T10:30:00"),
    ],
)
def test_a_time_without_an_offset_has_that_of_the_message_or_the_zone_of_the_source(
    sent: str, zone: str | None, expected: str
) -> None:
    facility = Facility(ZoneInfo(zone) if zone else None, "urn:x")
    resource = only(changed("infusion", ("20260105112000-0500", sent)), facility)

    assert resource["effectivePeriod"]["start"] == expected


@pytest.mark.parametrize("sent", ["202601051120-0500", "", "20261101013000", "2026"])
def test_a_message_whose_moment_is_not_exact_does_not_order_versions(sent: str) -> None:
    assert "lastUpdated" not in only(changed("infusion", ("20260105112000-0500", sent)))["meta"]


@pytest.mark.parametrize(
    ("patient", "system", "value"),
    [
        ("70001^^^GH^MR", "https://hospital.example.org/mrn", "70001"),
        ("1^^^X^AN~70001^^^GH^MR", "https://hospital.example.org/mrn", "70001"),
        ("70001", "https://hospital.example.org/mrn", "70001"),
    ],
)
def test_the_patient_s_number_is_the_one_of_the_wanted_type(patient: str, system: str, value: str) -> None:
    raw = changed("infusion", ("70001^^^GH^MR~900^^^NHS^NH", patient))

    identifier = only(raw)["subject"]["identifier"]
    assert (identifier["system"], identifier["value"]) == (system, value)


def test_a_number_of_an_authority_that_the_site_does_not_list_has_no_system() -> None:
    listed = replace(MAPPING, assigners={"GH": "urn:gh"})

    assert only("infusion", mapping=listed)["subject"]["identifier"]["system"] == "urn:gh"
    elsewhere = changed("infusion", ("70001^^^GH^MR", "70001^^^ELSEWHERE^MR"))
    assert "system" not in only(elsewhere, mapping=listed)["subject"]["identifier"]


def test_an_oid_is_a_system_where_the_site_names_none() -> None:
    raw = changed("infusion", ("70001^^^GH^MR", "70001^^^GH&1.2.840.5&ISO^MR"))

    assert only(raw, Facility())["subject"]["identifier"]["system"] == "urn:oid:1.2.840.5"


@pytest.mark.parametrize(
    ("name", "before", "after", "code", "path"),
    [
        ("infusion", "20260105103000", "20261305103000", "value", "RXA[1]-3"),
        ("infusion", "20260105103000", "5 Jan 2026", "value", "RXA[1]-3"),
        ("infusion", "20260105103000", "", "required", "RXA[1]-3"),
        ("infusion", "20260105111000", "2026010524", "value", "RXA[1]-4"),
        ("infusion", "|CP|A", "|OK|A", "code-invalid", "RXA[1]-20"),
        ("infusion", "|CP|A", "|CP|R", "code-invalid", "RXA[1]-21"),
        ("infusion", "6130^ketamine^RXNORM^KET50^Ketamine 50 mg/mL vial^L", "", "required", "RXA[1]-5"),
        ("infusion", "70001^^^GH^MR~900^^^NHS^NH", "", "required", "PID-3"),
        ("infusion", "70001^^^GH^MR~900^^^NHS^NH", '""', "required", "PID-3"),
        ("infusion", "70001^^^GH^MR~900^^^NHS^NH", "900^^^NHS^NH", "required", "PID-3"),
        ("infusion", "ORC|RE|P1001|F2001\n", "", "structure", "ORC"),
        ("infusion", "P1001|F2001", "", "required", "ORC[1]-3"),
        ("infusion", "RXA|0|1|", "RXA|||", "required", "RXA[1]-2"),
        ("infusion", "|EMAR|GH|", "|EMAR||", "required", "MSH[1]-4"),
        ("infusion", "RXA|", "ZXA|", "structure", "RXA"),
        ("infusion", "ORC|RE", "PID|2||1^^^GH^MR\nORC|RE", "structure", "PID[2]"),
        ("infusion", "ORC|RE", "MSH|^~\\&|A\nORC|RE", "structure", "MSH[2]"),
        ("infusion", "P|2.5.1", "P|2.5.1||||||EBCDIC", "code-invalid", "MSH-18"),
        ("infusion", "P|2.5.1", "P|2.5.1||||||~EBCDIC", "code-invalid", "MSH-18"),
        ("infusion", "P|2.5.1", "P|2.5.1||||||8859/1~8859/2", "code-invalid", "MSH-18"),
        ("infusion", "MSH|^~\\&|", "MSH|^^\\&|", "structure", "MSH-2"),
        ("infusion", "MSH|^~\\&|", "MSH|&~\\|", "structure", "MSH-2"),
        ("esketamine-two-devices", "RXA|0|2|20260105100500", "RXA|0|1|20260105100500", "duplicate", "RXA[2]-2"),
        ("esketamine-two-devices", "20260105100500", "x", "value", "RXA[2]-3"),
    ],
)
def test_what_is_wrong_is_told_by_segment_and_field(name: str, before: str, after: str, code: str, path: str) -> None:
    assert problem(changed(name, (before, after))) == (code, path)


def test_bytes_that_are_not_in_the_declared_character_set_are_refused() -> None:
    raw = changed("infusion", ("P|2.5.1", "P|2.5.1||||||UNICODE UTF-8")).replace(b"MARA", b"M\xe4RA")

    assert problem(raw) == ("value", "MSH-18")


@pytest.mark.parametrize(
    ("declared", "codec", "words"),
    [
        ("~ISO IR87||ISO 2022-1994", "iso2022_jp", "ケタミン静注用五〇ミリ"),
        ("ISO IR6~ISO IR14~ISO IR159", "iso2022_jp_2", "ケタミン"),
        ("GB 18030-2000", "gb18030", "氯胺酮"),
        ("BIG-5", "big5", "氯胺酮功許"),
        ("KS X 1001", "euc_kr", "케타민"),
        ("ASCII~8859/1", "iso8859_1", "kétamine"),
    ],
)
def test_a_message_in_a_set_of_several_bytes_is_read_before_it_is_divided(
    declared: str, codec: str, words: str
) -> None:
    text = changed("infusion", ("P|2.5.1", f"P|2.5.1||||||{declared}"), ("^ketamine^", f"^{words}^")).decode()

    contained = only(text.encode(codec))["contained"]
    (drug,) = (one["code"] for one in contained if one["resourceType"] == "Medication")

    assert drug["coding"][0]["display"] == words


@pytest.mark.parametrize(
    ("said", "status"),
    [("cp", "completed"), ("Given", "completed"), ("GIVEN", "completed"), ("not given", "not-done")],
)
def test_a_completion_may_be_said_in_words_and_in_any_case(said: str, status: str) -> None:
    assert only(changed("infusion", ("|CP|A", f"|{said}|a")))["status"] == status


def test_a_number_of_the_type_mrn_is_one_of_the_type_mr() -> None:
    resource = only(changed("infusion", ("70001^^^GH^MR", "70001^^^GH^MRN")))

    assert resource["subject"]["identifier"]["value"] == "70001"


def test_something_in_msh_14_does_not_make_a_whole_message_a_part_of_one() -> None:
    continued = ("P|2.5.1", "P|2.5.1||CAC^01554")

    assert only(changed("infusion", continued))["status"] == "completed"
    assert problem(changed("infusion", continued, ("ORC|RE|P1001|F2001\n", ""))) == ("structure", "MSH-14")


def test_a_message_that_would_be_kept_a_thousand_times_is_refused() -> None:
    many = "".join(f"RXA|0|{number}|20260105103000||6130^ketamine^RXNORM|5|mg\n" for number in range(2, 1002))
    raw = changed("infusion").rstrip() + b"\nNTE|1||" + b"x" * 20_000 + b"\n"

    assert len(translated(raw)) == 1
    assert problem(raw + many.encode()) == ("too-costly", "RXA[1001]")


def test_a_message_of_nothing_but_delimiters_costs_little() -> None:
    assert problem((DATA / "infusion.er7").read_bytes() + b"ZZZ" + b"|^~&" * 100_000) == ("too-costly", "")


def test_no_refusal_repeats_what_was_received() -> None:
    with pytest.raises(BadInput) as caught:
        translated(changed("infusion", ("20260105103000", "SECRETTIME"), ("|CP|", "|SECRET|")))

    assert "SECRET" not in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(FILES),
    st.lists(st.tuples(st.integers(0, 700), st.integers(0, 12), st.binary(max_size=6)), max_size=8),
)
def test_a_spoilt_message_is_translated_or_refused_and_nothing_else(
    name: str, changes: list[tuple[int, int, bytes]]
) -> None:
    raw = (DATA / f"{name}.er7").read_bytes()
    for place, length, put in changes:
        raw = raw[:place] + put + raw[place + length :]

    check(raw)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FILES), st.integers(0, 12), st.integers(0, 30), st.text(max_size=20))
def test_whatever_stands_in_a_field_the_message_is_translated_or_refused(
    name: str, line: int, field: int, value: str
) -> None:
    lines = (DATA / f"{name}.er7").read_text(encoding="latin-1").splitlines()
    chosen = lines[line % len(lines)]
    separator = chosen[3]
    fields = chosen.split(separator)
    fields[field % len(fields)] = value.replace("\r", "").replace("\n", "")
    lines[line % len(lines)] = separator.join(fields)

    check("\r".join(lines).encode("utf-8"))
