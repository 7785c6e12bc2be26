"""``afterdose explain`` over a real store that was filled as the worker fills it."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from afterdose.content.content import load_content
from afterdose.core.care import ArtifactKey, ArtifactKind, Care, Standing
from afterdose.core.dose import Dose, DoseKey
from afterdose.core.identity import artifact_id
from afterdose.core.plan import decide
from afterdose.core.reasons import Reason
from afterdose.store.migrate import migrate
from afterdose.store.rows import Arrival, Claim, LedgerRow
from afterdose.store.store import Store, open_store
from afterdose.work.reports.report import outcome_rows
from builders import a_dose, a_snapshot, local
from fhir_inputs import run

WORDS = load_content().reason_text
NOW = local("2026-01-05 11:00")

SETTINGS = """
data_dir = "{folder}"
[targets.ehr]
base_url = "https://ehr.example.org/fhir"
clinic = "example"
[sources.ehr]
target = "ehr"
[[sources.ehr.secrets]]
value = "a-secret-of-the-sender-that-is-long-enough"
[sources.mar]
target = "ehr"
base_url = "https://mar.example.org/fhir"
[[sources.mar.secrets]]
value = "another-secret-of-the-sender-long-enough"
"""


class Site:
    """A settings file and the store that it names, at a fixed time."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "afterdose.toml"
        self.config.write_text(SETTINGS.format(folder=folder), encoding="utf-8")
        url = f"sqlite:///{folder}/afterdose.db"
        migrate(url)
        self.store: Store = open_store(url, clock=lambda: NOW)

    def arrive(self, id: str, *, source: str = "ehr", patient: str | None = "pat-1", version: str = "1") -> None:
        arrival = Arrival(
            source=source, resource_id=id, target="ehr", patient=patient, version=version, raw=version.encode()
        )
        self.store.committer.submit([arrival])

    def claim(self) -> Claim:
        claim = self.store.agenda.claim("worker", lease=timedelta(minutes=2), now=NOW)
        assert claim is not None
        return claim

    def decided(self, *doses: Dose, refused: tuple[ArtifactKey, ...] = ()) -> Care:
        """Decide on the doses and write down what came of it, as if the EHR had taken everything."""
        claim, care = self.claim(), decide(a_snapshot(*doses), NOW)
        rows = outcome_rows(care, target="ehr", patient="pat-1", refused=refused)
        self.store.outcomes.replace(claim, rows, care.memberships, care.reviews)
        written = [(one.key, "Appointment", "proposed") for one in care.appointments]
        written += [(one.key, "CarePlan", "draft") for one in care.plans]
        ledger = [
            LedgerRow(
                target="ehr",
                patient="pat-1",
                key=key,
                identifier=artifact_id(key),
                resource_type=type_,
                standing=Standing.WRITTEN,
                ehr_id=f"{1000 + number}",
                ehr_status=status,
                sent_at=NOW,
                attempts=1,
            )
            for number, (key, type_, status) in enumerate(written)
        ]
        self.store.ledger.record(claim, ledger)
        self.store.agenda.finish(claim, care.wake_up, "look")
        return care

    def explain(self, *arguments: str) -> Any:
        return run("explain", *arguments, "--config", str(self.config))

    def told(self, *arguments: str) -> dict[str, Any]:
        result = self.explain(*arguments, "--json")
        assert result.exit_code == 0, result.output
        document: dict[str, Any] = json.loads(result.stdout)
        return document


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.store.close()


