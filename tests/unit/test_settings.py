"""The settings: what loads, what is refused, and that what is said about it names the key and no secret."""

import base64
import hashlib
import re
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from afterdose.core.errors import BadSettings
from afterdose.settings import CohortSettings, SenderSecret, Settings, SigningKey, example_toml, load_settings

EXAMPLE = Path(__file__).parents[2] / "docker" / "afterdose.example.toml"
SECRET = "s3cr3t-" + "a" * 32
OTHER = "s3cr3t-" + "b" * 32
THIRD = "s3cr3t-" + "c" * 32

LEAST = f"""
[targets.ehr]
base_url = "https://ehr.example.org/fhir/"
clinic = "example"
[sources.ehr]
target = "ehr"
[[sources.ehr.secrets]]
value = "{SECRET}"
"""


def load(tmp_path: Path, text: str, **environ: str) -> Settings:
    path = tmp_path / "afterdose.toml"
    path.write_text(text)
    return load_settings(path, environ)


def refusal(tmp_path: Path, text: str, **environ: str) -> str:
    with pytest.raises(BadSettings) as refused:
        load(tmp_path, text, **environ)
    assert "s3cr3t" not in str(refused.value)
    return str(refused.value)


def test_the_least_that_can_be_set_gets_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path, LEAST)

    assert settings.database == "sqlite:////var/lib/afterdose/afterdose.db"
    assert (settings.web.host, settings.web.port) == ("127.0.0.1", 8080)
    assert settings.work.retry_for == timedelta(hours=96)
    assert settings.targets["ehr"].base_url == "https://ehr.example.org/fhir"
    assert settings.targets["ehr"].accept == "review"
    assert settings.sources["ehr"].base_url == "https://ehr.example.org/fhir"
    assert settings.sources["ehr"].secrets == (SenderSecret.of(SECRET),)
    assert not settings.insecure_dev


def test_a_variable_wins_over_the_file(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        LEAST + "[web]\nport = 1",
        AFTERDOSE_WEB__PORT="9090",
        AFTERDOSE_DATABASE="postgresql+psycopg://u:p@db/afterdose",
        AFTERDOSE_SOURCES__EHR__ZONE="America/New_York",
        AFTERDOSE_SOURCES__EHR__READABLE="false",
        AFTERDOSE_WORK__LEASE="90s",
        AFTERDOSE_SOURCES__EHR__SECRETS__0__VALUE=OTHER,
        PATH="/usr/bin",
    )

    assert settings.web.port == 9090
    assert settings.database == "postgresql+psycopg://u:p@db/afterdose"
    assert settings.sources["ehr"].zone == ZoneInfo("America/New_York")
    assert not settings.sources["ehr"].readable
    assert settings.work.lease == timedelta(seconds=90)
    assert settings.sources["ehr"].secrets == (SenderSecret.of(OTHER),)


def test_everything_can_be_set_by_variables_alone() -> None:
    settings = load_settings(
        None,
        {
            "AFTERDOSE_TARGETS__NORTH_WING__BASE_URL": "https://ehr.example.org/fhir",
            "AFTERDOSE_TARGETS__NORTH_WING__CLINIC": "example",
            "AFTERDOSE_SOURCES__MAR__TARGET": "north-wing",
            "AFTERDOSE_SOURCES__MAR__SECRETS__0__HEADER": "X-Api-Key",
            "AFTERDOSE_SOURCES__MAR__SECRETS__0__VALUE": SECRET,
            "AFTERDOSE_SOURCES__MAR__SECRETS__1__VALUE": OTHER,
        },
    )

    assert settings.sources["mar"].target == "north-wing"
    assert settings.sources["mar"].secrets == (
        SenderSecret.of(SECRET, header="X-Api-Key", scheme=None),
        SenderSecret.of(OTHER),
    )


