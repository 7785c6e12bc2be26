"""The one way out: every byte that afterdose sends to an EHR leaves through ``Outbound.send``.

What ``requests`` does by itself is turned off, because each was seen to hurt: redirects (a POST becomes a GET without
body and reports success, or the body goes to another host), ``.netrc`` and proxies from the environment, cookies,
retries. What it does not do is added: a deadline for the whole call, which a server that sends a byte now and then
cannot stretch, and a cap on the decompressed size.
"""

import http.client
import io
import ipaddress
import logging
import socket
import time
from contextvars import ContextVar
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import Url, parse_url

from afterdose.core.errors import BadSettings, EhrAmbiguous, EhrError, EhrRefused, EhrUnavailable
from afterdose.ehr.auth import Authentication
from afterdose.ehr.target import Destination
from afterdose.ehr.wire import Answer, Request

_DEFAULT_PORTS = {"http": 80, "https": 443}
_CHUNK = 65_536

# urllib3 logs whole URLs, and a URL holds the id of a patient.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)


@dataclass(slots=True)
class _Call:
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


_CALL: ContextVar[_Call] = ContextVar("_CALL")


class _TooLarge(Exception):
    """The answer is larger than the destination allows."""


class _PatientReader(io.RawIOBase):
    """The bytes that come in over a socket; no read outlasts the call that it belongs to."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_CALL.get().patience())
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
        try:
            super().connect()
        finally:
            _CALL.get().sent = False  # a CONNECT to the proxy is not yet the request

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        self.sock.settimeout(_CALL.get().patience())
        _CALL.get().sent = True
        super().send(data)


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    """Connections of ours, kept alive; no retries."""

    def __init__(self, connections: int) -> None:
        super().__init__(pool_connections=1, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        return manager


class Outbound:
    """Sends requests to one destination, and to no other place. Threads may share it.

    Raises BadSettings where the destination's base URL cannot be one.
    """

    def __init__(
        self, destination: Destination, *, authentication: Authentication | None = None, connections: int = 16
    ) -> None:
        """``connections`` is how many are kept alive: as many as threads that send."""
        self._base = _base(destination)
        self._prefix = f"{(self._base.path or '').rstrip('/')}/"
        self._host = self._base.host or ""
        self._authentication = authentication
        self._timeouts = (destination.timeout_connect.total_seconds(), destination.timeout_read.total_seconds())
        self._deadline = destination.deadline.total_seconds()
        self._max_answer_bytes = destination.max_answer_bytes
        self._verify = str(destination.ca_bundle) if destination.ca_bundle else True
        self._proxies = {"http": destination.proxy, "https": destination.proxy} if destination.proxy else {}
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers.clear()
        self._session.headers.update({"User-Agent": "afterdose", "Accept-Encoding": "gzip, deflate"})
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter(connections))

    def close(self) -> None:
        """Close the connections that were kept alive."""
        self._session.close()

    def send(self, request: Request) -> Answer:
        """Send one request and read its answer to the end, whatever its status.

        Raises EhrRefused for a request that must not leave, EhrUnavailable where the EHR cannot have done anything,
        EhrAmbiguous where it may have. Texts hold the host and the kind of failure only: a URL would hold an id.
        """
        prepared = self._session.prepare_request(
            requests.Request(request.method, request.url, headers=dict(request.headers), data=request.body or None)
        )
        self._guard(prepared.url or "")
        if self._authentication:
            prepared.headers.update(self._authentication.headers())
        call = _Call(deadline=time.monotonic() + self._deadline, silence=self._timeouts[1])
        reset = _CALL.set(call)
        try:
            return self._exchange(prepared)
        except _TooLarge:
            failure = EhrAmbiguous if request.changes else EhrRefused
            raise failure(f"{self._host}: the answer is larger than max_answer_bytes", code="too-long") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            raise self._failure(request, call, error) from None
        finally:
            _CALL.reset(reset)

    def _guard(self, url: str) -> None:
        """Compare what would be sent, as the connection will read it, with the configured base."""
        parsed = parse_url(url)
        same_server = (parsed.scheme, parsed.host, _port(parsed)) == (
            self._base.scheme,
            self._base.host,
            _port(self._base),
        )
        path = parsed.path or "/"
        inside = f"{path.rstrip('/')}/".startswith(self._prefix)
        climbs = any(segment.partition(";")[0] in {".", ".."} for segment in path.split("/"))
        if not same_server or not inside or climbs or parsed.auth is not None:
            raise EhrRefused(f"{self._host}: a request to another place was stopped", code="security")

    def _exchange(self, prepared: requests.PreparedRequest) -> Answer:
        with self._session.send(
            prepared,
            stream=True,
            allow_redirects=False,
            timeout=self._timeouts,
            verify=self._verify,
            proxies=dict(self._proxies),
        ) as response:
            body = bytearray()
            while chunk := response.raw.read(_CHUNK, decode_content=True):
                body += chunk
                if len(body) > self._max_answer_bytes:
                    raise _TooLarge
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(status=response.status_code, headers=headers, body=bytes(body))

    def _failure(self, request: Request, call: _Call, error: Exception) -> EhrError:
        kind = EhrAmbiguous if call.sent and request.changes else EhrUnavailable
        when = "no whole answer" if call.sent else "no connection"
        if time.monotonic() >= call.deadline:
            when += " before the deadline"
        return kind(f"{self._host}: {when} ({_root(error)})")


def _base(destination: Destination) -> Url:
    try:
        base = parse_url(destination.base_url)
    except urllib3.exceptions.LocationParseError:
        raise BadSettings("base_url: this is no URL") from None
    if base.scheme not in _DEFAULT_PORTS or not base.host or base.auth or base.query or base.fragment:
        raise BadSettings("base_url: expected http(s)://host/path without credentials, query and fragment")
    if base.scheme == "http" and not destination.plain_http and not _is_loopback(base.host):
        raise BadSettings("base_url: http:// reaches this machine only; use https:// or allow plain_http")
    return base


def _port(url: Url) -> int | None:
    return url.port or _DEFAULT_PORTS.get(url.scheme or "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _root(error: BaseException) -> str:
    """The class of the first cause: ``ConnectionRefusedError``, ``SSLCertVerificationError``, ``IncompleteRead``."""
    seen = {id(error)}
    while True:
        inner = [getattr(error, "reason", None), error.__cause__, error.__context__, *error.args]
        cause = next((item for item in inner if isinstance(item, BaseException) and id(item) not in seen), None)
        if cause is None:
            return type(error).__name__
        error = cause
        seen.add(id(error))
