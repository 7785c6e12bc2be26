"""An export of the past is taken in once, however often it is begun, and nothing is booked for what is long over."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from ward import MONDAY, PATIENT, Resource, Ward, dose

from afterdose.cli import main
from afterdose.core.dose import DoseKey
from afterdose.core.errors import StoreBusy
from afterdose.core.reasons import Outcome
from afterdose.work.intake.backfill import Taken, backfill
from afterdose.work.intake.bodies import Origin

ENDED = MONDAY - timedelta(hours=1)


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    with Ward(tmp_path, readable=False) as opened:
        yield opened


def lines(*resources: Resource) -> list[bytes]:
    return [json.dumps(one).encode() + b"\n" for one in resources]


def taken(ward: Ward, given: list[bytes], *, stop_after: int | None = None) -> Taken:
    seen = 0

    def on_line() -> None:
        nonlocal seen
        seen += 1
        if seen == stop_after:
            raise StoreBusy("stopped")

    origin = Origin("ehr", "ehr", ward.ehr.base_url)
    return backfill(given, origin, file="f", store=ward.store, on_line=on_line)


def run(tmp_path: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["backfill", str(tmp_path / "export"), *options])


def test_nothing_is_booked_for_a_closed_window_and_what_is_open_is_planned_for(ward: Ward) -> None:
    taken(ward, lines(dose("old", ENDED - timedelta(days=30)), dose("new", ENDED)))
    ward.settle()

    assert len(ward.appointments("proposed")) == 1
    old, new = (ward.store.outcomes.find("ehr", id_) for id_ in ("old", "new"))
    assert old is not None
    assert old.outcome is Outcome.UNMET
    assert new is not None
    assert new.outcome is Outcome.PLANNED


def test_the_dose_of_this_moment_does_not_wait_for_those_of_a_year_nor_they_for_it(ward: Ward) -> None:
    past = [f"p-{number}" for number in range(2, 22)]
    for patient in past:
        ward.ehr.put({"resourceType": "Patient", "id": patient})
    old = ENDED - timedelta(days=30)
    taken(ward, lines(*(dose(f"d-{one}", old, subject={"reference": f"Patient/{one}"}) for one in past)))
    ward.clock.advance(timedelta(seconds=1))
    ward.send(dose("new", ENDED))

    assert ward.step()
    assert ward.step()

    assert len(ward.appointments("proposed")) == 1
    assert len([one for one in past if ward.store.outcomes.find("ehr", f"d-{one}")]) == 1


def test_a_run_that_was_stopped_goes_on_where_it_was(ward: Ward) -> None:
    given = lines(*(dose(f"d-{number}", ENDED) for number in range(450)))
    with pytest.raises(StoreBusy):
        taken(ward, given, stop_after=300)

    assert taken(ward, given) == Taken(before=200, stored=250, known=0, left_out=0)
    assert taken(ward, given) == Taken(before=450, stored=0, known=0, left_out=0)
    assert len(ward.store.facts.history("ehr", PATIENT)) == 450


def test_an_older_version_in_an_export_changes_nothing(ward: Ward) -> None:
    newer = dose(
        "d-1", ENDED, status="entered-in-error", meta={"versionId": "2", "lastUpdated": "2026-01-05T14:30:00Z"}
    )
    older = dose("d-1", ENDED, meta={"versionId": "1", "lastUpdated": "2026-01-05T14:10:00Z"})
    ward.send(newer)

    taken(ward, lines(older))
    ward.settle()

    assert ward.appointments() == []
    found = ward.store.outcomes.find("ehr", "d-1")
    assert found is not None
    assert (found.key, found.outcome) == (DoseKey("ehr", "d-1"), Outcome.WITHDRAWN)


def test_the_command_takes_a_packed_file_in_once_and_says_what_it_left_out(ward: Ward, tmp_path: Path) -> None:
    body = b"".join([*lines(dose("d-1", ENDED), dose("d-2", ENDED)), b"{broken\n"])
    (tmp_path / "export").write_bytes(gzip.compress(body))
    options = ("--source", "ehr", "--config", str(tmp_path / "afterdose.toml"))

    first, again = run(tmp_path, *options), run(tmp_path, *options)

    assert first.exit_code == 0, first.output
    assert "2 stored, 0 known already, 1 left out; 0 lines" in first.output
    assert "0 stored, 0 known already, 0 left out; 3 lines" in again.output
    assert ward.store.facts.count() == 2


def test_a_file_of_which_no_line_can_be_taken_ends_with_an_error(ward: Ward, tmp_path: Path) -> None:
    (tmp_path / "export").write_text(json.dumps(dose("d-1", ENDED), indent=2))

    done = run(tmp_path, "--source", "ehr", "--config", str(tmp_path / "afterdose.toml"))

    assert done.exit_code == 1
    assert "NDJSON has one whole resource in each line" in done.stderr
    assert ward.store.facts.count() == 0


def test_an_odd_export_is_taken_in_and_what_is_left_out_is_told_by_its_line(ward: Ward, tmp_path: Path) -> None:
    first, again = lines(dose("d-1", ENDED), dose("d-1", ENDED))
    r5 = dose("d-2", ENDED)
    r5["medication"] = {"concept": r5.pop("medicationCodeableConcept")}
    r5["occurencePeriod"] = r5.pop("effectivePeriod")
    body = [b"\xef\xbb\xbf" + first.strip(), b"", again.strip(), b"{MUSTER", b"  ", *(one.strip() for one in lines(r5))]
    (tmp_path / "export").write_bytes(b"\r\n".join(body))

    done = run(tmp_path, "--source", "ehr", "--config", str(tmp_path / "afterdose.toml"))

    assert done.exit_code == 0, done.output
    assert "2 stored, 1 known already, 1 left out; 0 lines" in done.stdout
    assert "left out, line 4: the body is not JSON" in done.stderr
    assert "MUSTER" not in done.output
    assert ward.store.facts.count() == 2


@pytest.mark.faults
def test_a_run_that_was_killed_goes_on_and_every_dose_is_stored_once(ward: Ward, tmp_path: Path) -> None:
    """Of an export of 20,000 lines; nothing is kept in memory that grows with it."""
    (tmp_path / "export").write_bytes(b"".join(lines(*(dose(f"d-{number}", ENDED) for number in range(20_000)))))
    command = [sys.executable, "-m", "afterdose", "backfill", str(tmp_path / "export")]
    command += ["--source", "ehr", "--config", str(tmp_path / "afterdose.toml")]
    begun = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while ward.store.facts.count() < 1_000 and time.monotonic() < until:
        time.sleep(0.01)
    begun.kill()
    begun.wait()
    stored = ward.store.facts.count()
    assert 1_000 <= stored < 20_000

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert ward.store.facts.count() == 20_000
    before = int(done.stdout.rpartition("; ")[2].split()[0])
    assert before >= 800
    assert f"{20_000 - stored} stored, {stored - before} known already" in done.stdout
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert most < 400_000, "kilobytes"


@pytest.mark.usefixtures("ward")
def test_the_command_wants_a_source_that_there_is(tmp_path: Path) -> None:
    (tmp_path / "export").write_bytes(b"")

    assert "--source or --report" in run(tmp_path).output
    refused = run(tmp_path, "--source", "other", "--config", str(tmp_path / "afterdose.toml"))
    assert (refused.exit_code, "name of a source (ehr)" in refused.output) == (2, True)