def test_the_variables_that_kubernetes_sets_for_a_service_of_our_name_are_no_settings(tmp_path: Path) -> None:
    load(
        tmp_path,
        LEAST,
        AFTERDOSE_PORT="tcp://10.0.0.1:8080",
        AFTERDOSE_SERVICE_HOST="10.0.0.1",
        AFTERDOSE_PORT_8080_TCP_ADDR="10.0.0.1",
    )


def test_the_file_is_named_by_a_variable_and_relative_paths_start_at_it(tmp_path: Path) -> None:
    (tmp_path / "afterdose.toml").write_text('data_dir = "kept"\n' + LEAST)

    settings = load_settings(None, {"AFTERDOSE_CONFIG": str(tmp_path / "afterdose.toml")})

    assert settings.data_dir == tmp_path / "kept"
    assert settings.database == f"sqlite:///{tmp_path}/kept/afterdose.db"


def test_a_secret_comes_from_a_file_and_loses_the_end_of_its_line(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET + "\n")

    settings = load(tmp_path, LEAST.replace(f'value = "{SECRET}"', 'value_file = "token"'))

    assert settings.sources["ehr"].secrets == (SenderSecret.of(SECRET),)


def test_a_variable_with_a_secret_replaces_the_file_that_the_settings_name(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        LEAST.replace(f'value = "{SECRET}"', 'value_file = "not-there"'),
        AFTERDOSE_SOURCES__EHR__SECRETS__0__VALUE=OTHER,
    )

    assert settings.sources["ehr"].secrets == (SenderSecret.of(OTHER),)


def test_no_representation_shows_a_secret(tmp_path: Path) -> None:
    settings = load(tmp_path, LEAST + f'[targets.ehr.auth]\nvalue = "Bearer {OTHER}"\n')

    assert settings.targets["ehr"].auth is not None
    assert settings.targets["ehr"].auth.value == f"Bearer {OTHER}"
    assert "s3cr3t" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("colour = 1\n" + LEAST, "colour: is not a setting"),
        (LEAST + "[web]\nprot = 1\n", "web.prot: is not a setting"),
        (LEAST + f"[work]\nretry_for = {10**30}\n", "work.retry_for: expected a length of time above zero"),
        (LEAST + '[web]\nhost = "localhost"\n', "web.host: expected an IP address"),
        (LEAST + "[web]\nport = 70000\n", "web.port: expected a whole number from 1 to 65535"),
        (LEAST + "[web]\nport = 80.5\n", "web.port: expected a whole number"),
        (LEAST + "[web]\nport = true\n", "web.port: expected a whole number"),
        (LEAST + '[web]\nbody_timeout = "soon"\n', "web.body_timeout: expected a length of time"),
        (LEAST + '[work]\npoll_interval = "0s"\n', "work.poll_interval: expected a length of time above zero"),
        (
            LEAST + '[work]\nlease = "20s"\n',
            "work.lease: expected more than 45s, one and a half times targets.ehr.deadline",
        ),
        (LEAST + '[log]\nlevel = "loud"\n', "log.level: expected one of debug, info, warning, error"),
        ("log = 3\n" + LEAST, "log: expected a table"),
        ('insecure_dev = "perhaps"\n' + LEAST, "insecure_dev: expected true or false"),
        ('database = "mysql://h/d"\n' + LEAST, "database: expected sqlite:///PATH or postgresql"),
        (
            LEAST.replace('target = "ehr"', 'target = "south"'),
            "sources.ehr.target: expected the name of a target (ehr)",
        ),
        (LEAST.replace('target = "ehr"', ""), "sources.ehr.target: expected the name of a target"),
        (LEAST.replace('target = "ehr"', 'target = "ehr"\nzone = "Mars/Olympus"'), "sources.ehr.zone: expected a time"),
        (
            LEAST.replace('target = "ehr"', 'target = "ehr"\nreadable = false\npatient_identifier_system = "urn:mrn"'),
            "sources.ehr.patient_identifier_system: expected readable = true besides",
        ),
        (LEAST.replace("[sources.ehr]", '[sources."Ehr "]').replace("ources.ehr.s", 'ources."Ehr ".s'), "sources.Ehr "),
        (
            LEAST.replace("https://ehr.example.org/fhir/", "ftp://ehr"),
            "targets.ehr.base_url: expected an absolute http",
        ),
        (
            LEAST.replace("https://", "https://u:p@"),
            "targets.ehr.base_url: expected an absolute http(s) URL without cred",
        ),
        (LEAST.replace("https://", "http://"), "targets.ehr.base_url: expected https://"),
        (LEAST.replace(SECRET, "s3cr3t-short"), "sources.ehr.secrets[0].value: expected a secret of 32 bytes or more"),
        (LEAST.replace(SECRET, SECRET + "é"), "sources.ehr.secrets[0].value: expected a secret of printable ASCII"),
        (LEAST.replace("value =", "valu ="), "sources.ehr.secrets[0].value: expected value, or value_file"),
        (
            LEAST.replace(f'value = "{SECRET}"', 'value_file = "gone"'),
            "sources.ehr.secrets[0].value_file: the file cannot",
        ),
        (
            LEAST.replace("[[sources.ehr.secrets]]", "[[operations]]"),
            "sources.ehr.secrets: expected at least one secret",
        ),
        (
            LEAST + f'[[operations]]\nvalue = "{SECRET}"\n',
            "sources.ehr.secrets: expected a secret that operations does",
        ),
        ("this is no TOML", "is not TOML"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_key_with_what_was_expected(tmp_path: Path, text: str, key: str) -> None:
    assert key in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("AFTERDOSE_WEB_PORT", "1", "AFTERDOSE_WEB_PORT: is no setting; two underscores go one table down"),
        ("AFTERDOSE_WEB__PRT", "1", "web.prt: is not a setting"),
        ("AFTERDOSE_SOURCES__EHR__SECRETS__5__VALUE", SECRET, "expected the position of an entry, from 0 to 1"),
        ("AFTERDOSE_SOURCES__EHR__TARGET__DEEPER", "1", "AFTERDOSE_SOURCES__EHR__TARGET__DEEPER: is no setting"),
    ],
)
def test_a_wrong_variable_is_refused(tmp_path: Path, variable: str, value: str, expected: str) -> None:
    assert expected in refusal(tmp_path, LEAST, **{variable: value})


