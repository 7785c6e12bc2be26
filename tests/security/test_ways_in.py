"""Tricks on the way in, byte for byte on a real socket: who proves nothing gets nothing, and nothing refused is lost.

Every refusal of ours is an OperationOutcome that repeats nothing of the request. What the HTTP server refuses before it
reaches us has no body, or closes the connection.
"""

import gzip
import hashlib
import hmac
import json
import re
import socket
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from web_server import BODY_SECONDS, TOKEN, RunningWeb, start_web

SIGNING = "signing-" + "8" * 40
CANARY = "PHICANARY"
SIGNER = f"""
[sources.signer]
target = "ehr"
[[sources.signer.signatures]]
value = "{SIGNING}"
"""
BEARER = f"Authorization: Bearer {TOKEN}"
WRONG = f"Authorization: Bearer {'w' * 60}"
JSON = "Content-Type: application/fhir+json"
GIVEN_AWAY = re.compile(rb"Traceback|site-packages|granian|werkzeug|flask|sqlite|/tmp/", re.I)


@dataclass(frozen=True)
class Answer:
    """One answer; ``status`` is 0 where the connection ended without one."""

    status: int
    head: bytes
    body: bytes

    @property
    def codes(self) -> list[str]:
        outcome = json.loads(self.body)
        assert outcome["resourceType"] == "OperationOutcome"
        return [issue["code"] for issue in outcome["issue"]]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningWeb]:
    with start_web(tmp_path_factory.mktemp("web"), more=SIGNER) as running:
        yield running


def dose(id_: str = "d1", **members: object) -> bytes:
    resource = {
        "resourceType": "MedicationAdministration",
        "id": id_,
        "status": "completed",
        "medicationCodeableConcept": {"text": f"x é {CANARY}"},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2026-01-05T10:00:00Z",
    }
    return json.dumps(resource | members, ensure_ascii=False).encode()


def signature(body: bytes) -> str:
    return f"X-Signature: {hmac.new(SIGNING.encode(), body, hashlib.sha256).hexdigest()}"


def chunked(body: bytes, size: int = 50) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(f"{len(one):x}\r\n".encode() + one + b"\r\n" for one in pieces) + b"0\r\n\r\n"


def request(
    web: RunningWeb, *headers: str, body: bytes = b"", line: str = "POST /fhir HTTP/1.1", length: bool = True
) -> Answer:
    """Send one request and read until the server closes."""
    counted = [f"Content-Length: {len(body)}"] if length else []
    head = "\r\n".join([line, "Host: afterdose", "Connection: close", *headers, *counted, "", ""])
    return exchange(web, head.encode("latin-1") + body)


def exchange(web: RunningWeb, sent: bytes) -> Answer:
    got = b""
    with socket.create_connection(("127.0.0.1", web.port), timeout=BODY_SECONDS + 10) as connection:
        try:
            connection.sendall(sent)
            while piece := connection.recv(65_536):
                got += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert not GIVEN_AWAY.search(got)
    assert CANARY.encode() not in got
    assert TOKEN.encode() not in got
    assert len(re.findall(rb"HTTP/1\.1 [2-5]\d\d", got)) <= 1
    got = re.sub(rb"\AHTTP/1\.1 100 [^\r]*\r\n\r\n", b"", got)
    status = re.match(rb"HTTP/1\.1 (\d+)", got)
    head, _, body = got.partition(b"\r\n\r\n")
    return Answer(int(status[1]) if status else 0, head, body)


