"""``afterdose plan``: the decision for resources in files, without an EHR and without a store."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
from rich.console import Console
from rich.table import Table

from afterdose.cli.inputs import FILES, Unreadable, bytes_of, described, name_of
from afterdose.content.content import Content, load_content
from afterdose.core.care import DoseVerdict
from afterdose.core.clinic import Clinic
from afterdose.core.errors import BadInput
from afterdose.core.reasons import Outcome
from afterdose.fhir.decode.offline import Entry, Pool, read
from afterdose.fhir.encode.care import Letterhead
from afterdose.fhir.encode.sentences import Wording, preparation_line, session_line, warning_line, window_line
from afterdose.fhir.times import format_local, parse_instant
from afterdose.work.reports.drawing import drawing
from afterdose.work.reports.preview import Preview, Site, heard_as_given, heard_now, resources
from afterdose.work.reports.report import dose_report, instant

_SOFTWARE = "afterdose"
_WIDTH = 160
"""Columns of a table that is not shown on a terminal."""


def _instant(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    try:
        return parse_instant(value) if value is not None else None
    except BadInput:
        raise click.BadParameter("is no instant such as 2026-01-06T15:30:00Z") from None


def _zone(_ctx: click.Context, _param: click.Parameter, value: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(value) if value is not None else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise click.BadParameter("is no time zone of the IANA data base such as America/New_York") from None


@click.command()
@FILES
@click.option(
    "--now",
    metavar="INSTANT",
    callback=_instant,
    help="The moment at which every dose is heard of. Default: the present.",
)
@click.option("--as-of-dose", is_flag=True, help="Judge each dose at its own end, with the later ones as planned.")
@click.option("--clinic", "clinic_name", default="example", show_default=True, help="Name or file of a clinic.")
@click.option("--protocol", "protocol_names", multiple=True, help="Name or file of a protocol. May be repeated.")
@click.option(
    "--zone", metavar="ZONE", callback=_zone, help="Zone of times that come without one. Default: the clinic's."
)
@click.option(
    "--overlay",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The site overlay, with clinics, codes and protocols of its own.",
)
@click.option("--patient", "wanted", metavar="ID", help="Only this patient, by the id of the Patient.")
@click.option("--format", "form", type=click.Choice(["json", "text", "svg"]), default="text", show_default=True)
def plan(
    files: Sequence[BinaryIO],
    now: datetime | None,
    as_of_dose: bool,
    clinic_name: str,
    protocol_names: Sequence[str],
    zone: ZoneInfo | None,
    overlay: Path | None,
    wanted: str | None,
    form: str,
) -> None:
    """Show what would be planned after the doses in FILEs.

    A FILE holds FHIR JSON: a resource, a Bundle or NDJSON; "-" is standard input. Doses are MedicationAdministrations;
    the Patients, orders, Encounters, Locations, Conditions and so on that they refer to may stand beside them.
    Nothing is written anywhere. "--format svg" draws the course of one patient.
    """
    if now is not None and as_of_dose:
        raise click.UsageError("--now and --as-of-dose exclude each other")
    content = _content(protocol_names, overlay)
    clinic = content.clinic(clinic_name)
    pool = Pool(_entries(files))
    if next(pool.all("MedicationAdministration"), None) is None:
        click.echo("The input has no MedicationAdministration, so there is no dose to plan for.", err=True)
    site = Site(codes=content.codes, protocols=content.protocols, clinic=clinic, zone=zone or clinic.zone)
    decide = heard_as_given if as_of_dose else heard_now
    previews = _of_patient(decide(pool, site, now or datetime.now(UTC)), wanted, alone=form == "svg")
    words = Wording(
        clinic=clinic,
        protocols=content.protocols,
        plan=content.words,
        reason_text=content.reason_text,
        software=_SOFTWARE,
    )
    if form == "json":
        click.echo(json.dumps(_document(previews, content, words), indent=2, ensure_ascii=False))
    elif form == "svg":
        click.echo(drawing(previews[0], words))
    else:
        _show(previews, words)


def _of_patient(previews: Sequence[Preview], wanted: str | None, *, alone: bool) -> Sequence[Preview]:
    """Those of the patient who is asked for. ``alone``: exactly one is needed."""
    ids = ", ".join(sorted({one.patient for one in previews if one.patient is not None})) or "none"
    if wanted is not None:
        previews = [one for one in previews if one.patient == wanted.removeprefix("Patient/")]
    if wanted is not None and not previews:
        raise click.UsageError(f"the input has nothing on that patient; its patients are: {ids}")
    if alone and len(previews) != 1:
        raise click.UsageError(f"one patient can be drawn at a time; choose with --patient among: {ids}")
    return previews


def _content(protocol_names: Sequence[str], overlay: Path | None) -> Content:
    """The shipped content, or the site's, with the given protocols in the place of those of their families."""
    content = load_content(overlay)
    protocols, definitions = dict(content.protocols), dict(content.canonicals.plan_definitions)
    for name in protocol_names:
        protocol = content.protocol(name)
        base = definitions[protocol.family].rpartition("/")[0]
        protocols[protocol.family] = protocol
        definitions[protocol.family] = f"{base}/{protocol.id}|{protocol.version}"
    return replace(content, protocols=protocols, canonicals=replace(content.canonicals, plan_definitions=definitions))


