"""``afterdose backfill``: the doses of an export, before the first one that is sent."""

import gzip
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from afterdose import logs
from afterdose.bootstrap import utc_now
from afterdose.cli.inputs import Unreadable
from afterdose.content.content import load_content
from afterdose.core.errors import BadInput
from afterdose.fhir.decode.offline import Entry, Pool, read
from afterdose.settings import Settings, load_settings
from afterdose.store.store import open_store
from afterdose.work.intake.backfill import MOST_TOLD, told
from afterdose.work.intake.backfill import backfill as take_in
from afterdose.work.intake.reception import Origin
from afterdose.work.reports.history import History, history_of
from afterdose.work.reports.preview import Site, heard_as_given, matters

_GZIP = b"\x1f\x8b"
_MARK = b"\xef\xbb\xbf"


def _zone(_ctx: click.Context, _param: click.Parameter, value: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(value) if value is not None else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise click.BadParameter("is no time zone of the IANA data base such as America/New_York") from None


@click.command(short_help="Take in past doses from an NDJSON export (Bulk Data).")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--report",
    "form",
    type=click.Choice(["text", "json"]),
    help="Only show what would have happened; nothing is written.",
)
@click.option("--source", "name", metavar="NAME", help="The source of the settings that the doses are of.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The settings file; without it AFTERDOSE_CONFIG, without that only AFTERDOSE_* variables.",
)
@click.option(
    "--overlay",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="With --report: the site overlay, with clinics, codes and protocols of its own.",
)
@click.option("--clinic", "clinic_name", default="example", show_default=True, help="Name or file of a clinic.")
@click.option(
    "--zone", metavar="ZONE", callback=_zone, help="Zone of times that come without one. Default: the clinic's."
)
def backfill(
    file: Path,
    form: str | None,
    name: str | None,
    config: Path | None,
    overlay: Path | None,
    clinic_name: str,
    zone: ZoneInfo | None,
) -> None:
    """Take in the past doses of FILE, an NDJSON export (Bulk Data), as it is or packed by gzip.

    What is stored is worked on by `afterdose work`; for windows that have closed nothing is booked. A run that was
    stopped goes on where it was. A line that cannot be taken is left out and counted.

    With --report the doses are judged each at its own end, by --clinic; Patients, orders, Encounters, Conditions and
    so on may stand beside them.
    """
    if form is not None:
        _report(file, form, overlay, clinic_name, zone)
    elif name is None:
        raise click.UsageError("either --source or --report is needed")
    else:
        _take(file, name, load_settings(config, os.environ))


def _take(file: Path, name: str, settings: Settings) -> None:
    source = settings.sources.get(name)
    if source is None:
        known = ", ".join(sorted(settings.sources)) or "none is set"
        raise click.UsageError(f"--source: expected the name of a source ({known})")
    logs.configure("error", settings.log.format)
    origin = Origin(source.name, source.target, source.base_url)
    with (
        closing(open_store(settings.database, clock=utc_now)) as store,
        Progress(console=Console(stderr=True)) as shown,
    ):
        bar = shown.add_task("lines", total=sum(1 for _ in _lines(file)))
        taken = take_in(_lines(file), origin, file=_digest(file), store=store, on_line=lambda: shown.advance(bar))
    click.echo(
        f"{taken.stored} stored, {taken.known} known already, {taken.left_out} left out; "
        f"{taken.before} lines were taken in by an earlier run."
    )
    _tell_left_out(taken.why, taken.left_out, others=taken.stored + taken.known + taken.before)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _report(file: Path, form: str, overlay: Path | None, clinic_name: str, zone: ZoneInfo | None) -> None:
    content = load_content(overlay)
    clinic = content.clinic(clinic_name)
    site = Site(codes=content.codes, protocols=content.protocols, clinic=clinic, zone=zone or clinic.zone)
    entries: list[Entry] = []
    why: list[str] = []
    refused = readable = 0
    for number, line in enumerate(_lines(file), start=1):
        try:
            # an export is mostly about other drugs, and they would fill the memory
            entries += [entry for entry in read(line) if matters(entry.resource, content.codes)] if line.strip() else []
            readable += bool(line.strip())
        except BadInput as bad:
            refused += 1
            why += [told(number, bad)] if len(why) < MOST_TOLD else []
    found = history_of(heard_as_given(Pool(entries), site, datetime.now(UTC)), clinic)
    if form == "json":
        click.echo(json.dumps({**found.as_json(), "refused_lines": refused}, indent=2))
    else:
        _show(found, refused)
    _tell_left_out(why, refused, others=readable)


def _tell_left_out(why: Sequence[str], count: int, *, others: int) -> None:
    """Say what was left out. Raises ClickException where that is everything: there are no ``others``."""
    for line in why:
        click.echo(f"left out, {line}", err=True)
    if count > len(why):
        click.echo(f"left out, {count - len(why)} more", err=True)
    if count and not others:
        raise click.ClickException("no line of the file could be taken: NDJSON has one whole resource in each line")


def _lines(file: Path) -> Iterator[bytes]:
    """The lines, without the byte order mark that some systems write before the first. Raises Unreadable."""
    try:
        with file.open("rb") as opened:
            packed = opened.read(len(_GZIP)) == _GZIP
        with gzip.open(file, "rb") if packed else file.open("rb") as text:
            yield from (line.removeprefix(_MARK) if place == 0 else line for place, line in enumerate(text))
    except (OSError, EOFError):
        raise Unreadable(f"{file}: cannot be read to its end") from None


def _show(found: History, refused: int) -> None:
    table = Table("Over these doses", "", show_header=False)
    for name, value in (
        ("dose sessions", f"{found.doses} (of {found.administrations} administrations)"),
        ("eligible / for a person / not eligible", f"{found.eligible} / {found.review} / {found.not_eligible}"),
        ("a session fits the window", f"{found.in_window} of {found.eligible} eligible"),
        ("a session fits only after it", str(found.after_window)),
        ("bookable hours", ", ".join(f"{day[:3]} {hours:g}" for day, hours in found.bookable.items())),
        ("sessions a week", f"{found.sessions_a_week:g} on average of {found.weeks}, at most {found.most_in_a_week}"),
        ("lines left out", str(refused)),
    ):
        table.add_row(name, value)
    Console(highlight=False, markup=False, width=100).print(table)
    click.echo("Nothing was written.")