def rows(web: RunningWeb, asked: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(web.settings.database.removeprefix("sqlite:///")) as connection:
        return connection.execute(asked).fetchall()


def stored(web: RunningWeb, id_: str, source: str = "ehr") -> bool:
    return (source, id_) in rows(web, "SELECT source, resource_id FROM facts")


def kept(web: RunningWeb) -> tuple[str, bytes]:
    """The newest of the quarantine."""
    source, body = rows(web, "SELECT source, body FROM quarantine ORDER BY id DESC LIMIT 1")[0]
    return str(source), bytes(body)


@pytest.mark.parametrize("name", ["authorization", "AUTHORIZATION", "aUtHoRiZaTiOn"])
def test_the_case_of_a_headers_name_makes_no_difference(web: RunningWeb, name: str) -> None:
    assert request(web, f"{name}: bearer {TOKEN}", JSON, body=dose("cased")).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        (WRONG, BEARER),
        (BEARER, WRONG),
        (BEARER, BEARER),
        (f"Authorization: Bearer {TOKEN}, Bearer {TOKEN}",),
        ("Authorization: Bearer", f" {TOKEN}"),
        (f"Authorization : Bearer {TOKEN}",),
        (f"Authorization:\tBearer\t{TOKEN}",),
        (f"X-Authorization: Bearer {TOKEN}",),
        (f"Authorization_: Bearer {TOKEN}",),
        (f"Cookie: Authorization=Bearer {TOKEN}",),
        (f"Proxy-Authorization: Bearer {TOKEN}",),
    ],
)
def test_two_secrets_or_one_in_the_wrong_place_open_nothing(web: RunningWeb, headers: tuple[str, ...]) -> None:
    answer = request(web, *headers, JSON, body=dose("twice"))

    assert answer.status in (0, 400, 401)
    assert not stored(web, "twice")


def test_a_signature_covers_every_byte_and_one_header_holds_it(web: RunningWeb) -> None:
    body = dose("signed")
    right = signature(body)
    flipped = bytes([body[0], body[1] ^ 1, *body[2:]])

    for changed in (
        flipped,
        body + b"\n",
        b" " + body,
        json.dumps(json.loads(body)).encode(),
        body[:-1],
        b"",
        body * 2,
    ):
        assert request(web, right, JSON, body=changed).status == 401
    for shown in (
        (right, right),
        (signature(b"x"), right),
        (right.upper().replace("X-SIGNATURE", "X-Signature") + "0",),
    ):
        assert request(web, *shown, JSON, body=body).status == 401
    assert not stored(web, "signed", "signer")
    assert request(web, right.replace("X-Signature", "x-sIGNATURE"), JSON, body=body).status == 200
    assert stored(web, "signed", "signer")


def test_what_is_signed_in_pieces_is_signed_as_a_whole(web: RunningWeb) -> None:
    body = dose("pieces")

    assert (
        request(web, signature(body), JSON, "Transfer-Encoding: chunked", body=chunked(body), length=False).status
        == 200
    )
    assert (
        request(
            web, signature(body), JSON, "Transfer-Encoding: chunked", body=chunked(body + b" "), length=False
        ).status
        == 401
    )
    assert stored(web, "pieces", "signer")


def test_a_body_of_no_bytes_is_signed_like_any_other(web: RunningWeb) -> None:
    assert request(web, signature(b""), JSON).status == 400
    assert request(web, signature(b" "), JSON).status == 401


def test_a_body_in_pieces_is_limited_too(web: RunningWeb) -> None:
    large = chunked(b'{"resourceType":"' + b"x" * 1_048_576 + b'"}', 65_536)

    answer = request(web, BEARER, JSON, "Transfer-Encoding: chunked", body=large, length=False)

    assert answer.status == 413
    assert answer.codes == ["too-long"]


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Encoding: gzip",),
        ("Content-Encoding: GZIP",),
        ("Content-Encoding: identity, gzip",),
        ("Content-Encoding: deflate",),
        ("Content-Encoding: br",),
        ("Content-Encoding: ",),
        ("Content-Encoding: identity", "Content-Encoding: gzip"),
    ],
)
def test_a_packed_body_is_not_unpacked_and_is_kept_as_it_came(web: RunningWeb, headers: tuple[str, ...]) -> None:
    bomb = gzip.compress(b" " * 20_000_000)
    began = time.monotonic()

    answer = request(web, BEARER, JSON, *headers, body=bomb)

    assert answer.status == 415
    assert answer.codes == ["not-supported"]
    assert kept(web) == ("ehr", bomb)
    assert time.monotonic() - began < BODY_SECONDS + 8


