"""Where access tokens come from: the token endpoint of one EHR, found, judged and asked.

The EHR's FHIR server and its token endpoint are two destinations, with a guarded way out each: the access token goes to
the one and never to the other, and what we prove ourselves with goes to the other and never to the one. Which token
endpoint may be used is in decision record 9.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime

from afterdose.core.errors import BadSettings, EhrError, EhrUnavailable
from afterdose.ehr import answers, scopes, smart, wire
from afterdose.ehr.capabilities import Capabilities, decode_capabilities
from afterdose.ehr.credentials import Credentials
from afterdose.ehr.outbound import Outbound
from afterdose.ehr.scopes import Needs
from afterdose.ehr.smart import SmartConfiguration, Token
from afterdose.ehr.target import Destination
from afterdose.ehr.wire import Answer
from afterdose.logs import get_logger

NeedsOf = Callable[[Capabilities | None], Needs]
"""What is needed of an EHR, by what it declares to everybody; None where it declares nothing so."""

DISCOVERY_KEPT_FOR = 24 * 3600.0
LARGEST_CLOCK_ERROR = 60.0
"""Seconds by which our clock and the EHR's may differ before it is an alarm: assertions live for minutes."""

_log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A token, with what was asked for and from whom; ``missing`` was not granted, ``besides`` was not asked for.

    ``clock_error`` is how far our clock is ahead, in seconds."""

    token: Token
    token_url: str
    asked: tuple[str, ...]
    missing: tuple[str, ...]
    clock_error: float | None
    besides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Office:
    """A token endpoint, and the way to it."""

    configuration: SmartConfiguration
    asked: tuple[str, ...]
    way: Outbound


class TokenEndpoint:
    """Asks one EHR for access tokens. Not for several threads at once.

    ``token_url`` and ``asked`` are what the settings say; what they leave open is discovered at the EHR's base URL and
    asked anew after a day or after a refusal. Raises BadSettings for a ``token_url`` that cannot be one.
    """

    def __init__(
        self,
        destination: Destination,
        credentials: Credentials,
        *,
        clock: Callable[[], datetime],
        needs: Needs | NeedsOf = scopes.ALL_WE_CALL,
        token_url: str | None = None,
        asked: Sequence[str] | None = None,
    ) -> None:
        self._destination = destination
        self._credentials = credentials
        self._clock = clock
        self._needs = needs
        self._token_url = token_url
        self._asked = tuple(asked) if asked is not None else None
        self._home = Outbound(destination, connections=1)
        self._configured = Outbound(destination, base_url=token_url, connections=1) if token_url else None
        self._office: _Office | None = None
        self._office_kept_until = 0.0
        self._alarmed: set[str] = set()

    def close(self) -> None:
        """Close the connections that were kept alive."""
        self._home.close()
        for way in (self._configured, self._office.way if self._office else None):
            if way is not None:
                way.close()

    def obtain(self, within: float) -> Grant:
        """A new token. Raises EhrUnavailable; what is wrong for longer is an alarm, once until it is right again."""
        until = time.monotonic() + within
        try:
            office = self._find_office(until)
            grant = self._ask(office, until)
        except (EhrUnavailable, BadSettings) as error:
            self._forget_office()
            refused = isinstance(error, BadSettings) or (error.status or 0) in range(200, 500)
            if refused and getattr(error, "status", None) != 429:
                self._alarm("no access token", "token", code=getattr(error, "code", None) or type(error).__name__)
            if isinstance(error, BadSettings):
                raise EhrUnavailable(str(error), code="keys") from None
            raise
        self._alarmed.discard("token")
        return grant

    def _ask(self, office: _Office, until: float) -> Grant:
        url, now = office.configuration.token_url, self._clock()
        form, headers = self._credentials.proof(url, office.configuration.algorithms, now)
        request = smart.token_request(url, office.asked, form=form, headers=headers)
        answer = office.way.send(request, within=until - time.monotonic())
        clock_error = self._compare_clocks(answer)
        token = smart.decipher_token(answer, now=now)
        missing = scopes.left_out(office.asked, token.scopes) if token.scopes is not None else ()
        if missing:
            if not scopes.grants_any(office.asked, token.scopes or ()):
                raise EhrUnavailable("the access token allows nothing of what we ask for", status=403, code="scope")
            self._alarm("the EHR granted less than was asked for", "scope", scopes=list(missing))
        else:
            self._alarmed.discard("scope")
        besides = [one for one in scopes.left_out(token.scopes or (), office.asked) if scopes.granted([one])]
        return Grant(
            token=token,
            token_url=url,
            asked=office.asked,
            missing=missing,
            besides=tuple(besides) if scopes.granted(office.asked) else (),
            clock_error=clock_error,
        )

    def _find_office(self, until: float) -> _Office:
        if self._office is None or time.monotonic() >= self._office_kept_until:
            self._forget_office()
            configuration = self._configuration(until)
            asked = self._asked
            if asked is None:
                needs = self._needs(self._declared(until)) if callable(self._needs) else self._needs
                asked = scopes.scopes_to_ask(
                    needs, capabilities=configuration.capabilities, supported=configuration.scopes
                )
            way = self._configured or Outbound(self._destination, base_url=configuration.token_url, connections=1)
            self._office = _Office(configuration, asked, way)
            self._office_kept_until = time.monotonic() + DISCOVERY_KEPT_FOR
        return self._office

    def _forget_office(self) -> None:
        if self._office is not None and self._office.way is not self._configured:
            self._office.way.close()
        self._office = None

    def _configuration(self, until: float) -> SmartConfiguration:
        """What the settings say wins; without a token URL in them, discovery has to find one that we may use."""
        if self._token_url is None:
            found = self._discover(until)
            if found is None:
                raise EhrUnavailable("the EHR names no token endpoint; set token_url", status=404, code="no-token-url")
            self._check_discovered(found.token_url)
            return found
        if self._asked is not None:
            return SmartConfiguration(token_url=self._token_url)
        try:
            found = self._discover(until)
        except EhrUnavailable:
            found = None
        return replace(found or SmartConfiguration(token_url=""), token_url=self._token_url)

    def _discover(self, until: float) -> SmartConfiguration | None:
        base_url = self._destination.base_url
        answer = self._home.send(smart.discovery_request(base_url), within=until - time.monotonic())
        found = smart.decode_configuration(answer)
        if found is not None:
            return found
        if answer.status >= 500 or answer.status == 429:
            raise EhrUnavailable(f"the EHR answered {answer.status} to discovery", status=answer.status)
        answer = self._home.send(wire.capabilities(base_url), within=until - time.monotonic())
        try:
            return smart.decode_security(answers.decipher_capabilities(answer, now=self._clock()))
        except EhrUnavailable:
            raise
        except EhrError:
            return None

    def _declared(self, until: float) -> Capabilities | None:
        """What the EHR says to everybody that it can do; None where it wants a token for that."""
        asked = wire.capabilities(self._destination.base_url)
        try:
            answer = self._home.send(asked, within=until - time.monotonic())
            return decode_capabilities(answers.decipher_capabilities(answer, now=self._clock()))
        except EhrError:
            return None

    def _check_discovered(self, token_url: str) -> None:
        base_url = self._destination.base_url
        if not smart.may_be_discovered(token_url, base_url):
            raise EhrUnavailable(
                "the EHR names a token endpoint that is not used unasked", status=403, code="token-url"
            )
        if not self._credentials.is_bound_to_its_audience and not smart.is_same_server(token_url, base_url):
            raise EhrUnavailable(
                "the EHR names a token endpoint on another server: set token_url to send it the secret",
                status=403,
                code="token-url",
            )

    def _compare_clocks(self, answer: Answer) -> float | None:
        try:
            theirs = parsedate_to_datetime(answer.headers.get("date", ""))
            error = (self._clock() - theirs).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
        if abs(error) > LARGEST_CLOCK_ERROR:
            self._alarm("the EHR's clock and ours differ", "clock", seconds=round(error))
        else:
            self._alarmed.discard("clock")
        return error

    def _alarm(self, sentence: str, alarm: str, **values: object) -> None:
        if alarm not in self._alarmed:
            self._alarmed.add(alarm)
            _log.error(sentence, alarm=alarm, host=self._home.host, **values)
