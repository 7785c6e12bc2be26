"""Who listens on the port: the processes of one server, and none of them for longer than that server lives.

Each server process listens by itself, and the kernel spreads connections over them (SO_REUSEPORT, see socket(7)). It
does so for every process of the same user. A second server, with a database of its own, would unnoticed get half of the
first one's events; so would what is left of a server whose main process was killed.
"""

import ipaddress
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.connection import wait

from afterdose.core.errors import BadSettings
from afterdose.logs import get_logger

_log = get_logger()


@contextmanager
def kept(host: str, port: int) -> Iterator[None]:
    """Nobody else serves on the port during the block. Raises BadSettings where somebody does, or we cannot."""
    address = ipaddress.ip_address(host)
    try:
        with _mark(f"afterdose {address} {port}"):
            _listen_alone(address, port)
            yield
    except _Refused as refused:
        raise BadSettings(f"web.port: cannot listen on {host}, port {port} ({refused})") from None


class _Refused(Exception):
    """The port cannot be had; the reason as the operating system says it."""


@contextmanager
def _mark(name: str) -> Iterator[None]:
    """A name that one process of this machine has at a time, until it ends: two servers that start at the same moment
    would both find the port free. An abstract socket of Linux (unix(7)); other systems do not share ports so."""
    with socket.socket(socket.AF_UNIX) as mark:
        if sys.platform == "linux":
            try:
                mark.bind(f"\0{name}")
            except OSError as error:
                raise _Refused(error.strerror) from None
        yield


def _listen_alone(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    """Bind for a moment without sharing. SO_REUSEADDR is for connections of an earlier server that are ending."""
    with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((str(address), port))
        except OSError as error:
            raise _Refused(error.strerror) from None


def follow_parent(patience: timedelta) -> None:
    """End this server process when the main process says so, and when it is gone: its requests first, for which it has
    ``patience``.

    Ctrl-C in a terminal reaches all of them at once, and granian's handlers of SIGINT and of the SIGTERM that follows
    stop each other for ever; so SIGINT is for the main process alone.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        threading.Thread(target=_leave, args=(parent.sentinel, patience), name="afterdose-parent", daemon=True).start()


def _leave(sentinel: int, patience: timedelta) -> None:
    wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    _log.error("the main process is gone: a server process ends")
    time.sleep(patience.total_seconds())
    os._exit(1)
