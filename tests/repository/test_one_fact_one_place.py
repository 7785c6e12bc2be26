"""Clinical numbers and codes stand in mappings/ alone, and the text of the repository points at nothing outside it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "service" / "afterdose"
MOST_LINES = 320

# Lengths of time in work/ that are about machines, not about patients.
TECHNICAL = {
    "work/retry.py": {"FIRST_WAIT", "LONGEST_WAIT", "GIVE_UP_AFTER"},
    "work/surroundings.py": {"_KEPT_FOR"},
    "work/line.py": {"_PATIENCE"},
    "work/patients.py": {"KEPT_FOR"},
    "work/watch.py": {"STEPS"},
}
TERMINOLOGY = re.compile(r"rxnorm|snomed\.info|loinc\.org", re.IGNORECASE)
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")
DOCUMENT = re.compile(r"(?<![\w/.*-])[\w./-]*\w\.md\b")
# A path of somebody's own machine, and a plan that is kept elsewhere.
ELSEWHERE = re.compile(r"(?<![\w.}])/(?:wor[k]|home|Users)/|\bDESIG[N]\b")
WRITTEN = (".py", ".md", ".toml", ".json", ".yaml", ".html", ".css", ".java", ".xml", ".conf", ".service", ".mako")
MADE = {"target", "__pycache__", "build", "dist", "node_modules"}


def modules() -> list[str]:
    return sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


def written_files() -> Iterator[Path]:
    """Every file of the repository that somebody wrote."""
    yield from (path for path in sorted(ROOT.iterdir()) if path.suffix in (".md", ".toml"))
    yield ROOT / ".ci" / "run"
    for folder in ("service", "mappings", "profiles", "tests", "docker"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix in WRITTEN and not MADE & set(path.relative_to(ROOT).parts):
                yield path


def lengths_of_time(source: str, *, technical: frozenset[str] = frozenset()) -> list[str]:
    """Each `timedelta` of literal numbers other than 0 and 1 (a unit is no number of days), but for those constants."""
    tree = ast.parse(source)
    allowed = {
        id(node)
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        and {target.id for target in statement.targets if isinstance(target, ast.Name)} <= technical
        for node in ast.walk(statement)
    }
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and id(node) not in allowed and _is_literal_length(node)
    ]


def _is_literal_length(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    bare = [value.operand if isinstance(value, ast.UnaryOp) else value for value in values]
    numbers = [value.value for value in bare if isinstance(value, ast.Constant)]
    return name == "timedelta" and any(number not in (0, 1) for number in numbers)


def dangling(text: str, file: Path) -> list[str]:
    """The documents that a text names and that are neither beside its file nor at the root of the repository."""
    without_urls = re.sub(r"https?://\S+", "", text)
    names = {name for name in DOCUMENT.findall(without_urls) if "NNNN" not in name}
    return sorted(name for name in names if not any((base / name).exists() for base in (file.parent, ROOT)))


@pytest.mark.parametrize("module", [name for name in modules() if name.startswith(("core/", "fhir/", "work/"))])
def test_no_clinical_number_stands_in_code(module: str) -> None:
    technical = frozenset(TECHNICAL.get(module, ()))

    assert lengths_of_time((PACKAGE / module).read_text(encoding="utf-8"), technical=technical) == []


@pytest.mark.parametrize("module", [name for name in modules() if not name.startswith("content/")])
def test_no_terminology_stands_in_code(module: str) -> None:
    assert TERMINOLOGY.findall((PACKAGE / module).read_text(encoding="utf-8")) == []


def test_no_file_holds_two_things() -> None:
    lines = {module: len((PACKAGE / module).read_text(encoding="utf-8").splitlines()) for module in modules()}

    assert {module: count for module, count in lines.items() if count > MOST_LINES} == {}


def test_nothing_is_left_for_later() -> None:
    texts = {module: (PACKAGE / module).read_text(encoding="utf-8") for module in modules()}

    assert [module for module, text in texts.items() if UNFINISHED.search(text)] == []


def test_every_document_that_is_named_is_here() -> None:
    named = {str(file.relative_to(ROOT)): dangling(file.read_text(encoding="utf-8"), file) for file in written_files()}

    assert {file: names for file, names in named.items() if names} == {}


def test_nothing_points_outside_the_repository() -> None:
    found = {
        str(file.relative_to(ROOT)): ELSEWHERE.findall(file.read_text(encoding="utf-8")) for file in written_files()
    }

    assert {file: places for file, places in found.items() if places} == {}


@pytest.mark.parametrize(
    "offence", ["timedelta(hours=72)", "timedelta(3)", "datetime.timedelta(days=90)", "X = timedelta(minutes=-30)"]
)
def test_a_clinical_number_in_code_is_caught(offence: str) -> None:
    assert lengths_of_time(offence)


def test_units_and_named_technical_constants_are_let_through() -> None:
    assert lengths_of_time("A_DAY = timedelta(days=1)\nnothing = timedelta(0)\nwait = timedelta(hours=hours)") == []
    assert lengths_of_time("KEPT = timedelta(hours=24)", technical=frozenset({"KEPT"})) == []
    assert lengths_of_time("KEPT = timedelta(hours=24)")


def test_a_document_that_is_not_here_is_caught() -> None:
    nowhere = "nowhere" + ".md"

    assert dangling(f"see {nowhere}, https://example.org/{nowhere} and README.md", ROOT / "README.md") == [nowhere]


def test_a_place_outside_the_repository_is_caught() -> None:
    assert ELSEWHERE.search("see /hom" + "e/somebody/notes")
    assert not ELSEWHERE.search("service/afterdose/work/merge.py")