def test_two_secrets_of_a_source_live_side_by_side_and_three_do_not(tmp_path: Path) -> None:
    two = LEAST + f'[[sources.ehr.secrets]]\nvalue = "{OTHER}"\n'

    assert len(load(tmp_path, two).sources["ehr"].secrets) == 2
    assert "2 secrets at most" in refusal(tmp_path, two + f'[[sources.ehr.secrets]]\nvalue = "{THIRD}"\n')


SIGNED = """
[targets.ehr]
base_url = "https://ehr.example.org/fhir/"
clinic = "example"
[sources.medplum]
target = "ehr"
[[sources.medplum.signatures]]
value = "{secret}"
"""


def test_a_signature_alone_makes_a_sender_known_where_deletes_can_be_read_again(tmp_path: Path) -> None:
    signed = SIGNED.format(secret=SECRET)
    settings = load(tmp_path, signed)
    unreadable = signed.replace('target = "ehr"', 'target = "ehr"\nreadable = false')

    assert settings.sources["medplum"].signatures == (SigningKey("X-Signature", "hex", SECRET.encode()),)
    assert SECRET not in repr(settings)
    assert "sources.medplum.secrets: expected a secret besides" in refusal(tmp_path, unreadable)


def test_a_key_to_sign_with_is_long_has_a_known_format_and_one_owner(tmp_path: Path) -> None:
    signed = SIGNED.format(secret=SECRET)
    entry = f'\n[[sources.medplum.signatures]]\nvalue = "{OTHER}"'
    shared = f'\n[sources.other]\ntarget = "ehr"\n[[sources.other.secrets]]\nvalue = "{SECRET}"'

    assert "signatures[0].value: expected a secret" in refusal(tmp_path, SIGNED.format(secret="s3cr3t"))
    assert "signatures[0].format: expected one of hex" in refusal(tmp_path, signed + 'format = "md5"')
    assert "medplum.signatures: expected 2 keys at most" in refusal(tmp_path, signed + 2 * entry)
    assert "sources.other.secrets: expected a secret that sources.medplum.signatures" in refusal(
        tmp_path, signed + shared
    )


