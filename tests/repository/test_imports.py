"""Imports point one way: the contract of pyproject.toml is kept, and would notice if it were not."""

import os
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
LINT = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache"]
LAYERS = (
    *(
        "cli",
        "workshop",
        "bootstrap",
        "sandbox",
        "clinics",
        "connections",
        "pollers",
        "rulebook",
        "senders",
        "subscribers",
        "web",
        "work",
        "settings",
        "ehr",
    ),
    *("store", "content", "fhir", "affinity", "core", "logs", "memory"),
)
INSIDE = {
    "work": (
        *(
            "worker",
            "reconcile",
            "deciding",
            "rehearsal",
            "reports",
            "sources",
            "starting",
            "delivery",
            "snapshot",
            "intake",
        ),
        *("line", "target", "clinics", "late", "persist", "retry", "source", "trail", "watch"),
    ),
    "fhir": (
        *("encode", "v2", "conform", "decode", "outcome", "subscription"),
        *("elements", "r4", "references", "resource_types", "strict_json", "times"),
    ),
}


def lint(folder: Path, package_root: Path) -> tuple[int, str]:
    environment = os.environ | {"PYTHONPATH": str(package_root), "NO_COLOR": "1", "COLUMNS": "200"}
    done = subprocess.run(LINT, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def imitation(tmp_path: Path) -> Path:
    """A package of the same name and layers as ours, under the same contract, in which nothing imports anything."""
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    package = tmp_path / "afterdose"
    package.mkdir()
    for room in INSIDE:
        (package / room).mkdir()
    for module in ("__init__", *LAYERS, *(f"{room}.{name}" for room, names in INSIDE.items() for name in names)):
        module_file(tmp_path, module).touch()
    return tmp_path


def module_file(imitation: Path, module: str) -> Path:
    path = f"{module}/__init__" if module in INSIDE else module.replace(".", "/")
    return imitation / "afterdose" / f"{path}.py"


def test_afterdose_keeps_its_import_contract() -> None:
    code, output = lint(ROOT, ROOT / "service")

    assert code == 0, output


def test_the_settings_know_nothing_but_the_core_and_the_sandbox_is_known_to_the_command_line_alone() -> None:
    graph = grimp.build_graph("afterdose", cache_dir=None)
    settings = {"afterdose.settings", *graph.find_descendants("afterdose.settings")}
    sandbox = {"afterdose.sandbox", *graph.find_descendants("afterdose.sandbox")}

    known = {name for module in settings for name in graph.find_modules_directly_imported_by(module)} - settings
    callers = {name for module in sandbox for name in graph.find_modules_that_directly_import(module)} - sandbox

    assert {name for name in known if not name.startswith("afterdose.core.")} == set()
    assert {name for name in callers if not name.startswith("afterdose.cli.")} == set()


def test_a_package_without_wrong_imports_keeps_the_contract(imitation: Path) -> None:
    module_file(imitation, "work").write_text("import afterdose.ehr\nimport afterdose.core\n")

    code, output = lint(imitation, imitation)

    assert code == 0, output


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("core", "fhir"),
        ("fhir", "store"),
        ("store", "ehr"),
        ("ehr", "work"),
        ("work", "web"),
        ("web", "bootstrap"),
        ("web", "connections"),
        ("work", "connections"),
        ("work", "settings"),
        ("core", "logs"),
        ("bootstrap", "sandbox"),
        ("work.delivery", "work.sources"),
        ("work.intake", "work.snapshot"),
        ("work.snapshot", "work.delivery"),
        ("work.sources", "work.reconcile"),
        ("fhir.conform", "fhir.decode"),
        ("fhir.decode", "fhir.encode"),
    ],
)
def test_an_import_against_the_direction_is_caught(imitation: Path, importer: str, imported: str) -> None:
    module_file(imitation, importer).write_text(f"import afterdose.{imported}\n")

    code, output = lint(imitation, imitation)

    assert code == 1, output
    assert f"afterdose.{importer} is not allowed to import afterdose.{imported}" in output


def test_a_module_without_a_place_in_the_contract_is_caught(imitation: Path) -> None:
    (imitation / "afterdose" / "elsewhere.py").touch()

    code, output = lint(imitation, imitation)

    assert code == 1, output
    assert "elsewhere" in output
