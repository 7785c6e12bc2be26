"""What was refused is seen by a person, and taken in again once the site's map is right."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from afterdose.bootstrap import message_desk
from afterdose.content.locate import bundled
from afterdose.core.errors import Problem
from afterdose.fhir.v2.translate import ER7
from afterdose.settings import load_settings
from afterdose.store.migrate import migrate
from afterdose.store.store import Store, open_store
from fhir_inputs import run

SETTINGS = """
data_dir = "{folder}"
site_overlay = "{folder}/overlay"
[targets.ehr]
base_url = "https://ehr.example.org/fhir"
clinic = "example"
[sources.ehr]
target = "ehr"
[[sources.ehr.secrets]]
value = "a-secret-of-the-sender-that-is-long-enough"
"""
MESSAGE = (Path(__file__).parents[1] / "data" / "v2" / "infusion.er7").read_bytes().replace(b"|CP|A", b"|OK|A")
CODES = "mappings/codes/ConceptMap-v2-completion-status.json"


class Site:
    """A site whose engine says OK where table 0322 says CP."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "afterdose.toml"
        (folder / "overlay").mkdir()
        self.config.write_text(SETTINGS.format(folder=folder), encoding="utf-8")
        migrate(f"sqlite:///{folder}/afterdose.db")
        self.store: Store = open_store(f"sqlite:///{folder}/afterdose.db", clock=lambda: datetime.now(UTC))

    def receives(self, message: bytes) -> None:
        desk = message_desk(load_settings(self.config, {}), self.store, clock=lambda: datetime.now(UTC))
        desk.take(message, "ehr")

    def learns_the_code(self) -> None:
        copy = self.folder / "overlay" / CODES
        copy.parent.mkdir(parents=True)
        shutil.copy(bundled() / CODES, copy)
        copy.write_text(copy.read_text(encoding="utf-8").replace('"code": "CP"', '"code": "OK"'), encoding="utf-8")

    def quarantine(self, *arguments: str) -> str:
        result = run("quarantine", *arguments, "--config", str(self.config))
        assert result.exit_code == 0, result.output
        return result.stdout

    def number(self) -> str:
        return self.quarantine("list").split()[0]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.store.close()


def test_what_was_refused_is_listed_by_what_was_wrong_and_without_its_content(site: Site) -> None:
    site.receives(MESSAGE)

    listed = site.quarantine("list")

    assert "ehr" in listed
    assert f"{len(MESSAGE)} bytes  RXA[1]-20: is not a status that the table knows" in listed
    assert "MUSTER" not in listed


def test_what_was_refused_is_shown_as_it_came_and_that_is_audited(site: Site) -> None:
    site.receives(MESSAGE)
    number = site.number()

    assert site.quarantine("show", number).encode() == MESSAGE
    (entry,) = (json.loads(line) for line in run("audit", "export", "--config", str(site.config)).stdout.splitlines())
    assert f"Binary/{number}" in json.dumps(entry)


def test_a_message_is_taken_in_again_once_the_map_knows_its_code(site: Site) -> None:
    site.receives(MESSAGE)
    assert site.quarantine("again") == "0 messages taken in, 1 refused again.\n"
    assert site.store.facts.count() == 0

    site.learns_the_code()

    assert site.quarantine("again", site.number()) == "1 messages taken in, 0 refused again.\n"
    assert site.store.facts.count() == 1
    assert site.quarantine("list") == ""


def test_what_was_dropped_for_lack_of_room_stays_known_when_an_entry_is_done_with(site: Site) -> None:
    for place in range(1002):
        site.store.quarantine.keep("ehr", datetime.now(UTC), None, b"%d" % place, [Problem("structure", "", "x")])
    newest = site.store.quarantine.newest(1)[0]

    site.store.quarantine.drop(newest.id)

    assert site.store.quarantine.counts() == (999, 2)
    assert site.store.quarantine.find(newest.id) is None


@pytest.mark.parametrize(
    ("media_type", "code"), [(None, "structure"), ("application/fhir+json", "value"), (ER7, "too-long")]
)
def test_only_messages_that_are_whole_are_taken_in_again(site: Site, media_type: str | None, code: str) -> None:
    cut = MESSAGE.replace(b"|OK|A", b"|CP|A")
    site.store.quarantine.keep("ehr", datetime.now(UTC), media_type, cut, [Problem(code, "", "x")])

    named = run("quarantine", "again", site.number(), "--config", str(site.config))

    assert named.exit_code == 1
    assert "Only HL7 v2 messages that are kept whole" in named.output
    assert site.quarantine("again") == "0 messages taken in, 0 refused again.\n"
    assert site.store.facts.count() == 0


def test_an_unknown_number_is_told(site: Site) -> None:
    unknown = run("quarantine", "show", "99", "--config", str(site.config))

    assert unknown.exit_code == 1
    assert "nothing under the number 99" in unknown.output