def test_a_source_has_limits_of_its_own_below_those_of_the_server(tmp_path: Path) -> None:
    def limited(more: str) -> str:
        return LEAST.replace('target = "ehr"', f'target = "ehr"\n{more}')

    source = load(tmp_path, limited('max_body_bytes = 4096\nwebhook_origins = ["EventGrid.Azure.net"]')).sources["ehr"]

    assert (source.max_body_bytes, source.max_requests_per_minute) == (4096, None)
    assert source.webhook_origins == {"eventgrid.azure.net"}
    assert "sources.ehr.max_body_bytes: expected no more" in refusal(tmp_path, limited("max_body_bytes = 67108864"))
    assert "max_requests_per_minute: expected a whole" in refusal(tmp_path, limited("max_requests_per_minute = 0"))


TOKENS = """
[targets.ehr]
base_url = "https://ehr.example.org/fhir/"
clinic = "example"
[sources.store]
target = "ehr"
[sources.store.bearer]
issuer = "https://issuer.example.org"
audience = "here"
"""


def test_a_sender_with_tokens_needs_no_secret_and_its_keys_come_from_one_place(tmp_path: Path) -> None:
    url = TOKENS + 'jwks_url = "https://issuer.example.org/keys"\n'
    bearer = load(tmp_path, url + 'claims = ["sub=a", "scope=b", "scope=c"]').sources["store"].bearer

    assert bearer is not None
    assert bearer.algorithms == {"ES256", "ES384", "RS256", "RS384"}
    assert bearer.claims == {"sub": {"a"}, "scope": {"b", "c"}}
    assert (
        load(tmp_path, TOKENS + 'jwks_file = "keys.json"').sources["store"].bearer.jwks_file == tmp_path / "keys.json"
    )
    assert load(tmp_path, TOKENS + 'jwks_url = "http://127.0.0.1:1/keys"').sources["store"].bearer


def test_an_issuer_that_serves_everybody_needs_a_claim_that_tells_who_it_is(tmp_path: Path) -> None:
    google = TOKENS.replace("https://issuer.example.org", "https://accounts.google.com") + 'jwks_file = "k"\n'

    assert "sources.store.bearer.claims: expected" in refusal(tmp_path, google)
    assert load(tmp_path, google + 'claims = ["email=push@example.org"]').sources["store"].bearer is not None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "bearer.jwks_file: expected the issuer's keys, either as jwks_file or as jwks_url"),
        (
            'jwks_file = "k"\njwks_url = "https://i.example.org/k"',
            "bearer.jwks_file: expected the issuer's keys, either",
        ),
        ('jwks_url = "http://i.example.org/k"', "bearer.jwks_url: expected https://"),
        ('jwks_url = "https://u:p@i.example.org/k"', "bearer.jwks_url: expected an absolute http(s) URL"),
        ('jwks_file = "k"\nalgorithms = ["HS256"]', "bearer.algorithms: expected some of ES256, ES384, RS256, RS384"),
        ('jwks_file = "k"\nalgorithms = ["none", "RS256"]', "bearer.algorithms: expected some of ES256"),
        ('jwks_file = "k"\nclaims = ["sub"]', 'bearer.claims: expected entries such as "sub=value"'),
        ('jwks_file = "k"\njku = true', "bearer.jku: is not a setting"),
        (
            f'jwks_file = "k"\n[[sources.store.secrets]]\nvalue = "{SECRET}"',
            "sources.store.bearer: expected no secret in Authorization besides",
        ),
        (
            'jwks_file = "k"\n[sources.b]\ntarget = "ehr"\n[sources.b.bearer]\nissuer = "https://issuer.example.org"\n'
            'audience = "here"\njwks_file = "k"\nclaims = ["scope=a"]',
            "sources.b.bearer: expected another issuer or audience than sources.store has, or another value",
        ),
    ],
)
def test_a_wrong_table_of_tokens_is_refused_by_its_key(tmp_path: Path, more: str, said: str) -> None:
    assert said in refusal(tmp_path, TOKENS + more)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('format = "v0="', "signatures[0].timestamp_header: expected the name of an HTTP header"),
        ('format = "hex"\ntimestamp_header = "X-At"', 'signatures[0].timestamp_header: is for format = "v0="'),
        ('tolerance = "1m"', 'signatures[0].tolerance: is for format = "v0="'),
        ('format = "v0="\ntimestamp_header = "X-At"\nid_header = "X-Id"', "signatures[0].id_header: is for format"),
        ('format = "standard-webhooks"', "signatures[0].value: expected whsec_ and 24 bytes or more in Base64"),
        (
            'format = "v0="\ntimestamp_header = "a b"',
            "signatures[0].timestamp_header: expected the name of an HTTP header",
        ),
    ],
)
def test_a_signature_with_a_time_is_set_whole(tmp_path: Path, more: str, said: str) -> None:
    assert said in refusal(tmp_path, SIGNED.format(secret=SECRET) + more)


