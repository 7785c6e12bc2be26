"""What a dose costs the worker in CPU, as a multiple of the bare HTTP calls that it makes.

The worker runs in this process, the EHR in another one. Then the same calls are made again by `requests` alone, against
a server that gives the same answers.
"""

import multiprocessing
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import requests
from doses import a_dose, chart
from ehr import Ehr, start_ehr

from afterdose.core.reasons import Outcome
from afterdose.ehr.outbound import Outbound
from afterdose.ehr.wire import Answer, Request
from afterdose.fhir import strict_json
from afterdose.settings import load_settings
from afterdose.store.migrate import migrate
from afterdose.work.intake.bodies import Origin, receive
from afterdose.work.worker import Worker
from afterdose.workshop import Workshop

SETTINGS = """
data_dir = "{folder}"
insecure_dev = true
[targets.ehr]
base_url = "{ehr}"
clinic = "example-7-days"
deadline = "5s"
timeout_read = "5s"
[sources.ehr]
target = "ehr"
zone = "America/New_York"
"""
COURSE = 8
FIRST_DOSE = datetime(2026, 1, 5, 15, 10, tzinfo=UTC)
BETWEEN_DOSES = timedelta(days=3)
BETWEEN_COURSES = timedelta(days=40)


class Exchange(NamedTuple):
    """A call of the worker and its answer."""

    request: Request
    answer: Answer


class Watch:
    """A clock that shows what it is set to."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@contextmanager
def workshop(folder: Path, ehr: Ehr, watch: Watch) -> Iterator[Workshop]:
    """The workers' part of the service over a new SQLite database."""
    config = folder / "afterdose.toml"
    config.write_text(SETTINGS.format(folder=folder, ehr=ehr.base_url))
    settings = load_settings(config, {})
    migrate(settings.database)
    with Workshop(settings, clock=watch) as built:
        yield built


@dataclass(frozen=True)
class Bench:
    """A worker in this process, the EHR that it calls, and the clock that it lives by."""

    ehr: Ehr
    built: Workshop
    watch: Watch
    worker: Worker

    def arrive(self, patient: int, number: int) -> str:
        """Let the dose with this number be charted and received, when nothing else is left to do; its id."""
        ended = FIRST_DOSE + patient * BETWEEN_COURSES + number * BETWEEN_DOSES
        dose = a_dose(f"{patient}-{number}", f"patient-{patient}", ended)
        chart(self.ehr, dose)
        self.watch.now = ended + timedelta(minutes=5)
        while self.worker.work_once():  # who has become due by time
            pass
        (base_url,) = (source.base_url for source in self.built.settings.sources.values())
        arrivals = receive(strict_json.dumps(dose), Origin("ehr", "ehr", base_url)).arrivals
        self.built.store.committer.submit(arrivals)
        return f"{patient}-{number}"

    def work(self, dose: str) -> float:
        """The worker's CPU seconds for the dose that has arrived."""
        begun = time.process_time()
        self.worker.work_once()
        spent = time.process_time() - begun
        outcome = self.built.store.outcomes.find("ehr", dose)
        if outcome is None or outcome.outcome is not Outcome.PLANNED:
            raise RuntimeError(f"the dose was not planned: {outcome}")
        return spent

    def give(self, patient: int, number: int) -> float:
        """Both, one after the other."""
        return self.work(self.arrive(patient, number))

    def course(self, patient: int) -> list[float]:
        """Give a patient a whole course."""
        return [self.give(patient, number) for number in range(COURSE)]


@contextmanager
def bench() -> Iterator[Bench]:
    """Everything built, nothing done yet."""
    watch = Watch()
    with (
        tempfile.TemporaryDirectory(prefix="cpu-") as folder,
        start_ehr() as ehr,
        workshop(Path(folder), ehr, watch) as built,
    ):
        yield Bench(ehr, built, watch, built.worker("benchmark"))


@contextmanager
def recorded() -> Iterator[list[Exchange]]:
    """Note every call that leaves inside the block."""
    exchanges: list[Exchange] = []
    original = Outbound.send

    def noting(outbound: Outbound, request: Request) -> Answer:
        answer = original(outbound, request)
        exchanges.append(Exchange(request, answer))
        return answer

    with patch.object(Outbound, "send", noting):
        yield exchanges


def bare(exchanges: list[Exchange], times: int) -> float:
    """CPU seconds for making these calls once with `requests` alone."""
    with canned([one.answer for one in exchanges]) as port, requests.Session() as session:
        session.trust_env = False
        begun = 0.0
        for turn in range(times + 5):
            if turn == 5:
                begun = time.process_time()
            for request, _ in exchanges:
                path = request.url.split("/", 3)[3]
                session.request(
                    request.method,
                    f"http://127.0.0.1:{port}/{path}",
                    data=request.body or None,
                    headers=dict(request.headers),
                    timeout=10,
                )
        return (time.process_time() - begun) / times


@contextmanager
def canned(answers: list[Answer]) -> Iterator[int]:
    """A server in another process that gives these answers, in this order, again and again, on one connection."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_answer, args=(theirs, answers), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _answer(pipe: Connection, answers: list[Answer]) -> None:
    replies = []
    for answer in answers:
        headers = {**answer.headers, "content-length": str(len(answer.body)), "connection": "keep-alive"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        replies.append(f"HTTP/1.1 {answer.status} X\r\n{lines}\r\n".encode() + answer.body)
    with socket.create_server(("127.0.0.1", 0)) as server:
        pipe.send(server.getsockname()[1])
        connection, _ = server.accept()
        with connection, connection.makefile("rb") as incoming:
            while True:
                for reply in replies:
                    length = 0
                    while (line := incoming.readline()) not in (b"\r\n", b""):
                        name, _, value = line.partition(b":")
                        if name.lower() == b"content-length":
                            length = int(value)
                    if not line:
                        return
                    incoming.read(length)
                    connection.sendall(reply)


def measure(patients: int = 20) -> dict[str, float]:
    """CPU milliseconds of the worker and of the bare calls, for the first and for the eighth dose of a course."""
    figures = {}
    with bench() as here:
        here.built.reconciler.rehearse()  # as the workers do when they start
        figures["very first dose ms"] = 1000 * here.give(0, 0)
        here.course(1)
        courses = [here.course(2 + number) for number in range(patients)]
        for which, number in (("first", 0), ("eighth", COURSE - 1)):
            for earlier in range(number):
                here.give(100 + number, earlier)
            dose = here.arrive(100 + number, number)
            with recorded() as exchanges:
                here.work(dose)
            worker = 1000 * statistics.median(one[number] for one in courses)
            calls = 1000 * bare(exchanges, 200)
            figures[f"{which} dose, calls"] = len(exchanges)
            figures[f"{which} dose, worker ms"] = worker
            figures[f"{which} dose, bare calls ms"] = calls
            figures[f"{which} dose, worker / bare calls"] = worker / calls
    return figures


if __name__ == "__main__":
    for name_, value_ in measure().items():
        print(f"{name_:40} {value_:8.2f}")