def test_a_body_that_says_to_be_plain_is_taken(web: RunningWeb) -> None:
    assert request(web, BEARER, JSON, "Content-Encoding: identity", body=dose("plain")).status == 200


@pytest.mark.parametrize("coding", ["gzip", "gzip, chunked", "xchunked", "chunked, chunked", "identity"])
def test_another_transfer_coding_ends_the_request(web: RunningWeb, coding: str) -> None:
    answer = request(web, BEARER, JSON, f"Transfer-Encoding: {coding}", body=chunked(dose("coded")), length=False)

    assert answer.status in (0, 400, 411, 415, 501)
    assert not stored(web, "coded")


@pytest.mark.parametrize(
    ("media", "status"),
    [
        ("application/fhir+json; charset=utf-8", 200),
        ('application/fhir+json; charset="UTF-8"', 200),
        ("application/json; fhirVersion=4.0; charset=utf8", 200),
        ("APPLICATION/FHIR+JSON", 200),
        ("application/fhir+json; charset=iso-8859-1", 415),
        ("application/fhir+json; charset=utf-16", 415),
        ("application/fhir+json; charset=utf-7", 415),
        ("application/fhir+xml", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        (f"application/{CANARY}", 415),
        ("", 415),
    ],
)
def test_only_json_in_utf_8_is_taken(web: RunningWeb, media: str, status: int) -> None:
    body = dose(f"media-{status}")

    answer = request(web, BEARER, f"Content-Type: {media}", body=body)

    assert answer.status == status
    if status == 415:
        assert answer.codes == ["not-supported"]
        assert kept(web) == ("ehr", body)


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + dose("bom"),
        dose("bom").decode().encode("utf-16"),
        dose("bom").decode().encode("utf-16-be"),
        dose("bom").decode().encode("latin-1"),
        dose("bom") + b"\0",
        b"\0" + dose("bom"),
        dose("bom").replace(b"completed", b"comple\xed\xa0\x80ted"),
    ],
)
def test_another_encoding_than_the_declared_one_is_refused_and_kept(web: RunningWeb, body: bytes) -> None:
    answer = request(web, BEARER, JSON, body=body)

    assert answer.status == 400
    assert answer.codes
    assert kept(web) == ("ehr", body)
    assert not stored(web, "bom")


@pytest.mark.parametrize(
    "path",
    [
        "/fhir/../fhir",
        "/fhir/./MedicationAdministration/path",
        "/fhir/../fhir/MedicationAdministration/path",
        "/fhir/%2e%2e/fhir/MedicationAdministration/path",
        "/fhir//MedicationAdministration/path",
        "/fhir/MedicationAdministration//path",
        "/fhir/MedicationAdministration/path%00",
        "/fhir/MedicationAdministration/path%0d%0aX-Injected:%201",
        "/fhir/MedicationAdministration/..%2f..%2fmetrics",
        "/fhir/MedicationAdministration/path;v=1",
        "/fhir/MedicationAdministration/path/_history/1",
        "/fhir/medicationadministration/path",
        "/FHIR/MedicationAdministration/path",
        "/fhir/metadata/../MedicationAdministration/path",
        "/fhir/\\..\\MedicationAdministration/path",
        f"/fhir/MedicationAdministration/{CANARY}%20",
        f"/fhir/{CANARY}",
        "/fhir/MedicationAdministration/" + "a" * 70_000,
    ],
)
def test_a_crooked_path_leads_nowhere_else(web: RunningWeb, path: str) -> None:
    line = f"PUT {path} HTTP/1.1"
    before = rows(web, "SELECT count(*) FROM facts")

    unknown, known = (
        request(web, JSON, body=dose("path"), line=line),
        request(web, BEARER, JSON, body=dose("path"), line=line),
    )

    assert unknown.status in (0, 400, 401, 404, 414)
    assert known.status in (0, 400, 404, 405, 414)
    assert b"X-Injected" not in known.head
    for answer in (unknown, known):
        assert not answer.body or answer.codes
    assert rows(web, "SELECT count(*) FROM facts") == before


