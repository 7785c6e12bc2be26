"""``afterdose check``: whether every EHR of the settings can be reached, lets us in, and grants what we need."""

import os
from collections.abc import Iterator
from pathlib import Path

import click

from afterdose import logs
from afterdose.bootstrap import utc_now
from afterdose.connections import Connection, connect
from afterdose.core.errors import EhrError
from afterdose.ehr.token_endpoint import LARGEST_CLOCK_ERROR, Grant
from afterdose.settings import load_settings


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The settings file; without it AFTERDOSE_CONFIG, without that only AFTERDOSE_* variables.",
)
def check(config: Path | None) -> None:
    """Ask every EHR of the settings for a token and for what it can do; nothing is written to any.

    Exit status: 1 when one of them cannot be used.
    """
    settings = load_settings(config, os.environ)
    logs.configure("error", settings.log.format)
    usable = True
    connections = connect(settings, utc_now)
    try:
        for connection in connections.all():
            click.echo(f"{connection.key}  {connection.server.base_url}")
            try:
                for line in _findings(connection):
                    click.echo(f"  {line}")
            except EhrError as error:
                usable = False
                click.echo(f"  failed: {error}")
    finally:
        connections.close()
    raise click.exceptions.Exit(0 if usable else 1)


def _findings(connection: Connection) -> Iterator[str]:
    """One line for each thing that was looked at. Raises EhrError where it goes no further."""
    if connection.tokens is not None:
        yield from _of_grant(connection.tokens.grant(connection.server.deadline.total_seconds()))
    capabilities = connection.client.capabilities()
    transaction = "takes" if capabilities.transaction else "declares no"
    yield f"FHIR {capabilities.fhir_version or '(no version)'}, {transaction} transactions"


def _of_grant(grant: Grant) -> Iterator[str]:
    yield f"access token from {grant.token_url}, for {round(grant.token.lasts.total_seconds())} s"
    yield f"asked for {' '.join(grant.asked)}"
    yield f"not granted: {' '.join(grant.missing)}" if grant.missing else "granted as asked"
    if grant.clock_error is not None and abs(grant.clock_error) > LARGEST_CLOCK_ERROR:
        direction = "ahead of" if grant.clock_error > 0 else "behind"
        yield f"our clock is {abs(round(grant.clock_error))} s {direction} the EHR's"