def test_standard_webhooks_need_only_the_secret_as_it_is_shown(tmp_path: Path) -> None:
    standard = SIGNED.format(secret="whsec_" + base64.b64encode(b"s" * 24).decode()) + 'format = "standard-webhooks"'
    names = ("webhook-timestamp", "webhook-id")

    assert load(tmp_path, standard).sources["medplum"].signatures == (
        SigningKey("webhook-signature", "standard-webhooks", b"s" * 24, *names, timedelta(minutes=5)),
    )


def test_a_source_is_polled_only_where_it_can_be_read_and_for_types_that_can_be_searched(tmp_path: Path) -> None:
    polled = LEAST + '[sources.ehr.poll]\nstrategy = "last-updated"\n'
    unreadable = polled.replace('target = "ehr"', 'target = "ehr"\nreadable = false')

    assert load(tmp_path, LEAST).sources["ehr"].poll is None
    assert load(tmp_path, polled).sources["ehr"].poll is not None
    assert "sources.ehr.poll: expected no polling" in refusal(tmp_path, unreadable)
    assert "sources.ehr.poll.types: expected types" in refusal(tmp_path, polled + 'types = ["Location"]')
    assert "sources.ehr.poll.strategy: expected last-updated" in refusal(tmp_path, LEAST + "[sources.ehr.poll]")


def test_a_cohort_has_its_file_beside_the_settings_and_longer_rounds(tmp_path: Path) -> None:
    text = LEAST + '[sources.ehr.poll]\nstrategy = "cohort"\n[sources.ehr.poll.cohort]\n'
    poll = load(tmp_path, text + 'groups = ["Group/b", "Group/a"]\nfile = "patients"').sources["ehr"].poll

    assert poll is not None
    assert poll.interval == timedelta(minutes=15)
    assert poll.cohort == CohortSettings(groups=("Group/a", "Group/b"), file=tmp_path / "patients")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('strategy = "cohort"', "poll.cohort: expected groups, lists, visits_at or file"),
        ('strategy = "cohort"\n[sources.ehr.poll.cohort]', "poll.cohort: expected groups, lists, visits_at or file"),
        (
            'strategy = "last-updated"\n[sources.ehr.poll.cohort]\nfile = "x"',
            'poll.cohort: expected strategy = "cohort"',
        ),
        (
            'strategy = "cohort"\noverlap = "5m"\n[sources.ehr.poll.cohort]\nfile = "x"',
            "poll.overlap: expected look_back",
        ),
        (
            'strategy = "cohort"\n[sources.ehr.poll.cohort]\ngroups = ["s3cr3t-1"]',
            "cohort.groups: expected references such",
        ),
        (
            'strategy = "cohort"\n[sources.ehr.poll.cohort]\nlists = ["Group/1"]',
            "cohort.lists: expected references such",
        ),
        (
            'strategy = "cohort"\n[sources.ehr.poll.cohort]\nvisits_at = ["Location/1"]',
            "cohort.visits_at: expected the zone",
        ),
        ('strategy = "cohort"\n[sources.ehr.poll.cohort]\npatients = ["1"]', "cohort.patients: is not a setting"),
    ],
)
def test_a_mistake_about_a_cohort_is_told_with_its_key(tmp_path: Path, keys: str, said: str) -> None:
    assert said in refusal(tmp_path, f"{LEAST}[sources.ehr.poll]\n{keys}")


