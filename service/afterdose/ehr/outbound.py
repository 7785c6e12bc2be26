"""The one way out: every byte that afterdose sends to an EHR leaves through ``Outbound.send``.

``requests`` makes the connections, to the one server and over the proxy that the settings name. What its sessions do by
themselves is left out, because each was seen to hurt: redirects (a POST becomes a GET without body and reports success,
or the body goes to another host), ``.netrc`` and proxies from the environment, cookies, retries; and a session takes as
much CPU for a call as everything beneath it. What is missing is added: a deadline for the whole call, from the look-up
of the name to the last byte, which a server that sends a byte now and then cannot stretch, and a cap on the
decompressed size.
"""

import http.client
import ipaddress
import logging
import ssl
import time
from collections.abc import Mapping

import requests
import urllib3
from requests.utils import requote_uri
from urllib3.util import Timeout, Url, parse_url

from afterdose.core.errors import BadSettings, EhrAmbiguous, EhrError, EhrRefused, EhrUnavailable
from afterdose.ehr.auth import Authentication
from afterdose.ehr.target import Destination
from afterdose.ehr.transport import CURRENT, Adapter, Call
from afterdose.ehr.wire import Answer, Request
from afterdose.logs import get_logger

_DEFAULT_PORTS = {"http": 80, "https": 443}
_CHUNK = 65_536
# What OpenSSL calls a certificate whose authority it does not know: X509_V_ERR_..., in openssl/x509_vfy.h.
_OF_NO_KNOWN_AUTHORITY = frozenset({18, 19, 20, 21})
_OURS = {"User-Agent": "afterdose", "Accept-Encoding": "gzip, deflate"}

_log = get_logger()
# urllib3 logs whole URLs, and a URL holds the id of a patient.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)


class _TooLarge(Exception):
    """The answer is larger than the destination allows."""


