"""Who shows tokens: what an issuer with pinned keys makes opens the door, and nothing else that looks like it."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from werkzeug.test import TestResponse

from afterdose.ehr.sender_keys import PinnedKey
from afterdose.settings import BearerSettings, SigningKey, load_settings
from afterdose.web.proofs import Accepted, judge_signature, judge_token, signatures_shown
from web_server import Web, open_web, write_settings

NOW = datetime(2026, 1, 6, 12, 0, tzinfo=UTC)
ISSUER = "https://issuer.example.org"
AUDIENCE = "https://afterdose.example.org/fhir"
PRIVATE = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "rsa-next": rsa.generate_private_key(65537, 2048),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
}
STRANGER = rsa.generate_private_key(65537, 2048)
SETTINGS = """
[targets.ehr]
base_url = "https://ehr.example.org/fhir"
clinic = "example"
[sources.store]
target = "ehr"
[sources.store.bearer]
issuer = "{issuer}"
audience = "{audience}"
jwks_file = "jwks.json"
{more}
"""


def jwk(kid: str, private: Any, **members: Any) -> dict[str, Any]:
    algorithm = RSAAlgorithm if isinstance(private, rsa.RSAPrivateKey) else ECAlgorithm
    public = algorithm.to_jwk(private.public_key(), as_dict=True)
    return {**{k: v for k, v in public.items() if k != "key_ops"}, "kid": kid, "use": "sig", **members}


def write_keys(folder: Path, *keys: dict[str, Any]) -> None:
    (folder / "jwks.json").write_text(json.dumps({"keys": list(keys), "a member of their own": 1}))


OpenWith = Callable[..., Web]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[OpenWith]:
    """Opens the door of a source with a `bearer` table."""
    contexts = []

    def open_with(more: str = "", *, change: Callable[[Any], Any] = lambda source: source, rest: str = "") -> Web:
        base = load_settings(write_settings(tmp_path), {})
        if not (tmp_path / "jwks.json").exists():
            write_keys(tmp_path, *(jwk(kid, private) for kid, private in PRIVATE.items()))
        (tmp_path / "bearer.toml").write_text(SETTINGS.format(issuer=ISSUER, audience=AUDIENCE, more=more) + rest)
        sources = load_settings(tmp_path / "bearer.toml", {}).sources
        settings = replace(base, sources={name: change(source) for name, source in sources.items()})
        contexts.append(open_web(tmp_path, settings, clock=lambda: NOW))
        return contexts[-1].__enter__()

    yield open_with
    for context in contexts:
        context.__exit__(None, None, None)


def claims(**changes: Any) -> dict[str, Any]:
    usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "push", "exp": at(minutes=5), "iat": at()}
    return {name: value for name, value in (usual | changes).items() if value is not None}


def at(**shift: float) -> int:
    return int((NOW + timedelta(**shift)).timestamp())


def token(*, kid: str | None = "rsa", alg: str = "RS256", key: Any = None, header: Any = None, **changes: Any) -> str:
    headers = {"typ": "JWT", **({"kid": kid} if kid else {}), **(header or {})}
    return jwt.encode(claims(**changes), key or PRIVATE[kid or "rsa"], algorithm=alg, headers=headers)


def send(web: Web, shown: str, id_: str = "d1", **headers: str) -> TestResponse:
    dose = {
        "resourceType": "MedicationAdministration",
        "id": id_,
        "status": "completed",
        "medicationCodeableConcept": {"text": "x"},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2026-01-05T10:00:00Z",
    }
    shown_in = {"Authorization": f"Bearer {shown}", "Content-Type": "application/fhir+json", **headers}
    return web.client.post("/fhir", data=json.dumps(dose), headers=shown_in)


@pytest.mark.parametrize(
    ("kid", "alg"), [("rsa", "RS256"), ("rsa", "RS384"), ("rsa-next", "RS256"), ("p256", "ES256"), ("p384", "ES384")]
)
def test_every_key_of_the_set_opens_the_door_at_the_same_time(opened: OpenWith, kid: str, alg: str) -> None:
    web = opened()

    assert send(web, token(kid=kid, alg=alg)).status_code == 200
    assert web.store.facts.latest("store", "d1") is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"kid": None},
        {"header": {"typ": "at+jwt"}},
        {"aud": ["https://other.example.org", AUDIENCE]},
        {"exp": at(seconds=-59)},
        {"nbf": at(seconds=59)},
        {"iat": at(seconds=59)},
        {"iat": None},
        {"exp": at(minutes=5) + 0.5},
        {"jti": "1"},
    ],
)
def test_what_the_standard_allows_is_taken(opened: OpenWith, changes: dict[str, Any]) -> None:
    assert send(opened(), token(**changes)).status_code == 200


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"aud": "https://other.example.org"}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": f"{AUDIENCE} {AUDIENCE}"}, "audience"),
        ({"exp": at(seconds=-60)}, "expired"),
        ({"exp": None}, "expiry"),
        ({"exp": "never"}, "expiry"),
        ({"exp": True}, "expiry"),
        ({"exp": float("inf")}, "expiry"),
        ({"nbf": at(seconds=61)}, "not valid yet"),
        ({"iat": at(seconds=61)}, "not valid yet"),
        ({"iat": "yesterday"}, "illegal"),
    ],
)
def test_a_right_token_that_is_not_for_here_and_now_is_told_why(
    opened: OpenWith, changes: dict[str, Any], said: str
) -> None:
    answer = send(opened(), token(**changes))

    assert answer.status_code == 401
    assert answer.json is not None
    assert said in answer.json["issue"][0]["details"]["text"]
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def _public_pem(private: Any) -> bytes:
    pem: bytes = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def _by_hand(header: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims()).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def _signed_with_the_public_key() -> str:
    import hmac

    head = _by_hand({"alg": "HS256", "kid": "rsa", "typ": "JWT"}).rstrip(".")
    signature = hmac.digest(_public_pem(PRIVATE["rsa"]), head.encode(), "sha256")
    return f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


WRONG = {
    "of another key": lambda: token(key=STRANGER),
    "of another key, which it carries": lambda: token(key=STRANGER, header={"jwk": jwk("rsa", STRANGER)}),
    "of another key, which it points to": lambda: token(
        key=STRANGER, header={"jku": "https://attacker.example.org", "x5u": "https://attacker.example.org"}
    ),
    "with the id of no key": lambda: token(key=PRIVATE["rsa"], header={"kid": "../../rsa"}),
    "with an id that is no text": lambda: _by_hand({"alg": "RS256", "kid": 1}, b"x"),
    "of another issuer": lambda: token(iss="https://issuer.example.org/"),
    "unsigned": lambda: _by_hand({"alg": "none"}),
    "unsigned, in capitals": lambda: _by_hand({"alg": "NoNe", "kid": "rsa"}),
    "signed with the public key as a secret": _signed_with_the_public_key,
    "by an algorithm of another kind": lambda: token(kid="p256", alg="ES256", header={"kid": "p384"}),
    "by an algorithm that is not allowed": lambda: token(alg="RS512"),
    "by a probabilistic algorithm": lambda: token(alg="PS256"),
    "with extensions that must be understood": lambda: _by_hand({"alg": "RS256", "crit": ["b64"], "b64": False}, b"x"),
    "of another type": lambda: token(header={"typ": "dpop+jwt"}),
    "with a byte less": lambda: token()[:-2],
    "by algorithms": lambda: _by_hand({"alg": ["RS256"], "kid": "rsa"}, b"x"),
    "by an algorithm that is an object": lambda: _by_hand({"alg": {"RS256": 1}, "kid": "rsa"}, b"x"),
    "of a type that is no text": lambda: _by_hand({"alg": "RS256", "kid": "rsa", "typ": ["JWT"]}, b"x"),
    "of two parts": lambda: ".".join(token().split(".")[:2]),
    "of no JSON": lambda: "a.b.c",
    "of other letters": lambda: "é.é.é",
    "too long": lambda: token(padding="x" * 20_000),
    "twice": lambda: f"{token()} {token()}",
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_token_gets_the_answer_of_no_token(opened: OpenWith, make: Callable[[], str]) -> None:
    web = opened()

    answer = send(web, make())

    bare = web.client.post("/fhir", data=b"{}")
    assert answer.status_code == 401
    assert (answer.data, dict(answer.headers)) == (bare.data, dict(bare.headers))
    assert web.store.facts.count() == 0


def test_a_site_may_allow_fewer_algorithms(opened: OpenWith) -> None:
    web = opened('algorithms = ["ES384"]')

    assert send(web, token(kid="p384", alg="ES384")).status_code == 200
    assert send(web, token(kid="rsa", alg="RS256")).status_code == 401


def test_claims_that_are_asked_for_have_to_be_there(opened: OpenWith) -> None:
    web = opened('claims = ["email=push@project.example.org", "scope=doses.write"]')
    right = {"email": "push@project.example.org", "scope": "openid doses.write"}

    assert send(web, token(**right)).status_code == 200
    assert send(web, token(**right | {"email": "other@project.example.org"})).status_code == 401
    assert send(web, token(**right | {"scope": "doses.writes"})).status_code == 401
    answer = send(web, token())
    assert answer.status_code == 401
    assert "push@project" not in answer.text


def test_two_sources_of_one_issuer_are_told_by_a_claim(opened: OpenWith) -> None:
    other = f'\n[sources.other]\ntarget = "ehr"\n[sources.other.bearer]\nissuer = "{ISSUER}"\n'
    other += f'audience = "{AUDIENCE}"\njwks_file = "jwks.json"\nclaims = ["sub=other"]\n'
    web = opened('claims = ["sub=push"]', rest=other)

    assert send(web, token(sub="push"), "d1").status_code == 200
    assert send(web, token(sub="other"), "d1").status_code == 200
    assert send(web, token(sub="third"), "d1").status_code == 401
    assert web.store.facts.count() == 2
    assert web.store.facts.latest("other", "d1") is not None


def test_a_token_and_a_signature_are_needed_where_both_are_set(opened: OpenWith) -> None:
    key = SigningKey("X-Signature", "hex", b"k" * 32)
    web = opened(change=lambda source: replace(source, signatures=(key,)))

    assert send(web, token()).status_code == 401
    assert send(web, token(), X_Signature="00" * 32).status_code == 401


def test_a_key_file_that_changes_counts_at_once_and_a_broken_one_changes_nothing(
    opened: OpenWith, tmp_path: Path
) -> None:
    web = opened()
    write_keys(tmp_path, jwk("rsa-next", PRIVATE["rsa-next"]))

    assert send(web, token(kid="rsa")).status_code == 401
    assert send(web, token(kid="rsa-next")).status_code == 200
    (tmp_path / "jwks.json").write_text("{")
    assert send(web, token(kid="rsa-next")).status_code == 200


def test_a_token_for_one_use_serves_one_request_and_its_repetition(opened: OpenWith) -> None:
    web = opened("single_use = true")
    once = token(jti="1")

    assert send(web, token()).status_code == 401
    assert send(web, once, "d1").status_code == 200
    assert send(web, once, "d1").status_code == 200
    assert send(web, once, "d2").status_code == 409
    assert send(web, token(jti="2"), "d2").status_code == 200
    assert web.store.facts.count() == 2


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["RS256", ISSUER, "rsa"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
HEADERS = st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jku", "jwk"]), JSON_VALUES)
CLAIMS = st.dictionaries(
    st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "jti", "sub", "scope", "roles"]), JSON_VALUES
)
WANTED = BearerSettings(
    issuer=ISSUER,
    audience=AUDIENCE,
    algorithms=frozenset({"RS256"}),
    claims={"scope": frozenset({"a"}), "roles": frozenset({"b"})},
    single_use=True,
    jwks_file=None,
    jwks_url=None,
    ca_bundle=None,
    proxy=None,
)


class OneKey:
    """A set of one key, under every id."""

    def candidates(self, kid: str | None) -> list[PinnedKey]:
        return [PinnedKey(kid, frozenset({"RS256"}), PRIVATE["rsa"].public_key())]


@given(HEADERS, JSON_VALUES | CLAIMS, st.binary(max_size=40))
def test_whatever_stands_in_a_token_that_nobody_signed_it_proves_nothing(
    header: dict[str, Any], payload: Any, signature: bytes
) -> None:
    parts = [json.dumps({"alg": "RS256"} | header).encode(), json.dumps(payload).encode(), signature]
    shown = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)

    assert judge_token(shown, WANTED, OneKey(), NOW) is None


@given(CLAIMS)
def test_whatever_the_issuer_signs_is_judged_without_breaking(more: dict[str, Any]) -> None:
    shown = jwt.api_jws.encode(json.dumps({"iss": ISSUER} | more).encode(), PRIVATE["rsa"], "RS256")

    judged = judge_token(shown, WANTED, OneKey(), NOW)

    assert not isinstance(judged, Accepted)


@given(st.text(max_size=30))
def test_whatever_stands_in_the_header_of_a_token_or_signature_it_proves_nothing(text: str) -> None:
    standard = SigningKey("s", "standard-webhooks", b"k" * 32, "t", "i")
    v0 = SigningKey("s", "v0=", b"k" * 32, "t")
    for key in (standard, v0, SigningKey("s", "hex", b"k" * 32)):
        for name in ("s", "t", "i"):
            values = {"s": f"v1,{base64.b64encode(b'x' * 32).decode()}", "t": "1", "i": "m"} | {name: text}
            shown = signatures_shown(key, values.get)
            assert judge_signature(key, shown, values.get, b"{}", NOW) is None if shown else True
    assert judge_token(text, WANTED, OneKey(), NOW) is None
