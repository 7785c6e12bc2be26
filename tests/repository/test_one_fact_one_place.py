"""Clinical numbers and codes stand in mappings/ alone, and the text of the repository points at nothing outside it."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "service" / "afterdose"
MOST_LINES = 320

# Lengths of time in work/ that are about machines, not about patients.
TECHNICAL = {
    "work/sources/cohort.py": {"_LEASE", "_PAUSE"},
    "work/retry.py": {"FIRST_WAIT", "LONGEST_WAIT", "GIVE_UP_AFTER"},
    "work/snapshot/surroundings.py": {"KEPT_FOR"},
    "work/line.py": {"_PATIENCE"},
    "work/snapshot/patients.py": {"KEPT_FOR"},
    "work/delivery/doubt.py": {"_LATE"},
    "work/delivery/stands.py": {"_AGAIN", "_OLD"},
    "work/watch.py": {"STEPS"},
    "work/sources/named.py": {"_LEASE", "_FIRST_WAIT", "_LONGEST_WAIT"},
    "work/sources/follow.py": {"GRACE", "LATE", "ACTIVATIONS", "CALM", "_AGAIN", "_LEASE"},
}
# Numbers of core/ and Decimals of core/ and fhir/ that no clinician can dispute, with what they are.
UNDISPUTED = {
    "core/amounts.py": {
        "1000": "milligrams in a gram",
        "0.001": "milligrams in a microgram",
        "0.000001": "milligrams in a nanogram",
    },
    "core/cadence.py": {"2": "a gap lies between two doses"},
    "core/cases.py": {"2": "a session of one member is not shared"},
    "core/errors.py": {"400": "the HTTP status of bad input"},
    "core/identity.py": {
        "4": "ids that one founder is asked for",
        "30": "visits and doses that are counted through",
        "8192": "ids that are kept at hand",
    },
    "core/links.py": {"50": "records of one person that are followed"},
    "core/numbering.py": {"64": "gaps that are told apart"},
    "core/grid.py": {"24": "hours in a day", "60": "minutes in an hour", "4096": "days that are kept at hand"},
    "core/standing.py": {"2": "a place in an order", "3": "a place in an order"},
    "fhir/decode/dose.py": {"0.001": "kilograms in a gram", "0.45359237": "kilograms in a pound"},
    "fhir/decode/dosage.py": {"1000": "millilitres in a litre"},
}
# Codes that stand in mappings/ and in the code too, because FHIR itself requires them.
REQUIRED_BY_FHIR = {
    "cli/story.py": {"AMB": "Encounter.class is required by R4, and the demo plays the EHR that sends it"},
    "fhir/conform/invariants.py": {"UCUM": "the name that a rule of R4 gives to the units"},
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


def numbers(source: str, *, everywhere: bool) -> set[str]:
    """The literal numbers other than 0 and 1 in Decimals, or ``everywhere`` but in subscripts."""
    tree = ast.parse(source)
    places = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.Subscript) for inner in ast.walk(node.slice)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Decimal":
            found |= {str(value.value) for value in node.args if isinstance(value, ast.Constant)}
        if (
            everywhere
            and isinstance(node, ast.Constant)
            and type(node.value) in (int, float)
            and id(node) not in places
        ):
            found.add(ast.unparse(node))
    return found - {"0", "1", "0.0", "1.0"}


def codes_of_mappings() -> dict[str, str]:
    """Every code of ``mappings/codes`` that looks like one, and the name of its file.

    That is one of three characters or more with a digit in it, or all in capitals: what is a word is our own name of
    something, or a word as well. Of a filter it is what the codes begin with.
    """
    files = sorted((ROOT / "mappings" / "codes").glob("*.json"))
    found = {code: file.name for file in files for code in _codes(json.loads(file.read_bytes()))}
    return {code: file for code, file in found.items() if len(code) > 2 and (code.isupper() or re.search(r"\d", code))}


def _codes(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for inner in value:
            yield from _codes(inner)
    if not isinstance(value, dict):
        return
    if isinstance(value.get("code"), str):
        yield value["code"]
    if value.get("op") == "regex":
        yield value["value"].removesuffix(".*").replace("\\.", ".")
    for inner in value.values():
        yield from _codes(inner)


def written_codes(source: str, codes: dict[str, str]) -> set[str]:
    """The codes that stand, as whole words, in a string of the code; what docstrings say is said to people."""
    tree = ast.parse(source)
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said
    ]
    words = {word.strip(".") for text in strings for word in re.findall(r"[\w.+-]+", text)}
    return (words | set(strings)) & set(codes)


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


@pytest.mark.parametrize("module", [name for name in modules() if name.startswith(("core/", "fhir/"))])
def test_every_number_of_the_rules_is_one_that_nobody_disputes(module: str) -> None:
    source = (PACKAGE / module).read_text(encoding="utf-8")

    found = numbers(source, everywhere=module.startswith("core/"))

    assert found - set(UNDISPUTED.get(module, {})) == set()


def test_no_code_of_the_mappings_stands_in_code() -> None:
    codes = codes_of_mappings()

    found = {module: written_codes((PACKAGE / module).read_text(encoding="utf-8"), codes) for module in modules()}

    assert {module: words for module, words in found.items() if words} == {
        module: set(words) for module, words in REQUIRED_BY_FHIR.items()
    }


def test_the_codes_of_every_terminology_are_looked_for() -> None:
    codes = codes_of_mappings()

    some = ["47625008", "6130", "N01AX03", "29463-7", "F33", "R45.851", "G2082", "50458-0028-00", "690G0D6V8H", "90870"]
    assert [code for code in some if code not in codes] == []
    assert not {"review", "nasal", "completed"} & set(codes)


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


@pytest.mark.parametrize(
    "offence", ["Decimal('0.5')", "decimal.Decimal(2)", "if hours > 24: pass", "limit = 72.5", "x = -3"]
)
def test_a_number_in_the_rules_is_caught(offence: str) -> None:
    assert numbers(offence, everywhere=True)


def test_a_decimal_is_caught_and_a_place_in_a_sequence_is_none() -> None:
    assert numbers("a = Decimal('0.87')\nb = 5", everywhere=False) == {"0.87"}
    assert numbers("a = b[3]; c = d[:16]; e = Decimal(1); f = 0", everywhere=True) == set()


@pytest.mark.parametrize(
    "offence",
    ["x = '6130'", "X = {'a': ['rxnorm|6130']}", "f'{system}|6130'", "x = 'ketamine (6130).'", "a('6130', b)"],
)
def test_a_code_in_code_is_caught(offence: str) -> None:
    assert written_codes(offence, {"6130": "here"}) == {"6130"}


def test_a_docstring_and_a_part_of_a_longer_code_are_let_through() -> None:
    assert written_codes('def f():\n    """As 6130."""\n    return "61301"', {"6130": "here"}) == set()


def test_a_document_that_is_not_here_is_caught() -> None:
    nowhere = "nowhere" + ".md"

    assert dangling(f"see {nowhere}, https://example.org/{nowhere} and README.md", ROOT / "README.md") == [nowhere]


def test_a_place_outside_the_repository_is_caught() -> None:
    assert ELSEWHERE.search("see /hom" + "e/somebody/notes")
    assert not ELSEWHERE.search("service/afterdose/work/delivery/merge.py")
