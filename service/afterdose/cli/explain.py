"""``afterdose explain`` and ``reviews``: what became of one administration, and which doses wait for a person."""

import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from getpass import getuser
from pathlib import Path
from typing import Any

import click

from afterdose.content.content import Content, load_content
from afterdose.core.dose import DoseKey
from afterdose.fhir.decode.administration import TYPE
from afterdose.fhir.references import local_id
from afterdose.fhir.times import format_local, parse_instant
from afterdose.settings import Settings, load_settings
from afterdose.store.rows import AuditEntry, ReviewRow
from afterdose.store.schema import patient_key
from afterdose.store.store import Store, open_store
from afterdose.work.reports.explanation import explanation, review

_Json = Mapping[str, Any]
# More open questions than anybody answers; the most urgent are shown.
_MOST_SHOWN = 1000


@click.command()
@click.argument("administration", metavar=f"{TYPE}/ID")
@click.option("--source", help="The source that the dose comes from; needed where several know the id.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The settings file; without it AFTERDOSE_CONFIG, without that only AFTERDOSE_* variables.",
)
def explain(administration: str, source: str | None, as_json: bool, config: Path | None) -> None:
    """Say what became of one administration, and why."""
    resource_id = local_id(administration, TYPE, "")
    if resource_id is None:
        raise click.BadParameter(f"is not {TYPE}/ID", param_hint=f"{TYPE}/ID")
    settings = load_settings(config, os.environ)
    content = load_content(settings.site_overlay)
    store = open_store(settings.database, clock=lambda: datetime.now(UTC))
    try:
        key = DoseKey(source or _only_source(store, settings, resource_id), resource_id)
        told: _Json | None = explanation(store, key, content.reason_text)
        if told is not None:
            patient = told["patient"].partition("/")[2] if told["patient"] else None
            store.audit.append(_shown("explain", resource_id, told["target"], patient))
    finally:
        store.close()
    if told is None:
        raise click.ClickException(f"Nothing was ever received of {administration} from the source {key.source}.")
    if as_json:
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    for line in _lines(told, _zone(told, settings, content)):
        click.echo(line)


@click.command(short_help="List the doses that wait for a person.")
@click.option("--target", "only", help="The reviews of this target alone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The settings file; without it AFTERDOSE_CONFIG, without that only AFTERDOSE_* variables.",
)
def reviews(only: str | None, as_json: bool, config: Path | None) -> None:
    """List the doses that wait for a person, the most urgent first.

    Where the EHR takes Tasks, one asks about each of them too. A review closes when what it asks about is put right in
    the EHR, or its Task is completed there. `afterdose explain` says more of a dose.
    """
    settings = load_settings(config, os.environ)
    if only is not None and only not in settings.targets:
        raise click.BadParameter(f"the settings have {', '.join(settings.targets)}", param_hint="--target")
    content = load_content(settings.site_overlay)
    store = open_store(settings.database, clock=lambda: datetime.now(UTC))
    try:
        rows = [row for row in store.reviews.open(_MOST_SHOWN) if only in (None, row.target)]
        store.audit.append(*(_shown("reviews", row.founder.id, row.target, _person(row)) for row in rows))
    finally:
        store.close()
    told: list[dict[str, Any]] = [
        {"source": row.founder.source, "target": row.target} | review(row, content.reason_text) for row in rows
    ]
    if as_json:
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        for one in told:
            doses = ", ".join(one["administrations"])
            click.echo(f"{doses} from {one['source']}: {_review(one, _zone(one, settings, content))}")
    click.echo(f"{len(rows)} open.", err=True)


def _person(row: ReviewRow) -> str | None:
    """The Patient, where the dose is of a known one: others stand under the key of their administration."""
    return None if row.patient == patient_key(None, row.founder.source, row.founder.id) else row.patient


def _shown(command: str, resource_id: str, target: str, patient: str | None) -> AuditEntry:
    """That somebody was shown what is known of a dose."""
    return AuditEntry(
        actor=f"{getuser()} by afterdose {command}",
        action="R",
        entity_type=TYPE,
        entity_id=resource_id,
        outcome="shown",
        target=target,
        patient=patient,
    )


def _only_source(store: Store, settings: Settings, resource_id: str) -> str:
    """The one source from which the administration was received."""
    names = [name for name in settings.sources if store.facts.latest(name, resource_id) is not None]
    if not names:
        raise click.ClickException(f"Nothing was ever received of {TYPE}/{resource_id} from any source.")
    if len(names) > 1:
        raise click.UsageError(f"Several sources know {TYPE}/{resource_id}; name one with --source: {', '.join(names)}")
    return names[0]


