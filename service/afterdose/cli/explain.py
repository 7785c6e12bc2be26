"""``afterdose explain``: what became of one administration, and why."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any

import click

from afterdose.cli.operate import config_option, opened, operator
from afterdose.content.content import Content, load_content
from afterdose.core.dose import DoseKey
from afterdose.fhir.decode.administration import TYPE
from afterdose.fhir.references import local_id
from afterdose.fhir.times import format_local, parse_instant
from afterdose.settings import Settings
from afterdose.store.rows import AuditEntry
from afterdose.store.store import Store
from afterdose.work.reports.explanation import explanation

_Json = Mapping[str, Any]


@click.command()
@click.argument("administration", metavar=f"{TYPE}/ID")
@click.option("--source", help="The source that the dose comes from; needed where several know the id.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
def explain(administration: str, source: str | None, as_json: bool, config: Path | None) -> None:
    """Say what became of one administration, and why."""
    resource_id = local_id(administration, TYPE, "")
    if resource_id is None:
        raise click.BadParameter(f"is not {TYPE}/ID", param_hint=f"{TYPE}/ID")
    with opened(config) as (settings, store):
        content = load_content(settings.site_overlay)
        key = DoseKey(source or only_source(store, settings, resource_id), resource_id)
        told: _Json | None = explanation(store, key, content.reason_text)
        if told is not None:
            patient = told["patient"].partition("/")[2] if told["patient"] else None
            store.audit.append(shown("explain", resource_id, told["target"], patient))
    if told is None:
        raise click.ClickException(f"Nothing was ever received of {administration} from the source {key.source}.")
    if as_json:
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    for line in _lines(told, zone_of(told, settings, content)):
        click.echo(line)


def shown(command: str, resource_id: str, target: str, patient: str | None) -> AuditEntry:
    """That somebody was shown what is known of a dose."""
    return AuditEntry(
        actor=f"{operator()} by afterdose {command}",
        action="R",
        entity_type=TYPE,
        entity_id=resource_id,
        outcome="shown",
        target=target,
        patient=patient,
    )


def only_source(store: Store, settings: Settings, resource_id: str) -> str:
    """The one source from which the administration was received."""
    names = [name for name in settings.sources if store.facts.latest(name, resource_id) is not None]
    if not names:
        raise click.ClickException(f"Nothing was ever received of {TYPE}/{resource_id} from any source.")
    if len(names) > 1:
        raise click.UsageError(f"Several sources know {TYPE}/{resource_id}; name one with --source: {', '.join(names)}")
    return names[0]


def zone_of(told: _Json, settings: Settings, content: Content) -> tzinfo:
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
    yield from _listed("Reviews", [review_line(row, zone) for row in told["reviews"]])
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


def review_line(row: _Json, zone: tzinfo) -> str:
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
