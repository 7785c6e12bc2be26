"""The process that receives: `serve`, and what prepares every process. The workers are in ``work``."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from afterdose import logs
from afterdose.senders import sender_keys
from afterdose.settings import Settings, example_toml, load_settings
from afterdose.settings.load import CONFIG
from afterdose.store.migrate import migrate as migrate_store
from afterdose.web.serving import serve as serve_web

_INSECURE = "AFTERDOSE_INSECURE_DEV"


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that runs a process."""
    config = click.option(
        "--config",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help=f"The settings file; without it {CONFIG}, without that only AFTERDOSE_* variables.",
    )
    insecure = click.option(
        "--insecure-dev", is_flag=True, help="Development only: no sender needs a secret, loopback addresses only."
    )
    return config(insecure(command))


def prepare(config: Path | None, insecure_dev: bool) -> Settings:
    """Load the settings, and leave them where the server processes find them."""
    if config is not None:
        os.environ[CONFIG] = str(config.resolve())
    if insecure_dev:
        os.environ[_INSECURE] = "true"
    settings = load_settings(None, os.environ)
    logs.configure(settings.log.level, settings.log.format)
    if not settings.sources:
        logs.get_logger().warning("the settings name no source: nobody can send anything")
    if settings.insecure_dev:
        click.echo("Development mode: senders need no secret; only loopback addresses are served.", err=True)
    return settings


def prepare_web(config: Path | None, insecure_dev: bool) -> Settings:
    """The same for who serves: key files that cannot be read are said once, and not by each server process."""
    settings = prepare(config, insecure_dev)
    sender_keys(settings)
    return settings


@click.command()
@options
def serve(config: Path | None, insecure_dev: bool) -> None:
    """Receive events only; `afterdose work` does the rest. Needs a migrated database."""
    serve_web(prepare_web(config, insecure_dev))


@click.command(short_help="Make the database, or bring it to this program's schema.")
@options
def migrate(config: Path | None, insecure_dev: bool) -> None:
    """Bring the database to this program's schema; makes it where there is none."""
    migrate_store(prepare(config, insecure_dev).database)
    click.echo("The database is up to date.")


@click.command()
def settings() -> None:
    """Print a settings file in which every key is explained."""
    click.echo(example_toml(), nl=False)
