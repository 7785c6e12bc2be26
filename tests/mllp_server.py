"""`afterdose mllp` for tests: in a process of its own, on a real socket; and a sender that frames as engines do."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers import free_port

START_SECONDS = 30.0


@dataclass(frozen=True)
class RunningMllp:
    """A listener that listens."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> int:
        """Ask it to stop, and wait; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(START_SECONDS)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()


@contextmanager
def start_mllp(config: Path, *, port: int | None = None, listener: str = "") -> Iterator[RunningMllp]:
    """Serve one listener, which is added to the settings, for one `with` block. ``listener``: more keys of it."""
    port = port or free_port()
    config.write_text(f'{config.read_text()}\n[[mllp]]\nsource = "ehr"\nport = {port}\n{listener}\n')
    log = config.parent / "mllp.log"
    command = [sys.executable, "-m", "afterdose", "mllp", "--config", str(config)]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env={**os.environ})
    try:
        _wait_until_it_listens(process, log)
        yield RunningMllp(port, process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _wait_until_it_listens(process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        if "listening for HL7 v2" in log.read_text():
            return
        time.sleep(0.02)
    raise RuntimeError(f"the listener did not start: {log.read_text()[-2000:]}")


class Sender:
    """One connection of an interface engine."""

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket = tls.wrap_socket(plain, server_hostname="localhost") if tls else plain
        self._rest = b""

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def put(self, raw: bytes) -> None:
        """Bytes as they are."""
        self.socket.sendall(raw)

    def send(self, message: bytes) -> str:
        """A message in its frame; the answer to it."""
        self.put(b"\x0b" + message + b"\x1c\r")
        return self.answer()

    def answer(self) -> str:
        """The next answer, "" where the connection ended before there was a whole one."""
        while b"\x1c\r" not in self._rest:
            try:
                piece = self.socket.recv(65_536)
            except ConnectionError:
                return ""
            if not piece:
                return ""
            self._rest += piece
        framed, _, self._rest = self._rest.partition(b"\x1c\r")
        assert framed.startswith(b"\x0b")
        return framed[1:].decode()


def code(answer: str) -> str:
    """MSA-1."""
    return next((line.split("|")[1] for line in answer.split("\r") if line.startswith("MSA")), "")
