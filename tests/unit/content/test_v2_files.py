"""The HL7 v2 table is checked when it is read, a site's copy wins, and its page says the same as it does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from afterdose.content.locate import bundled
from afterdose.content.v2 import FILE, read_v2
from afterdose.core.errors import BadContent
from afterdose.fhir.v2.mapping import Action

CODES = "mappings/codes/ConceptMap-v2-completion-status.json"


def overlay(folder: Path, file: str, *changes: tuple[str, str]) -> Path:
    """A site's copy of one file, with changes."""
    copy = folder / file
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(bundled() / file, copy)
    text = copy.read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    copy.write_text(text, encoding="utf-8")
    return folder


def test_a_site_s_table_wins(tmp_path: Path) -> None:
    site = overlay(tmp_path, FILE, ('action_when_absent = "add"', 'action_when_absent = "update"'))

    assert read_v2(None).action_when_absent is Action.ADD
    assert read_v2(site).action_when_absent is Action.UPDATE


def test_a_site_s_codes_win(tmp_path: Path) -> None:
    site = overlay(tmp_path, CODES, ('"code": "CP"', '"code": "DONE"'))

    assert read_v2(site).completion["done"] == "completed"


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('messages = ["RAS^O17", ', 'messages = ["RAS O17", ', "messages[0]: expected a type such as RAS^O17"),
        ('"RXA-1", "RXA-2"]', '"RXA1"]', "identity[2]: expected a field such as RXA-5"),
        (', "RXA-1", "RXA-2"]', "]", "identity: expected at least one field of RXA"),
        ('action_when_absent = "add"', 'action_when_absent = "keep"', "action_when_absent: expected 'add'"),
        ('rule = "time"', 'rule = "moment"', "rule: expected 'status'"),
        ('fields = ["RXA-3", "RXA-4"]', 'fields = ["RXA-3"]', "row[8].fields: expected 2 for rule = 'time'"),
        ('rule = "subject"', 'rule = "note"', "row: expected exactly one with rule = 'subject'"),
        ('element = "dosage.route"', 'element = "Dosage/route"', "element: expected an element such as dosage.route"),
        ("ucum =", "UCUM =", "UCUM: this key is not known here"),
        ("[time_units]", "[time_units", "cannot be read as TOML"),
    ],
)
def test_a_mistake_is_told_with_file_and_key(tmp_path: Path, before: str, after: str, told: str) -> None:
    with pytest.raises(BadContent) as caught:
        read_v2(overlay(tmp_path, FILE, (before, after)))

    assert str(tmp_path / FILE) in str(caught.value)
    assert told in str(caught.value)


def test_a_status_that_fhir_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadContent, match="expected one of completed, entered-in-error"):
        read_v2(overlay(tmp_path, CODES, ('"code": "stopped"', '"code": "halted"')))


def test_the_page_shows_the_table_row_by_row() -> None:
    page = (bundled() / "mappings" / "v2" / "README.md").read_text(encoding="utf-8")
    shown = [tuple(cell.strip(" `") for cell in line.split("|")[1:4]) for line in page.splitlines() if line[:1] == "|"]
    rows = [
        (", ".join(str(fields[0]) for fields in row.fields), row.element, str(row.rule)) for row in read_v2(None).rows
    ]

    assert [row for row in shown if row in rows] == rows
