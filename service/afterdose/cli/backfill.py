"""``afterdose backfill``: the doses of an export, before the first one that is sent."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
from rich.console import Console
from rich.table import Table

from afterdose.cli.inputs import Unreadable
from afterdose.content.content import load_content
from afterdose.core.errors import BadInput
from afterdose.fhir.offline import Entry, Pool, read
from afterdose.work.history import History, history_of
from afterdose.work.preview import Site, heard_as_given

_GZIP = b"\x1f\x8b"


def _zone(_ctx: click.Context, _param: click.Parameter, value: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(value) if value is not None else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise click.BadParameter("is no time zone of the IANA data base such as America/New_York") from None


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--report",
    "form",
    type=click.Choice(["text", "json"]),
    required=True,
    help="Only show what would have happened; nothing is written.",
)
@click.option("--clinic", "clinic_name", default="example", show_default=True, help="Name or file of a clinic.")
@click.option(
    "--zone", metavar="ZONE", callback=_zone, help="Zone of times that come without one. Default: the clinic's."
)
def backfill(file: Path, form: str, clinic_name: str, zone: ZoneInfo | None) -> None:
    """Look at the past doses in FILE, an NDJSON export (Bulk Data), as it is or packed by gzip.

    Patients, orders, Encounters, Conditions and so on may stand beside the MedicationAdministrations. Each dose is
    judged at its own end. A line that is no resource is left out and counted.
    """
    content = load_content()
    clinic = content.clinic(clinic_name)
    site = Site(codes=content.codes, protocols=content.protocols, clinic=clinic, zone=zone or clinic.zone)
    entries: list[Entry] = []
    refused = 0
    for line in _lines(file):
        try:
            entries += read(line)
        except BadInput:
            refused += 1
    found = history_of(heard_as_given(Pool(entries), site, datetime.now(UTC)), clinic)
    if form == "json":
        click.echo(json.dumps({**found.as_json(), "refused_lines": refused}, indent=2))
    else:
        _show(found, refused)


def _lines(file: Path) -> Iterator[bytes]:
    """The lines that hold something. Raises Unreadable."""
    try:
        with file.open("rb") as opened:
            packed = opened.read(len(_GZIP)) == _GZIP
        with gzip.open(file, "rb") if packed else file.open("rb") as text:
            yield from (line for line in text if line.strip())
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
