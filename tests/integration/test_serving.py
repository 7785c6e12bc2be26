"""The server as it is started: several processes, one set of counters, and an end that finishes what was begun."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from afterdose.core.errors import BadSettings, StoreUnusable
from afterdose.settings import load_settings
from afterdose.web.port import kept
from afterdose.web.serving import serve
from servers import free_port
from web_server import BODY_SECONDS, OPERATIONS, START_SECONDS, TOKEN, RunningWeb, start_web, write_settings

pytestmark = pytest.mark.service
two_cpus = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="needs Linux and two CPUs"
)

DOSE = {
    "resourceType": "MedicationAdministration",
    "id": "d1",
    "status": "completed",
    "medicationCodeableConcept": {"text": "x"},
    "subject": {"reference": "Patient/p1"},
    "effectiveDateTime": "2026-01-05T10:00:00Z",
}

FAILS_WHEN_TOLD = """
import os, signal
from afterdose.settings import load_settings
from afterdose.web.serving import serve

def fail(*_):
    raise MemoryError

signal.signal(signal.SIGUSR1, fail)
serve(load_settings(None, os.environ))
"""


def call(web: RunningWeb, method: str, path: str, body: bytes | None = None, token: str = TOKEN) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=10)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_the_counters_of_all_processes_are_added_up(tmp_path: Path) -> None:
    with start_web(tmp_path, processes=2) as web:
        for number in range(20):
            assert call(web, "POST", "/fhir", json.dumps(DOSE | {"id": f"d{number}"}).encode())[0] == 200

        for _ in range(5):
            status, text = call(web, "GET", "/metrics", token=OPERATIONS)
            assert status == 200
            counted = re.search(r'^afterdose_events_total\{.*repeated="no".*\} (\d+)', text, re.MULTILINE)
            assert counted is not None
            assert int(counted[1]) == 20
            assert "\nafterdose_agenda_due 1.0\n" in text


def test_a_request_that_has_begun_is_finished_before_the_server_ends(tmp_path: Path) -> None:
    body = json.dumps(DOSE).encode()
    head = f"POST /fhir HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/fhir+json\r\n"
    with start_web(tmp_path) as web:
        with socket.create_connection(("127.0.0.1", web.port), timeout=BODY_SECONDS) as sender:
            sender.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:40])
            web.process.send_signal(signal.SIGTERM)
            sender.sendall(body[40:])
            answer = sender.recv(65_536)

        assert answer.startswith(b"HTTP/1.1 200")
        assert web.process.wait(START_SECONDS) == 0


def test_headers_that_never_end_are_not_waited_for(tmp_path: Path) -> None:
    with start_web(tmp_path) as web, socket.create_connection(("127.0.0.1", web.port), timeout=10) as sender:
        sender.sendall(b"POST /fhir HTTP/1.1\r\nHost: x\r\n")

        answer = sender.recv(1000)

    assert answer == b"" or b" 408 " in answer


def test_a_database_that_was_not_prepared_is_named_once_and_ends_the_start(tmp_path: Path) -> None:
    settings = load_settings(write_settings(tmp_path), {})

    with pytest.raises(StoreUnusable, match="afterdose migrate"):
        serve(replace(settings, database=f"sqlite:///{tmp_path}/other.db"))


def test_the_database_and_the_counters_are_for_the_owner_only(tmp_path: Path) -> None:
    with start_web(tmp_path) as web:
        assert (web.settings.data_dir / f"metrics-{web.port}").stat().st_mode & 0o077 == 0
        assert (tmp_path / "afterdose.db").stat().st_mode & 0o077 == 0


def test_who_finds_the_port_in_use_says_so_and_leaves_the_counters_of_the_other_alone(tmp_path: Path) -> None:
    with start_web(tmp_path) as web:
        assert call(web, "POST", "/fhir", json.dumps(DOSE).encode())[0] == 200

        with pytest.raises(BadSettings, match=rf"^web\.port: cannot listen on 127\.0\.0\.1, port {web.port} \(Address"):
            serve(web.settings)

        assert re.search(r"^afterdose_events_total\{.* 1\.0$", call(web, "GET", "/metrics", token=OPERATIONS)[1], re.M)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets processes share a port so")
def test_of_two_servers_that_start_at_the_same_moment_one_gets_the_port() -> None:
    place = ("127.0.0.1", free_port())
    refused = pytest.raises(BadSettings, match=rf"^web\.port: .* port {place[1]} ")

    with kept(*place), refused, kept(*place):  # the first one does not listen yet
        pytest.fail("two have the port")
    with kept(*place):
        pass


def test_server_processes_end_with_the_main_process_however_that_ended(
    tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    def is_free() -> bool:
        try:
            with kept("127.0.0.1", web.port):
                return True
        except BadSettings:
            return False

    with start_web(tmp_path, processes=2) as web:
        eventually(lambda: web.log.read_bytes().count(b"Started worker") == 2)

        web.process.kill()

        eventually(is_free)
        eventually(lambda: web.log.read_bytes().count(b"the main process is gone") == 2)


def test_an_error_of_the_main_process_ends_all_of_them(tmp_path: Path, eventually: Callable[..., Any]) -> None:
    port = free_port()
    environ = {**os.environ, "AFTERDOSE_CONFIG": str(write_settings(tmp_path, port=port))}
    log = tmp_path / "web.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", FAILS_WHEN_TOLD], env=environ, stdout=output, stderr=output)
    try:
        eventually(lambda: b"Started worker" in log.read_bytes())

        process.send_signal(signal.SIGUSR1)

        assert process.wait(START_SECONDS) == 1
        with kept("127.0.0.1", port):
            pass
    finally:
        process.kill()


def test_ctrl_c_which_every_process_of_a_terminal_gets_ends_the_server_at_once(
    tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    with start_web(tmp_path, processes=2) as web:
        eventually(lambda: web.log.read_bytes().count(b"Started worker") == 2)

        for process in (*server_processes(web), web.process.pid):
            os.kill(process, signal.SIGINT)

        assert web.process.wait(START_SECONDS) == 0
    assert b"refused to gracefully stop" not in web.log.read_bytes()


def server_processes(web: RunningWeb) -> list[int]:
    children = Path(f"/proc/{web.process.pid}/task/{web.process.pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def cpus_of_the_processes(web: RunningWeb) -> set[str]:
    """On which CPUs the threads of the server processes may run, as the kernel lists them."""
    found = set()
    for child in server_processes(web):
        threads = [status.read_text() for status in Path(f"/proc/{child}/task").glob("*/status")]
        lists = {one[1] for text in threads if (one := re.search(r"^Cpus_allowed_list:\s*(\S+)", text, re.MULTILINE))}
        assert len(lists) == 1, "all threads of a process may run on the same CPUs"
        found |= lists
    return found


@two_cpus
def test_each_server_process_keeps_to_a_cpu_of_its_own(tmp_path: Path, eventually: Callable[..., Any]) -> None:
    with start_web(tmp_path, processes=2) as web:
        eventually(lambda: web.log.read_bytes().count(b"Started worker") == 2)
        for number in range(20):
            assert call(web, "POST", "/fhir", json.dumps(DOSE | {"id": f"d{number}"}).encode())[0] == 200

        found = cpus_of_the_processes(web)

    assert len(found) == 2
    assert {int(cpu) for cpu in found} <= os.sched_getaffinity(0)


@two_cpus
def test_where_the_site_says_so_server_processes_run_on_every_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    monkeypatch.setenv("AFTERDOSE_WEB__ONE_CPU_EACH", "false")

    with start_web(tmp_path, processes=2) as web:
        eventually(lambda: web.log.read_bytes().count(b"Started worker") == 2)
        [found] = cpus_of_the_processes(web)

    assert not found.isdigit()


def test_a_start_warns_of_nothing_on_a_host_with_fewer_cpus_than_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    monkeypatch.setenv("AFTERDOSE_WEB__THREADS", "256")

    with start_web(tmp_path) as web:
        eventually(lambda: b"Started worker" in web.log.read_bytes())

    assert b'"level": "warning"' not in web.log.read_bytes()
