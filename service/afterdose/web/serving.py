"""Starts the HTTP server: granian, with as many processes as the settings say.

Slow or malformed headers and bodies that contradict themselves end inside granian; slow bodies end in ``body``.
"""

import logging
import multiprocessing
from datetime import timedelta

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server import Server

from afterdose import logs
from afterdose.settings import Settings
from afterdose.store.engine import Database
from afterdose.web import metrics, port

FACTORY = "afterdose.bootstrap:wsgi"
"""The function that builds it. Named, not imported: bootstrap stands above this module."""

HEADER_BYTES = 131_072

# Everything goes through the root logger, which logs.configure has set up.
_LOGGERS = {name: {"handlers": [], "level": "INFO", "propagate": True} for name in (logs.SERVER, "granian.access")}


# Of more than two threads for each CPU granian says at every start that they are many. Ours wait for the disk.
_ON_THREADS = "Configuration allows spawning up to"


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests that are under way.

    Each server process builds the application for itself, from the settings that its environment names. Raises
    StoreUnusable, StoreBusy or BadSettings where they could not start, so that it is said once and not by each of them
    in turn.
    """
    web = settings.web
    logging.getLogger(logs.SERVER).addFilter(lambda record: not str(record.msg).startswith(_ON_THREADS))
    _check_database(settings.database)
    # A forked process would inherit the database connections and the locks of the threads of this one.
    multiprocessing.set_start_method("spawn", force=True)
    server = Server(
        FACTORY,
        factory=True,
        interface=Interfaces.WSGI,
        address=web.host,
        port=web.port,
        workers=web.processes,
        blocking_threads=web.threads,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=_milliseconds(web.header_timeout), max_buffer_size=HEADER_BYTES
        ),
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=max(1, round(web.stop_timeout.total_seconds())),
        log_dictconfig={"version": 1, "disable_existing_loggers": False, "loggers": _LOGGERS},
        log_access=False,
    )
    with port.kept(web.host, web.port):
        metrics.share_counters(settings.data_dir / f"metrics-{web.port}")
        try:
            server.serve()
        finally:
            _end_processes(web.stop_timeout)


def _end_processes(patience: timedelta) -> None:
    """End what still serves. After an error of ours (no memory for another process, say) the interpreter would wait for
    it for ever, with nobody left to work on what it takes."""
    left = multiprocessing.active_children()
    for process in left:
        process.terminate()
    for process in left:
        process.join(patience.total_seconds())
        if process.is_alive():
            process.kill()


def _check_database(url: str) -> None:
    database = Database(url)
    try:
        database.check_schema()
    finally:
        database.close()


def _milliseconds(length: timedelta) -> int:
    return max(1, round(length.total_seconds() * 1000))