def _zone(told: _Json, settings: Settings, content: Content) -> tzinfo:
    """The zone of the clinic that serves the source, UTC where source and target are in the settings no more."""
    source, target = settings.sources.get(told["source"]), settings.targets.get(told["target"])
    clinic = (source.clinic if source is not None else None) or (target.clinic if target is not None else None)
    return content.clinic(clinic).zone if clinic is not None else UTC


def _lines(told: _Json, zone: tzinfo) -> Iterator[str]:
    shadow = ", in shadow mode: nothing was written" if told["shadow"] else ""
    yield f"{told['administration']} from {told['source']}: {told['outcome'] or 'not looked at yet'}{shadow}"
    yield f"  Patient: {told['patient'] or 'not known'} in {told['target']}"
    if told["charted_for"]:
        yield f"  Charted for: {told['charted_for']}, a former record of this patient"
    yield from _listed("Why", [f"{reason['text']} ({reason['code']})" for reason in told["reasons"]])
    if told["dose"]:
        yield from _dose(told["dose"], zone)
    yield from _listed("In the EHR", [_resource(row, zone) for row in told["resources"]])
    yield from _listed("Reviews", [_review(row, zone) for row in told["reviews"]])
    if told["decided_at"]:
        yield f"  Decided: {_local(told['decided_at'], zone)}"
        yield f"  Next look: {_local(told['next_look'], zone) if told['next_look'] else 'when something arrives'}"
    yield from _agenda(told["agenda"], zone)
    if told["paused_since"]:
        since, target = _local(told["paused_since"], zone), told["target"]
        yield f"  Paused: {target}, since {since}; nothing is done for it until `afterdose resume {target}`"
    yield from _listed("Received", [_version(row, zone) for row in told["versions"]])


def _dose(dose: _Json, zone: tzinfo) -> Iterator[str]:
    ended = f"ended {_local(dose['anchor'], zone)} ({dose['anchor_basis']})" if dose["anchor"] else "not over"
    yield f"  Dose session: {', '.join(dose['administrations'])}, {ended}"
    if dose["course"]:
        yield f"  Course: {dose['course']}{', ' + dose['phase'] + ' phase' if dose['phase'] else ''}"
    window, session = dose["window"], dose["session"]
    if window:
        cut = window["cut_by"]
        cause = f" (cut by the {cut['kind']} dose on {_local(cut['at'], zone)})" if cut else ""
        yield f"  Window: {_local(window['opens'], zone)} to {_local(window['closes'], zone)}{cause}"
    if session:
        when = (
            f" {_local(session['start'], zone)}, {session['hours_after']:.2f} h after the dose"
            if session["start"]
            else ""
        )
        label = "".join(f", {part}" for part in (session["class"], session["reason"]) if part)
        yield f"  Session: {session['state']}{when}{label}"


def _resource(row: _Json, zone: tzinfo) -> str:
    parts = [row["kind"], row["reference"] or "no id in the EHR yet", row["standing"]]
    parts += [f"under {row['under']}"] if row["under"] else []
    parts += [part for part in (row["status"], "booked" if row["booked"] else None) if part]
    if row["sent_at"]:
        parts.append(f"last sent {_local(row['sent_at'], zone)}")
    return ", ".join(parts) + (f" (attempts: {row['attempts']})" if row["attempts"] else "")


def _review(row: _Json, zone: tzinfo) -> str:
    why = "; ".join(reason["text"] for reason in row["reasons"])
    why += f" (the EHR's own code: {', '.join(row['codes'])})" if row["codes"] else ""
    due = f", due {_local(row['due'], zone)}" if row["due"] else ""
    closed = f", closed {_local(row['closed_at'], zone)}" if row["closed_at"] else ", open"
    return f"since {_local(row['opened_at'], zone)}{due}{closed}: {why}"


def _agenda(row: _Json | None, zone: tzinfo) -> Iterator[str]:
    if row is None:
        yield "  Agenda: not on it"
        return
    due = f"due {_local(row['due_at'], zone)}" if row["due_at"] else "due when something arrives"
    parked = f", parked ({row['parked']})" if row["parked"] else ""
    why = f" ({', '.join(row['reasons'])})" if row["attempts"] and row["reasons"] else ""
    yield f"  Agenda: {due}{parked}, attempts: {row['attempts']}{why}"


def _version(row: _Json, zone: tzinfo) -> str:
    version = f", version {row['version']}" if row["version"] else ""
    return f"{_local(row['received_at'], zone)} by {row['via']}: {row['interaction']}{version}"


def _listed(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield f"  {title}:"
        yield from (f"    {line}" for line in lines)


def _local(text: str, zone: tzinfo) -> str:
    return format_local(parse_instant(text), zone)
