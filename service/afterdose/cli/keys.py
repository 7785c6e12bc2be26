"""``afterdose keys``: the keys with which we prove ourselves to EHRs by SMART Backend Services."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import click

from afterdose.bootstrap import utc_now
from afterdose.connections import keyring, published_keys
from afterdose.ehr.keyring import Entry
from afterdose.fhir.times import format_instant
from afterdose.settings import Settings, load_settings

_with_settings = click.option(
    "--config",
    "settings",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    callback=lambda _context, _option, path: load_settings(path, os.environ),
    help="The settings file; without it AFTERDOSE_CONFIG, without that only AFTERDOSE_* variables.",
)


@click.group(short_help="Make, replace and show the keys that sign for us.")
def keys() -> None:
    """Make, replace and show the keys that sign for us; they lie in data_dir/keys, one EC and one RSA key.

    EHRs get the public halves from /.well-known/jwks.json of this server. Every host that runs afterdose needs the
    same folder.
    """


@keys.command()
@_with_settings
def generate(settings: Settings) -> None:
    """Make the first keys. They sign at once."""
    _tell(keyring(settings).generate(utc_now().replace(microsecond=0)))


@keys.command(short_help="Replace the keys; nothing has to be restarted.")
@_with_settings
def rotate(settings: Settings) -> None:
    """Replace the keys: new ones are published now, sign after an hour, and the old ones leave after another.

    Nothing has to be restarted, and nothing is to be done later. Old private keys are deleted by the next rotation.
    """
    _tell(keyring(settings).rotate(utc_now().replace(microsecond=0)))


@keys.command()
@_with_settings
def jwks(settings: Settings) -> None:
    """Print the public keys as /.well-known/jwks.json shows them now."""
    click.echo(json.dumps({"keys": published_keys(settings, utc_now())}, indent=2))


def _tell(entries: Sequence[Entry]) -> None:
    for entry in entries:
        leaves = f", leaves {format_instant(entry.leaves_at)}" if entry.leaves_at else ""
        click.echo(f"{entry.algorithm}  {entry.kid}  signs from {format_instant(entry.signs_from)}{leaves}")