def test_a_database_file_that_is_relative_lies_beside_the_settings(tmp_path: Path) -> None:
    assert load(tmp_path, f'database = "sqlite:///here.db"\n{LEAST}').database == f"sqlite:///{tmp_path}/here.db"
    assert load(tmp_path, f'database = "sqlite:////srv/it.db"\n{LEAST}').database == "sqlite:////srv/it.db"


def test_the_mark_that_editors_put_before_a_text_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "token.txt").write_text(f"\ufeff{'t' * 40}\r\n", encoding="utf-8")

    settings = load(tmp_path, f'\ufeff{LEAST}[[operations]]\nvalue_file = "token.txt"\n')

    assert settings.operations[0].sha256 == hashlib.sha256(b"t" * 40).digest()


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    said = refusal(tmp_path, LEAST + '[web]\nport = 0\n[log]\nlevel = "loud"\n')

    assert [line.partition(":")[0] for line in said.splitlines()] == ["web.port", "log.level"]


def test_http_to_this_machine_is_allowed_and_to_another_one_only_on_request(tmp_path: Path) -> None:
    load(tmp_path, LEAST.replace("https://ehr.example.org", "http://127.0.0.1:8090"))
    load(tmp_path, LEAST.replace("https://ehr.example.org", "http://localhost:8090"))
    load(
        tmp_path, LEAST.replace('clinic = "example"', 'clinic = "example"\nplain_http = true').replace("https", "http")
    )


def test_a_developers_machine_needs_no_secret_but_stays_on_loopback(tmp_path: Path) -> None:
    without = "insecure_dev = true\n" + re.sub(r"\[\[sources.*", "", LEAST, flags=re.DOTALL)

    assert load(tmp_path, without).sources["ehr"].secrets == ()
    assert "web.host: expected a loopback address" in refusal(tmp_path, without + '[web]\nhost = "0.0.0.0"\n')
    assert "sources.mar.secrets" in refusal(tmp_path, without + '[sources.mar]\ntarget = "ehr"\n')


def test_the_example_file_is_the_one_the_schema_renders() -> None:
    assert EXAMPLE.read_text() == example_toml(), "write afterdose.settings.example_toml() to docker/"


def test_the_example_file_loads_once_its_secrets_exist(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    for number, name in enumerate(re.findall(r'^\w+_file = "(.*)"', text, re.MULTILINE)):
        (tmp_path / f"{number}").write_text(str(number) * 40)
        text = text.replace(name, str(tmp_path / f"{number}"))

    settings = load(tmp_path, text)

    assert settings.sources["ehr"].secrets
    assert settings.operations
    assert settings.targets["ehr"].auth is not None


def test_the_defaults_that_the_example_shows_are_the_ones_that_apply(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    for number, name in enumerate(re.findall(r'^\w+_file = "(.*)"', text, re.MULTILINE)):
        (tmp_path / f"{number}").write_text(str(number) * 40)
        text = text.replace(name, str(tmp_path / f"{number}"))

    shown, bare = load(tmp_path, text), load(tmp_path, LEAST)

    assert (shown.web, shown.work, shown.log) == (bare.web, bare.work, bare.log)
    assert shown.data_dir == bare.data_dir
