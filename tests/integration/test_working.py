"""`afterdose work` by itself: it says that it works, and ends when it is told to."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from web_server import write_settings

pytestmark = pytest.mark.service

NO_PROOF = '[targets.ehr.auth]\nkind = "none"\n'


def test_who_starts_a_worker_sees_in_the_log_that_it_works(tmp_path: Path, eventually: Callable[..., Any]) -> None:
    log = tmp_path / "work.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "afterdose", "work", "--config", str(write_settings(tmp_path, more=NO_PROOF))]
        worker = subprocess.Popen(command, stderr=output)
    try:
        eventually(lambda: b'"event": "working on what was received"' in log.read_bytes())
    finally:
        worker.send_signal(signal.SIGTERM)

    assert worker.wait(30) == 0
