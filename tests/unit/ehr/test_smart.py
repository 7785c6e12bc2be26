"""SMART Backend Services as values: documents, requests, answers, assertions."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest

from afterdose.core.errors import EhrUnavailable
from afterdose.ehr import smart
from afterdose.ehr.credentials import SharedSecret, SignedAssertion
from afterdose.ehr.keys import ALGORITHMS, SigningKey, new_key
from afterdose.ehr.smart import SmartConfiguration
from afterdose.ehr.wire import Answer

NOW = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
URL = "https://auth.example/tenant/token"
KEYS = {algorithm: new_key(algorithm) for algorithm in ALGORITHMS}


def answer(document: object, status: int = 200, **headers: str) -> Answer:
    return Answer(
        status=status, headers={"content-type": "application/json", **headers}, body=json.dumps(document).encode()
    )


def assertion(algorithm: str, **changes: Any) -> str:
    def key(_now: datetime, algorithms: Any) -> SigningKey:
        return KEYS[algorithms[0]]

    signed = SignedAssertion(client_id="me", key=key, **changes)
    form, headers = signed.proof(URL, [algorithm], NOW)
    assert headers == {}
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    return form["client_assertion"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_assertion_is_what_smart_asks_for_and_the_public_key_verifies_it(algorithm: str) -> None:
    made = assertion(algorithm)
    public = KEYS[algorithm].public_jwk()

    claims = jwt.decode(
        made, jwt.PyJWK(public).key, algorithms=[algorithm], audience=URL, options={"verify_exp": False}
    )

    assert jwt.get_unverified_header(made) == {"alg": algorithm, "kid": public["kid"], "typ": "JWT"}
    assert claims["iss"] == claims["sub"] == "me"
    assert claims["aud"] == URL
    assert timedelta(0) < datetime.fromtimestamp(claims["exp"], UTC) - NOW <= timedelta(minutes=5)
    assert set(claims) == {"iss", "sub", "aud", "exp", "jti"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_another_key_does_not_verify_it(algorithm: str) -> None:
    other = jwt.PyJWK(new_key(algorithm).public_jwk()).key

    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(assertion(algorithm), other, algorithms=[algorithm], audience=URL, options={"verify_exp": False})


def test_every_assertion_has_a_jti_of_its_own() -> None:
    jtis = {jwt.decode(assertion("ES384"), options={"verify_signature": False})["jti"] for _ in range(50)}

    assert len(jtis) == 50


def test_the_audience_is_what_the_settings_say_where_they_say_it() -> None:
    claims = jwt.decode(assertion("ES384", audience="https://issuer.example"), options={"verify_signature": False})

    assert claims["aud"] == "https://issuer.example"


@pytest.mark.parametrize(
    ("offered", "chosen", "used"),
    [
        (["RS384", "ES384"], None, "RS384"),
        (["ES384"], None, "ES384"),
        ([], None, "RS384"),
        (["RS256", "HS256"], None, "RS384"),
        (["RS384"], "ES384", "ES384"),
    ],
)
def test_the_algorithm_is_the_settings_or_the_first_of_ours_that_the_ehr_names(
    offered: list[str], chosen: str | None, used: str
) -> None:
    signed = SignedAssertion(client_id="me", key=lambda _, algorithms: KEYS[algorithms[0]], algorithm=chosen)

    assert jwt.get_unverified_header(signed.proof(URL, offered, NOW)[0]["client_assertion"])["alg"] == used


def test_a_secret_goes_into_the_header_or_into_the_form_encoded_as_oauth_says() -> None:
    basic = SharedSecret(client_id="me:too", secret="p+ä s", in_form=False)
    post = SharedSecret(client_id="me", secret="s3cret", in_form=True)

    assert basic.proof(URL, [], NOW) == ({}, {"Authorization": "Basic bWUlM0F0b286cCUyQiVDMyVBNCtz"})
    assert post.proof(URL, [], NOW) == ({"client_id": "me", "client_secret": "s3cret"}, {})
    assert "s3cret" not in repr(post)


def test_a_token_request_is_a_form_for_the_token_endpoint() -> None:
    request = smart.token_request(URL, ["system/A.r", "system/B.crus"], form={"client_assertion": "x.y.z"}, headers={})

    assert (request.method, request.url, request.changes) == ("POST", URL, False)
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["system/A.r system/B.crus"],
        "client_assertion": ["x.y.z"],
    }


class TestDiscovery:
    def test_a_document_says_where_and_how(self) -> None:
        document = {
            "token_endpoint": URL,
            "token_endpoint_auth_signing_alg_values_supported": ["ES384", 7],
            "capabilities": ["permission-v2"],
            "scopes_supported": ["system/Patient.rs"],
            "token_endpoint_auth_methods_supported": None,
        }
        assert smart.decode_configuration(answer(document)) == SmartConfiguration(
            token_url=URL, algorithms=("ES384",), capabilities=("permission-v2",), scopes=("system/Patient.rs",)
        )

    @pytest.mark.parametrize(
        "said",
        [
            answer({}, 404),
            answer({"token_endpoint": URL}, 500),
            answer({"token_endpoint": 7}),
            answer([URL]),
            Answer(status=200, headers={"content-type": "text/html"}, body=b"<html>"),
            Answer(status=200, headers={"content-type": "application/json"}, body=b'{"token_endpoint":'),
            Answer(status=302, headers={"location": URL}),
        ],
    )
    def test_anything_else_is_no_document(self, said: Answer) -> None:
        assert smart.decode_configuration(said) is None

    def test_a_capability_statement_may_say_it_instead(self) -> None:
        uris = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
        parts = [{"url": "authorize", "valueUri": "https://x"}, {"url": "token", "valueUri": URL}]
        extensions = [{"url": "http://other", "extension": [{"url": "token", "valueUri": "https://wrong"}]}]
        security = {"extension": [*extensions, {"url": uris, "extension": parts}]}
        statement: Any = {"resourceType": "CapabilityStatement", "rest": [{"mode": "server", "security": security}]}

        assert smart.decode_security(statement) == SmartConfiguration(token_url=URL)
        assert smart.decode_security({"rest": [{"mode": "server"}]}) is None
        assert smart.decode_security({"rest": [{"security": {"extension": [{"url": uris}]}}]}) is None

    @pytest.mark.parametrize(
        "token_url",
        [
            "https://ehr.example/token",
            "https://ehr.example:443/oauth/token",
            "https://login.vendor.example/tenant/token",
            "https://login.vendor.example:8443/token",
        ],
    )
    def test_a_named_host_over_https_may_be_used(self, token_url: str) -> None:
        assert smart.may_be_discovered(token_url, "https://ehr.example/fhir")

    @pytest.mark.parametrize(
        "token_url",
        [
            "http://ehr.example/token",
            "http://login.vendor.example/token",
            "https://10.0.0.1/token",
            "https://[fd00::1]/token",
            "https://169.254.169.254/latest",
            "https://2130706433/token",
            "https://0x7f.1/token",
            "https://127.0.0.1/token",
            "https://localhost/token",
            "https://localhost./token",
            "https://user:pw@login.vendor.example/token",
            "https://login.vendor.example/token?x=1",
            "https://login.vendor.example/token#x",
            "https:///token",
            "https://login.vendor.example:0/token",
            "https://login.vendor.example:99999/token",
            "ftp://login.vendor.example/token",
            "/token",
            "",
        ],
    )
    def test_a_token_endpoint_that_could_be_a_trap_is_not_used(self, token_url: str) -> None:
        assert not smart.may_be_discovered(token_url, "https://ehr.example/fhir")

    def test_on_a_developers_machine_both_are_on_loopback(self) -> None:
        assert smart.may_be_discovered("http://127.0.0.1:2/token", "http://127.0.0.1:1/fhir")
        assert smart.may_be_discovered("http://localhost:2/token", "http://127.0.0.1:1/fhir")
        assert not smart.may_be_discovered("http://10.0.0.1:2/token", "http://127.0.0.1:1/fhir")

    def test_an_address_is_used_where_it_is_the_ehr_itself(self) -> None:
        assert smart.may_be_discovered("https://10.0.0.1/token", "https://10.0.0.1/fhir")
        assert not smart.may_be_discovered("https://10.0.0.1:8443/token", "https://10.0.0.1/fhir")


class TestToken:
    @pytest.mark.parametrize(
        ("expires_in", "seconds"),
        [
            (570, 570),
            ("570", 570),
            (59.5, 59.5),
            (None, 300),
            (0, 300),
            (-1, 300),
            (True, 300),
            ("soon", 300),
            ("nan", 300),
            ([], 300),
            ({}, 300),
            (1, 10),
            (10**9, 3600),
            (10**30, 3600),
            ("inf", 3600),
        ],
    )
    def test_its_life_is_bounded_whatever_is_said(self, expires_in: object, seconds: float) -> None:
        given = {"access_token": "t", "token_type": "Bearer", "expires_in": expires_in}

        assert smart.decipher_token(answer(given), now=NOW).lasts == timedelta(seconds=seconds)

    def test_without_a_word_on_its_life_it_lives_five_minutes_and_has_the_scopes_that_were_asked(self) -> None:
        token = smart.decipher_token(answer({"access_token": "t"}), now=NOW)

        assert (token.lasts, token.scopes) == (timedelta(minutes=5), None)
        assert "value" not in repr(token)

    def test_the_granted_scopes_are_told(self) -> None:
        given = {"access_token": "t", "token_type": "bearer", "scope": "system/A.r  system/B.rs"}

        assert smart.decipher_token(answer(given), now=NOW).scopes == ("system/A.r", "system/B.rs")

    @pytest.mark.parametrize(
        ("said", "code"),
        [
            (answer({"error": "invalid_client", "error_description": None}, 400), "invalid_client"),
            (answer({"error": "<script>"}, 401), None),
            (answer({"error": {"code": "x"}}, 403), None),
            (answer({"access_token": ""}), None),
            (answer({"access_token": "a\r\nX: y"}), None),
            (answer({"access_token": 7}), None),
            (answer({"access_token": "t", "token_type": "mac"}), None),
            (answer({"access_token": "t"}, 201), None),
            (Answer(status=200, headers={"content-type": "text/html"}, body=b'{"access_token":"t"}'), None),
            (Answer(status=302, headers={"location": "https://evil.example"}), None),
            (Answer(status=503, headers={"retry-after": "7"}), None),
        ],
    )
    def test_whatever_is_no_token_is_to_be_had_later(self, said: Answer, code: str | None) -> None:
        with pytest.raises(EhrUnavailable) as raised:
            smart.decipher_token(said, now=NOW)

        assert raised.value.code == code
        assert "evil" not in str(raised.value)
        assert raised.value.retry_after == (timedelta(seconds=7) if said.status == 503 else None)
