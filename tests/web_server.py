"""The real web part for tests: granian on a real socket over a real SQLite store, in processes of its own.

Run as a program it serves the settings that AFTERDOSE_CONFIG names.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry

from afterdose import logs
from afterdose.bootstrap import message_desk, utc_now
from afterdose.connections import published_keys
from afterdose.senders import sender_keys
from afterdose.settings import Settings, load_settings
from afterdose.store.migrate import migrate
from afterdose.store.store import Store, open_store
from afterdose.subscribers import hearing
from afterdose.web.app import create_app
from afterdose.web.metrics import WebMetrics
from afterdose.web.services import WebServices
from afterdose.web.serving import serve
from servers import free_port

TOKEN = "ehr-" + "7" * 60
OPERATIONS = "ops-" + "3" * 60
BODY_SECONDS = 2
START_SECONDS = 30

SETTINGS = f"""
data_dir = "data"
database = "sqlite:///{{folder}}/afterdose.db"
[web]
port = {{port}}
processes = {{processes}}
threads = 4
max_body_bytes = 1048576
header_timeout = "3s"
body_timeout = "{BODY_SECONDS}s"
stop_timeout = "10s"
[log]
level = "debug"
[[operations]]
value = "{OPERATIONS}"
[targets.ehr]
base_url = "https://ehr.example.org/fhir"
clinic = "example"
[sources.ehr]
target = "ehr"
[[sources.ehr.secrets]]
value = "{TOKEN}"
"""


@dataclass(frozen=True)
class RunningWeb:
    """A server that answers."""

    port: int
    settings: Settings
    log: Path
    process: subprocess.Popen[bytes]


def write_settings(folder: Path, *, port: int = 8080, processes: int = 1, more: str = "") -> Path:
    """Settings with one source and one target, and a migrated database beside them. ``more`` is added to them."""
    path = folder / "afterdose.toml"
    path.write_text(SETTINGS.format(folder=folder, port=port, processes=processes) + more)
    migrate(load_settings(path, {}).database)
    return path


@dataclass(frozen=True)
class Web:
    """The application in this process, and what is behind it."""

    client: FlaskClient
    store: Store
    app: Flask

    def counted(self, line: str) -> bool:
        """Whether the metrics hold this line."""
        answer = self.client.get("/metrics", headers={"Authorization": f"Bearer {OPERATIONS}"})
        return f"\n{line}\n" in answer.text


@contextmanager
def open_web(
    folder: Path, settings: Settings | None = None, *, clock: Callable[[], datetime] = utc_now
) -> Iterator[Web]:
    """The application over a real SQLite store, without a socket."""
    settings = settings or load_settings(write_settings(folder), {})
    store = open_store(settings.database, clock=clock)
    heard = hearing(settings, store)
    services = WebServices(
        settings=settings,
        submit=store.committer.submit,
        hurry=store.sweeps.hurry,
        hear=heard.hear,
        counts=heard.counts,
        keep_unread=store.unread.keep,
        quarantine=store.quarantine,
        deliveries=store.deliveries,
        sender_keys=sender_keys(settings),
        clock=clock,
        messages=message_desk(settings, store, clock=clock),
        checks={"database": store.check_ready},
        published_keys=lambda: published_keys(settings, clock()),
        subscriptions=store.subscriptions.all,
        metrics=WebMetrics(
            CollectorRegistry(),
            lambda: {"afterdose_agenda_due": store.agenda.due_count(clock())},
            subscriptions=store.subscriptions.all,
        ),
    )
    app = create_app(services)
    try:
        yield Web(app.test_client(), store, app)
    finally:
        store.close()


@contextmanager
def start_web(folder: Path, *, processes: int = 1, more: str = "") -> Iterator[RunningWeb]:
    """Serve for one `with` block; afterwards the server is told to stop and waited for."""
    port = free_port()
    path = write_settings(folder, port=port, processes=processes, more=more)
    environ = {**os.environ, "AFTERDOSE_CONFIG": str(path)}
    log = folder / "web.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, __file__], env=environ, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_until_it_answers(process, port, log)
        yield RunningWeb(port, load_settings(path, {}), log, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(START_SECONDS)


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
                probe.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                if b" 200 " in probe.recv(100):
                    return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the web server did not start:\n{log.read_text()[-4000:]}")


def _settings() -> Settings:
    return load_settings(None, os.environ)


if __name__ == "__main__":
    logs.configure(_settings().log.level, _settings().log.format)
    serve(_settings())
