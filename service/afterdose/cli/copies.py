"""``afterdose backup`` and ``afterdose restore``: an SQLite database in one file."""

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from afterdose.cli.operate import config_option
from afterdose.settings import load_settings
from afterdose.store import copies


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@config_option
def backup(file: Path, config: Path | None) -> None:
    """Copy the database into FILE, while everything goes on. It holds patient data: only its owner can read it."""
    copies.backup(load_settings(config, os.environ).database, file)
    click.echo(f"{file} is written.")


@click.command(short_help="Put a copy in the place of the database.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@config_option
def restore(file: Path, config: Path | None) -> None:
    """Put the copy FILE in the place of the database; every process of afterdose must have been stopped.

    Every patient is worked on again. What was received since the copy was made has to be sent again.
    """
    count = copies.restore(load_settings(config, os.environ).database, file, clock=lambda: datetime.now(UTC))
    click.echo(f"{file} is in place; {count} patients are worked on again.")
