"""One way out: no module but ehr/outbound, over ehr/transport, may speak HTTP as a client."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "service" / "afterdose"
CLIENTS = (
    "requests",
    "urllib3",
    "urllib.request",
    "http.client",
    "httpx",
    "aiohttp",
    "pycurl",
    "ftplib",
    "smtplib",
    "xmlrpc.client",
)
# The sandbox is an EHR of its own: it delivers notifications, and never runs beside the product.
EXEMPT = ("ehr/outbound.py", "ehr/transport.py", "sandbox/")


def offences(source: str) -> list[str]:
    """The HTTP clients that a module imports, in whatever spelling."""
    return [name for name in _imported(ast.parse(source)) if _is_client(name)]


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="__import__" | "import_module")):
                yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and _is_text(arg.value))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_client(name: str) -> bool:
    return any(name == client or name.startswith(f"{client}.") for client in CLIENTS)


def test_only_the_one_way_out_imports_an_http_client() -> None:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).as_posix()
        if not module.startswith(EXEMPT) and (names := offences(path.read_text())):
            found[module] = names
    assert found == {}


def test_the_way_out_itself_is_seen() -> None:
    assert offences((PACKAGE / "ehr" / "outbound.py").read_text())


@pytest.mark.parametrize(
    "source",
    [
        "import requests",
        "import requests.adapters as a",
        "from requests import get",
        "import urllib3",
        "from urllib import request",
        "from urllib.request import urlopen",
        "from http import client",
        "from http.client import HTTPSConnection",
        "def late():\n    import httpx",
        "import importlib\nimportlib.import_module('requests')",
        "__import__('requests')",
    ],
)
def test_an_offender_is_caught(source: str) -> None:
    assert offences(source)


@pytest.mark.parametrize(
    "source", ["from urllib.parse import quote", "from http import HTTPStatus", "import requestsx"]
)
def test_what_only_reads_urls_is_allowed(source: str) -> None:
    assert not offences(source)