def test_a_planned_dose_is_explained_with_its_resources(site: Site) -> None:
    site.arrive("dose-1")
    care = site.decided(a_dose("2026-01-05 10:00"))
    told = site.told("MedicationAdministration/dose-1")
    (verdict,) = care.verdicts
    assert (told["source"], told["target"], told["patient"]) == ("ehr", "ehr", "Patient/pat-1")
    assert told["outcome"] == "planned"
    assert told["reasons"][0] == {"code": "psychiatric-indication", "text": WORDS(Reason.PSYCHIATRIC_INDICATION)}
    assert told["dose"]["course"] == str(verdict.course_id)
    assert [(row["kind"], row["reference"], row["standing"], row["status"]) for row in told["resources"]] == [
        ("appointment", "Appointment/1000", "written", "proposed"),
        ("care-plan", "CarePlan/1001", "written", "draft"),
    ]
    assert told["resources"][0]["attempts"] == 1
    assert told["next_look"] == told["agenda"]["due_at"] == "2026-01-05T17:40:00Z"
    assert told["agenda"]["parked"] is None
    assert told["reviews"] == []
    assert [row["version"] for row in told["versions"]] == ["1"]


def test_the_text_says_it_in_words_and_in_the_clinics_time(site: Site) -> None:
    site.arrive("dose-1")
    site.decided(a_dose("2026-01-05 10:00"))
    text = site.explain("MedicationAdministration/dose-1").stdout
    for words in (
        "MedicationAdministration/dose-1 from ehr: planned",
        f"{WORDS(Reason.PSYCHIATRIC_INDICATION)} (psychiatric-indication)",
        "ended Mon 5 Jan 2026 10:40 EST (end)",
        "Window: Tue 6 Jan 2026 10:40 EST to Thu 8 Jan 2026 10:40 EST",
        "Session: proposed Tue 6 Jan 2026 11:00 EST, 24.33 h after the dose, in-window",
        "appointment, Appointment/1000, written, proposed, last sent Mon 5 Jan 2026 11:00 EST (attempts: 1)",
        "Next look: Mon 5 Jan 2026 12:40 EST",
        "Agenda: due Mon 5 Jan 2026 12:40 EST, attempts: 0",
        "by push: upsert, version 1",
    ):
        assert words in text


def test_a_dose_whose_ehr_is_paused_says_so_until_it_is_resumed(site: Site) -> None:
    site.arrive("dose-1")
    site.store.pauses.pause("ehr")
    words = "Paused: ehr, since Mon 5 Jan 2026 11:00 EST; nothing is done for it until `afterdose resume ehr`"
    assert words in site.explain("MedicationAdministration/dose-1").stdout
    assert site.told("MedicationAdministration/dose-1")["paused_since"] == "2026-01-05T16:00:00Z"

    site.store.pauses.resume("ehr")
    assert "Paused" not in site.explain("MedicationAdministration/dose-1").stdout
    assert site.told("MedicationAdministration/dose-1")["paused_since"] is None


def test_a_dose_that_joined_a_session_shows_what_the_session_has(site: Site) -> None:
    site.arrive("dose-1")
    site.arrive("dose-2")
    site.decided(a_dose("2026-01-05 10:00"), a_dose("2026-01-05 10:50", id="dose-2", minutes=5))
    told = site.told("MedicationAdministration/dose-2")
    assert told["outcome"] == "joined"
    assert len(told["resources"]) == 2


def test_a_review_is_shown_with_its_reasons_and_deadline_for_every_member(site: Site) -> None:
    site.arrive("dose-1")
    site.arrive("dose-2")
    site.decided(a_dose("2026-01-05 10:00", reasons=()), a_dose("2026-01-05 10:50", id="dose-2", minutes=5, reasons=()))
    for id_ in ("dose-1", "dose-2"):
        (review,) = site.told(f"MedicationAdministration/{id_}")["reviews"]
        assert review["closed_at"] is None
        assert review["due"] == "2026-01-06T15:55:00Z"
        assert "no-psychiatric-evidence" in [reason["code"] for reason in review["reasons"]]
    assert WORDS(Reason.NO_PSYCHIATRIC_EVIDENCE) in site.explain("MedicationAdministration/dose-1").stdout


