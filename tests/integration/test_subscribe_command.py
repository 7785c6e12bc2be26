"""`afterdose subscribe` against a FHIR server on a real socket: what it makes, finds again, changes and removes."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from afterdose.bootstrap import utc_now
from afterdose.cli import main
from afterdose.sandbox import SandboxEHR
from afterdose.sandbox.behaviour import Behaviour
from afterdose.settings import load_settings
from afterdose.settings.subscribing import TYPES
from afterdose.store.migrate import migrate
from afterdose.store.store import Store, open_store

pytestmark = pytest.mark.service

SECRET = "s3cr3t-" + "a" * 40
SETTINGS = """
data_dir = "{folder}"
[web]
base_url = "https://afterdose.hospital.example"
[targets.ehr]
base_url = "{ehr}"
clinic = "example"
{product}
[sources.ehr]
target = "ehr"
[[sources.ehr.secrets]]
value_file = "secret"
{more}
[sources.ehr.subscribe]
types = {types}
"""


class Site:
    """A site's settings, and the command over them."""

    def __init__(self, folder: Path, ehr: SandboxEHR) -> None:
        self.folder = folder
        self.ehr = ehr
        (folder / "secret").write_text(SECRET)
        self.set()
        migrate(load_settings(self.config, {}).database)

    @property
    def config(self) -> Path:
        return self.folder / "afterdose.toml"

    def set(self, *types: str, product: str = "", more: str = "") -> None:
        named = json.dumps(types or ["MedicationAdministration", "MedicationRequest"])
        text = SETTINGS.format(folder=self.folder, ehr=self.ehr.base_url, product=product, more=more, types=named)
        self.config.write_text(text)

    def run(self, *arguments: str, fails: bool = False) -> Result:
        done = CliRunner().invoke(main, ["subscribe", "ehr", "--config", str(self.config), *arguments])
        assert (done.exit_code != 0) is fails, done.output
        assert SECRET not in done.output
        return done

    def there(self) -> dict[str, dict[str, Any]]:
        return {one["criteria"]: one for one in self.ehr.all("Subscription")}

    def store(self) -> Store:
        return open_store(load_settings(self.config, {}).database, clock=utc_now)


@pytest.fixture
def site(tmp_path: Path, sandbox: SandboxEHR) -> Site:
    return Site(tmp_path, sandbox)


def test_one_subscription_a_type_is_made_and_remembered(site: Site) -> None:
    done = site.run()

    assert done.output.count("created") == 2
    there = site.there()
    assert there.keys() == {"MedicationAdministration?", "MedicationRequest?"}
    assert there["MedicationAdministration?"]["channel"]["header"] == [f"Authorization: Bearer {SECRET}"]
    store = site.store()
    rows = store.subscriptions.of("ehr")
    store.close()
    assert {row.id: row.resource_type for row in rows} == {
        one["id"]: criteria.rstrip("?") for criteria, one in there.items()
    }


def test_a_second_time_nothing_is_done_and_another_secret_is_given_when_asked(site: Site) -> None:
    site.run()
    before = site.there()

    assert site.run().output.count("in order") == 2
    assert site.there() == before
    other = "s3cr3t-" + "b" * 40
    (site.folder / "secret").write_text(other)
    assert site.run("--anew").output.count("updated") == 2
    assert all(one["channel"]["header"] == [f"Authorization: Bearer {other}"] for one in site.there().values())
    assert {one["id"] for one in site.there().values()} == {one["id"] for one in before.values()}


def test_what_the_database_forgot_is_found_by_its_mark(site: Site) -> None:
    site.set(*TYPES)
    site.run()
    for row in (store := site.store()).subscriptions.of("ehr"):
        store.subscriptions.forget("ehr", row.id)
    store.close()

    assert site.run().output.count("in order") == len(TYPES)
    assert len(site.ehr.all("Subscription")) == len(TYPES)


def test_a_search_that_lags_behind_makes_no_second_one(site: Site) -> None:
    site.ehr.behaviour = Behaviour(search_lag=3600)
    site.run()
    site.run()

    assert len(site.ehr.all("Subscription")) == 2


def test_subscriptions_of_others_are_left_alone(site: Site) -> None:
    channel = {"type": "rest-hook", "endpoint": "https://afterdose.hospital.example/fhir"}
    other = {"resourceType": "Subscription", "status": "off", "reason": "x", "channel": channel}
    foreign = site.ehr.create({**other, "criteria": "MedicationAdministration?"})

    site.run()
    site.run("--remove")

    assert site.ehr.all("Subscription") == [foreign]


def test_a_type_that_is_wanted_no_more_is_removed(site: Site) -> None:
    site.run()
    site.set("MedicationAdministration")

    assert "removed" in site.run().output
    assert site.there().keys() == {"MedicationAdministration?"}


