"""``afterdose check``: whether every EHR of the settings can be reached, lets us in, grants what we need, and what is
written to it in which way."""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click

from afterdose import logs
from afterdose.bootstrap import utc_now
from afterdose.cli.subscribe import NOT_ACTIVATED
from afterdose.clinics import clinics_of
from afterdose.connections import Connection, Connections, connect, ladders
from afterdose.content.content import Content, load_content
from afterdose.content.locate import unread
from afterdose.content.v2 import read_v2
from afterdose.core.errors import BadSettings, EhrError, StoreError
from afterdose.ehr.capabilities import Capabilities
from afterdose.ehr.client import EhrClient
from afterdose.ehr.interactions import Interaction
from afterdose.ehr.ladder import Ladder, check_pins, decide, site_tells
from afterdose.ehr.token_endpoint import LARGEST_CLOCK_ERROR, Grant
from afterdose.fhir.decode.administration import TYPE
from afterdose.fhir.encode.rungs import Artifact
from afterdose.fhir.subscription import standing
from afterdose.fhir.times import format_instant
from afterdose.pollers import checked, roster
from afterdose.senders import local_codes, sender_keys
from afterdose.settings import Settings, SourceSettings, TargetSettings, load_settings
from afterdose.store.engine import database_path
from afterdose.store.store import open_store
from afterdose.subscribers import wish
from afterdose.work.sources.wish import Wish


@dataclass(frozen=True, slots=True)
class _Rung:
    """The decision on one artifact. ``type`` None: it stays on our own worklist."""

    artifact: str
    type: str | None
    updates: bool
    pinned: bool
    why: str


@dataclass(slots=True)
class _Server:
    """What was found at one server."""

    key: str
    base_url: str
    said: list[str] = field(default_factory=list)
    rungs: list[_Rung] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Sender:
    """How a source proves itself to us."""

    name: str
    proves: str
    failed: str | None = None


