"""``afterdose audit``: the trail of who did what with patient data, to take out and to check."""

import json
from datetime import datetime
from pathlib import Path

import click

from afterdose.cli.operate import config_option, opened
from afterdose.core.errors import BadInput
from afterdose.fhir.encode.audit_event import audit_event
from afterdose.fhir.times import format_instant, parse_instant
from afterdose.store.audit import BEGINNING, Kept

_FAILED = ("refused", "no answer", "4", "5", "Ehr")
"""How the outcomes of what did not succeed begin: words of ours, statuses, classes of errors."""


@click.group()
def audit() -> None:
    """Take the audit out, or check that nobody has changed it."""


def _instant(_context: click.Context, _option: click.Parameter, text: str | None) -> datetime | None:
    try:
        return parse_instant(text) if text is not None else None
    except BadInput:
        raise click.BadParameter("is no instant such as 2026-01-05T15:00:00Z") from None


@audit.command(short_help="Print every entry as an AuditEvent (R4, IHE BALP).")
@click.option("--since", callback=_instant, help="From this instant on, such as 2026-01-05T15:00:00Z.")
@click.option("--format", "format_", type=click.Choice(["ndjson"]), default="ndjson", show_default=True)
@config_option
def export(since: datetime | None, format_: str, config: Path | None) -> None:  # noqa: ARG001 - there is one format
    """Print every entry as an AuditEvent (R4, in the shape of IHE BALP), one a line."""
    with opened(config) as (_, store):
        for kept in store.audit.entries(since):
            click.echo(json.dumps(_event(kept), separators=(",", ":")))


@audit.command(short_help="Check that no entry was changed.")
@click.option("--has", "known", metavar="HASH", help="A hash that was noted before: it must still be there.")
@config_option
def verify(known: str | None, config: Path | None) -> None:
    """Check that every entry is what was written after the one before it; note the last hash elsewhere."""
    with opened(config) as (_, store):
        broken = store.audit.first_broken()
        if broken is not None:
            raise click.ClickException(
                f"Entry {broken.id} of {format_instant(broken.at)} was changed, or some before it are gone."
            )
        count, last, met = 0, BEGINNING, known in (None, BEGINNING)
        for kept in store.audit.entries():
            count, last, met = count + 1, kept.hash, met or kept.hash == known
    if not met:
        raise click.ClickException("The hash is not there: entries were cut off, or the database is another one.")
    click.echo(f"{count} entries, none changed. The last hash is {last}")


def _event(kept: Kept) -> dict[str, object]:
    entry = kept.entry
    return audit_event(
        at=kept.at,
        actor=entry.actor,
        action=entry.action,
        entity=(entry.entity_type, entry.entity_id),
        succeeded=not entry.outcome.startswith(_FAILED),
        outcome=entry.outcome,
        target=entry.target,
        patient=entry.patient if entry.patient is not None and not entry.patient.startswith("~") else None,
        hashes={"hash": kept.hash, "prev_hash": kept.prev_hash},
    )
