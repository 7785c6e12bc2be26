"""Private keys: nobody but their owner reads them, and nothing of them is ever shown."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from afterdose.cli import main
from afterdose.connections import connect, keyring, published_keys
from afterdose.core.errors import BadSettings
from afterdose.ehr.keyring import Keyring
from afterdose.ehr.keys import ALGORITHMS, load_key, new_key
from afterdose.settings import Settings, load_settings
from web_server import Web, open_web, write_settings

PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
PUBLIC_OF = {"EC": {"kty", "crv", "x", "y"}, "RSA": {"kty", "n", "e"}}
COMMON = {"kid", "alg", "use", "key_ops"}
NOW = datetime.now(UTC)
# An RSA key of 1024 bits.
WEAK = """\
-----BEGIN PRIVATE KEY-----
MIICdwIBADANBgkqhkiG9w0BAQEFAASCAmEwggJdAgEAAoGBAOlejA84k0n5k8GQ
LKVwlByCS1ZWlOdhg6nCdIqy6y/Yqq0WdtjtodjcEB2XfUh0c80KsaFtSsNBRswF
Ncpn0EIJRZbaL8/KyUDXFhe4+sMU0elxrT5dGC9i+txmWc63CkJcxuUkGMUz1AoW
DvobrEz+WQp6jb91D9OY5RXMkDMtAgMBAAECgYAL25P+Sf+h6J6LXUoHdfrwn+Y4
EtoqD5hjDdBiI8kzeyzg8p1DVH++xx/CgSoKfnBL4Nk5vJXp6e0w/KrJCBFa0MqZ
GUM8XSa1kAwsh5LybdlqkcPaYMKfwLKaC44Lb7qvMICCbeXcfpiVctjyvp9xu66G
w2cl+INPzXRhLvsGuQJBAPcatPd4ZQS5eafPSgAcz04Wc9fzrSN4+qg3lCJ8ocm1
jQVFUPlR+wHKCyF8wPR6P64yLFi+FJ751kvuqmnyYT8CQQDxxUJ0JE2vOTyYKCmI
UjCaAHZupC88nrSNEhnRxZMw0csVakpVf2r8moVhPpzRikd/y6hS3Y2mK32gSHmU
aqSTAkEAiRvchePbyX9QrXgrS1yw+lci+BRRYXljO6t7Gpek/dMq6F3JzE1cxWVi
P7aFKiIa64ETcjomHv/plEBddmPy6QJAGIGpOcKQSUmg9b9kblf+ay3O02o7C4b+
wCnsihHf2Jv7XOFYRZBT1OUIzhGdrbO5iZ+oITYp7IUOB9gw0rV4lwJBALpcA4/f
JFMA4MeK9KWnIoVQjgdJ+6UUK4cZJ9fcyyrOMxB0qZ/Xq3v5zxB4vpOx26x6aOus
1QJAKqKdaSwvtXg=
-----END PRIVATE KEY-----
"""


def secrets_in(folder: Path) -> set[str]:
    """Every private number that is kept in a folder of keys."""
    jwks = [json.loads(path.read_text()) for path in folder.glob("*.jwk")]
    return {jwk[name] for jwk in jwks for name in PRIVATE & set(jwk)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(write_settings(tmp_path), {})


@pytest.fixture
def web(tmp_path: Path, settings: Settings) -> Iterator[Web]:
    with open_web(tmp_path, settings) as opened:
        yield opened


def test_our_jwks_is_public_may_be_kept_for_an_hour_and_shows_no_private_part(web: Web, settings: Settings) -> None:
    ring = keyring(settings)
    ring.generate(NOW - timedelta(days=90))
    ring.rotate(NOW)

    answer = web.client.get("/.well-known/jwks.json")

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
    assert answer.mimetype == "application/json"
    keys = answer.get_json()["keys"]
    assert [key["kty"] for key in keys] == ["EC", "RSA", "EC", "RSA"]
    assert len({key["kid"] for key in keys}) == 4
    for key in keys:
        assert set(key) == PUBLIC_OF[key["kty"]] | COMMON
    secrets = secrets_in(settings.data_dir / "keys")
    assert len(secrets) == 2 * (1 + 6)
    assert not [secret for secret in secrets if secret in answer.text]


def test_without_keys_our_jwks_is_empty(web: Web) -> None:
    assert web.client.get("/.well-known/jwks.json").get_json() == {"keys": []}


def test_a_key_whose_file_others_can_read_is_not_published_either(web: Web, settings: Settings) -> None:
    keyring(settings).generate(NOW)
    next((settings.data_dir / "keys").glob("*.jwk")).chmod(0o644)

    answer = web.client.get("/.well-known/jwks.json")

    assert answer.status_code == 500
    assert not PRIVATE & set(re.findall(r'"(\w+)":', answer.text))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nothing_that_a_key_is_shown_as_holds_its_private_part(algorithm: str) -> None:
    key = new_key(algorithm)
    private = {value for name, value in key.private_jwk().items() if name in PRIVATE}

    assert private
    assert set(key.public_jwk()) & PRIVATE == set()
    assert not [one for one in private if one in repr(key) or one in json.dumps(key.public_jwk())]
    assert "object at" not in repr(key)


def test_the_commands_show_no_private_part(tmp_path: Path, settings: Settings) -> None:
    config = ["--config", str(tmp_path / "afterdose.toml")]
    said = "".join(
        CliRunner().invoke(main, ["keys", command, *config], catch_exceptions=False).output
        for command in ("generate", "rotate", "jwks")
    )

    secrets = secrets_in(settings.data_dir / "keys")
    assert said.count('"kid"') == 4
    assert secrets
    assert not [secret for secret in secrets if secret in said]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o666, 0o700 | 0o040])
def test_a_key_file_that_others_get_at_is_refused_by_the_name_of_its_setting(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.jwk"
    path.write_text(json.dumps(new_key("ES384").private_jwk()))
    path.chmod(mode)

    with pytest.raises(BadSettings, match=rf"^x\.key_file: .* has mode {mode:04o}; expected 0600"):
        load_key(path, key="x.key_file")


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_file_of_its_owner_alone_is_taken(tmp_path: Path, mode: int) -> None:
    path, made = tmp_path / "key.jwk", new_key("RS384")
    path.write_text(json.dumps(made.private_jwk()))
    path.chmod(mode)

    assert load_key(path, key="x").public_jwk() == made.public_jwk()


def test_a_folder_that_others_get_at_is_refused(tmp_path: Path) -> None:
    ring = Keyring(tmp_path / "keys")
    ring.generate(NOW)
    (tmp_path / "keys").chmod(0o750)

    with pytest.raises(BadSettings, match="has mode 0750; expected 0700"):
        ring.signing(NOW, ["ES384"])


def pem(private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, password: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a key",
        b"-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5\n-----END PRIVATE KEY-----\n",
        pem(ec.generate_private_key(ec.SECP384R1()), b"password"),
        pem(ec.generate_private_key(ec.SECP256R1())),
        json.dumps({"kty": "oct", "k": "c2VjcmV0"}).encode(),
        json.dumps(new_key("ES384").public_jwk()).encode(),
        json.dumps({**new_key("ES384").private_jwk(), "d": "AAAA"}).encode(),
        json.dumps({"keys": [new_key("ES384").private_jwk()]}).encode(),
    ],
)
def test_what_is_no_key_of_ours_is_refused_without_a_word_of_what_it_holds(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(BadSettings, match=r"^x\.key_file: ") as refused:
        load_key(path, key="x.key_file")
    assert not [word for word in re.findall(rb"[\w-]{12,}", content) if word.decode() in str(refused.value)]


def test_a_weak_rsa_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(WEAK)
    path.chmod(0o600)

    with pytest.raises(BadSettings, match="2048 bits or more"):
        load_key(path, key="x")


SMART = """
[targets.{name}]
base_url = "https://{name}.example/fhir"
clinic = "example"
[targets.{name}.auth]
kind = "smart"
client_id = "me"
{more}
"""


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path, settings: Settings) -> None:
    folder = settings.data_dir / "keys"
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("no folder")

    said = CliRunner().invoke(main, ["keys", "generate", "--config", str(tmp_path / "afterdose.toml")])

    assert (said.exit_code, said.output) == (1, f"Error: {folder}: File exists\n")


def test_a_start_with_a_readable_key_is_refused_and_one_without_keys_too(tmp_path: Path) -> None:
    config = tmp_path / "afterdose.toml"
    config.write_text(f'data_dir = "{tmp_path}"\n' + SMART.format(name="north", more=""))
    without = load_settings(config, {})
    with pytest.raises(BadSettings, match="afterdose keys generate"):
        connect(without, lambda: NOW)

    keyring(without).generate(NOW)
    connect(without, lambda: NOW).close()
    for path in (tmp_path / "keys").glob("*.jwk"):
        path.chmod(0o640)
    with pytest.raises(BadSettings, match="expected 0600"):
        connect(without, lambda: NOW)


def test_a_key_that_the_site_brings_is_published_under_the_id_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(pem(ec.generate_private_key(ec.SECP384R1())))
    (tmp_path / "key.pem").chmod(0o600)
    config = tmp_path / "afterdose.toml"
    more = 'key_file = "key.pem"\nkey_id = "north-2026"'
    config.write_text(f'data_dir = "{tmp_path}"\n' + SMART.format(name="north", more=more))
    settings = load_settings(config, {})

    connect(settings, lambda: NOW).close()

    (jwk,) = published_keys(settings, NOW)
    assert (jwk["kid"], jwk["alg"]) == ("north-2026", "ES384")
    assert set(jwk) == PUBLIC_OF["EC"] | COMMON


def test_two_keys_with_one_id_are_refused(tmp_path: Path) -> None:
    text = f'data_dir = "{tmp_path}"\n'
    for name in ("north", "south"):
        (tmp_path / f"{name}.jwk").write_text(json.dumps(new_key("ES384").private_jwk()))
        (tmp_path / f"{name}.jwk").chmod(0o600)
        more = f'key_file = "{name}.jwk"\nkey_id = "same"\ntoken_url = "https://{name}.example/token"'
        text += SMART.format(name=name, more=more)
    (tmp_path / "afterdose.toml").write_text(text)

    with pytest.raises(BadSettings, match="two keys"):
        published_keys(load_settings(tmp_path / "afterdose.toml", {}), NOW)
