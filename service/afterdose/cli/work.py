"""The processes that work on what was received: `run` (beside receiving) and `work`."""

import signal
import threading
from pathlib import Path

import click

from afterdose import logs
from afterdose.cli.serve import options, prepare, prepare_web
from afterdose.store.migrate import migrate
from afterdose.web.serving import serve
from afterdose.workshop import Workshop


def _wait_for_the_end() -> None:
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    end.wait()


@click.command(short_help="Receive events and work on them, in one go.")
@options
def run(config: Path | None, insecure_dev: bool) -> None:
    """Receive events and work on them, in one go; prepares the database first."""
    settings = prepare_web(config, insecure_dev)
    migrate(settings.database)
    with Workshop(settings) as workshop:
        workshop.start()
        serve(settings)


@click.command()
@options
def work(config: Path | None, insecure_dev: bool) -> None:
    """Work on what was received, until SIGTERM. Needs a migrated database."""
    settings = prepare(config, insecure_dev)
    with Workshop(settings) as workshop:
        workshop.start()
        logs.get_logger().info("working on what was received", threads=settings.work.threads)
        _wait_for_the_end()
