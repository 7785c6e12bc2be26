"""The keys of those who show tokens: what counts of a key set, and how often one is asked for."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from afterdose.core.errors import BadInput, EhrUnavailable
from afterdose.ehr.sender_keys import FetchedKeys, parse_jwks
from afterdose.ehr.wire import Answer

RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
P521 = ec.generate_private_key(ec.SECP521R1())


def jwk(private: Any, kid: str = "k1", **members: Any) -> dict[str, Any]:
    algorithm = RSAAlgorithm if isinstance(private, rsa.RSAPrivateKey) else ECAlgorithm
    public = algorithm.to_jwk(private.public_key(), as_dict=True)
    return {**{k: v for k, v in public.items() if k != "key_ops"}, "kid": kid, **members}


def key_set(*keys: object) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


WEAK = jwk(RSA) | {"n": base64.urlsafe_b64encode((1 << 1023 | 1).to_bytes(128, "big")).rstrip(b"=").decode()}
SECRET = {"kty": "oct", "kid": "k1", "k": base64.urlsafe_b64encode(b"x" * 32).decode()}


@pytest.mark.parametrize(
    "key",
    [
        SECRET,
        WEAK,
        jwk(P521),
        jwk(RSA, use="enc"),
        jwk(RSA, key_ops=["encrypt"]),
        jwk(RSA, alg="RS512"),
        jwk(RSA, alg="HS256"),
        jwk(P256, crv="P-384"),
        jwk(RSA) | {"n": "AQAB"},
        {"kty": "RSA", "kid": "k1"},
        {"kty": ["RSA"]},
        "k1",
        None,
    ],
)
def test_a_key_that_is_shared_weak_or_for_something_else_does_not_count(key: object) -> None:
    assert [one.kid for one in parse_jwks(key_set(key, jwk(P256, "good")))] == ["good"]
    with pytest.raises(BadInput):
        parse_jwks(key_set(key))


def test_a_key_says_what_may_be_signed_with_it() -> None:
    keys = parse_jwks(key_set(jwk(RSA), jwk(RSA, alg="RS384"), jwk(P256, key_ops=["verify"])))

    assert [set(key.algorithms) for key in keys] == [{"RS256", "RS384"}, {"RS384"}, {"ES256"}]


@pytest.mark.parametrize("text", [b"", b"[]", b'{"keys": {}}', b'{"keys": []}', b'{"keys": [], "keys": []}', b"\xff"])
def test_what_is_no_key_set_is_refused(text: bytes) -> None:
    with pytest.raises(BadInput):
        parse_jwks(text)


class Place:
    """What is behind a URL; counts who asks, and has a clock."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers: Sequence[Answer | Exception] = answers
        self.asked = 0
        self.seconds = 0.0
        self.keys = FetchedKeys(self.fetch, key="sources.store.bearer.jwks_url", monotonic=lambda: self.seconds)

    def fetch(self) -> Answer:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kids(self, kid: str | None) -> list[str | None]:
        return [key.kid for key in self.keys.candidates(kid)]


def answer(*keys: object, status: int = 200, **headers: str) -> Answer:
    return Answer(status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}, body=key_set(*keys))


def test_keys_are_fetched_when_they_are_needed_and_kept() -> None:
    place = Place(answer(jwk(RSA)))

    assert place.asked == 0
    assert place.kids("k1") == ["k1"]
    place.seconds = 3599
    assert place.kids("k1") == ["k1"]
    assert place.asked == 1
    place.seconds = 3600
    place.kids("k1")
    assert place.asked == 2


@pytest.mark.parametrize(
    ("said", "kept"), [("max-age=600", 600), ("public, max-age=1, x", 300), ("max-age=999999", 86_400), ("no", 3600)]
)
def test_keys_are_kept_as_long_as_their_server_says_within_bounds(said: str, kept: int) -> None:
    place = Place(answer(jwk(RSA), cache_control=said))

    place.kids("k1")
    place.seconds = kept - 1
    place.kids("k1")
    assert place.asked == 1
    place.seconds = kept
    place.kids("k1")
    assert place.asked == 2


def test_an_unknown_id_is_asked_for_once_a_minute_and_found_after_a_rotation() -> None:
    place = Place(answer(jwk(RSA)), answer(jwk(RSA), jwk(P256, "k2")))
    place.kids("k1")

    for place.seconds in (1, 30, 59):
        assert place.kids("k2") == []
    assert place.asked == 1
    place.seconds = 60
    assert place.kids("k2") == ["k2"]
    assert place.kids("k1") == ["k1"]
    assert place.asked == 2


@pytest.mark.parametrize(
    "failure", [EhrUnavailable("x"), answer(status=500), Answer(status=200, headers={}, body=b"<")]
)
def test_keys_that_are_known_outlive_a_fetch_that_fails(failure: Answer | Exception) -> None:
    place = Place(answer(jwk(RSA)), failure)
    place.kids("k1")

    place.seconds = 4000
    assert place.kids("k1") == ["k1"]
    place.seconds = 4059
    assert place.kids("k1") == ["k1"]
    assert place.asked == 2
    with pytest.raises(EhrUnavailable):
        place.kids("k2")


def test_without_any_key_nothing_is_known_of_a_token() -> None:
    place = Place(EhrUnavailable("x"), answer(jwk(RSA)))

    for place.seconds in (0, 59):
        with pytest.raises(EhrUnavailable):
            place.kids("k1")
    assert place.asked == 1
    place.seconds = 60
    assert place.kids("k1") == ["k1"]