def test_what_a_known_sender_sends_to_a_wrong_url_is_kept(web: RunningWeb) -> None:
    body = dose("wrong-url")

    for line in (
        "PUT /fhir/r4/MedicationAdministration/wrong-url HTTP/1.1",
        "PATCH /fhir/MedicationAdministration/x HTTP/1.1",
    ):
        assert request(web, BEARER, JSON, body=body, line=line).status in (404, 405)
        assert kept(web) == ("ehr", body)
        request(web, BEARER, JSON, body=b"{}")
    assert request(web, BEARER, line="DELETE /fhir/r4/MedicationAdministration/gone HTTP/1.1").status == 404
    assert kept(web) == ("ehr", b"DELETE /fhir/r4/MedicationAdministration/gone")
    request(web, BEARER, JSON, body=b"{}")
    assert request(web, BEARER, JSON, body=body, line="PUT /fhir/Observation/x HTTP/1.1").status == 404
    assert kept(web) == ("ehr", b"{}")
    assert request(web, BEARER, JSON, body=body, line="POST /hl7v2 HTTP/1.1").status == 415
    assert kept(web) == ("ehr", body)


@pytest.mark.parametrize(
    "path",
    [
        "/fhir%2fMedicationAdministration%2fsame",
        "/fhir/MedicationAdministration%2fsame",
        "//fhir/MedicationAdministration/same",
        "/%66hir/MedicationAdministration/same",
    ],
)
def test_another_spelling_of_a_path_asks_for_the_same_proof(web: RunningWeb, path: str) -> None:
    line = f"PUT {path} HTTP/1.1"

    assert request(web, JSON, body=dose("same"), line=line).status == 401
    assert request(web, BEARER, JSON, body=dose("same"), line=line).status == 200


@pytest.mark.parametrize("path", ["/fhir/", "/fhir/MedicationAdministration/"])
def test_a_slash_at_the_end_is_the_same_url(web: RunningWeb, path: str) -> None:
    assert request(web, BEARER, JSON, body=dose("slash"), line=f"POST {path} HTTP/1.1").status == 200


@pytest.mark.parametrize("target", ["http://other.example.org/fhir", "*", "fhir", "afterdose:443", ""])
def test_a_target_of_another_form_gives_nothing_to_a_stranger(web: RunningWeb, target: str) -> None:
    assert request(web, JSON, body=dose("target"), line=f"POST {target} HTTP/1.1").status in (0, 400, 401, 404)


@pytest.mark.parametrize("method", ["GET", "PATCH", "TRACE", "CONNECT", "PROPFIND", "BREW", "P\u00f6ST"])
def test_another_method_does_nothing(web: RunningWeb, method: str) -> None:
    for path in ("/fhir", "/fhir/MedicationAdministration/method"):
        answer = request(
            web, BEARER, JSON, "X-HTTP-Method-Override: PUT", body=dose("method"), line=f"{method} {path} HTTP/1.1"
        )
        assert answer.status in (0, 400, 404, 405, 501)
        assert not answer.body or answer.codes
    assert not stored(web, "method")


def test_head_and_options_say_nothing_to_strangers_and_no_more_than_needed_to_senders(web: RunningWeb) -> None:
    for method in ("HEAD", "OPTIONS"):
        assert request(web, line=f"{method} /fhir HTTP/1.1").status == 401
        known = request(web, BEARER, line=f"{method} /fhir HTTP/1.1")
        assert (known.status, known.body) == (200, b"")
        assert b"allowed-origin" not in known.head.lower()


