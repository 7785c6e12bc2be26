"""The whole service for tests: `afterdose run` in a process of its own, on a real socket, against a real EHR."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

from servers import free_port

TOKEN = "sender-" + "5" * 57
OPERATIONS = "operations-" + "9" * 53
START_SECONDS = 30.0

SETTINGS = """
data_dir = "{folder}"
{database}
[web]
port = {port}
processes = {processes}
[work]
threads = {threads}
poll_interval = "200ms"
lease = "{lease}"
[targets.ehr]
base_url = "{ehr}"
clinic = "example-7-days"
deadline = "{deadline}"
timeout_read = "{deadline}"
{auth}
[sources.ehr]
target = "ehr"
zone = "America/New_York"
[[sources.ehr.secrets]]
value = "{token}"
[[operations]]
value = "{operations}"
"""


class RunningService:
    """`afterdose run` against one EHR. ``token`` is what its sender shows, ``auth`` the table of that name."""

    def __init__(
        self,
        folder: Path,
        ehr: str,
        *,
        database: str | None = None,
        threads: int = 2,
        processes: int = 1,
        lease: str = "60s",
        deadline: str = "10s",
        auth: str = "",
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.token = TOKEN
        self.fhir = f"http://127.0.0.1:{self.port}/fhir"
        self.log = folder / "service.log"
        self.config = folder / "afterdose.toml"
        self.config.write_text(
            SETTINGS.format(
                folder=folder,
                database=f'database = "{database}"' if database else "",
                port=self.port,
                processes=processes,
                threads=threads,
                lease=lease,
                ehr=ehr,
                deadline=deadline,
                auth=auth,
                token=TOKEN,
                operations=OPERATIONS,
            ),
            encoding="utf-8",
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RunningService:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and wait until the service answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "afterdose", "run", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            try:
                if requests.get(f"http://127.0.0.1:{self.port}/healthz", timeout=1).ok:
                    return
            except requests.RequestException:
                time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"the service did not start: {self.log.read_text(encoding='utf-8')[-2000:]}")

    def stop(self) -> int:
        """Ask the service to stop, and wait; its exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        finally:
            self._process = None

    def kill(self) -> None:
        """SIGKILL for every process of the service, at once."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def send(self, resource: dict[str, Any], *, session: requests.Session | None = None) -> requests.Response:
        """Post a resource as the sender does."""
        return (session or requests.Session()).post(
            self.fhir,
            data=json.dumps(resource),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/fhir+json"},
            timeout=10,
        )

    def explain(self, reference: str) -> dict[str, Any] | None:
        """`afterdose explain --json`, None where the event is not known (yet)."""
        done = subprocess.run(
            [sys.executable, "-m", "afterdose", "explain", reference, "--json", "--config", str(self.config)],
            capture_output=True,
            check=False,
        )
        return json.loads(done.stdout) if done.returncode == 0 else None