class Outbound:
    """Sends requests to one destination, and to no other place. Threads may share it.

    Raises BadSettings where the destination's base URL cannot be one.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        base_url: str | None = None,
        authentication: Authentication | None = None,
        connections: int = 16,
    ) -> None:
        """``base_url`` is another place that is reached in the same way: the EHR's token endpoint.

        ``connections`` is how many are kept alive: as many as threads that send.
        """
        self._base = _base(base_url or destination.base_url, plain_http=destination.plain_http)
        self._prefix = f"{(self._base.path or '').rstrip('/')}/"
        self._authentication = authentication
        self._is_refused = False
        self.host = self._base.host or ""
        self._silence = destination.timeout_read.total_seconds()
        self._timeout = Timeout(connect=destination.timeout_connect.total_seconds(), read=self._silence)
        self._deadline = destination.deadline.total_seconds()
        self._max_answer_bytes = destination.max_answer_bytes
        self._verify = str(destination.ca_bundle) if destination.ca_bundle else True
        self._proxies = {"http": destination.proxy, "https": destination.proxy} if destination.proxy else {}
        self._names_server = bool(destination.proxy) and self._base.scheme == "http"
        self._adapter = Adapter(connections)
        self._pool: urllib3.HTTPConnectionPool | None = None

    def close(self) -> None:
        """Close the connections that were kept alive."""
        self._pool = None
        self._adapter.close()

    def send(self, request: Request, *, within: float | None = None) -> Answer:
        """Send one request and read its answer to the end, whatever its status.

        ``within``: seconds that it may take, where that is less than the destination's deadline; the deadline covers
        the token too, and the one repetition with another token after a 401, which says that nothing was done.

        Raises EhrRefused for a request that must not leave, EhrUnavailable where the EHR cannot have done anything,
        EhrAmbiguous where it may have. Texts hold the host and the kind of failure only: a URL would hold an id.
        """
        url = self._guarded(request)
        until = time.monotonic() + (self._deadline if within is None else min(within, self._deadline))
        if self._authentication is None:
            return self._attempt(request, url, {}, until)
        headers = self._authentication.headers(until - time.monotonic())
        answer = self._attempt(request, url, headers, until)
        if answer.status == 401:
            renewed = self._authentication.renew(headers, until - time.monotonic())
            if renewed is not None:
                answer = self._attempt(request, url, {**headers, **renewed}, until)
        self._watch(answer.status == 401)
        return answer

    def _attempt(self, request: Request, url: Url, proof: Mapping[str, str], until: float) -> Answer:
        call = Call(deadline=until, silence=self._silence)
        reset = CURRENT.set(call)
        try:
            return self._exchange(request, url, proof)
        except _TooLarge:
            failure = EhrAmbiguous if request.changes else EhrRefused
            raise failure(f"{self.host}: the answer is larger than max_answer_bytes", code="too-long") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            raise self._failure(request, call, error) from None
        finally:
            CURRENT.reset(reset)

    def _watch(self, refused: bool) -> None:
        """One alarm when the EHR begins to refuse our credentials, and one line when it takes them again."""
        if refused and not self._is_refused:
            _log.error("the EHR refuses our credentials", alarm="credentials", host=self.host, status=401)
        elif self._is_refused and not refused:
            _log.warning("the EHR takes our credentials again", alarm="credentials", host=self.host)
        self._is_refused = refused

    def _guarded(self, request: Request) -> Url:
        """Where the request is sent, compared with the configured base in the words in which it will be sent."""
        try:
            parsed = parse_url(requote_uri(request.url))
        except urllib3.exceptions.LocationParseError:
            raise EhrRefused(f"{self.host}: a request to no place was stopped", code="value") from None
        same_server = (parsed.scheme, parsed.host, _port(parsed)) == (
            self._base.scheme,
            self._base.host,
            _port(self._base),
        )
        path = parsed.path or "/"
        inside = f"{path.rstrip('/')}/".startswith(self._prefix)
        climbs = any(segment.partition(";")[0] in {".", ".."} for segment in path.split("/"))
        if not same_server or not inside or climbs or parsed.auth is not None:
            raise EhrRefused(f"{self.host}: a request to another place was stopped", code="security")
        return parsed

    def _exchange(self, request: Request, url: Url, proof: Mapping[str, str]) -> Answer:
        response = self._connections().urlopen(
            request.method,
            url.url if self._names_server else url.request_uri,
            body=request.body or None,
            headers={**_OURS, **request.headers, **proof},
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
            retries=self._adapter.max_retries,
            timeout=self._timeout,
        )
        try:
            body = bytearray()
            while chunk := response.read(_CHUNK, decode_content=True):
                body += chunk
                if len(body) > self._max_answer_bytes:
                    raise _TooLarge
        finally:
            response.close()  # a connection that was not read to its end serves no other call
            response.release_conn()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(status=response.status, headers=headers, body=bytes(body))

    def _connections(self) -> urllib3.HTTPConnectionPool:
        """The connections to the one server that there is."""
        if self._pool is None:
            self._pool = self._adapter.connections_to(self._base.url, self._verify, self._proxies)
        return self._pool

    def _failure(self, request: Request, call: Call, error: Exception) -> EhrError:
        kind = EhrAmbiguous if call.sent and request.changes else EhrUnavailable
        when = "no whole answer" if call.sent else "no connection"
        if time.monotonic() >= call.deadline:
            when += " before the deadline"
        return kind(f"{self.host}: {when} ({_told(_root(error))})")


def _base(base_url: str, *, plain_http: bool) -> Url:
    try:
        base = parse_url(base_url)
    except urllib3.exceptions.LocationParseError:
        raise BadSettings("base_url: this is no URL") from None
    if base.scheme not in _DEFAULT_PORTS or not base.host or base.auth or base.query or base.fragment:
        raise BadSettings("base_url: expected http(s)://host/path without credentials, query and fragment")
    if base.scheme == "http" and not plain_http and not _is_loopback(base.host):
        raise BadSettings("base_url: http:// reaches this machine only; use https:// or allow plain_http")
    return base


def _port(url: Url) -> int | None:
    return url.port or _DEFAULT_PORTS.get(url.scheme or "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _told(cause: BaseException) -> str:
    """Its class, and of a certificate what is wrong with it, and the setting that may put it right."""
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return type(cause).__name__
    remedy = "; ca_bundle names the authorities to trust" if cause.verify_code in _OF_NO_KNOWN_AUTHORITY else ""
    return f"SSLCertVerificationError: {cause.verify_message}{remedy}"


def _root(error: BaseException) -> BaseException:
    """The first cause: a ``ConnectionRefusedError``, ``SSLCertVerificationError``, ``IncompleteRead``."""
    seen = {id(error)}
    while True:
        inner = [getattr(error, "reason", None), error.__cause__, error.__context__, *error.args]
        cause = next((item for item in inner if isinstance(item, BaseException) and id(item) not in seen), None)
        if cause is None:
            return error
        error = cause
        seen.add(id(error))
