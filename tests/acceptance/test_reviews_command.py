"""``afterdose reviews`` over a real store: what waits for a person can be seen without knowing the doses."""

import json
import os
import pwd
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from afterdose.core.dose import Dose
from afterdose.core.plan import decide
from afterdose.store.due import REPLAY
from afterdose.store.migrate import migrate
from afterdose.store.rows import Arrival
from afterdose.store.store import Store, open_store
from afterdose.work.reports.report import outcome_rows
from builders import a_dose, a_snapshot, local
from fhir_inputs import run

NOW = local("2026-01-05 11:00")
SETTINGS = """
data_dir = "{folder}"
[targets.ehr]
base_url = "https://ehr.example.org/fhir"
clinic = "example"
[targets.north]
base_url = "https://north.example.org/fhir"
clinic = "example"
[sources.ehr]
target = "ehr"
[[sources.ehr.secrets]]
value = "a-secret-of-the-sender-that-is-long-enough"
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "afterdose.toml").write_text(SETTINGS.format(folder=tmp_path), encoding="utf-8")
    url = f"sqlite:///{tmp_path}/afterdose.db"
    migrate(url)
    opened = open_store(url, clock=lambda: NOW)
    yield opened
    opened.close()


def decided(store: Store, dose: Dose, patient: str) -> None:
    """Take in a dose and decide on it."""
    id_ = dose.key.id
    store.committer.submit(
        [Arrival(source="ehr", resource_id=id_, target="ehr", patient=patient, version="1", raw=id_.encode())]
    )
    claim = store.agenda.claim("worker", lease=timedelta(minutes=2), now=NOW)
    assert claim is not None
    care = decide(a_snapshot(dose), NOW)
    rows = outcome_rows(care, target="ehr", patient=patient, refused=())
    store.outcomes.replace(claim, rows, care.memberships, care.reviews)
    store.agenda.finish(claim, None, "look")


def test_what_waits_for_a_person_is_listed_with_its_reasons_and_deadline(store: Store, tmp_path: Path) -> None:
    config = str(tmp_path / "afterdose.toml")
    decided(store, a_dose("2026-01-05 10:00"), "pat-1")
    decided(store, a_dose("2026-01-05 10:00", id="dose-2", reasons=()), "pat-2")

    shown = run("reviews", "--config", config)

    assert shown.exit_code == 0
    assert shown.stdout == (
        "MedicationAdministration/dose-2 from ehr: since Mon 5 Jan 2026 11:00 EST, due Tue 6 Jan 2026 10:40 EST, open: "
        "No sign of psychiatric use; Dose within the usual range\n"
    )
    assert shown.stderr == "1 open.\n"
    (told,) = json.loads(run("reviews", "--json", "--config", config).stdout)
    assert (told["administrations"], told["source"]) == (["MedicationAdministration/dose-2"], "ehr")
    assert run("reviews", "--target", "north", "--config", config).stdout == ""
    assert run("reviews", "--target", "nowhere", "--config", config).exit_code == 2


def test_who_looks_at_the_list_stands_in_the_audit(store: Store, tmp_path: Path) -> None:
    decided(store, a_dose("2026-01-05 10:00", id="dose-2", reasons=()), "pat-2")

    run("reviews", "--config", str(tmp_path / "afterdose.toml"))

    ((_, entry),) = store.audit.newest(1)
    assert entry.actor.endswith("by afterdose reviews")
    assert (entry.entity_id, entry.patient, entry.outcome) == ("dose-2", "pat-2", "shown")


def test_what_a_person_has_answered_leaves_the_list_and_the_audit_says_who(store: Store, tmp_path: Path) -> None:
    config = str(tmp_path / "afterdose.toml")
    asked = a_dose("2026-01-05 10:00", id="dose-2", reasons=())
    decided(store, asked, "pat-2")

    closed = run("reviews", "--answered", "MedicationAdministration/dose-2", "--config", config)

    assert (closed.exit_code, closed.stderr) == (0, "1 closed.\n")
    assert run("reviews", "--config", config).stdout == ""
    ((_, entry),) = store.audit.newest(1)
    assert (entry.entity_id, entry.patient, entry.action, entry.outcome) == ("dose-2", "pat-2", "U", "closed")
    again = run("reviews", "--answered", "MedicationAdministration/dose-2", "--config", config)
    assert (again.exit_code, again.stderr) == (
        1,
        "Error: No review of MedicationAdministration/dose-2 from ehr is open.\n",
    )


def test_the_same_question_is_not_asked_again_once_it_was_answered(store: Store, tmp_path: Path) -> None:
    config = str(tmp_path / "afterdose.toml")
    asked = a_dose("2026-01-05 10:00", id="dose-2", reasons=())
    decided(store, asked, "pat-2")
    run("reviews", "--answered", "MedicationAdministration/dose-2", "--config", config)

    store.agenda.put("ehr", "pat-2", NOW, REPLAY)
    decided(store, asked, "pat-2")

    assert run("reviews", "--config", config).stdout == ""


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("Patient/1", "is not MedicationAdministration/ID"),
        ("MedicationAdministration/other", "Nothing was ever received of MedicationAdministration/other"),
    ],
)
def test_an_answer_about_something_else_is_refused(store: Store, tmp_path: Path, named: str, said: str) -> None:
    refused = run("reviews", "--answered", named, "--config", str(tmp_path / "afterdose.toml"))

    assert refused.exit_code != 0
    assert said in refused.stderr


def test_a_user_without_a_name_as_in_a_container_stands_in_the_audit_by_number(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(_: int) -> None:
        raise KeyError

    decided(store, a_dose("2026-01-05 10:00", id="dose-2", reasons=()), "pat-2")
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)

    assert run("reviews", "--config", str(tmp_path / "afterdose.toml")).exit_code == 0

    ((_, entry),) = store.audit.newest(1)
    assert entry.actor == f"user {os.getuid()} by afterdose reviews"
