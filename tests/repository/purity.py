"""Finds in a module what would make it read a clock, a file, the environment or chance.

The modules of `PURE` may import only what `HARMLESS` names and each other. What is harmless by import can still be
impure by call (`datetime.now`, `uuid4`), so those names are looked for as well.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "service" / "afterdose"
PURE = (
    "core/*.py",
    "fhir/*.py",
    "fhir/*/*.py",
    "ehr/__init__.py",
    "ehr/interactions.py",
    "ehr/wire.py",
    "ehr/answers.py",
    "ehr/capabilities.py",
    "ehr/ladder.py",
    "ehr/outcomes.py",
    "ehr/scopes.py",
    "ehr/smart.py",
    "ehr/versions.py",
    "ehr/waits.py",
    "store/due.py",
    "store/rows.py",
    "work/__init__.py",
    "work/retry.py",
    *(
        f"work/delivery/{name}.py"
        for name in ("merge", "observe", "drafts", "flaws", "repoint", "doubt", "touched", "unwritten", "ledger_view")
    ),
    *(f"work/reports/{name}.py" for name in ("svg", "course_rows", "drawing", "preview", "report", "people")),
)
HARMLESS = frozenset(
    {
        "abc",
        "base64",
        "bisect",
        "calendar",
        "collections",
        "collections.abc",
        "dataclasses",
        "datetime",
        "decimal",
        "difflib",
        "email.utils",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "heapq",
        "html",
        "html.entities",
        "itertools",
        "json",
        "json.encoder",
        "math",
        "operator",
        "re",
        "string",
        "textwrap",
        "types",
        "typing",
        "unicodedata",
        "urllib.parse",
        "uuid",
        "zoneinfo",
    }
)
# FHIR's own models describe the shapes that our resources are checked against, python-hl7 splits messages, and orjson
# writes JSON; nothing else may use them.
LIBRARIES = {
    "fhir/conform/check.py": "fhir.resources",
    "fhir/conform/shapes.py": "fhir.resources",
    "fhir/strict_json.py": "orjson",
    "fhir/v2/er7.py": "hl7",
    "work/delivery/merge.py": "orjson",
}
# A clock, chance, the environment, or a file behind the name of something harmless.
CALLS = frozenset(
    {
        "now",
        "utcnow",
        "today",
        "uuid1",
        "uuid4",
        "uuid6",
        "uuid7",
        "uuid8",
        "getnode",
        "available_timezones",
        "localtime",
    }
    | {"formatdate", "make_msgid", "file_digest"}
)
BUILTINS = frozenset({"open", "input", "print", "eval", "exec", "compile", "__import__", "breakpoint"})


def pure_modules(package: Path = PACKAGE) -> dict[str, Path]:
    """The modules that have to be pure, by their path below the package."""
    return {str(path.relative_to(package)): path for pattern in PURE for path in sorted(package.glob(pattern))}


def impurities(source: str, module: str, pure: frozenset[str]) -> list[str]:
    """What is impure in `source`, the text of `module` (a path below the package); `pure` are the paths that are."""
    tree = ast.parse(source)
    return [finding for node in ast.walk(tree) for finding in _findings(node, module, pure)]


def _findings(node: ast.AST, module: str, pure: frozenset[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            if not _may_import(alias.name, module, pure):
                yield f"line {node.lineno}: imports {alias.name}"
    elif isinstance(node, ast.ImportFrom):
        origin = node.module or ""
        for alias in node.names:
            if node.level or not (
                _may_import(f"{origin}.{alias.name}", module, pure) or _may_import(origin, module, pure)
            ):
                yield f"line {node.lineno}: imports {alias.name} from {'.' * node.level}{origin}"
            if not origin.startswith("afterdose") and alias.name in CALLS:
                yield f"line {node.lineno}: uses {alias.name}"
    elif isinstance(node, ast.Attribute) and node.attr in CALLS and _is_module_or_class(node.value):
        yield f"line {node.lineno}: uses {node.attr}"
    elif isinstance(node, ast.Name) and node.id in BUILTINS and isinstance(node.ctx, ast.Load):
        yield f"line {node.lineno}: uses {node.id}"


def _is_module_or_class(node: ast.expr) -> bool:
    """Whether a name or attribute can be `datetime`, `date`, `uuid` ...: `snapshot.now` is a value and allowed."""
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name in {"datetime", "date", "uuid", "zoneinfo", "hashlib", "utils", "dt"} or not name


def _may_import(name: str, module: str, pure: frozenset[str]) -> bool:
    if name.split(".")[0] == "afterdose":
        below = "/".join(name.split(".")[1:])
        return f"{below}.py" in pure
    library = LIBRARIES.get(module)
    return name in HARMLESS or (library is not None and f"{name}.".startswith(f"{library}."))