def test_one_that_was_switched_off_is_asked_to_be_active_again(site: Site) -> None:
    site.run()
    for one in site.ehr.all("Subscription"):
        site.ehr.put({**one, "status": "off"})

    assert site.run().output.count("updated") == 2
    assert {one["status"] for one in site.there().values()} <= {"requested", "active"}


def test_a_rehearsal_shows_everything_but_the_secret_and_does_nothing(site: Site) -> None:
    done = site.run("--dry-run")

    assert "create" in done.output
    assert '"Authorization: ..."' in done.output
    assert site.ehr.all("Subscription") == []


def test_what_stands_there_is_listed(site: Site) -> None:
    assert "none of ours" in site.run("--remove").output
    site.run()

    lines = site.run("--list").output.splitlines()
    assert [line.split()[0] for line in lines] != []
    assert {line.split()[0] for line in lines} == {"MedicationAdministration", "MedicationRequest"}


def test_what_medplum_wants_is_in_its_subscriptions(site: Site) -> None:
    (site.folder / "key").write_text("s3cr3t-" + "k" * 40)
    more = '[[sources.ehr.signatures]]\nvalue_file = "key"'
    site.set("MedicationAdministration", product='ehr = "medplum"', more=more)
    shown = site.run("--dry-run").output
    site.run()

    first, second = site.ehr.all("Subscription")
    assert "s3cr3t" not in shown
    assert {one["valueCode"] for one in second["extension"] + first["extension"] if "valueCode" in one} == {"delete"}
    assert all("s3cr3t-" + "k" * 40 in str(one["extension"]) for one in (first, second))


def test_a_product_without_subscriptions_is_to_be_polled(site: Site) -> None:
    site.set(product='ehr = "epic"')
    assert "polled" in site.run(fails=True).output

    site.set()
    site.ehr.behaviour = Behaviour(read_only=frozenset({"Subscription"}))
    assert "polled" in site.run(fails=True).output


def test_what_is_missing_in_the_settings_is_named(site: Site) -> None:
    text = site.config.read_text()
    site.config.write_text(text.replace('value_file = "secret"', f'value = "{SECRET}"'))
    assert "sources.ehr.secrets[0]" in site.run(fails=True).output
    site.config.write_text(text.replace('base_url = "https://afterdose.hospital.example"', ""))
    assert "web.base_url" in site.run(fails=True).output
    site.config.write_text(text.replace("https://afterdose.hospital", "http://afterdose.hospital"))
    assert "web.base_url: expected https://" in site.run(fails=True).output
    site.config.write_text(text.partition("[sources.ehr.subscribe]")[0])
    assert "sources.ehr.subscribe" in site.run(fails=True).output


def check(site: Site) -> Result:
    return CliRunner().invoke(main, ["check", "--config", str(site.config)])


def test_the_check_tells_how_they_stand_and_fails_where_one_is_not_active(site: Site) -> None:
    absent = check(site)
    assert absent.exit_code == 1
    assert absent.output.count("is not there; `afterdose subscribe ehr` makes it active") == 2

    site.run()
    there = check(site)
    assert there.output.count("sources.ehr.subscribe: the Subscription for Medication") == 2
    assert "failed: sources.ehr.subscribe" not in there.output

    one = site.there()["MedicationRequest?"]
    site.ehr.put({**one, "status": "error"})
    off = check(site)
    assert off.exit_code == 1
    assert "the Subscription for MedicationRequest is error" in off.output


def test_what_the_ehr_keeps_and_never_activates_is_not_called_in_order(site: Site) -> None:
    site.ehr.behaviour = Behaviour(activates=False)
    assert site.run().output.count("created") == 2

    again = site.run().output
    assert again.count("the EHR has not activated it, and sends nothing until it does") == 2
    assert "in order" not in again
    assert check(site).output.count("is requested; the EHR has not activated it") == 2


def test_every_write_is_in_the_audit(site: Site) -> None:
    site.run()
    site.run("--anew")
    site.run("--remove")

    store = site.store()
    entries = [
        (entry.action, entry.outcome) for _, entry in store.audit.newest(50) if entry.entity_type == "Subscription"
    ]
    store.close()
    assert sorted(entries) == [("C", "done")] * 2 + [("D", "done")] * 2 + [("U", "done")] * 2


def test_a_new_secret_is_for_its_owner_alone_and_never_overwrites_one(tmp_path: Path) -> None:
    file = tmp_path / "new"
    first = CliRunner().invoke(main, ["subscribe", "ehr", "--new-secret", str(file)])
    again = CliRunner().invoke(main, ["subscribe", "ehr", "--new-secret", str(file)])

    assert (first.exit_code, again.exit_code) == (0, 1)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret = file.read_text().strip()
    assert len(secret) == 64
    assert secret not in first.output
    assert str(file) in first.output
