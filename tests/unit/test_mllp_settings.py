"""A listener without secrets is for this machine only, unless certificates or the site's word make it safe."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from afterdose.core.errors import BadSettings
from afterdose.settings import Settings, load_settings
from afterdose.settings.mllp import MllpSettings
from afterdose.store.migrate import migrate
from web_server import open_web

SETTINGS = """
insecure_dev = {insecure}
[targets.ehr]
base_url = "https://ehr.example.org/fhir"
clinic = "example"
[sources.ehr]
target = "ehr"
{secrets}
[[mllp]]
source = "ehr"
{listener}
"""
SECRET = f'[[sources.ehr.secrets]]\nvalue = "{"s" * 40}"'


def loaded(folder: Path, listener: str, *, secrets: str = SECRET, insecure: bool = False) -> Settings:
    path = folder / "afterdose.toml"
    path.write_text(SETTINGS.format(listener=listener, secrets=secrets, insecure=str(insecure).lower()))
    return load_settings(path, {"AFTERDOSE_DATA_DIR": str(folder)})


def one(folder: Path, listener: str) -> MllpSettings:
    (only,) = loaded(folder, listener).mllp
    return only


def test_a_listener_is_on_this_machine_by_default(tmp_path: Path) -> None:
    listener = one(tmp_path, "")

    assert (listener.source, listener.host, listener.port) == ("ehr", "127.0.0.1", 2575)
    assert (listener.certificate, listener.peers) == (None, ())


def test_files_start_at_the_settings_folder_and_peers_are_networks(tmp_path: Path) -> None:
    listener = one(
        tmp_path,
        'host = "0.0.0.0"\ncertificate = "a.pem"\nkey = "a.key"\nclient_ca = "/ca.pem"\n'
        'peers = ["10.1.2.3", "10.2.0.0/16"]',
    )

    assert (listener.certificate, listener.client_ca) == (tmp_path / "a.pem", Path("/ca.pem"))
    assert listener.peers == (ipaddress.ip_network("10.1.2.3/32"), ipaddress.ip_network("10.2.0.0/16"))


def test_a_site_may_say_that_its_network_is_trusted(tmp_path: Path) -> None:
    assert one(tmp_path, 'host = "0.0.0.0"\ntrusted_network = true').host == "0.0.0.0"  # noqa: S104


@pytest.mark.parametrize(
    ("listener", "told"),
    [
        ('host = "0.0.0.0"', "mllp[0].host: expected a loopback address, or client_ca, or trusted_network = true"),
        ('host = "0.0.0.0"\ncertificate = "a"\nkey = "b"', "mllp[0].host: expected a loopback address"),
        ('certificate = "a.pem"', "mllp[0].key: expected certificate and key, or neither"),
        ('client_ca = "ca.pem"', "mllp[0].client_ca: expected certificate and key beside it"),
        ('peers = ["nowhere"]', "mllp[0].peers: expected addresses or networks"),
        ("port = 0", "mllp[0].port: expected a whole number"),
        ("prot = 1", "mllp[0].prot: is not a setting"),
        ('[[mllp]]\nsource = "ehr"', "mllp[1].port: expected one that no other listener has"),
        ('[[mllp]]\nsource = "lab"\nport = 1', "mllp[1].source: expected the name of a source (ehr)"),
    ],
)
def test_what_is_wrong_is_told_by_key(tmp_path: Path, listener: str, told: str) -> None:
    with pytest.raises(BadSettings) as caught:
        loaded(tmp_path, listener)

    assert told in str(caught.value)


def test_a_source_that_only_a_listener_hears_needs_no_secret_and_opens_no_door(tmp_path: Path) -> None:
    assert _posted(loaded(tmp_path, "", secrets=""), tmp_path) == 401


def test_even_for_developers_a_listener_s_source_opens_no_door(tmp_path: Path) -> None:
    assert _posted(loaded(tmp_path, "", secrets="", insecure=True), tmp_path) == 401


def _posted(settings: Settings, folder: Path) -> int:
    """How a stranger's message is answered."""
    migrate(settings.database)
    with open_web(folder, settings) as web:
        return web.client.post("/hl7v2", data=b"MSH|", headers={"Content-Type": "application/hl7-v2"}).status_code
