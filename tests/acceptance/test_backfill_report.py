"""``afterdose backfill --report``: what past doses would have led to, and what that would have asked of the clinic."""

import gzip
import json
from pathlib import Path
from typing import Any

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
    return json.loads(done.output)


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
