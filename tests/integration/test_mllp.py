"""HL7 v2 over MLLP: real sockets, real frames, and an acceptance only for what is on disk."""

from __future__ import annotations

import fcntl
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from afterdose.settings import load_settings
from afterdose.store.store import Store, open_store
from mllp_server import RunningMllp, Sender, code, start_mllp
from web_server import write_settings

pytestmark = pytest.mark.service

DATA = Path(__file__).parents[1] / "data" / "v2"
MESSAGE = (DATA / "infusion.er7").read_bytes()


LIMITS = 'max_message_bytes = 20000\nidle_timeout = "2s"\nmax_connections = 20'
_NUMBERS = count(1)


def another() -> bytes:
    """A message about a dose of its own."""
    number = next(_NUMBERS)
    return MESSAGE.replace(b"M0001", b"M1%05d" % number).replace(b"F2001", b"F3%05d" % number)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_settings(tmp_path)


@pytest.fixture
def store(config: Path) -> Iterator[Store]:
    with closing(stored(config)) as opened:
        yield opened


def stored(config: Path) -> Store:
    return open_store(load_settings(config, {}).database, clock=lambda: datetime.now(UTC))


@pytest.fixture
def mllp(config: Path) -> Iterator[RunningMllp]:
    """A listener of the test's own, which it may stop."""
    with start_mllp(config, listener=LIMITS) as running:
        yield running


@dataclass(frozen=True)
class Shared:
    """One listener for all tests that leave it as it was."""

    port: int
    store: Store
    config: Path


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    config = write_settings(tmp_path_factory.mktemp("shared"))
    with closing(stored(config)) as opened, start_mllp(config, listener=LIMITS) as running:
        yield Shared(running.port, opened, config)


def test_a_message_is_on_disk_when_it_is_accepted(shared: Shared) -> None:
    before = shared.store.facts.count()
    with Sender(shared.port) as sender:
        assert code(sender.send(another())) == "AA"

    assert shared.store.facts.count() == before + 1


def test_one_connection_carries_many_messages(shared: Shared) -> None:
    before = shared.store.facts.count()
    with Sender(shared.port) as sender:
        assert [code(sender.send(another())) for _ in range(5)] == ["AA"] * 5

    assert shared.store.facts.count() == before + 5


def test_messages_that_come_in_one_piece_are_answered_in_their_order(shared: Shared) -> None:
    messages = [another() for _ in range(3)]
    with Sender(shared.port) as sender:
        sender.put(b"".join(b"\x0b" + message + b"\x1c\r" for message in messages))

        answers = [sender.answer() for _ in messages]
    ids = [message.split(b"|")[9].decode() for message in messages]
    assert [id_ in answer for id_, answer in zip(ids, answers, strict=True)] == [True] * 3


def test_a_message_that_comes_in_pieces_is_put_together(shared: Shared) -> None:
    framed = b"\x0b" + another() + b"\x1c\r"
    with Sender(shared.port) as sender:
        for place in range(0, len(framed), 97):
            sender.put(framed[place : place + 97])
            time.sleep(0.005)

        assert code(sender.answer()) == "AA"


def test_line_ends_between_messages_do_no_harm(shared: Shared) -> None:
    with Sender(shared.port) as sender:
        sender.put(b"\r\n")

        assert code(sender.send(another())) == "AA"


def test_a_refused_message_leaves_the_connection_open(shared: Shared) -> None:
    with Sender(shared.port) as sender:
        assert code(sender.send(MESSAGE.replace(b"20260105103000", b"x"))) == "AE"
        assert code(sender.send(b"nonsense")) == "AR"
        assert code(sender.send(MESSAGE)) == "AA"


def test_a_message_that_is_too_large_is_rejected_and_the_connection_ends(shared: Shared) -> None:
    before = shared.store.facts.count()
    with Sender(shared.port) as sender:
        assert code(sender.send(MESSAGE + b"NTE|1||" + b"x" * 50_000)) == "AR"
        sender.socket.shutdown(1)
        assert sender.answer() == ""

    assert shared.store.facts.count() == before


@pytest.mark.parametrize("raw", [b"GET / HTTP/1.1\r\n\r\n", MESSAGE, b"\x0b" + MESSAGE])
def test_what_is_not_framed_is_not_taken(shared: Shared, raw: bytes) -> None:
    before = shared.store.facts.count()
    with Sender(shared.port) as sender:
        sender.put(raw)
        sender.socket.shutdown(1)
        assert sender.answer() == ""

    assert shared.store.facts.count() == before


def test_a_silent_connection_is_closed(shared: Shared) -> None:
    with Sender(shared.port) as sender:
        assert sender.answer() == ""


def test_connections_beyond_the_limit_are_closed_and_the_others_go_on(mllp: RunningMllp) -> None:
    senders = [Sender(mllp.port) for _ in range(20)]
    try:
        assert all(code(sender.send(another())) == "AA" for sender in senders)
        with Sender(mllp.port) as one_more:
            assert one_more.answer() == ""
        assert code(senders[0].send(MESSAGE)) == "AA"
    finally:
        for sender in senders:
            sender.socket.close()


