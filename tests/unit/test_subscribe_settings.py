"""What may be set for Subscriptions, and from which file a secret came."""

from datetime import timedelta
from pathlib import Path

import pytest

from afterdose.core.errors import BadSettings
from afterdose.settings import Settings, load_settings

SECRET = "s3cr3t-" + "a" * 40
LEAST = """
[targets.ehr]
base_url = "https://ehr.example.org/fhir"
clinic = "example"
ehr = "medplum"
[sources.ehr]
target = "ehr"
{source}
[[sources.ehr.secrets]]
value_file = "token"
[[sources.ehr.signatures]]
value_file = "key"
[sources.ehr.subscribe]
"""


def load(folder: Path, keys: str = "", source: str = "") -> Settings:
    (folder / "token").write_text(f"{SECRET}\n")
    (folder / "key").write_text("k" * 40)
    path = folder / "afterdose.toml"
    path.write_text(LEAST.format(source=source) + keys)
    return load_settings(path, {})


def refusal(folder: Path, keys: str, source: str = "") -> str:
    with pytest.raises(BadSettings) as refused:
        load(folder, keys, source)
    return str(refused.value)


def test_an_empty_table_asks_for_doses_orders_and_visits(tmp_path: Path) -> None:
    asked = load(tmp_path).sources["ehr"].subscribe

    assert asked is not None
    assert asked.types == {"Appointment", "MedicationAdministration", "MedicationRequest"}
    assert (asked.form, asked.topics, asked.content) == (None, {}, "id-only")
    assert asked.heartbeat == asked.check_interval == timedelta(minutes=5)


def test_one_url_may_stand_for_the_topics_of_all_types(tmp_path: Path) -> None:
    keys = 'types = ["Encounter", "Patient"]\nform = "topic-r4"\ntopic = "https://ehr.example/t/{type}"'
    asked = load(tmp_path, keys).sources["ehr"].subscribe

    assert asked is not None
    assert asked.topics == {"Encounter": "https://ehr.example/t/Encounter", "Patient": "https://ehr.example/t/Patient"}


def test_it_is_remembered_which_file_a_secret_came_from_and_not_the_secret(tmp_path: Path) -> None:
    source = load(tmp_path).sources["ehr"]

    assert (source.secrets[0].file, source.signatures[0].file) == (tmp_path / "token", tmp_path / "key")
    assert SECRET not in repr(source)


def test_the_product_is_the_targets_where_the_server_is(tmp_path: Path) -> None:
    assert load(tmp_path).sources["ehr"].ehr == "medplum"
    assert load(tmp_path, source='base_url = "https://other.example.org/fhir"').sources["ehr"].ehr == "generic"


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ('types = ["Observation"]', "sources.ehr.subscribe.types"),
        ("types = []", "sources.ehr.subscribe.types"),
        ('form = "websocket"', "sources.ehr.subscribe.form"),
        ('form = "topic-r4"', "sources.ehr.subscribe.topic"),
        ('form = "criteria"\ntopic = "https://x.example"', "sources.ehr.subscribe.topic"),
        ('topic = "https://x.example"', "sources.ehr.subscribe.form"),
        ('form = "topic-r5"\ntopic = "not a url"', "sources.ehr.subscribe.topic"),
        ('content = "all"', "sources.ehr.subscribe.content"),
        ('end = "2027-01-01"', "sources.ehr.subscribe.end"),
    ],
)
def test_what_cannot_work_is_refused_with_its_key(tmp_path: Path, keys: str, key: str) -> None:
    assert key in refusal(tmp_path, keys)


def test_a_source_that_cannot_be_read_cannot_be_subscribed_to(tmp_path: Path) -> None:
    assert "sources.ehr.subscribe" in refusal(tmp_path, "", "readable = false")
