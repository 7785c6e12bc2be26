"""Every benchmark that can run here, with its target.

    python tests/benchmarks/run.py [--json FILE] [--seconds 5] [--rounds 3] [--only accept,rules,cpu,service]

PostgreSQL's rows run where its server programs are installed, gunicorn's where gunicorn is. Ratios are of one run: the
figures of two runs on a busy machine cannot be compared.
"""

import argparse
import json
import operator
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import accept  # noqa: E402
import cpu  # noqa: E402
import rules  # noqa: E402
import service  # noqa: E402

from servers import MissingTool, start_postgres  # noqa: E402

TARGETS: Mapping[str, str] = {
    "accept: real app on SQLite / granian bare": ">= 0.3",
    "accept: real app on SQLite / gunicorn bare": ">= 0.8",
    "accept: real app on SQLite, p99 ms": "<= 50",
    "accept: real app on PostgreSQL / granian bare": ">= 0.3",
    "accept: real app on PostgreSQL / gunicorn bare": ">= 0.8",
    "accept: real app on PostgreSQL, p99 ms": "<= 50",
    "accept: real app, PostgreSQL / SQLite": ">= 1",
    "rules: first dose, decide + encode + conform ms": "<= 3",
    "rules: eighth dose, decide + encode + conform ms": "<= 3",
    "cpu: first dose, worker / bare calls": "<= 2",
    "cpu: eighth dose, worker / bare calls": "<= 2",
    "service: sent to visible / (1.5 x own + 50 ms)": "<= 1",
    "service: memory, RSS MB": "<= 250",
}
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Figure:
    """One measured value; `met` is None where there is no target."""

    name: str
    value: float
    target: str | None
    met: bool | None


def figure(name: str, value: float) -> Figure:
    """A value beside its target."""
    target = TARGETS.get(name)
    if target is None:
        return Figure(name, value, None, None)
    relation, limit = target.split()
    return Figure(name, value, target, _COMPARE[relation](value, float(limit)))


def accepting(seconds: float, rounds: int) -> dict[str, float]:
    """What `accept` finds, as the ratios that have targets."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="accept-"))
        try:
            postgres = stack.enter_context(start_postgres()).fresh_database()
        except MissingTool as missing:
            print(f"Without PostgreSQL: {missing}", file=sys.stderr)
            postgres = None
        found = accept.run(accept.rows(Path(folder), postgres), seconds=seconds, rounds=rounds)
    figures = {f"{row} per s": one.per_second for row, one in found.items()}
    apps = {"SQLite": accept.APP_ON_SQLITE, "PostgreSQL": accept.APP_ON_POSTGRES}
    bares = {"granian": accept.BASELINE, "gunicorn": accept.GUNICORN}
    for database, row in apps.items():
        if row in found:
            for server, bare in bares.items():
                if bare in found:
                    ratio = found[row].per_second / found[bare].per_second
                    figures[f"real app on {database} / {server} bare"] = ratio
            figures[f"real app on {database}, p99 ms"] = found[row].p99
            figures[f"real app on {database}, failed"] = found[row].failed
    if accept.APP_ON_POSTGRES in found:
        ratio = found[accept.APP_ON_POSTGRES].per_second / found[accept.APP_ON_SQLITE].per_second
        figures["real app, PostgreSQL / SQLite"] = ratio
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--seconds", type=float, default=5, help="length of one measurement of `accept`")
    parser.add_argument("--rounds", type=int, default=3, help="how often each row of `accept` is measured")
    parser.add_argument("--only", default="rules,cpu,service,accept", help="which, separated by commas")
    arguments = parser.parse_args()
    parts: Mapping[str, Callable[[], dict[str, float]]] = {
        "rules": rules.measure,
        "cpu": cpu.measure,
        "service": service.measure,
        "accept": lambda: accepting(arguments.seconds, arguments.rounds),
    }
    figures = []
    for part in arguments.only.split(","):
        for name, value in parts[part]().items():
            figures.append(figure(f"{part}: {name}", value))
            _print(figures[-1])
    if arguments.json:
        machine = {"cpus": os.cpu_count(), "load": os.getloadavg()[0]}
        document = {
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine,
            "figures": [asdict(one) for one in figures],
        }
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")


def _print(one: Figure) -> None:
    verdict = {True: "met", False: "MISSED", None: ""}[one.met]
    print(f"{one.name:62} {one.value:10.2f}  {one.target or '':8} {verdict}", flush=True)


if __name__ == "__main__":
    main()
