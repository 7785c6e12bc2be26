"""``afterdose backfill --report``: what past doses would have led to, and what that would have asked of the clinic."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from afterdose.cli import main
from fhir_inputs import ALCOHOL, infusion, spray

MONDAY, NEXT_MONDAY = "2026-01-05 10:00", "2026-01-12 10:00"
PERSON = {"resourceType": "Patient", "id": "pat-1", "birthDate": "1980-05-01"}


def ndjson(*resources: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in resources)


def backfill(file: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["backfill", str(file), *options], catch_exceptions=False)


def report(folder: Path, body: bytes) -> Any:
    file = folder / "export.ndjson"
    file.write_bytes(body)
    done = backfill(file, "--report", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


# The clinic: Monday to Friday 9 to 17, sessions of an hour, a start every half hour.
BY_HAND = (
    infusion("a", "2026-01-05 10:00"),  # ends Mon 10:40: Tue 11:00 to 16:00, Wed 9:00 to 16:00, Thu 9:00 to 10:30
    infusion("b", "2026-01-09 15:00", patient="pat-2"),  # ends Fri 15:40: Mon 9:00 to 15:30
    infusion("c", "2026-01-15 10:00", patient="pat-3"),  # ends Thu 10:40: Fri 11:00 to 16:00
    infusion("d", "2026-01-22 17:30", patient="pat-4"),  # ends Thu 18:10: nothing before Sun 18:10, so Mon 26 Jan
    spray("e", MONDAY, patient="pat-5", status="stopped"),
    spray("f", MONDAY, patient="pat-6", status="entered-in-error"),
    infusion("g", MONDAY, patient="pat-7", medicationCodeableConcept={"text": "ondansetron 4 mg"}),
)


def test_the_sums_are_those_of_a_history_that_was_computed_by_hand(tmp_path: Path) -> None:
    assert report(tmp_path, ndjson(*BY_HAND)) == {
        "administrations": 5,
        "doses": 5,
        "eligible": 4,
        "review": 1,
        "not_eligible": 0,
        "window": {"in_window": 3, "after_window": 1, "none": 0},
        "bookable_hours": {
            "Monday": 7.0,
            "Tuesday": 5.5,
            "Wednesday": 7.5,
            "Thursday": 2.0,
            "Friday": 5.5,
            "Saturday": 0.0,
            "Sunday": 0.0,
        },
        "sessions_a_week": {"weeks": 4, "mean": 1.0, "most": 2},
        "refused_lines": 0,
    }


def test_the_text_has_the_same_sums(tmp_path: Path) -> None:
    file = tmp_path / "export.ndjson"
    file.write_bytes(ndjson(*BY_HAND))

    told = " ".join(backfill(file, "--report", "text").output.split())

    for words in ("5 (of 5 administrations)", "4 / 1 / 0", "3 of 4 eligible", "1 on average of 4, at most 2"):
        assert words in told
    assert "Mon 7, Tue 5.5, Wed 7.5, Thu 2, Fri 5.5" in told


R5 = infusion("r5", NEXT_MONDAY)
R5["medication"] = {"concept": R5.pop("medicationCodeableConcept")}
R5["occurencePeriod"] = R5.pop("effectivePeriod")
R5["reason"] = [{"concept": R5.pop("reasonCode")[0]}]


@pytest.mark.parametrize("packed", [False, True])
def test_an_odd_export_is_read_and_what_is_left_out_is_told_by_its_line(tmp_path: Path, packed: bool) -> None:
    lines = [
        b"\xef\xbb\xbf" + ndjson(infusion("a", MONDAY)).strip(),
        b"",
        ndjson(infusion("a", MONDAY)).strip(),
        b"   ",
        b'{"resourceType": "MedicationAdministration", "id": "MUSTER',
        ndjson(R5).strip(),
    ]
    body = b"\r\n".join(lines)
    file = tmp_path / "export"
    file.write_bytes(gzip.compress(body) if packed else body)

    done = backfill(file, "--report", "json")

    told = json.loads(done.stdout)
    assert (told["doses"], told["eligible"], told["refused_lines"]) == (2, 2, 1)
    assert "left out, line 5: the body is not JSON" in done.stderr
    assert "MUSTER" not in done.stderr


def test_doses_are_counted_by_what_would_have_become_of_them(tmp_path: Path) -> None:
    told = report(
        tmp_path,
        ndjson(
            PERSON,
            infusion("a", MONDAY),
            infusion("b", NEXT_MONDAY),
            infusion("c", MONDAY, patient="pat-2", reasonCode=[ALCOHOL]),
            spray("d", MONDAY, patient="pat-3", status="stopped"),
            spray("e", MONDAY, patient="pat-4", status="entered-in-error"),
        ),
    )

    assert (told["administrations"], told["doses"]) == (4, 4)
    assert told["eligible"] + told["review"] + told["not_eligible"] == 4
    assert told["eligible"] >= 2
    assert told["review"] >= 1
    assert told["window"]["in_window"] >= 2
    assert told["refused_lines"] == 0


def test_what_the_clinic_needs_is_told_by_weekday_and_week(tmp_path: Path) -> None:
    told = report(
        tmp_path, ndjson(infusion("a", MONDAY), infusion("b", NEXT_MONDAY), infusion("c", "2026-01-26 10:00"))
    )

    hours = told["bookable_hours"]
    assert [day for day, bookable in hours.items() if bookable] == ["Tuesday", "Wednesday", "Thursday"]
    assert told["sessions_a_week"] == {"weeks": 4, "mean": 0.75, "most": 1}


def test_a_window_that_the_next_dose_cuts_has_fewer_hours(tmp_path: Path) -> None:
    alone = report(tmp_path, ndjson(spray("a", MONDAY)))["bookable_hours"]
    followed = report(tmp_path, ndjson(spray("a", MONDAY), spray("b", "2026-01-07 10:00")))["bookable_hours"]

    assert followed["Wednesday"] < alone["Wednesday"]


def test_a_packed_export_is_read_and_lines_that_are_no_resource_are_counted(tmp_path: Path) -> None:
    body = ndjson(infusion("a", MONDAY)) + b"{not json\n\n" + ndjson({"resourceType": "MedicationAdministration"})
    told = report(tmp_path, gzip.compress(body))

    assert told["doses"] == 1
    assert told["refused_lines"] == 2


def test_an_export_without_doses_asks_for_nothing(tmp_path: Path) -> None:
    told = report(tmp_path, ndjson(PERSON))

    assert told["doses"] == 0
    assert told["sessions_a_week"] == {"weeks": 0, "mean": 0.0, "most": 0}


def test_the_text_says_the_same_in_words(tmp_path: Path) -> None:
    file = tmp_path / "export.ndjson"
    file.write_bytes(ndjson(infusion("a", MONDAY), infusion("b", NEXT_MONDAY)))

    told = backfill(file, "--report", "text").output

    assert "2 of 2 eligible" in told
    assert "Nothing was written." in told


def test_a_packed_file_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "export.ndjson.gz"
    file.write_bytes(gzip.compress(ndjson(infusion("a", MONDAY)) * 50)[:-20])

    done = backfill(file, "--report", "json")

    assert done.exit_code == 2
    assert "cannot be read to its end" in done.output


def test_a_file_that_is_no_ndjson_at_all_is_refused_with_what_it_should_be(tmp_path: Path) -> None:
    file = tmp_path / "bundle.json"
    file.write_text(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": []}, indent=2))

    done = backfill(file, "--report", "json")

    assert done.exit_code == 1
    assert done.stderr.endswith(
        "Error: no line of the file could be taken: NDJSON has one whole resource in each line\n"
    )
