"""The files that settings name: what is told where one is missing or holds something else."""

import shutil
from pathlib import Path

import certifi
import pytest

from afterdose.core.errors import BadSettings
from afterdose.settings import load_settings

TEXT = """
[targets.ehr]
base_url = "https://ehr.example.org/fhir"
clinic = "example"
{target}
[sources.ehr]
target = "ehr"
{source}
[[sources.ehr.secrets]]
header = "X-Secret"
value = "0123456789abcdef0123456789abcdef"
[sources.ehr.bearer]
issuer = "https://login.example.org"
audience = "https://afterdose.example.org"
jwks_url = "https://login.example.org/keys"
{bearer}
"""
ELSEWHERE = 'base_url = "https://mar.example.org/fhir"\nca_bundle = '
PLACES = {
    "targets.ehr.ca_bundle": ("target", "ca_bundle = "),
    "sources.ehr.ca_bundle": ("source", ELSEWHERE),
    "sources.ehr.bearer.ca_bundle": ("bearer", "ca_bundle = "),
}


def written(folder: Path, **parts: str) -> Path:
    file = folder / "afterdose.toml"
    file.write_text(TEXT.format(**{"target": "", "source": "", "bearer": ""} | parts))
    return file


def refusal(file: Path) -> str:
    with pytest.raises(BadSettings) as refused:
        load_settings(file, {})
    return str(refused.value)


@pytest.mark.parametrize("key", PLACES)
def test_certificates_to_trust_are_missed_by_their_key_when_the_settings_are_read(tmp_path: Path, key: str) -> None:
    part, line = PLACES[key]
    file = written(tmp_path, **{part: f'{line}"hospital-ca.pem"'})

    assert refusal(file) == f"{key}: {tmp_path / 'hospital-ca.pem'} cannot be read (No such file or directory)"
    (tmp_path / "hospital-ca.pem").write_text("no certificate")
    assert refusal(file) == f"{key}: expected a file of certificates in PEM (-----BEGIN CERTIFICATE-----)"
    shutil.copy(certifi.where(), tmp_path / "hospital-ca.pem")
    assert load_settings(file, {}).sources["ehr"].name == "ehr"


def test_a_source_has_certificates_of_its_own(tmp_path: Path) -> None:
    shutil.copy(certifi.where(), tmp_path / "mar.pem")

    source = load_settings(written(tmp_path, source=f'{ELSEWHERE}"mar.pem"'), {}).sources["ehr"]

    assert source.ca_bundle == tmp_path / "mar.pem"


def test_a_file_of_a_secret_is_missed_with_the_folder_that_it_was_looked_for_from(tmp_path: Path) -> None:
    file = written(tmp_path, target='[targets.ehr.auth]\nheader = "Authorization"\nvalue_file = "ehr.txt"')

    told = "targets.ehr.auth.value_file: the file cannot be read (No such file or directory)"
    assert refusal(file) == f"{told}; it was looked for from {tmp_path}"


def test_a_file_of_a_secret_that_is_named_in_full_is_not_named_again_because_it_may_be_the_secret(
    tmp_path: Path,
) -> None:
    file = written(tmp_path, target='[targets.ehr.auth]\nheader = "Authorization"\nvalue_file = "/nowhere/5ecret"')

    assert refusal(file).endswith("value_file: the file cannot be read (No such file or directory)")
