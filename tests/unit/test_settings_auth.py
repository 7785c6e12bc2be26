"""The `auth` tables: each kind with its own keys, and what does not belong is refused by its name."""

from pathlib import Path
from typing import Any

import pytest

from afterdose.core.errors import BadSettings
from afterdose.settings import ClientSecret, NoAuthentication, Settings, Smart, StaticHeader, load_settings

BASE = """
[targets.ehr]
base_url = "https://ehr.example.org/fhir"
clinic = "example"
"""
SECRET = "s3cr3t-of-ours"


def load(folder: Path, auth: str, table: str = "targets.ehr", **environ: str) -> Settings:
    source = (
        '[sources.mar]\ntarget = "ehr"\nbase_url = "https://mar.example/fhir"\n'
        f'[[sources.mar.secrets]]\nvalue = "{"1" * 40}"\n'
    )
    text = BASE + source + (f"[{table}.auth]\n{auth}\n" if auth else "")
    (folder / "afterdose.toml").write_text(text)
    return load_settings(folder / "afterdose.toml", environ)


@pytest.mark.parametrize(
    ("auth", "value"),
    [
        ("", None),
        (f'value = "Bearer {SECRET}"', StaticHeader("Authorization", f"Bearer {SECRET}")),
        (f'kind = "header"\nheader = "X-Api-Key"\nvalue = "{SECRET}"', StaticHeader("X-Api-Key", SECRET)),
        ('kind = "none"', NoAuthentication()),
        (
            'kind = "smart"\nclient_id = "me"',
            Smart(
                client_id="me",
                key_file=None,
                key_id=None,
                algorithm=None,
                token_url=None,
                scopes=None,
                audience=None,
            ),
        ),
        (
            f'kind = "client-secret-post"\nclient_id = "me"\nsecret = "{SECRET}"\nscopes = "a b/c.rs"',
            ClientSecret(client_id="me", secret=SECRET, in_form=True, token_url=None, scopes=("a", "b/c.rs")),
        ),
        (
            f'kind = "client-secret-basic"\nclient_id = "me"\nsecret = "{SECRET}"\ntoken_url = "https://x.example/t/"',
            ClientSecret(client_id="me", secret=SECRET, in_form=False, token_url="https://x.example/t/", scopes=None),
        ),
    ],
)
def test_each_kind_has_its_value_and_shows_no_secret(tmp_path: Path, auth: str, value: Any) -> None:
    settings = load(tmp_path, auth)

    assert settings.targets["ehr"].auth == value
    assert SECRET not in repr(settings)


def test_everything_that_smart_may_say_is_kept_as_it_is_written(tmp_path: Path) -> None:
    auth = """
    kind = "smart"
    client_id = "me"
    key_file = "keys/ehr.jwk"
    key_id = "2026"
    algorithm = "ES384"
    token_url = "https://login.example/t/"
    scopes = "https://ehr.example/.default"
    audience = "https://issuer.example"
    """
    assert load(tmp_path, auth).targets["ehr"].auth == Smart(
        client_id="me",
        key_file=tmp_path / "keys/ehr.jwk",
        key_id="2026",
        algorithm="ES384",
        token_url="https://login.example/t/",
        scopes=("https://ehr.example/.default",),
        audience="https://issuer.example",
    )


def test_a_secret_comes_from_a_file_or_a_variable(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    auth = 'kind = "client-secret-post"\nclient_id = "me"\n'

    from_file = load(tmp_path, auth + 'secret_file = "secret"').targets["ehr"].auth
    from_variable = load(tmp_path, auth, AFTERDOSE_TARGETS__EHR__AUTH__SECRET=SECRET).targets["ehr"].auth

    assert from_file == from_variable
    assert isinstance(from_file, ClientSecret)
    assert from_file.secret == SECRET


def test_a_source_has_credentials_of_its_own(tmp_path: Path) -> None:
    source = load(tmp_path, 'kind = "smart"\nclient_id = "me"', "sources.mar").sources["mar"]

    assert isinstance(source.auth, Smart)


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ('header = "X"', "targets.ehr.auth.value: expected value, or value_file with the path of a file"),
        ('kind = "oauth"', "targets.ehr.auth.kind: expected one of header, smart, client-secret-basic"),
        ('kind = "smart"', "targets.ehr.auth.client_id: expected client_id, because kind is smart"),
        (
            'kind = "client-secret-basic"\nclient_id = "me"',
            "targets.ehr.auth.secret: expected secret, or secret_file with the path of a file that holds it",
        ),
        (
            f'kind = "smart"\nclient_id = "me"\nsecret = "{SECRET}"',
            'targets.ehr.auth.secret: is no setting of kind "smart"',
        ),
        (f'kind = "none"\nvalue = "{SECRET}"', 'targets.ehr.auth.value: is no setting of kind "none"'),
        (f'value = "{SECRET}"\nclient_id = "me"', 'targets.ehr.auth.client_id: is no setting of kind "header"'),
        ('kind = "smart"\nclient_id = "me"\nalgorithm = "none"', "targets.ehr.auth.algorithm: expected ES384 or RS384"),
        ('kind = "smart"\nclient_id = "me"\nalgorithm = "HS256"', "targets.ehr.auth.algorithm: expected ES384 or"),
        ('kind = "smart"\nclient_id = "me"\ntoken_url = "/token"', "targets.ehr.auth.token_url: expected an absolute"),
        (
            'kind = "smart"\nclient_id = "me"\nscopes = "a  b"',
            "targets.ehr.auth.scopes: expected scopes with one space",
        ),
        ('kind = "smart"\nclient_id = "me"\nscopes = ""', "targets.ehr.auth.scopes: expected scopes"),
        ('kind = "smart"\nclient_id = "a\\nb"', "targets.ehr.auth.client_id: expected printable ASCII text"),
        (f'value = "{SECRET}\\r\\nX: y"', "targets.ehr.auth.value: expected printable ASCII text"),
        ('kind = "smart"\nclient = "me"', "targets.ehr.auth.client: is not a setting"),
    ],
)
def test_a_wrong_table_is_refused_by_its_key(tmp_path: Path, auth: str, said: str) -> None:
    with pytest.raises(BadSettings) as refused:
        load(tmp_path, auth)

    assert said in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_source_elsewhere_over_http_is_allowed_on_request_or_where_it_is_not_read(tmp_path: Path) -> None:
    def source(more: str) -> None:
        text = BASE + f'[sources.mar]\ntarget = "ehr"\nbase_url = "http://mar.example/fhir"\n{more}\n'
        (tmp_path / "afterdose.toml").write_text(f'{text}[[sources.mar.secrets]]\nvalue = "{"1" * 40}"\n')
        load_settings(tmp_path / "afterdose.toml", {})

    with pytest.raises(BadSettings, match=r"^sources\.mar\.base_url: expected https://"):
        source("")
    source("plain_http = true")
    source("readable = false")
