"""A site tries its own mappings on its own doses before it goes live: ``plan`` and ``backfill --report``."""

import json
from pathlib import Path

from afterdose.content.locate import bundled
from fhir_inputs import a_file, run, spray

MAP = "mappings/codes/ConceptMap-drug-products.json"
LOCAL = {"system": "urn:oid:1.2.40.0.34.4.16", "code": "4951234"}


def site(folder: Path) -> str:
    """An overlay in which the pharmacy's code stands for the nasal spray."""
    known = json.loads((bundled() / MAP).read_text(encoding="utf-8"))
    target = [{"code": "esketamine-nasal", "equivalence": "wider"}]
    known["group"].append({"source": LOCAL["system"], "element": [{"code": LOCAL["code"], "target": target}]})
    (folder / MAP).parent.mkdir(parents=True)
    (folder / MAP).write_text(json.dumps(known), encoding="utf-8")
    return str(folder)


def test_a_dose_by_the_pharmacys_own_code_is_planned_for_with_the_sites_overlay(tmp_path: Path) -> None:
    doses = a_file(tmp_path, spray("d1", "2026-01-05 10:00", medicationCodeableConcept={"coding": [LOCAL]}))
    overlay = site(tmp_path / "site")

    def outcome(*more: str) -> str:
        shown = run("plan", doses, "--as-of-dose", "--format", "json", *more)
        assert shown.exit_code == 0, shown.output
        return str(json.loads(shown.stdout)["doses"][0]["outcome"])

    assert outcome() != "planned"
    assert outcome("--overlay", overlay) == "planned"


def test_the_report_on_past_doses_knows_the_sites_codes_too(tmp_path: Path) -> None:
    doses = a_file(tmp_path, spray("d1", "2026-01-05 10:00", medicationCodeableConcept={"coding": [LOCAL]}))
    overlay = site(tmp_path / "site")

    def eligible(*more: str) -> int:
        return int(json.loads(run("backfill", doses, "--report", "json", *more).stdout)["eligible"])

    assert (eligible(), eligible("--overlay", overlay)) == (0, 1)