def _entries(files: Sequence[BinaryIO]) -> list[Entry]:
    entries: list[Entry] = []
    refused: list[str] = []
    for file in files:
        try:
            entries += read(bytes_of(file))
        except BadInput as error:
            refused.append(described(name_of(file), error.problems))
    if refused:
        raise Unreadable("\n".join(refused))
    return entries


def _document(previews: Sequence[Preview], content: Content, words: Wording) -> dict[str, object]:
    looks = [one.care.wake_up for one in previews if one.care.wake_up is not None]
    return {
        "doses": [_row(verdict, one.patient) for one in previews for verdict in one.verdicts],
        "resources": [
            resource for one in previews for resource in resources(one.care, _letterhead(one.patient, content, words))
        ],
        "wake_up": instant(min(looks, default=None)),
    }


def _row(verdict: DoseVerdict, patient: str | None) -> dict[str, object]:
    report = dose_report(verdict)
    who = {"patient": f"Patient/{patient}" if patient is not None else None}
    return {"administrations": report.pop("administrations")} | who | report


def _letterhead(patient: str | None, content: Content, words: Wording) -> Letterhead:
    return Letterhead(
        patient=patient or "",
        canonicals=content.canonicals,
        codes=content.codes,
        words=words,
        dose_bases={},
        references={},
    )


def _show(previews: Sequence[Preview], words: Wording) -> None:
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDTH
    table = Table("Patient", "Dose", "Ended", "Window for the session", "Session", "State", "Why", show_lines=True)
    for one in previews:
        for verdict in one.verdicts:
            table.add_row(one.patient or "unknown", *_cells(verdict, words))
    console.print(table)
    for one in previews:
        visits = [*one.care.appointments, *one.care.preparations]
        if [*one.care.plans, *visits, *one.care.tasks]:
            console.print(
                f"Patient {one.patient}: {_counted(len(one.care.plans), 'care plan')}, "
                f"{_counted(len(visits), 'appointment')}, {_counted(len(one.care.tasks), 'task')}."
            )
        for line in [
            *(preparation_line(visit, words) for visit in one.care.preparations),
            *(warning_line(asked, words) for plan in one.care.plans for asked in plan.warnings),
        ]:
            console.print(f"  {line}")
    console.print(f"Times are those of {words.clinic.title} ({words.clinic.zone.key}). Nothing was written.")


def _cells(verdict: DoseVerdict, words: Wording) -> tuple[str, ...]:
    clinic: Clinic = words.clinic
    moment = verdict.anchor or verdict.start
    if verdict.session is not None:
        session = session_line(verdict, words)
    else:
        session = "when the dose is over" if verdict.outcome is Outcome.WAITING else "-"
    return (
        "\n".join(key.id for key in verdict.administrations),
        format_local(moment, clinic.zone) if moment is not None else "time unknown",
        window_line(verdict.window, clinic.zone) if verdict.window is not None else "-",
        session,
        verdict.outcome.value,
        "\n".join(words.reason_text(reason) for reason in verdict.reasons),
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
