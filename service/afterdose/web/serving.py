"""Starts the HTTP server: granian, with as many processes as the settings say.

Slow or malformed headers and bodies that contradict themselves end inside granian; slow bodies end in ``body``.
"""

from datetime import timedelta

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server import Server

from afterdose.settings import Settings
from afterdose.web import metrics

FACTORY = "afterdose.bootstrap:wsgi"
HEADER_BYTES = 131_072

# Everything goes through the root logger, which logs.configure has set up.
_LOGGERS = {name: {"handlers": [], "level": "INFO", "propagate": True} for name in ("_granian", "granian.access")}


def serve(settings: Settings, *, factory: str = FACTORY) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests that are under way.

    ``factory`` names a function without arguments that returns the WSGI application; each server process calls it
    once, in its own memory.
    """
    web = settings.web
    metrics.begin_at_zero(metrics.directory(settings.data_dir))
    Server(
        factory,
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
    ).serve()


def _milliseconds(length: timedelta) -> int:
    return max(1, round(length.total_seconds() * 1000))
