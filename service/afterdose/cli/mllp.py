"""`afterdose mllp`: HL7 v2 from interface engines, over MLLP."""

import asyncio
import signal
from pathlib import Path

import click

from afterdose.bootstrap import message_desk, utc_now
from afterdose.cli.serve import options, prepare
from afterdose.core.errors import BadSettings
from afterdose.store.store import open_store
from afterdose.web.mllp import MllpServer


@click.command(short_help="Receive HL7 v2 messages over MLLP.")
@options
def mllp(config: Path | None, insecure_dev: bool) -> None:
    """Receive HL7 v2 messages over MLLP, on the listeners of the settings, until SIGTERM. Needs a migrated database."""
    settings = prepare(config, insecure_dev)
    if not settings.mllp:
        raise BadSettings("mllp: expected at least one [[mllp]] listener")
    store = open_store(settings.database, clock=utc_now)
    try:
        store.check_schema()
        messages = message_desk(settings, store, clock=utc_now)
        asyncio.run(_serve(MllpServer(messages, settings.mllp, threads=settings.web.threads)))
    finally:
        store.close()


async def _serve(server: MllpServer) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await server.serve(stop, lambda: None)
