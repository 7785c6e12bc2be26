"""``afterdose quarantine``: what was refused of known senders, for the person who has to do something about it."""

from datetime import UTC
from pathlib import Path

import click

from afterdose import logs
from afterdose.bootstrap import message_desk, utc_now
from afterdose.cli.operate import config_option, opened, operator
from afterdose.core.errors import Problem
from afterdose.fhir.times import format_instant
from afterdose.fhir.v2.answer import Verdict
from afterdose.fhir.v2.translate import ER7
from afterdose.settings import Settings
from afterdose.store.rows import AuditEntry, Refused
from afterdose.store.store import Store


@click.group(short_help="See what was refused, and take HL7 v2 in again.")
def quarantine() -> None:
    """See what was refused of known senders, and take HL7 v2 messages in again once the map is right."""


@quarantine.command("list", short_help="List what is kept, newest first.")
@config_option
def list_(config: Path | None) -> None:
    """List what is kept, newest first: number, time, source, size, and what was wrong. Shows nothing of the content."""
    with opened(config) as (_, store):
        kept, dropped = store.quarantine.counts()
        for one in store.quarantine.newest(kept):
            wrong = "; ".join(map(_said, one.problems))
            when = format_instant(one.received_at.astimezone(UTC))
            click.echo(f"{one.id}  {when}  {one.source}  {len(one.body)} bytes  {wrong}")
    click.echo(f"{kept} kept, {dropped} dropped for lack of room.", err=True)


@quarantine.command()
@click.argument("number", type=int)
@config_option
def show(number: int, config: Path | None) -> None:
    """Print what was refused, byte by byte. That it was shown stands in the audit."""
    with opened(config) as (settings, store):
        one = _found(store, number)
        source = settings.sources.get(one.source)
        entry = AuditEntry(
            actor=f"{operator()} by afterdose quarantine",
            action="R",
            entity_type="Binary",
            entity_id=str(one.id),
            outcome="shown",
            target=source.target if source is not None else None,
        )
        store.audit.append(entry)
    click.echo(one.body, nl=False)


@quarantine.command(short_help="Take HL7 v2 messages in again.")
@click.argument("numbers", metavar="[NUMBER]...", type=int, nargs=-1)
@config_option
def again(numbers: tuple[int, ...], config: Path | None) -> None:
    """Take HL7 v2 messages in again, as if they came now: those with the numbers, else all.

    For when a code or a field was added to the site's map. What is refused again stays, under another number. FHIR
    has no map: there the sender corrects what it sent, and sends it again. So it does with what was too large.
    """
    with opened(config) as (settings, store):
        logs.configure("error", settings.log.format)
        chosen = [_found(store, number) for number in numbers] or store.quarantine.newest(store.quarantine.counts()[0])
        messages = [one for one in chosen if _is_whole_message(one)]
        if numbers and len(messages) < len(chosen):
            raise click.ClickException("Only HL7 v2 messages that are kept whole can be taken in again.")
        taken = _take(messages, settings, store)
    click.echo(f"{taken} messages taken in, {len(messages) - taken} refused again.")


def _take(messages: list[Refused], settings: Settings, store: Store) -> int:
    """How many of the messages are taken now, oldest first."""
    desk = message_desk(settings, store, clock=utc_now)
    taken = 0
    for one in sorted(messages, key=lambda one: one.id):
        if one.source not in settings.sources:
            raise click.ClickException(f"{one.id}: there is no source {one.source} in the settings any more.")
        told = desk.take(one.body, one.source)
        if told.reply.verdict is Verdict.ACCEPTED:
            store.quarantine.drop(one.id)
            taken += 1
        else:
            click.echo(f"{one.id}: {'; '.join(map(_said, told.problems))}", err=True)
    return taken


def _is_whole_message(one: Refused) -> bool:
    """Of one that was too large only the beginning is kept."""
    return one.media_type == ER7 and not any(problem.code == "too-long" for problem in one.problems)


def _found(store: Store, number: int) -> Refused:
    found = store.quarantine.find(number)
    if found is None:
        raise click.ClickException(f"There is nothing under the number {number} in the quarantine.")
    return found


def _said(problem: Problem) -> str:
    return f"{problem.path}: {problem.text}" if problem.path else problem.text
