"""``afterdose subscribe``: the Subscriptions by which an EHR notifies us."""

import json
import os
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from afterdose import logs
from afterdose.bootstrap import utc_now
from afterdose.connections import connect, ladders
from afterdose.content.content import load_content
from afterdose.core.errors import BadSettings
from afterdose.settings import load_settings
from afterdose.settings.fields import SECRET_BYTES
from afterdose.store.store import open_store
from afterdose.subscribers import subscriber
from afterdose.work.sources.subscribe import Planned, Subscriber

_HIDDEN = "..."
_DONE = {"create": "created", "update": "updated", "keep": "in order", "remove": "removed"}
NOT_ACTIVATED = "requested; the EHR has not activated it, and sends nothing until it does"


@click.command(short_help="Have a source notify us, by Subscriptions.")
@click.argument("source")
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The settings file; without it AFTERDOSE_CONFIG, without that only AFTERDOSE_* variables.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be done, and the resources without their secrets.")
@click.option("--list", "only_list", is_flag=True, help="Only show our Subscriptions as they stand there.")
@click.option("--remove", is_flag=True, help="Remove our Subscriptions there.")
@click.option("--anew", is_flag=True, help="Write those that are in order, too: after a change of the secret.")
@click.option(
    "--new-secret",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Make a secret in this new file, which only its owner can read, and show what to put into the settings.",
)
def subscribe(
    source: str,
    config: Path | None,
    dry_run: bool,
    only_list: bool,
    remove: bool,
    anew: bool,
    new_secret: Path | None,
) -> None:
    """Have SOURCE notify us: make the Subscriptions that [sources.SOURCE.subscribe] asks for, or bring them up to date.

    Ours are known by a mark that never changes; no other Subscription is touched. The workers watch them from then on.
    """
    if new_secret is not None:
        _make_secret(source, new_secret)
        return
    with _opened(source, config) as one:
        if only_list:
            for planned in one.removal():
                click.echo(_line(planned, planned.status or "no status"))
            return
        steps = one.removal() if remove else one.plan(anew=anew)
        for planned in steps:
            if dry_run:
                click.echo(_line(planned, f"{planned.step}{f' ({planned.status})' if planned.status else ''}"))
                if planned.step in ("create", "update"):
                    click.echo(json.dumps(_shown(planned.resource, one.secrets().all), indent=2, ensure_ascii=False))
            else:
                planned_id = one.do(planned)
                waits = planned.step == "keep" and planned.status == "requested"
                click.echo(_line(planned, NOT_ACTIVATED if waits else _DONE[planned.step], planned_id))
        if not steps:
            click.echo("There are none of ours.")


@contextmanager
def _opened(name: str, config: Path | None) -> Iterator[Subscriber]:
    settings = load_settings(config, os.environ)
    if name not in settings.sources:
        raise click.BadParameter(f"the settings have {', '.join(settings.sources)}", param_hint="SOURCE")
    logs.configure("error", settings.log.format)
    content = load_content(settings.site_overlay)
    connections = connect(settings, utc_now, ladders(settings, content))
    store = open_store(settings.database, clock=utc_now)
    try:
        connection = connections.sources[name]
        if connection is None:
            raise BadSettings(f"sources.{name}.readable: expected true, because Subscriptions are made there")
        yield subscriber(settings.sources[name], settings, content, connection.client, store=store, clock=utc_now)
    finally:
        store.close()
        connections.close()


def _line(planned: Planned, said: str, id_: str | None = None) -> str:
    what = f"{planned.resource_type or 'unknown'}{f', {planned.variant}' if planned.variant else ''}"
    known = id_ or planned.id
    return f"{what:<26}  {f'Subscription/{known}' if known else '(new)':<40}  {said}"


def _shown(value: Any, hidden: Collection[str]) -> Any:
    """The resource as it may be shown: without the secrets, wherever they stand in it."""
    if isinstance(value, dict):
        return {key: _shown(one, hidden) for key, one in value.items()}
    if isinstance(value, list):
        return [_shown(one, hidden) for one in value]
    for secret in hidden if isinstance(value, str) else ():
        value = value.replace(secret, _HIDDEN)
    return value


def _make_secret(source: str, file: Path) -> None:
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(f"{secrets.token_hex(SECRET_BYTES)}\n")
    except OSError as error:
        raise click.ClickException(f"{file} cannot be made ({error.strerror})") from error
    for line in _advice(source, file.resolve()):
        click.echo(line)


def _advice(source: str, file: Path) -> Sequence[str]:
    named = json.dumps(str(file))
    return (
        f"{file} holds a new secret. Put it in front of the others, and restart afterdose:",
        "",
        f"[[sources.{source}.secrets]]",
        f"value_file = {named}",
        "",
        f"or, where the EHR signs with it (Medplum), below [[sources.{source}.signatures]]. Then give it to the EHR:",
        "",
        f"afterdose subscribe {source} --anew",
    )