def test_many_senders_at_once_lose_nothing(shared: Shared) -> None:
    before = shared.store.facts.count()
    codes: list[str] = []

    def talk() -> None:
        with Sender(shared.port) as sender:
            codes.extend(code(sender.send(another())) for _ in range(10))

    threads = [threading.Thread(target=talk) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert codes == ["AA"] * 100
    assert shared.store.facts.count() == before + 100


def test_a_stopped_listener_ends_in_order(mllp: RunningMllp) -> None:
    with Sender(mllp.port) as sender:
        assert code(sender.send(MESSAGE)) == "AA"

        assert mllp.stop() == 0


def test_while_the_store_cannot_be_written_nothing_is_accepted(shared: Shared) -> None:
    """Another process holds the writer's lock for longer than anybody waits."""
    before, message = shared.store.facts.count(), another()
    database = Path(load_settings(shared.config, {}).database.removeprefix("sqlite:///"))
    with database.with_name(f"{database.name}.writer-lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Sender(shared.port) as sender:
            sender.socket.settimeout(60)
            assert code(sender.send(message)) == "AE"
        assert shared.store.facts.count() == before

    with Sender(shared.port) as sender:
        assert code(sender.send(message)) == "AA"
    assert shared.store.facts.count() == before + 1


def test_a_listener_that_is_killed_has_stored_whatever_it_accepted(config: Path, store: Store) -> None:
    accepted: list[int] = []
    with start_mllp(config) as mllp:

        def talk() -> None:
            with Sender(mllp.port) as sender:
                while code(sender.send(another())) == "AA":
                    accepted.append(len(accepted))

        thread = threading.Thread(target=talk)
        thread.start()
        while len(accepted) < 30:
            time.sleep(0.01)
        mllp.kill()
        thread.join()

    assert len(accepted) <= store.facts.count() <= len(accepted) + 1


def test_a_message_without_an_answer_is_stored_once_when_it_is_sent_again(config: Path, store: Store) -> None:
    with start_mllp(config) as mllp:
        mllp.process.send_signal(signal.SIGSTOP)
        with Sender(mllp.port) as sender:
            sender.put(b"\x0b" + MESSAGE + b"\x1c\r")
        mllp.process.send_signal(signal.SIGCONT)
        with Sender(mllp.port) as sender:
            assert code(sender.send(MESSAGE)) == "AA"

    assert store.facts.count() == 1


def test_only_the_listed_peers_may_connect(config: Path) -> None:
    with start_mllp(config, listener='peers = ["10.0.0.0/8"]') as mllp, Sender(mllp.port) as sender:
        assert sender.answer() == ""


def test_nothing_of_a_patient_gets_into_the_log(mllp: RunningMllp) -> None:
    with Sender(mllp.port) as sender:
        sender.send(MESSAGE)
        sender.send(MESSAGE.replace(b"20260105103000", b"MUSTER"))
        sender.send(b"MUSTER 70001")
        sender.put(b"MUSTER 70001")
    mllp.stop()

    log = mllp.log.read_text()
    assert "refused" in log
    for secret in ("MUSTER", "MARA", "70001", "ketamine", "P1001"):
        assert secret not in log


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a server's and a client's certificate, made by openssl."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "rsa:2048", "-nodes", "-keyout")
    openssl(*new, "ca.key", "-x509", "-days", "2", "-subj", "/CN=test authority", "-out", "ca.pem")
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    for name in ("server", "client"):
        openssl(*new, f"{name}.key", "-subj", f"/CN={name}", "-out", f"{name}.csr")
        sign = ("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
        openssl(*sign, "-days", "2", "-extfile", "names", "-out", f"{name}.pem")
    return folder


def tls(folder: Path, *, client: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if client:
        context.load_cert_chain(folder / "client.pem", folder / "client.key")
    return context


def test_a_client_certificate_opens_a_tls_listener(config: Path, certificates: Path) -> None:
    files = {"certificate": "server.pem", "key": "server.key", "client_ca": "ca.pem"}
    keys = "\n".join(f'{key} = "{certificates / name}"' for key, name in files.items())
    with start_mllp(config, listener=keys) as mllp:
        with Sender(mllp.port, tls=tls(certificates, client=True)) as sender:
            assert code(sender.send(MESSAGE)) == "AA"
        try:
            with Sender(mllp.port, tls=tls(certificates, client=False)) as stranger:
                assert code(stranger.send(MESSAGE)) == ""
        except ssl.SSLError:
            pass
        with Sender(mllp.port) as plain:
            plain.put(b"\x0b" + MESSAGE + b"\x1c\r")
            assert b"MSA" not in plain.socket.recv(1000)


def test_a_certificate_that_cannot_be_used_ends_the_start_with_a_sentence(config: Path, certificates: Path) -> None:
    keys = f'certificate = "{certificates / "server.pem"}"\nkey = "{certificates / "client.key"}"'
    with (
        pytest.raises(RuntimeError, match="certificate, key or client_ca cannot be used"),
        start_mllp(config, listener=keys),
    ):
        pass


def test_a_port_that_is_taken_ends_the_start_with_a_sentence(shared: Shared) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "afterdose", "mllp", "--config", str(shared.config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode != 0
    assert f"cannot listen on port {shared.port}" in done.stderr
    assert "already in use" in done.stderr
