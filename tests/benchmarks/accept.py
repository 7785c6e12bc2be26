"""What a durable accept costs, as a share of a Flask route that only reads the body and answers 202.

    python tests/benchmarks/accept.py [--postgres URL] [--seconds 5] [--rounds 3] [--json FILE]

Every row is a WSGI route under a server of two processes with as many threads as the product has by default; rows take
turns for some rounds and the medians are shown. To measure another route, add a `Row`.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from afterdose.store.migrate import migrate

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from load import Measured, measure  # noqa: E402

PROCESSES, THREADS, CONNECTIONS = 2, 32, 64
BASELINE = "granian, bare 202"
GUNICORN = "gunicorn gthread, bare 202"
RAW = "granian, bare 202 without Flask"
GUNICORN_RAW = "gunicorn gthread, 202 without Flask"
APP_ON_SQLITE = "granian, the real app on SQLite"
APP_ON_POSTGRES = "granian, the real app on PostgreSQL"

HEADERS = {"Content-Type": "application/fhir+json"}
TOKEN = "benchmark-" + "7" * 54
SETTINGS = """
data_dir = "{folder}"
database = "{database}"
[targets.ehr]
base_url = "https://ehr.example.org/fhir"
clinic = "example-7-days"
[sources.ehr]
target = "ehr"
[[sources.ehr.secrets]]
value = "{token}"
"""


@dataclass(frozen=True)
class Row:
    """One thing to measure: a WSGI callable (`module:name`) under a server, with the environment that it needs.

    `factory`: the route names a function that makes the callable. `path` is the beginning of the URL path, the id is
    appended.
    """

    name: str
    route: str
    server: str = "granian"
    environment: Mapping[str, str] = field(default_factory=dict)
    path: str = "/fhir/MedicationAdministration/"
    headers: Mapping[str, str] = field(default_factory=lambda: dict(HEADERS))
    factory: bool = False


def rows(folder: Path, postgres: str | None) -> list[Row]:
    """The rows to measure; databases are made on the way."""
    sqlite = f"sqlite:///{folder}/benchmark/afterdose.db"
    migrate(sqlite)
    chosen = [
        Row(BASELINE, "routes:bare"),
        Row(RAW, "routes:raw"),
        Row("granian, durable on SQLite", "routes:durable", environment={"BENCHMARK_DATABASE": sqlite}),
        _real_app(APP_ON_SQLITE, folder / "app-on-sqlite", sqlite.replace("/benchmark/", "/app-on-sqlite/")),
    ]
    if postgres:
        migrate(postgres)
        environment = {"BENCHMARK_DATABASE": postgres}
        chosen.append(Row("granian, durable on PostgreSQL", "routes:durable", environment=environment))
        chosen.append(_real_app(APP_ON_POSTGRES, folder / "app-on-postgres", postgres))
    if shutil.which("gunicorn", path=_programs()):
        chosen.append(Row(GUNICORN, "routes:bare", server="gunicorn"))
        chosen.append(Row(GUNICORN_RAW, "routes:raw", server="gunicorn"))
    return chosen


def _real_app(name: str, folder: Path, database: str) -> Row:
    """The web part of the product: authentication, strict JSON, intake, the store."""
    folder.mkdir()
    config = folder / "afterdose.toml"
    config.write_text(SETTINGS.format(folder=folder, database=database, token=TOKEN))
    migrate(database)
    return Row(
        name,
        "afterdose.bootstrap:wsgi",
        environment={"AFTERDOSE_CONFIG": str(config)},
        headers=HEADERS | {"Authorization": f"Bearer {TOKEN}"},
        factory=True,
    )


def body() -> str:
    """A MedicationAdministration of 1.5 KB with @ID@ where its id stands."""
    resource = {
        "resourceType": "MedicationAdministration",
        "id": "@ID@",
        "meta": {"versionId": "1", "lastUpdated": "2026-01-05T15:10:00Z"},
        "status": "completed",
        "medicationCodeableConcept": {"text": "a drug"},
        "subject": {"reference": "Patient/@ID@"},
        "effectiveDateTime": "2026-01-05T15:10:00Z",
        "dosage": {"dose": {"value": 1, "unit": "mg"}},
        "note": [{"text": ""}],
    }
    resource["note"] = [{"text": "x" * (1500 - len(json.dumps(resource)))}]
    return json.dumps(resource)


@contextmanager
def serving(row: Row) -> Iterator[int]:
    """Run the row's server and give its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    environment = os.environ | dict(row.environment) | {"PYTHONPATH": _modules(), "PATH": _programs()}
    if row.server == "granian":
        command = ["granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--no-ws"]
        command += ["--workers", str(PROCESSES), "--blocking-threads", str(THREADS), "--log-level", "error"]
        command += ["--factory"] if row.factory else []
    else:
        command = ["gunicorn", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--log-level", "error"]
        command += ["--workers", str(PROCESSES), "--threads", str(THREADS), "--keep-alive", "30"]
    process = subprocess.Popen([*command, row.route], env=environment, cwd=HERE)
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(chosen: list[Row], *, seconds: float, rounds: int) -> dict[str, Measured]:
    """Measure every row in turn, `rounds` times; medians by row."""
    found: dict[str, list[Measured]] = {row.name: [] for row in chosen}
    content = body()
    for turn in range(rounds):
        for row in chosen:
            with serving(row) as port:
                mark = f"{turn}w{int(time.time())}"
                for length, name in ((1.0, mark), (seconds, mark + "m")):
                    measured = measure(
                        port, row.path, row.headers, content, seconds=length, connections=CONNECTIONS, run=name
                    )
                found[row.name].append(measured)
    names = list(Measured.__dataclass_fields__)
    return {
        row: Measured(**{name: statistics.median(getattr(one, name) for one in all_of) for name in names})
        for row, all_of in found.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", metavar="URL", help="an empty PostgreSQL database")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="accept-") as folder:
        results = run(rows(Path(folder), arguments.postgres), seconds=arguments.seconds, rounds=arguments.rounds)
    base = results[BASELINE].per_second
    print(f"{'':36} {'per s':>8} {'ratio':>6} {'p50 ms':>7} {'p99 ms':>7} {'max ms':>7} {'failed':>6}")
    for name, one in results.items():
        print(
            f"{name:36} {one.per_second:8.0f} {one.per_second / base:6.2f} {one.p50:7.1f} {one.p99:7.1f}"
            f" {one.slowest:7.1f} {one.failed:6.0f}"
        )
    if arguments.json:
        figures = {name: asdict(one) | {"ratio": one.per_second / base} for name, one in results.items()}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def _programs() -> str:
    return os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))


def _modules() -> str:
    return os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode} while starting")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the server did not answer within 15 s")


if __name__ == "__main__":
    main()
