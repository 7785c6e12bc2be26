"""Hostile and malformed requests against the real server: each gets its answer, and none is repeated anywhere.

The cases are data (tests/data/bad-inputs.json); `status` are the answers that are right, `codes` the issue codes of an
answer that refuses. `{{names}}` in them are filled in when they are sent. What becomes of an event that was taken
(`effect`) is not looked at here.
"""

import base64
import gzip
import http.client
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from afterdose.store.store import open_store
from web_server import BODY_SECONDS, TOKEN, RunningWeb, start_web

DATA = json.loads((Path(__file__).parents[1] / "data" / "bad-inputs.json").read_text(encoding="utf-8"))
CASES = {case["id"]: case for case in DATA["cases"]}
SOCKET_CASES = [case for case in CASES.values() if case["method"] == "RAW"]
HTTP_CASES = [case for case in CASES.values() if case["method"] != "RAW"]

# Words of the requests that may be in no answer and no log: notes, displays, references, identifiers, secrets.
PRIVATE = re.compile(
    rb"PHICANARY|auth ok user|attacker|169\.254|onerror|ketamine 35|Major depressive|urn:example:mar|cmd\||%s%s|"
    + TOKEN[:30].encode()
)
GIVEN_AWAY = re.compile(
    rb"Traceback|File \"|site-packages|\.py\b|granian|werkzeug|flask|sqlite|SELECT |/work|/tmp", re.I
)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningWeb]:
    with start_web(tmp_path_factory.mktemp("web")) as running:
        yield running


@pytest.mark.parametrize("case", HTTP_CASES, ids=lambda case: case["id"])
def test_a_hostile_request_gets_its_answer(web: RunningWeb, case: dict[str, Any]) -> None:
    for body in case.get("before", []):
        status, _, _ = _send(web, case | {"body": body})
        assert status == 200

    status, headers, answer = _send(web, case)

    assert status in case["status"], case["why"]
    _check_answer(status, headers, answer, case["codes"])


@pytest.mark.parametrize("case", SOCKET_CASES, ids=lambda case: case["id"])
def test_a_malformed_request_gets_one_answer_and_the_connection_ends(web: RunningWeb, case: dict[str, Any]) -> None:
    began = time.monotonic()

    answer = _send_raw(web, _fill(case["body"], case, web).encode())

    statuses = [int(found) for found in re.findall(rb"HTTP/1\.1 (\d+)", answer)]
    assert len(statuses) <= 1, case["why"]
    assert (statuses or [0])[0] in case["status"], case["why"]
    assert time.monotonic() - began < BODY_SECONDS + 3
    assert not GIVEN_AWAY.search(answer)


def test_a_silent_sender_leaves_room_for_the_others(web: RunningWeb) -> None:
    head = _fill(CASES["http-26"]["body"], CASES["http-26"], web).encode()
    silent = []
    for _ in range(web.settings.web.threads):
        connection = socket.create_connection(("127.0.0.1", web.port))
        connection.sendall(head)
        silent.append(connection)

    began = time.monotonic()
    status, _, _ = _send(web, CASES["control-01"])

    assert status == 200
    assert time.monotonic() - began < BODY_SECONDS + 3
    for connection in silent:
        connection.close()


def test_nothing_that_was_sent_is_in_the_log(web: RunningWeb) -> None:
    for case in HTTP_CASES:
        _send(web, case)

    log = web.log.read_bytes()

    assert b"a request was refused" in log
    assert not PRIVATE.search(log)
    assert not re.search(rb"bi-[a-z]+-\d\d-\d", log), "ids of resources stand in the log"
    for line in log.splitlines():
        json.loads(line)


def test_what_a_known_sender_was_refused_is_in_the_quarantine(web: RunningWeb) -> None:
    _send(web, CASES["inject-16"])

    store = open_store(web.settings.database, clock=lambda: datetime.now(UTC))
    try:
        newest = store.quarantine.newest(1)[0]
    finally:
        store.close()
    assert newest.source == "ehr"
    assert b"PHICANARY" in newest.body
    assert [problem.code for problem in newest.problems] == ["code-invalid"]


