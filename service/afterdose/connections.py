"""From the settings to clients that prove who they are: one for each target, and for each source read elsewhere.

What cannot work, and what would prove nothing to an EHR without anybody having said so, ends the start here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from afterdose.clinics import clinics_of
from afterdose.content.content import Content
from afterdose.core.errors import BadSettings
from afterdose.ehr import scopes
from afterdose.ehr.auth import Authentication, StaticHeader
from afterdose.ehr.capabilities import Capabilities
from afterdose.ehr.client import EhrClient, Sender
from afterdose.ehr.credentials import Credentials, SharedSecret, SignedAssertion
from afterdose.ehr.keyring import Keyring
from afterdose.ehr.keys import Jwk, SigningKey, load_key
from afterdose.ehr.ladder import Ladder, decide, site_tells
from afterdose.ehr.token_endpoint import NeedsOf, TokenEndpoint
from afterdose.ehr.tokens import AccessTokens
from afterdose.ehr.wire import Answer, Request
from afterdose.fhir.encode.rungs import Artifact
from afterdose.logs import get_logger
from afterdose.settings import (
    ClientSecret,
    Settings,
    Smart,
    SourceSettings,
    TargetSettings,
    is_loopback,
)
from afterdose.settings import StaticHeader as HeaderSettings
from afterdose.work.line import Line
from afterdose.work.trail import noted

Clock = Callable[[], datetime]
LaddersOf = Callable[[str, Capabilities], Sequence[Ladder]]
"""The ladders of a target's clinics, by the target's name and by what its EHR declares."""

_log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A client for one server; ``key`` is the settings' name for it, ``tokens`` are there where it uses them.

    ``line`` is what its calls go over.
    """

    key: str
    server: TargetSettings
    client: EhrClient
    line: Line
    tokens: AccessTokens | None
    endpoint: TokenEndpoint | None

    def close(self) -> None:
        """Close what was kept open."""
        self.client.close()
        if self.endpoint is not None:
            self.endpoint.close()


@dataclass(frozen=True, slots=True)
class Connections:
    """By name. A source that is not read has None; one that is read at its target has that target's."""

    targets: Mapping[str, Connection]
    sources: Mapping[str, Connection | None]

    def all(self) -> Sequence[Connection]:
        """Each once, the targets first."""
        found = [*self.targets.values(), *(source for source in self.sources.values() if source is not None)]
        return list({connection.key: connection for connection in found}.values())

    def close(self) -> None:
        """Close them all."""
        for connection in self.all():
            connection.close()


def keyring(settings: Settings) -> Keyring:
    """The keys that `afterdose keys` makes."""
    return Keyring(settings.data_dir / "keys")


def published_keys(settings: Settings, now: datetime) -> list[Jwk]:
    """The public halves of every key that signs for us: our own, and those that the settings name."""
    own = keyring(settings).published(now)
    brought = [load_key(smart.key_file, key=key, kid=smart.key_id) for key, smart in _smart(settings) if smart.key_file]
    keys = {jwk["kid"]: jwk for jwk in own}
    for jwk in (one.public_jwk() for one in brought):
        if keys.setdefault(jwk["kid"], jwk) != jwk:
            raise BadSettings("key_id: two keys have the same; EHRs would take neither")
    return list(keys.values())


def connect(settings: Settings, clock: Clock, ladders_of: LaddersOf | None = None) -> Connections:
    """Clients for all servers of the settings; nothing is sent yet. Raises BadSettings that names the key.

    ``ladders_of`` narrows what is asked for in tokens to what is written.
    """
    _check_shared_clients(settings)
    targets = {
        name: _connection(f"targets.{name}", target, settings, clock, _needs_of_target(name, settings, ladders_of))
        for name, target in settings.targets.items()
    }
    sources: dict[str, Connection | None] = {}
    for name, source in settings.sources.items():
        if not source.readable:
            sources[name] = None
        elif _is_read_at_target(source, settings):
            sources[name] = targets[source.target]
        else:
            server = _server(source, settings.targets[source.target])
            sources[name] = _connection(f"sources.{name}", server, settings, clock, _needs_of_source(source))
    return Connections(targets, sources)


def ladders(settings: Settings, content: Content) -> LaddersOf:
    """The ladders of a target's clinics, by what the EHR declares."""

    def of(name: str, declared: Capabilities) -> list[Ladder]:
        target = settings.targets[name]
        pins = {Artifact(artifact): rung for artifact, rung in target.rungs.items()}
        facts = content.ehr(target.ehr)
        return [
            decide(declared, facts, pins, site_tells(clinic, target.sender))
            for clinic in clinics_of(name, settings, content).values()
        ]

    return of


def _needs_of_target(name: str, settings: Settings, ladders_of: LaddersOf | None) -> scopes.Needs | NeedsOf:
    """What is asked of a target: to read, to write what its ladders say, and its Subscriptions where we make any."""
    read_here = (one for one in settings.sources.values() if one.target == name and _is_read_at_target(one, settings))
    subscribed = any(source.subscribe is not None for source in read_here)
    possible = scopes.ALL_WE_CALL if subscribed else scopes.without_subscriptions()
    if settings.targets[name].mode == "shadow":
        subscriptions = possible.get(scopes.SUBSCRIPTION, frozenset())
        return {**scopes.only_reads(possible), **({scopes.SUBSCRIPTION: subscriptions} if subscribed else {})}
    if ladders_of is None:
        return possible
    return lambda declared: scopes.of_ladders(ladders_of(name, declared), possible) if declared else possible