@click.command(short_help="Ask every EHR what it can do, and say what cannot work.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The settings file; without it AFTERDOSE_CONFIG, without that only AFTERDOSE_* variables.",
)
@click.option("--target", "only", help="Look at this target alone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(config: Path | None, only: str | None, as_json: bool) -> None:
    """Ask every EHR of the settings for a token and for what it can do, and say how each artifact would be written.

    Nothing is written to any. Exit status: 1 when something cannot work.
    """
    settings = load_settings(config, os.environ)
    if only is not None and only not in settings.targets:
        raise click.BadParameter(f"the settings have {', '.join(settings.targets)}", param_hint="--target")
    content = load_content(settings.site_overlay)
    read_v2(settings.site_overlay)
    for name in settings.targets:
        clinics_of(name, settings, content)
    logs.configure("error", settings.log.format)
    connections = connect(settings, utc_now, ladders(settings, content))
    try:
        chosen = [one for one in connections.all() if only is None or one is connections.targets[only]]
        servers = [_look(one, connections, settings, content) for one in chosen]
    finally:
        connections.close()
    senders = [one for one in _senders(settings) if only is None or settings.sources[one.name].target == only]
    warnings = [*_paused(settings), *_overdue(content), *_unknown_codes(settings, content), *_unclaimed(settings)]
    warnings += _unread(settings)
    if as_json:
        told = {
            "servers": [asdict(server) for server in servers],
            "senders": [asdict(sender) for sender in senders],
            "warnings": warnings,
        }
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        for server in servers:
            for line in _lines(server):
                click.echo(line)
        for sender in senders:
            click.echo(f"sources.{sender.name}  {sender.proves}")
            if sender.failed is not None:
                click.echo(f"  failed: {sender.failed}")
        for warning in warnings:
            click.echo(f"warning: {warning}")
    failed = any(server.failed for server in servers) or any(sender.failed for sender in senders)
    raise click.exceptions.Exit(1 if failed else 0)


def _look(connection: Connection, connections: Connections, settings: Settings, content: Content) -> _Server:
    found = _Server(connection.key, connection.server.base_url)
    target = next((name for name, one in connections.targets.items() if one is connection), None)
    try:
        if connection.tokens is not None:
            found.said += _of_grant(connection.tokens.grant(connection.server.deadline.total_seconds()))
        declared = connection.client.capabilities()
        transaction = "takes" if declared.transaction else "declares no"
        found.said.append(f"FHIR {declared.fhir_version or '(no version)'}, {transaction} transactions")
        if target is not None:
            ladder = _ladder(settings.targets[target], declared, content)
            found.rungs += _rungs(ladder)
            found.failed += ladder.faults
    except (EhrError, BadSettings) as error:
        found.failed.append(str(error))
        return found
    sources = [name for name, one in connections.sources.items() if one is connection]
    found.said += [_readable(name, declared) for name in sources]
    for name in sources:
        _tell_polling(found, settings.sources[name], connection.client, content)
        if settings.sources[name].subscribe is not None:
            _tell_subscriptions(found, wish(settings.sources[name], settings, content, connection.client))
    found.said += [
        f"sources.{name}: doses are not read back"
        for name, one in connections.sources.items()
        if one is None and settings.sources[name].target == target
    ]
    return found


def _tell_subscriptions(server: _Server, wanted: Wish) -> None:
    """How the Subscriptions stand by which the source is to notify us; one that is not active fails."""
    key = f"sources.{wanted.source}.subscribe"
    try:
        listed = wanted.listed()
    except EhrError as error:
        server.failed.append(f"{key}: {error}")
        return
    by_mark = {mark: one for one in listed.values() for mark in wanted.marks_of(one)}
    for mark, type_ in wanted.marks().items():
        status = standing(by_mark[mark]).status if mark in by_mark else None
        if status in ("active", "requested"):
            how = NOT_ACTIVATED if status == "requested" else status
            server.said.append(f"{key}: the Subscription for {type_} is {how}")
        else:
            said = f"is {status}" if mark in by_mark else "is not there"
            wanted_ = f"`afterdose subscribe {wanted.source}`"
            server.failed.append(f"{key}: the Subscription for {type_} {said}; {wanted_} makes it active")


def _senders(settings: Settings) -> Iterator[_Sender]:
    keys = sender_keys(settings)
    for name, source in settings.sources.items():
        proofs = ["a secret in a header"] * bool(source.secrets)
        proofs += [f"a signature ({', '.join(sorted({key.format for key in source.signatures}))})"] * bool(
            source.signatures
        )
        if source.bearer is None:
            yield _Sender(name, f"shows {' and '.join(proofs)}" if proofs else "shows nothing")
            continue
        try:
            known = f"a token of {source.bearer.issuer} ({len(keys[name].candidates(None))} keys)"
            yield _Sender(name, f"shows {' and '.join([known, *proofs])}")
        except EhrError as error:
            yield _Sender(name, f"shows a token of {source.bearer.issuer}", str(error))


def _ladder(target: TargetSettings, declared: Capabilities, content: Content) -> Ladder:
    facts, site = content.ehr(target.ehr), site_tells(content.clinic(target.clinic), target.sender)
    pins = {Artifact(artifact): rung for artifact, rung in target.rungs.items()}
    check_pins(pins, facts, site)
    return decide(declared, facts, pins, site)


def _rungs(ladder: Ladder) -> list[_Rung]:
    return [
        _Rung(artifact.value, one.type, one.updates, one.pinned, one.why) for artifact, one in ladder.decisions.items()
    ]


def _readable(source: str, declared: Capabilities) -> str:
    if declared.allows(TYPE, Interaction.READ):
        return f"sources.{source}: doses are read back"
    return f"sources.{source}: declares no read of {TYPE}; readable = false says that none is tried"


def _tell_polling(found: _Server, source: SourceSettings, client: EhrClient, content: Content) -> None:
    """How the source is polled, and for a cohort whom that finds now."""
    if source.poll is None:
        return
    try:
        poll = checked(source, content)
    except BadSettings as error:
        found.failed.append(str(error))
        return
    every = f"every {poll.interval.total_seconds() / 60:g} min: {', '.join(sorted(poll.types))}"
    if poll.cohort is None:
        found.said.append(f"sources.{source.name}: polled by _lastUpdated {every}")
        return
    roll = roster(source, poll, poll.cohort, client).call(utc_now())
    found.said.append(f"sources.{source.name}: polled patient by patient ({len(roll.patients)} now) {every}")
    found.failed += [f"sources.{source.name}.poll.cohort: {problem}" for problem in roll.problems]


def _overdue(content: Content) -> Iterator[str]:
    today = utc_now().date()
    for protocol in content.protocols.values():
        if protocol.review_by <= today:
            yield f"the protocol {protocol.id} was due for review on {protocol.review_by.isoformat()}"


def _paused(settings: Settings) -> Iterator[str]:
    """What the database says, or why it cannot. Of a file that is not there yet nothing is said: settings are checked
    before it is made."""
    path = database_path(settings.database)
    if path is not None and not path.exists():
        return
    try:
        with closing(open_store(settings.database, clock=utc_now)) as store:
            paused = store.pauses.all()
    except StoreError as error:
        yield f"database: {error}"
        return
    for name, since in paused.items():
        told = f"paused since {format_instant(since)}; nothing is read or written for it until it is resumed"
        yield f"targets.{name}: {told} (afterdose resume {name})"


def _unclaimed(settings: Settings) -> Iterator[str]:
    for name, source in settings.sources.items():
        if source.bearer is not None and not source.bearer.claims:
            who = f"whoever gets a token of {source.bearer.issuer} for this audience"
            yield f"sources.{name}.bearer.claims: nothing is asked for, so {who} is taken for this source"


def _unknown_codes(settings: Settings, content: Content) -> Iterator[str]:
    for name, source in settings.sources.items():
        for (_, code), meanings in local_codes(source, settings.site_overlay).items():
            for one in meanings:
                if not content.codes.knows(one):
                    yield f"sources.{name}.code_maps: of {one.code} ({one.system}), for {code}, nothing is known"


def _unread(settings: Settings) -> Iterator[str]:
    if settings.site_overlay is not None:
        code_maps = {name for source in settings.sources.values() for name in source.code_maps}
        yield from (f"site_overlay: {told}" for told in unread(settings.site_overlay, code_maps))


def _lines(server: _Server) -> Iterator[str]:
    yield f"{server.key}  {server.base_url}"
    yield from (f"  {line}" for line in server.said)
    widest = max((len(rung.type or "worklist") for rung in server.rungs), default=0)
    for rung in server.rungs:
        yield f"  {rung.artifact:<12}{rung.type or 'worklist':<{widest}}  {rung.why}"
    yield from (f"  failed: {line}" for line in server.failed)


def _of_grant(grant: Grant) -> Iterator[str]:
    yield f"access token from {grant.token_url}, for {round(grant.token.lasts.total_seconds())} s"
    yield f"asked for {' '.join(grant.asked)}"
    yield f"not granted: {' '.join(grant.missing)}" if grant.missing else "granted as asked"
    if grant.besides:
        yield f"granted besides, and not needed: {' '.join(grant.besides)}"
    if grant.clock_error is not None and abs(grant.clock_error) > LARGEST_CLOCK_ERROR:
        direction = "ahead of" if grant.clock_error > 0 else "behind"
        yield f"our clock is {abs(round(grant.clock_error))} s {direction} the EHR's"
