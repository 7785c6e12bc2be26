"""Connections that heed the deadline of the call that they serve. Used by ``outbound`` alone.

``requests`` and urllib3 know a timeout for each wait and none for a whole call. Here every wait is cut to what the call
has left: the look-up of the name, TCP, the proxy, TLS, each byte out and each byte in. And each call notes whether its
first byte has gone out, because until then nothing can have happened at the EHR.
"""

import http.client
import io
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import Any

from requests import Request
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


@dataclass(slots=True)
class Call:
    """The call that this thread is making, for the connection that serves it."""

    deadline: float
    silence: float
    sent: bool = False

    def patience(self) -> float:
        """Seconds that the next send or read may take; raises TimeoutError where none are left."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline of the call has passed")
        return min(left, self.silence)


CURRENT: ContextVar[Call] = ContextVar("CURRENT")
"""The call that the present thread is making."""


class _PatientReader(io.RawIOBase):
    """The bytes that come in over a socket; no read outlasts the call that it belongs to."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(CURRENT.get().patience())
        count = self._raw.readinto(buffer)
        self.ended = count == 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self._incoming = _PatientReader(sock)
        self.fp = io.BufferedReader(self._incoming)

    def begin(self) -> None:
        """Read status and headers; cut short, they are no answer (the standard library takes half a Location)."""
        super().begin()
        if self._incoming.ended:
            raise http.client.IncompleteRead(b"")


class _Connection(HTTPConnection):
    """Notes when the first byte of the request itself goes out: until then nothing can have happened at the EHR."""

    response_class = _Response

    def connect(self) -> None:
        """Look the name up, connect and shake hands in a thread of its own, because none of it knows the deadline."""
        call = CURRENT.get()
        connecting = _in_a_thread(super().connect)
        try:
            if not wait([connecting], max(call.deadline - time.monotonic(), 0)).done:
                connecting.add_done_callback(lambda _: self.close())
                raise TimeoutError("the deadline of the call has passed")
            connecting.result()
        finally:
            call.sent = False  # a CONNECT to the proxy is not yet the request

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        self.sock.settimeout(CURRENT.get().patience())
        CURRENT.get().sent = True
        super().send(data)


def _in_a_thread(work: Callable[[], None]) -> Future[None]:
    done: Future[None] = Future()

    def run() -> None:
        try:
            work()
            done.set_result(None)
        except Exception as error:  # noqa: BLE001 - it is the waiting thread's
            done.set_exception(error)

    threading.Thread(target=copy_context().run, args=(run,), name="afterdose-connect", daemon=True).start()
    return done


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class Adapter(HTTPAdapter):
    """Connections of ours, kept alive; no retries."""

    def __init__(self, connections: int) -> None:
        super().__init__(pool_connections=1, pool_maxsize=connections, max_retries=0)

    def connections_to(self, base_url: str, verify: bool | str, proxies: Mapping[str, str]) -> HTTPConnectionPool:
        """The connections to one server. ``verify``: whether its certificate is, or the file of those who may sign."""
        adapter: Any = self
        there = Request("GET", base_url).prepare()
        pool: HTTPConnectionPool = adapter.get_connection_with_tls_context(there, verify, proxies=dict(proxies))
        adapter.cert_verify(pool, base_url, verify, None)
        return pool

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        return manager
