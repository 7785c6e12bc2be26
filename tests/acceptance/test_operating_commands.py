"""The commands of those who run afterdose: parked, replay, pause, resume, backup, restore, audit."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from afterdose.store.engine import Database
from afterdose.store.migrate import migrate
from afterdose.store.rows import Arrival, AuditEntry
from afterdose.store.store import Store, open_store
from fhir_inputs import run

SETTINGS = """
data_dir = "{folder}"
[targets.ehr]
base_url = "https://ehr.example.org/fhir"
clinic = "example"
[sources.ehr]
target = "ehr"
[[sources.ehr.secrets]]
value = "a-secret-of-the-sender-that-is-long-enough"
"""
DOSE = "MedicationAdministration/dose-1"


class Site:
    def __init__(self, folder: Path) -> None:
        self.config = folder / "afterdose.toml"
        self.config.write_text(SETTINGS.format(folder=folder), encoding="utf-8")
        self.url = f"sqlite:///{folder}/afterdose.db"
        migrate(self.url)
        self.store: Store = open_store(self.url, clock=lambda: datetime.now(UTC))
        arrival = Arrival(source="ehr", resource_id="dose-1", target="ehr", patient="p-1", raw=b"{}")
        self.store.committer.submit([arrival])

    def park(self) -> None:
        claim = self.store.agenda.claim("w", lease=timedelta(minutes=1), now=datetime.now(UTC))
        assert claim is not None
        self.store.agenda.park(claim, "retries-exhausted")

    def run(self, *arguments: str) -> str:
        result = run(*arguments, "--config", str(self.config))
        assert result.exit_code == 0, result.output
        return result.stdout

    def refused(self, *arguments: str) -> str:
        result = run(*arguments, "--config", str(self.config))
        assert result.exit_code != 0
        return result.output


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.store.close()


@pytest.mark.parametrize("chosen", [[], ["ehr"], ["--all"], ["--patient-of", DOSE]])
def test_whoever_was_given_up_is_listed_and_one_command_has_them_worked_on_again(site: Site, chosen: list[str]) -> None:
    site.park()
    assert site.run("parked") == f"ehr: retries-exhausted: {DOSE}\n"

    assert site.run("replay", *chosen) == "1 patients are worked on again.\n"

    assert site.run("parked") == ""
    row = site.store.agenda.find("ehr", "p-1")
    assert row is not None
    assert row.due_at is not None


def test_nothing_is_replayed_that_was_not_given_up(site: Site) -> None:
    assert site.run("replay") == "0 patients are worked on again.\n"


def test_what_is_not_known_is_named(site: Site) -> None:
    assert "is none of ehr" in site.refused("replay", "other")
    assert "is none of ehr" in site.refused("pause", "other")
    assert "Nothing was ever received" in site.refused("replay", "--patient-of", "MedicationAdministration/other")


def test_a_target_is_paused_until_it_is_resumed(site: Site) -> None:
    assert site.run("pause", "ehr") == "ehr is paused.\n"
    assert site.run("pause", "ehr") == "ehr was paused already.\n"
    assert site.store.agenda.claim("w", lease=timedelta(minutes=1), now=datetime.now(UTC)) is None
    assert "it was paused since" in site.run("resume", "ehr")
    assert site.run("resume", "ehr") == "ehr was not paused.\n"
    assert site.store.agenda.claim("w", lease=timedelta(minutes=1), now=datetime.now(UTC)) is not None


def test_after_an_ehr_was_put_back_every_patient_of_it_is_looked_at(site: Site) -> None:
    site.run("pause", "ehr")
    told = site.run("resume", "ehr", "--restored")
    assert "ehr goes on" in told
    assert "1 patients are looked at" in told
    assert site.store.agenda.claim("w", lease=timedelta(minutes=1), now=datetime.now(UTC)) is not None


def test_a_copy_is_made_while_the_store_is_open_and_put_back_only_when_nobody_has_it_open(
    site: Site, tmp_path: Path
) -> None:
    copy = str(tmp_path / "copy")
    site.run("backup", copy)
    assert "in use" in site.refused("restore", copy)
    site.store.close()
    assert "1 patients are worked on again" in site.run("restore", copy)
    site.store = open_store(site.url, clock=lambda: datetime.now(UTC))


def test_the_audit_is_exported_as_audit_events_and_verified(site: Site) -> None:
    site.store.audit.append(
        AuditEntry(
            actor="afterdose",
            action="C",
            entity_type="CarePlan",
            entity_id="cp-1",
            outcome="refused forbidden",
            target="ehr",
            patient="p-1",
        )
    )
    site.run("explain", DOSE)

    events = [json.loads(line) for line in site.run("audit", "export").splitlines()]
    verified = site.run("audit", "verify")

    assert [event["action"] for event in events] == ["C", "R"]
    assert [event["outcome"] for event in events] == ["8", "0"]
    assert events[0]["meta"]["profile"][0].endswith("IHE.BasicAudit.PatientCreate")
    assert [entity["what"]["reference"] for entity in events[0]["entity"]] == ["CarePlan/cp-1", "Patient/p-1"]
    assert verified.startswith("2 entries, none changed.")
    assert site.run("audit", "export", "--since", "2999-01-01T00:00:00Z") == ""
    last = verified.split()[-1]
    site.run("audit", "verify", "--has", last)
    assert "were cut off" in site.refused("audit", "verify", "--has", "0" * 63 + "1")


def test_an_audit_that_was_changed_fails_to_verify(site: Site) -> None:
    site.run("explain", DOSE)
    site.run("explain", DOSE)
    database = Database(site.url)
    with database.writing() as connection:
        connection.execute(sa.text("DROP TRIGGER audit_no_delete"))
        connection.execute(sa.text("DELETE FROM audit WHERE id = 1"))
    database.close()
    assert "Entry 2 of" in site.refused("audit", "verify")
