"""The whole service in its own processes (`afterdose run`) against an EHR that takes some milliseconds for each call.

How long a dose takes from its POST to the CarePlan in the EHR, compared with the EHR's own time for the calls up to
then; how long from the start of the process; and how much memory the processes hold.
"""

import re
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import requests
from doses import a_dose, chart
from ehr import Ehr, start_ehr

sys.path.insert(0, str(Path(__file__).parents[1]))

from running_service import RunningService

LATENCY_MS = 5
PATIENCE = 20.0


def measure(doses: int = 60) -> dict[str, float]:
    """Milliseconds and megabytes."""
    with tempfile.TemporaryDirectory(prefix="service-") as folder, start_ehr(latency_ms=LATENCY_MS) as ehr:
        service = RunningService(Path(folder), ehr.base_url, processes=1, threads=2)
        started = time.time()
        try:
            service.start()
            answering = time.time()
            session = requests.Session()
            first = _dose(service, ehr, session, "first")
            figures = {
                "start to first answer ms": 1000 * (answering - started),
                "start to first plan ms": 1000 * (first.visible - started),
                "first dose, sent to visible ms": 1000 * first.took,
            }
            later = [_dose(service, ehr, session, f"p{number}") for number in range(doses)]
            own = statistics.median(one.own for one in later)
            took = sorted(one.took for one in later)
            figures |= {
                "sent to visible, p50 ms": 1000 * statistics.median(took),
                "sent to visible, p95 ms": 1000 * took[int(0.95 * len(took))],
                "the EHR's own calls ms": 1000 * own,
                "sent to visible / (1.5 x own + 50 ms)": statistics.median(took) / (1.5 * own + 0.050),
            }
            return figures | _memory(service)
        finally:
            service.stop()


class _Seen:
    """One dose: when its plan stood in the EHR, how long that took, how much of it were the EHR's own calls."""

    def __init__(self, sent: float, visible: float, own: float) -> None:
        self.visible, self.took, self.own = visible, visible - sent, own


def _dose(service: RunningService, ehr: Ehr, session: requests.Session, patient: str) -> _Seen:
    dose = a_dose(f"dose-{patient}", patient, datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1))
    chart(ehr, dose)
    # What was still to do for the dose before; and a target takes 50 calls a second, of which a dose needs about 15.
    time.sleep(0.4)
    ehr.calls()
    sent = time.time()
    service.send(dose, session=session).raise_for_status()
    while time.time() < sent + PATIENCE:
        time.sleep(0.02)
        for committed, plan in ehr.written("CarePlan"):
            if plan["subject"]["reference"] == f"Patient/{patient}":
                visible = committed.timestamp() + 0.0005  # commits are cut to milliseconds
                calls = [call for call in ehr.calls() if call.answered < visible + 0.005]
                return _Seen(sent, visible, sum(call.seconds for call in calls))
    raise RuntimeError("the plan did not come")


def _memory(service: RunningService) -> dict[str, float]:
    """Resident and proportional set size of every process of the service, in megabytes."""
    processes = list(Path("/proc").glob("[0-9]*"))
    leader = next(int(path.name) for path in processes if str(service.config).encode() in _read(path / "cmdline"))
    members = [path for path in processes if _group(path) == leader]
    sums = {"Rss": 0, "Pss": 0}
    for path in members:
        rollup = _read(path / "smaps_rollup").decode()
        for name in sums:
            sums[name] += int(re.search(rf"^{name}: +(\d+) kB", rollup, re.MULTILINE)[1])
    return {"processes": len(members)} | {f"memory, {name.upper()} MB": size / 1024 for name, size in sums.items()}


def _group(process: Path) -> int | None:
    fields = _read(process / "stat").rpartition(b")")[2].split()
    return int(fields[2]) if fields else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


if __name__ == "__main__":
    for name_, value_ in measure().items():
        print(f"{name_:45} {value_:8.2f}")
