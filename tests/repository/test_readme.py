"""What the READMEs tell people to type and where they send them: it exists."""

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from readme_commands import README, NoCommand, command

from afterdose.cli import main

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    path
    for pattern in ("*.md", "service/*.md", "service/decisions/*.md", "tests/*.md", "tests/hapi/*.md", "docker/*.md")
    for path in sorted(ROOT.glob(pattern))
] + [path for folder in ("mappings", "profiles") for path in sorted((ROOT / folder).rglob("*.md"))]
CALLERS = [README, *sorted(path for path in (ROOT / "docker").iterdir() if path.is_file()), ROOT / ".ci" / "run"]

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
# `afterdose serve`, "afterdose", "serve" and /opt/afterdose/bin/afterdose serve, but not the words of a sentence.
CALL = re.compile(r"""(?:^|[\s"`/(])afterdose["',]*[ ]+["']*([a-z][a-z-]+)""", re.MULTILINE)


def links(document: Path) -> list[str]:
    """The targets of a document's links that are files here, without their fragment."""
    found = (link.partition("#")[0] for link in LINK.findall(document.read_text(encoding="utf-8")))
    return [link for link in found if link and "://" not in link and not link.startswith("mailto:")]


def calls(file: Path) -> set[str]:
    """The subcommands of afterdose that a file calls; in a document, only what stands in code counts."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        text = "\n".join(CODE.findall(text))
    else:
        text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {name for name in CALL.findall(text) if not name.startswith(("afterdose", "does"))}


def test_the_help_says_in_a_whole_line_what_each_command_does() -> None:
    context = click.Context(main)
    named = {name: main.get_command(context, name) for name in main.list_commands(context)}
    for group in [[], *([name] for name, one in named.items() if isinstance(one, click.Group))]:
        told = CliRunner().invoke(main, [*group, "--help"]).output.partition("Commands:")[2]
        assert told
        assert [line for line in told.splitlines() if line.endswith("...")] == []


@pytest.mark.parametrize("name", ["test", "demo"])
def test_the_readme_has_the_command_under_its_marker(name: str) -> None:
    assert command(README.read_text(encoding="utf-8"), name)


@pytest.mark.parametrize(
    "text",
    [
        "```sh\npytest\n```",
        "<!-- command: test -->\n\nRun pytest.",
        "<!-- command: test -->\n```sh\n\n```",
        "<!-- command: test -->\n```sh\npytest\n```\n<!-- command: test -->\n```sh\npytest\n```",
    ],
)
def test_a_readme_without_the_command_is_refused(text: str) -> None:
    with pytest.raises(NoCommand, match="<!-- command: test -->"):
        command(text, "test")


def test_the_command_is_the_text_between_the_fences() -> None:
    text = "Words.\n\n<!-- command: test -->\n```sh\npip install x\npytest\n```\nMore.\n```sh\nno\n```"

    assert command(text, "test") == "pip install x\npytest"


@pytest.mark.parametrize("file", CALLERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_subcommand_that_is_mentioned_exists(file: Path) -> None:
    assert calls(file) <= set(main.list_commands(click.Context(main)))


def test_the_callers_that_must_call_afterdose_are_seen_to(tmp_path: Path) -> None:
    assert calls(ROOT / "docker" / "compose.yaml") == {"migrate", "serve", "work"}
    assert calls(ROOT / "docker" / "Dockerfile") == {"serve"}
    prose = (tmp_path / "prose").with_suffix(".md")
    prose.write_text(
        "When afterdose sees a dose, run `afterdose explain ehr/1` or\n```sh\nafterdose demo --exit\n```\n"
    )
    assert calls(prose) == {"explain", "demo"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_resolves(document: Path) -> None:
    assert [link for link in links(document) if not (document.parent / link).exists()] == []


def test_where_do_i_change_points_at_twenty_places_or_more() -> None:
    text = (ROOT / "service" / "README.md").read_text(encoding="utf-8")
    table = text.partition("## Where do I change X?")[2].partition("\n## ")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ") and "](" in row]

    assert len(rows) >= 20
