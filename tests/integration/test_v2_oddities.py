"""Malformed and odd HL7 v2 over real sockets: the right acknowledgement, and nothing that is lost."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from v2_oddities import BASE, ODDITIES, Oddity

from afterdose.store.store import Store, open_store
from mllp_server import RunningMllp, Sender, code, start_mllp
from web_server import TOKEN, RunningWeb, start_web

pytestmark = pytest.mark.faults

NUMBERED = list(enumerate(ODDITIES))


@dataclass
class Doors:
    """Both ways in, over one database."""

    web: RunningWeb
    mllp: RunningMllp
    store: Store
    turn: int = 0

    def post(self, message: bytes) -> str:
        answer = requests.post(
            f"http://127.0.0.1:{self.web.port}/hl7v2",
            data=message,
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/hl7-v2"},
            timeout=20,
        )
        assert answer.status_code == (200 if "MSA|AA" in answer.text.replace("#", "|") else 400)
        return answer.text

    def frame(self, message: bytes) -> str:
        with Sender(self.mllp.port) as sender:
            return sender.send(message)

    def is_kept(self, message: bytes) -> bool:
        """Whether these bytes are the newest that were kept for a person."""
        return [one.body for one in self.store.quarantine.newest(1)] == [message]


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("doors")
    with start_web(folder) as web, start_mllp(folder / "afterdose.toml", listener='idle_timeout = "1s"') as mllp:
        store = open_store(web.settings.database, clock=lambda: datetime.now(UTC))
        yield Doors(web, mllp, store)
        store.close()


def numbered(number: int) -> bytes:
    return BASE.format(control=f"C{number}", filler=f"F{number}").replace("\n", "\r").encode()


def error_of(answer: str) -> tuple[str, str]:
    """Place and condition of the first error, in the form of the message's version."""
    fields = next((line.split("|") for line in answer.split("\r") if line.startswith("ERR")), [])
    if len(fields) == 2:
        *place, condition = fields[1].split("^")
        return "^".join(place).rstrip("^"), condition.partition("&")[0]
    return (fields[2], fields[3].partition("^")[0]) if fields else ("", "")


@pytest.mark.parametrize("way", ["http", "mllp"])
@pytest.mark.parametrize(("place", "oddity"), NUMBERED, ids=[one.name for one in ODDITIES])
def test_each_message_ends_where_it_should(doors: Doors, way: str, place: int, oddity: Oddity) -> None:
    message = oddity.message(place + (50_000 if way == "http" else 0))
    before = doors.store.facts.count()

    answer = (doors.post if way == "http" else doors.frame)(message)
    if answer.startswith("MSH#"):
        answer = answer.translate(str.maketrans("#@", "|^"))

    assert (code(answer), *error_of(answer)) == (oddity.code, oddity.place, oddity.condition), answer
    assert doors.store.facts.count() - before == oddity.stored
    assert doors.is_kept(message) == oddity.kept
    for secret in (b"70001", b"yesterday", "MÜLLER".encode()):
        assert secret.decode() not in answer


def test_the_same_message_is_stored_once_whichever_way_it_comes_and_another_under_its_number_too(doors: Doors) -> None:
    message = numbered(90_001)
    another = message.replace(b"F90001", b"F90002")
    before = doors.store.facts.count()

    codes = [code(send(one)) for one in (message, another, message) for send in (doors.frame, doors.post)]

    assert codes == ["AA"] * 6
    assert doors.store.facts.count() == before + 2


def test_python_hl7_s_mllp_send_is_answered(doors: Doors, tmp_path: Path) -> None:
    file = tmp_path / "messages.hl7"
    file.write_bytes(b"\x0b" + numbered(90_010) + b"\x1c\r\x0b" + numbered(90_011) + b"\x1c\r")
    before = doors.store.facts.count()

    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("mllp_send")),
            "--file",
            str(file),
            "--port",
            str(doors.mllp.port),
            "localhost",
        ],
        capture_output=True,
        check=False,
        timeout=30,
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"MSA|AA|") == 2
    assert doors.store.facts.count() == before + 2


def test_a_sender_that_begins_anew_is_heard_from_there(doors: Doors) -> None:
    broken, whole = numbered(90_020), numbered(90_021)
    before = doors.store.facts.count()
    with Sender(doors.mllp.port) as sender:
        sender.put(b"\x0b" + broken[:150])
        answer = sender.send(whole)

    assert (code(answer), "C90021" in answer, "C90020" in answer) == ("AA", True, False)
    assert doors.store.facts.count() == before + 1


def test_one_byte_at_a_time_is_put_together(doors: Doors) -> None:
    with Sender(doors.mllp.port) as sender:
        sender.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"\x0b" + numbered(90_030) + b"\x1c\r":
            sender.put(bytes([byte]))

        assert code(sender.answer()) == "AA"


@contextmanager
def said_of(doors: Doors) -> Iterator[list[str]]:
    """What is logged meanwhile."""
    before, lines = len(doors.mllp.log.read_text()), list[str]()
    yield lines
    until = time.monotonic() + 10
    while time.monotonic() < until and not lines:
        lines += doors.mllp.log.read_text()[before:].splitlines()


@pytest.mark.parametrize(
    ("begins", "said"),
    [
        (numbered(90_040), "what is not framed was not taken"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "what is not framed was not taken"),
        (b"\x0b" + numbered(90_041), "a frame that did not end was not taken"),
        (b"\x0b" + numbered(90_042) + b"\x1c\n", "a frame that did not end was not taken"),
    ],
    ids=["no start block", "TLS where there is none", "no end block", "another end block"],
)
def test_what_is_no_frame_is_not_answered_and_shows_in_the_log(doors: Doors, begins: bytes, said: str) -> None:
    before = doors.store.facts.count()
    with said_of(doors) as lines, Sender(doors.mllp.port) as sender:
        sender.put(begins)
        assert sender.answer() == ""

    assert said in " ".join(lines)
    assert "70001" not in " ".join(lines)
    assert doors.store.facts.count() == before


def test_a_message_that_is_too_large_is_rejected_by_its_control_id_and_its_beginning_is_kept(doors: Doors) -> None:
    message = numbered(90_050) + b"NTE|1||" + b"x" * 2_000_000
    with Sender(doors.mllp.port) as sender:
        answer = sender.send(message)

    assert "MSA|AR|C90050" in answer
    assert error_of(answer)[1] == "104"
    assert message.startswith(doors.store.quarantine.newest(1)[0].body)


def test_the_answer_to_event_o01_in_enhanced_mode_is_o02(doors: Doors) -> None:
    header = b"RAS^O01|C90060|P|2.3|||NE|AL"
    message = numbered(90_060).replace(b"RAS^O17^RAS_O17|C90060|P|2.5.1", header)

    answer = doors.frame(message)

    assert answer.split("\r")[0].split("|")[8] == "RRA^O02"
    assert code(answer) == "AA"
