"""``afterdose check`` tells how each artifact would be written, and fails where something cannot work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from afterdose.cli import main
from afterdose.sandbox import SandboxEHR
from doubles.polled import PolledEhr
from doubles.vendors import ATHENAHEALTH, ORACLE, Rules, VendorEhr

SETTINGS = """
insecure_dev = true
[targets.ehr]
base_url = "{base_url}"
clinic = "example"
ehr = "{vendor}"
[targets.ehr.rungs]
{pins}
[sources.engine]
target = "ehr"
readable = {readable}
"""


def run(folder: Path, ehr: VendorEhr, *arguments: str, vendor: str, pins: str = "", readable: str = "true") -> Result:
    config = folder / "afterdose.toml"
    text = SETTINGS.format(base_url=ehr.base_url, vendor=vendor, pins=pins, readable=readable)
    config.write_text(f'data_dir = "{folder}"\n{text}')
    return CliRunner().invoke(main, ["check", "--config", str(config), *arguments])


def test_each_artifact_has_a_line_with_its_rung_and_why(tmp_path: Path) -> None:
    with VendorEhr(ORACLE) as ehr:
        done = run(tmp_path, ehr, vendor="oracle-health")

    lines = [" ".join(line.split()) for line in done.output.splitlines()]
    assert done.exit_code == 0, done.output
    assert "care-plan DocumentReference no create of CarePlan; DocumentReference can be created" in lines
    assert "provenance worklist known of Oracle Health" in lines
    assert "sources.engine: doses are read back" in lines
    (visit,) = [line for line in lines if line.startswith("appointment")]
    assert "Appointment needs a location in the clinic's file" in visit


def test_the_same_as_json(tmp_path: Path) -> None:
    with VendorEhr(ATHENAHEALTH) as ehr:
        done = run(tmp_path, ehr, "--json", "--target", "ehr", vendor="athenahealth", readable="false")

    (server,) = json.loads(done.stdout)["servers"]
    assert {rung["type"] for rung in server["rungs"]} == {None}
    assert "sources.engine: doses are not read back" in server["said"]
    assert server["failed"] == []


def test_a_paused_ehr_is_told_with_the_command_that_lets_it_go_on(tmp_path: Path) -> None:
    with VendorEhr(ATHENAHEALTH) as ehr:
        assert "paused" not in run(tmp_path, ehr, vendor="athenahealth").output
        for command in (["migrate"], ["pause", "ehr"]):
            done = CliRunner().invoke(main, [*command, "--config", str(tmp_path / "afterdose.toml")])
            assert done.exit_code == 0, done.output

        told = run(tmp_path, ehr, vendor="athenahealth").output

    (line,) = [line for line in told.splitlines() if "paused since" in line]
    assert line.startswith("warning: targets.ehr: ")
    assert line.endswith("(afterdose resume ehr)")


COHORT = """
[sources.engine.poll]
strategy = "{strategy}"
{more}
"""


@pytest.mark.parametrize(
    ("strategy", "more", "code", "said"),
    [
        (
            "cohort",
            '[sources.engine.poll.cohort]\nlists = ["List/1"]',
            0,
            "polled patient by patient (2 now) every 15 min",
        ),
        ("cohort", '[sources.engine.poll.cohort]\ngroups = ["Group/9"]', 1, "sources.engine.poll.cohort: Group/9: "),
        ("cohort", '[sources.engine.poll.cohort]\nfile = "nowhere"', 1, "poll.cohort: file: cannot be read"),
        ("cohort", '[sources.engine.poll.cohort]\nvisits_at = ["Location/1"]', 1, "Epic cannot be asked for it"),
        ("last-updated", "", 1, 'poll.strategy: expected "cohort", because Epic cannot be asked what changed'),
    ],
)
def test_the_way_in_is_told_and_what_cannot_be_asked_fails(
    strategy: str, more: str, code: int, said: str, tmp_path: Path
) -> None:
    with SandboxEHR() as staff, PolledEhr("epic", staff) as ehr:
        entries = [{"item": {"reference": f"Patient/p-{number}"}} for number in range(2)]
        staff.put({"resourceType": "List", "id": "1", "status": "current", "mode": "working", "entry": entries})
        poll = COHORT.format(strategy=strategy, more=more)
        done = run(tmp_path, ehr, vendor="epic", readable=f'true\nzone = "America/New_York"{poll}')

    assert (done.exit_code, said in done.output) == (code, True), done.output


def test_another_fhir_release_fails(tmp_path: Path) -> None:
    with VendorEhr(Rules(declared=ORACLE.declared, fhir_version="5.0.0")) as ehr:
        done = run(tmp_path, ehr, vendor="generic")

    assert done.exit_code == 1
    assert "failed: FHIR 5.0.0: only R4 and R4B can be written" in done.output


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_pin_that_cannot_work_fails(arguments: tuple[str, ...], tmp_path: Path) -> None:
    with VendorEhr(ORACLE) as ehr:
        done = run(tmp_path, ehr, *arguments, vendor="oracle-health", pins='appointment = "appointment"')

    assert done.exit_code == 1
    assert "appointment needs a location in the clinic's file at Oracle Health" in done.output


def test_a_target_that_is_not_set_is_refused(tmp_path: Path) -> None:
    with VendorEhr(ORACLE) as ehr:
        done = run(tmp_path, ehr, "--target", "north", vendor="oracle-health")

    assert done.exit_code == 2
    assert "the settings have ehr" in done.output


def test_how_senders_prove_themselves_is_told_and_a_key_set_that_cannot_be_had_fails(tmp_path: Path) -> None:
    bearer = 'true\n[sources.engine.bearer]\nissuer = "https://issuer.example.org"\naudience = "here"\n'
    with VendorEhr(ATHENAHEALTH) as ehr:
        bearer += f'jwks_url = "{ehr.base_url}/no-such-key-set"'
        done = run(tmp_path, ehr, vendor="athenahealth", readable=bearer)
        bare = run(tmp_path, ehr, vendor="athenahealth", readable="true")

    assert done.exit_code == 1
    assert "sources.engine  shows a token of https://issuer.example.org" in done.output
    assert "failed: sources.engine.bearer.jwks_url: the keys of a sender cannot be had" in done.output
    assert "warning: sources.engine.bearer.claims: nothing is asked for" in done.output
    assert "sources.engine  shows nothing" in bare.output


def test_the_files_of_the_site_are_looked_at_without_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overlay = tmp_path / "site"
    (overlay / "mappings/v2").mkdir(parents=True)
    monkeypatch.setenv("AFTERDOSE_SITE_OVERLAY", str(overlay))
    with VendorEhr(ATHENAHEALTH) as ehr:
        (overlay / "mappings/v2/ras-o71.toml").write_text("")
        warned = run(tmp_path, ehr, vendor="athenahealth")
        (overlay / "mappings/v2/ras-o17.toml").write_text("")
        failed = run(tmp_path, ehr, vendor="athenahealth")

    assert warned.exit_code == 0
    assert f"warning: site_overlay: {overlay}/mappings/v2/ras-o71.toml: no file of this name is read" in warned.output
    assert failed.exit_code == 1
    assert f"Error: {overlay}/mappings/v2/ras-o17.toml: " in failed.output


def test_a_database_that_cannot_be_used_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERDOSE_DATABASE", "postgresql://afterdose:x@127.0.0.1:1/afterdose")
    with VendorEhr(ATHENAHEALTH) as ehr:
        told = run(tmp_path, ehr, vendor="athenahealth").output

    assert "warning: database: the database server cannot be reached: Connection refused" in told