def test_a_header_override_does_not_turn_a_post_into_a_delete(web: RunningWeb) -> None:
    request(web, BEARER, JSON, body=dose("kept"))

    request(web, BEARER, JSON, "X-HTTP-Method-Override: DELETE", "X-Method-Override: DELETE", body=dose("kept"))

    assert ("kept", "delete") not in rows(web, "SELECT resource_id, interaction FROM facts")


@pytest.mark.parametrize(
    "headers",
    [
        (f"X-Large: {'x' * 300_000}",),
        tuple(f"X-{number}: {number}" for number in range(2_000)),
        (f"{'X' * 70_000}: 1",),
        ("X-Nul: a\0b",),
        ("X-Folded: a", " b"),
        ("no colon at all",),
        (": no name",),
        ("X-Injected: a\rSet-Cookie: b",),
    ],
)
def test_headers_beyond_reason_end_the_request(web: RunningWeb, headers: tuple[str, ...]) -> None:
    answer = request(web, *headers, BEARER, JSON, body=dose("headers"))

    assert answer.status in (0, 400, 413, 431)
    assert not stored(web, "headers")


@pytest.mark.parametrize(
    "lengths",
    [
        ("Content-Length: 5", "Content-Length: 500"),
        ("Content-Length: -1",),
        ("Content-Length: +5",),
        ("Content-Length: 5, 5",),
        ("Content-Length: 0x10",),
        ("Content-Length: 99999999999999999999",),
        ("Content-Length: 10", "Transfer-Encoding: chunked"),
    ],
)
def test_lengths_that_can_be_read_in_two_ways_end_the_request(web: RunningWeb, lengths: tuple[str, ...]) -> None:
    smuggled = (
        f"POST /fhir HTTP/1.1\r\nHost: x\r\n{BEARER}\r\n{JSON}\r\nContent-Length: {len(dose('smuggled'))}\r\n\r\n"
    )
    body = b"0\r\n\r\n" + smuggled.encode() + dose("smuggled")

    answer = request(web, BEARER, JSON, *lengths, body=body, length=False)

    assert answer.status in (0, 400, 408, 413)
    assert not stored(web, "smuggled")


def test_a_body_that_comes_slower_than_allowed_is_not_waited_for(web: RunningWeb) -> None:
    head = f"POST /fhir HTTP/1.1\r\nHost: x\r\n{BEARER}\r\n{JSON}\r\nContent-Length: 1000\r\n\r\n".encode()
    began = time.monotonic()
    got = b""
    with socket.create_connection(("127.0.0.1", web.port), timeout=0.25) as sender:
        sender.sendall(head)
        while time.monotonic() < began + BODY_SECONDS + 8 and not got:
            try:
                sender.sendall(b" ")
                got = sender.recv(65_536)
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                break

    assert time.monotonic() - began < BODY_SECONDS + 8
    assert not got or got.startswith(b"HTTP/1.1 408")


def test_who_asks_before_sending_is_told_to_go_on_or_not_to(web: RunningWeb) -> None:
    def asked(proof: str) -> bytes:
        body = dose("expected")
        head = f"POST /fhir HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{proof}\r\n{JSON}\r\nExpect: 100-continue\r\n"
        with socket.create_connection(("127.0.0.1", web.port), timeout=BODY_SECONDS + 5) as sender:
            sender.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
            got = sender.recv(65_536)
            if got.startswith(b"HTTP/1.1 100"):
                sender.sendall(body)
                while piece := sender.recv(65_536):
                    got += piece
        return got

    assert asked(WRONG).startswith(b"HTTP/1.1 401")
    assert b"HTTP/1.1 200" in asked(BEARER)
    assert stored(web, "expected")


def test_an_old_client_is_answered_like_any_other(web: RunningWeb) -> None:
    body = dose("old")
    head = f"POST /fhir HTTP/1.0\r\n{BEARER}\r\n{JSON}\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    with socket.create_connection(("127.0.0.1", web.port), timeout=10) as sender:
        sender.sendall(head + body)
        got = sender.recv(65_536)

    assert re.match(rb"HTTP/1\.[01] (200|400)", got)
