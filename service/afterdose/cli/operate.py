"""What those who run afterdose do by hand: look who was given up, have it done again, pause an EHR and let it go on."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from typing import Any

import click

from afterdose.fhir.decode.administration import TYPE
from afterdose.fhir.references import local_id
from afterdose.fhir.times import format_instant
from afterdose.settings import Settings, load_settings
from afterdose.store.due import REPLAY
from afterdose.store.rows import AgendaEntry, AgendaRow
from afterdose.store.schema import patient_key
from afterdose.store.store import Store, open_store
from afterdose.work.starting import write_again


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option of every command that reads the settings and starts nothing."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="The settings file; without it AFTERDOSE_CONFIG, without that only AFTERDOSE_* variables.",
    )(command)


@contextmanager
def opened(config: Path | None) -> Iterator[tuple[Settings, Store]]:
    """The settings and the open store."""
    settings = load_settings(config, os.environ)
    store = open_store(settings.database, clock=lambda: datetime.now(UTC))
    try:
        yield settings, store
    finally:
        store.close()


def operator() -> str:
    """Who runs the command, for the audit; the number of a user that has no name, as in a container."""
    try:
        return getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13
        return f"user {os.getuid()}"


@click.command(short_help="List the patients who were given up.")
@config_option
def parked(config: Path | None) -> None:
    """List the patients who were given up until something arrives or they are replayed."""
    with opened(config) as (_, store):
        rows = store.agenda.parked()
        for row in rows:
            doses = [f"{TYPE}/{key.id}" for key in sorted(store.facts.history(row.target, row.patient))]
            click.echo(f"{row.target}: {row.parked}: {', '.join(doses) or 'no dose'}")
    click.echo(f"{len(rows)} parked.", err=True)


@click.command(short_help="Work on patients again, now.")
@click.argument("target", required=False)
@click.option("--patient-of", metavar=f"{TYPE}/ID", help="The patient of one administration, parked or not.")
@click.option("--all", "everybody", is_flag=True, help="Every patient, parked or not.")
@config_option
def replay(target: str | None, patient_of: str | None, everybody: bool, config: Path | None) -> None:
    """Work on patients again, now: those who were given up (of TARGET, where it is named), or as the options say."""
    with opened(config) as (settings, store):
        if target is not None:
            _check(target, settings)
        if patient_of is not None:
            chosen = _of_administration(patient_of, settings, store)
        elif everybody:
            names = [target] if target is not None else list(settings.targets)
            chosen = [(name, patient) for name in names for patient in store.agenda.patients(name)]
        else:
            chosen = [_key(row) for row in store.agenda.parked() if target in (None, row.target)]
        now = datetime.now(UTC)
        store.agenda.put_all(
            AgendaEntry(target=name, patient=patient, due_at=now, reason=REPLAY) for name, patient in chosen
        )
    click.echo(f"{len(set(chosen))} patients are worked on again.")


@click.command(short_help="Read and write nothing for a target.")
@click.argument("target")
@config_option
def pause(target: str, config: Path | None) -> None:
    """Read and write nothing for TARGET until `afterdose resume`; what is received is kept."""
    with opened(config) as (settings, store):
        _check(target, settings)
        done = store.pauses.pause(target)
    click.echo(f"{target} is paused." if done else f"{target} was paused already.")


@click.command()
@click.argument("target")
@click.option(
    "--restored", is_flag=True, help="The EHR was put back from a copy: what it lost of ours is written again."
)
@config_option
def resume(target: str, restored: bool, config: Path | None) -> None:
    """Let the work for TARGET go on."""
    with opened(config) as (settings, store):
        if restored:
            _check(target, settings)
        since = store.pauses.all().get(target)
        patients = write_again(store, target, datetime.now(UTC)) if restored else 0
        store.pauses.resume(target)
    told = f"{target} goes on; it was paused since {format_instant(since)}." if since else f"{target} was not paused."
    click.echo(told)
    if restored:
        click.echo(f"{patients} patients are looked at, one after the other within an hour at most.")


def _check(target: str, settings: Settings) -> None:
    if target not in settings.targets:
        raise click.BadParameter(f"is none of {', '.join(settings.targets)}", param_hint="TARGET")


def _key(row: AgendaRow) -> tuple[str, str]:
    return row.target, row.patient


def _of_administration(reference: str, settings: Settings, store: Store) -> list[tuple[str, str]]:
    id_ = local_id(reference, TYPE, "")
    if id_ is None:
        raise click.BadParameter(f"is not {TYPE}/ID", param_hint="--patient-of")
    facts = [fact for name in settings.sources if (fact := store.facts.latest(name, id_)) is not None]
    if not facts:
        raise click.ClickException(f"Nothing was ever received of {reference}.")
    return [(fact.target, patient_key(fact.patient, fact.source, id_)) for fact in facts]