def test_a_refused_plan_is_explained_as_parked(site: Site) -> None:
    site.arrive("dose-1")
    (plan,) = decide(a_snapshot(a_dose("2026-01-05 10:00")), NOW).plans
    site.decided(a_dose("2026-01-05 10:00"), refused=(ArtifactKey(ArtifactKind.CARE_PLAN, plan.key.subject),))
    assert site.told("MedicationAdministration/dose-1")["outcome"] == "parked"


def test_a_patient_who_was_given_up_shows_why_and_after_how_many_attempts(site: Site) -> None:
    site.arrive("dose-1")
    claim = site.claim()
    site.store.outcomes.park(claim, [DoseKey("ehr", "dose-1")], Reason.RETRIES_EXHAUSTED)
    site.store.agenda.park(claim, "retries-exhausted")
    result = site.explain("MedicationAdministration/dose-1")
    assert "from ehr: parked" in result.stdout
    assert "parked (retries-exhausted)" in result.stdout
    told = site.told("MedicationAdministration/dose-1")
    assert (told["outcome"], told["dose"], told["next_look"]) == ("parked", None, None)
    assert [reason["code"] for reason in told["reasons"]] == ["retries-exhausted"]
    assert told["agenda"]["parked"] == "retries-exhausted"


def test_a_patient_who_was_put_off_shows_what_went_wrong_last(site: Site) -> None:
    site.arrive("dose-1")
    site.store.agenda.postpone(site.claim(), NOW + timedelta(minutes=1), "too-long")
    text = site.explain("MedicationAdministration/dose-1").stdout
    assert "Agenda: due Mon 5 Jan 2026 11:01 EST, attempts: 1 (too-long)" in text


def test_a_dose_whose_patient_is_not_known_is_found_too(site: Site) -> None:
    site.arrive("dose-1", patient=None)
    told = site.told("MedicationAdministration/dose-1")
    assert told["patient"] is None
    assert told["agenda"]["due_at"] == "2026-01-05T16:00:00Z"


def test_a_dose_that_waits_for_its_first_look_is_due_and_not_left_until_something_arrives(site: Site) -> None:
    site.arrive("dose-1")

    shown = site.explain("MedicationAdministration/dose-1").stdout

    assert "not looked at yet" in shown
    assert "Agenda: due Mon 5 Jan 2026 11:00 EST" in shown
    assert "Next look" not in shown


def test_every_version_is_listed_in_the_order_of_receipt(site: Site) -> None:
    site.arrive("dose-1")
    site.arrive("dose-1", version="2")
    assert [row["version"] for row in site.told("MedicationAdministration/dose-1")["versions"]] == ["1", "2"]


def test_an_id_of_several_sources_needs_the_source(site: Site) -> None:
    site.arrive("dose-1")
    site.arrive("dose-1", source="mar", patient="pat-2")
    result = site.explain("MedicationAdministration/dose-1")
    assert result.exit_code == 2
    assert "ehr, mar" in result.output
    assert site.told("MedicationAdministration/dose-1", "--source", "mar")["patient"] == "Patient/pat-2"


@pytest.mark.parametrize("more", [(), ("--source", "mar")])
def test_what_was_never_received_is_said_to_be_unknown(site: Site, more: tuple[str, ...]) -> None:
    site.arrive("dose-1")
    result = site.explain("MedicationAdministration/dose-9", *more)
    assert result.exit_code == 1
    assert "Nothing was ever received of MedicationAdministration/dose-9" in result.output


@pytest.mark.parametrize("reference", ["dose-1", "Patient/pat-1", "MedicationAdministration/"])
def test_only_an_administration_is_explained(site: Site, reference: str) -> None:
    assert site.explain(reference).exit_code == 2


def test_a_database_without_a_schema_is_named_with_the_command_that_helps(tmp_path: Path) -> None:
    config = tmp_path / "afterdose.toml"
    config.write_text(SETTINGS.format(folder=tmp_path), encoding="utf-8")
    result = run("explain", "MedicationAdministration/dose-1", "--config", str(config))
    assert result.exit_code == 1
    assert "afterdose migrate" in result.output