def _check_answer(status: int, headers: dict[str, str], answer: bytes, codes: list[str]) -> None:
    everything = repr(headers).encode() + answer
    assert not PRIVATE.search(everything)
    assert not GIVEN_AWAY.search(everything)
    assert not re.search(r"\d", headers.get("server", "")), "the server tells its version"
    if status >= 400:
        outcome = json.loads(answer)
        assert outcome["resourceType"] == "OperationOutcome"
        assert headers["content-type"] == "application/fhir+json"
        if codes:
            assert outcome["issue"][0]["code"] in codes


def _send(web: RunningWeb, case: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
    try:
        headers = {name: _fill(value, case, web) for name, value in case["headers"].items()}
        connection.request(case["method"], _fill(case["path"], case, web), _body(case, web) or None, headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def _send_raw(web: RunningWeb, request: bytes) -> bytes:
    """What comes back until the server closes the connection."""
    answer = b""
    with socket.create_connection(("127.0.0.1", web.port), timeout=BODY_SECONDS + 3) as connection:
        connection.sendall(request)
        while piece := connection.recv(65_536):
            answer += piece
    return answer


def _body(case: dict[str, Any], web: RunningWeb) -> bytes:
    if "generate" in case:
        wanted = dict(case["generate"])
        return GENERATORS[wanted.pop("kind")](json.loads(_fill(DATA["seed"], case, web)), **wanted)
    if case.get("encoding") == "base64":
        return base64.b64decode(case["body"]).decode("latin-1").replace("{{id}}", _id(case)).encode("latin-1")
    return _fill(case["body"], case, web).encode()


def _padded_note(seed: dict[str, Any], bytes: int) -> bytes:
    return json.dumps(seed | {"note": [{"text": "x" * bytes}]}).encode()


def _nested_extensions(seed: dict[str, Any], depth: int) -> bytes:
    inner: dict[str, Any] = {"url": "urn:example:deep", "valueString": "x"}
    for _ in range(depth):
        inner = {"url": "urn:example:deep", "extension": [inner]}
    return json.dumps(seed | {"extension": [inner]}).encode()


def _many_members(seed: dict[str, Any], n: int) -> bytes:
    return json.dumps(seed | {f"member{number}": number for number in range(n)}).encode()


def _nested_arrays(_seed: dict[str, Any], depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def _gzipped(_seed: dict[str, Any], bytes: int) -> bytes:
    return gzip.compress(b" " * bytes)


GENERATORS: dict[str, Callable[..., bytes]] = {
    "pad_note": _padded_note,
    "nest_extension": _nested_extensions,
    "many_keys": _many_members,
    "nest_array": _nested_arrays,
    "gzip": _gzipped,
}


def _id(case: dict[str, Any]) -> str:
    return f"bi-{case['id']}-1"


def _fill(text: str, case: dict[str, Any], web: RunningWeb) -> str:
    now = datetime.now(UTC).replace(microsecond=0)
    ehr = web.settings.targets["ehr"].base_url
    names = {
        "id": _id(case),
        "patient": "pat-1",
        "token": TOKEN,
        "wrongtoken": "w" * 60,
        "halftoken": TOKEN[: len(TOKEN) // 2],
        "64 KB": "a" * 65_536,
        "canary": "canary.invalid",
        "ehrbase": ehr,
        "ehrhost": ehr.split("/")[2],
        "host": f"127.0.0.1:{web.port}",
        "path": "/fhir",
        "date": now.date().isoformat(),
        "now": _instant(now),
    }

    def value(found: re.Match[str]) -> str:
        shift = re.fullmatch(r"now([+-]\d+)([mhd])", found[1])
        if shift is not None:
            unit = {"m": "minutes", "h": "hours", "d": "days"}[shift[2]]
            return _instant(now + timedelta(**{unit: int(shift[1])}))
        return names[found[1]]

    return re.sub(r"\{\{([^}]+)\}\}", value, text.replace("{{seed}}", DATA["seed"]))


def _instant(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