def _needs_of_source(source: SourceSettings) -> scopes.Needs:
    reads = scopes.only_reads(scopes.without_subscriptions())
    if source.subscribe is None:
        return reads
    return {**reads, scopes.SUBSCRIPTION: scopes.ALL_WE_CALL[scopes.SUBSCRIPTION]}


def _is_read_at_target(source: SourceSettings, settings: Settings) -> bool:
    return source.auth is None and source.base_url == settings.targets[source.target].base_url


def _server(source: SourceSettings, target: TargetSettings) -> TargetSettings:
    """The server of a source: its own address and way, the target's patience."""
    same = source.base_url == target.base_url
    return replace(
        target,
        base_url=source.base_url,
        auth=source.auth,
        ca_bundle=source.ca_bundle or (target.ca_bundle if same else None),
        proxy=source.proxy or (target.proxy if same else None),
        plain_http=source.plain_http or (same and target.plain_http),
    )


def _connection(
    key: str, server: TargetSettings, settings: Settings, clock: Clock, needs: scopes.Needs | NeedsOf
) -> Connection:
    auth = server.auth
    authentication: Authentication | None = None
    tokens = endpoint = None
    match auth:
        case Smart() | ClientSecret():
            endpoint = _endpoint(f"{key}.auth", auth, server, settings, clock, needs)
            authentication = tokens = AccessTokens(endpoint.obtain)
        case HeaderSettings():
            authentication = StaticHeader(auth.header, auth.value)
        case _:
            host = urlsplit(server.base_url).hostname or ""
            if auth is None and not is_loopback(host):
                raise BadSettings(
                    f'{key}.auth: expected how we prove ourselves to {host}; kind = "none" says that it wants nothing'
                )
            _log.warning("calls to this server prove nothing: for development only", host=host)
    line = Line(key, clock=clock, at_once=server.max_concurrency, per_second=server.max_calls_per_second)
    client = EhrClient(server, clock=clock, authentication=authentication, guard=partial(_sent, line))
    return Connection(key=key, server=server, client=client, line=line, tokens=tokens, endpoint=endpoint)


def _sent(line: Line, request: Request, send: Sender) -> Answer:
    """Every call goes over the line, and what is read of a patient goes into the trail."""
    return line.send(request, lambda asked: noted(asked, send))


def _endpoint(
    key: str,
    auth: Smart | ClientSecret,
    server: TargetSettings,
    settings: Settings,
    clock: Clock,
    needs: scopes.Needs | NeedsOf,
) -> TokenEndpoint:
    credentials: Credentials
    if isinstance(auth, ClientSecret):
        credentials = SharedSecret(client_id=auth.client_id, secret=auth.secret, in_form=auth.in_form)
    else:
        credentials = SignedAssertion(
            client_id=auth.client_id,
            key=_signing_key(key, auth, settings, clock()),
            algorithm=auth.algorithm,
            audience=auth.audience,
        )
    try:
        return TokenEndpoint(server, credentials, clock=clock, needs=needs, token_url=auth.token_url, asked=auth.scopes)
    except BadSettings as error:
        raise BadSettings(f"{key}.token_url: {str(error).partition(': ')[2]}") from None


def _signing_key(
    key: str, auth: Smart, settings: Settings, now: datetime
) -> Callable[[datetime, Sequence[str]], SigningKey]:
    """What gives the key of the moment: files are read anew for every token, so that a new key needs no restart."""
    if auth.key_file is None:
        ring = keyring(settings)
        ring.signing(now, [auth.algorithm] if auth.algorithm else ["RS384", "ES384"])
        return ring.signing
    load = partial(_load, auth.key_file, f"{key}.key_file", auth.key_id)
    made = load(now, ())
    if auth.algorithm not in (None, made.algorithm):
        raise BadSettings(f"{key}.algorithm: expected {made.algorithm}, because that is what key_file signs with")
    return load


def _load(path: Path, key: str, kid: str | None, now: datetime, algorithms: Sequence[str]) -> SigningKey:  # noqa: ARG001
    return load_key(path, key=key, kid=kid)


def _check_shared_clients(settings: Settings) -> None:
    """Raises BadSettings where one EHR could name another EHR's token endpoint, and get a token that is meant for it.

    That takes one client id at both, as Epic gives it to all of its customers; then discovery is not trusted.
    """
    users = _token_users(settings)
    for key, base_url, auth in users:
        others = [name for name, base, one in users if one.client_id == auth.client_id and base != base_url]
        if auth.token_url is None and others:
            wanted = f"expected the token endpoint, because {others[0]} has the same client_id at another EHR"
            raise BadSettings(f"{key}.token_url: {wanted}")


def _token_users(settings: Settings) -> list[tuple[str, str, Smart | ClientSecret]]:
    servers = [(f"targets.{name}.auth", one.base_url, one.auth) for name, one in settings.targets.items()]
    sources = {name: source for name, source in settings.sources.items() if source.readable}
    servers += [(f"sources.{name}.auth", one.base_url, one.auth) for name, one in sources.items()]
    return [(key, base_url, auth) for key, base_url, auth in servers if isinstance(auth, Smart | ClientSecret)]


def _smart(settings: Settings) -> list[tuple[str, Smart]]:
    return [(f"{key}.key_file", auth) for key, _, auth in _token_users(settings) if isinstance(auth, Smart)]
