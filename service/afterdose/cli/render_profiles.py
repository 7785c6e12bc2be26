"""``afterdose render-profiles``: the definitions that follow from the mappings, written into files."""

from collections.abc import Collection, Mapping
from pathlib import Path

import click

from afterdose.content.content import load_content
from afterdose.content.locate import bundled
from afterdose.content.render import Resource, as_text, read_sources, render, stale
from afterdose.ehr.interactions import INTERACTIONS, OPERATIONS, SystemInteraction
from afterdose.web import metadata

_CALLED: Mapping[str, Collection[str]] = {
    "": {SystemInteraction.TRANSACTION},
    **{kind: {*calls, *(f"${one}" for one in OPERATIONS.get(kind, ()))} for kind, calls in INTERACTIONS.items()},
}
"""What a CapabilityStatement can say of our calls: reading one (``capabilities``) has no code of its own."""


@click.command(name="render-profiles", short_help="Make the profiles that follow from the mappings.")
@click.option("--check", is_flag=True, help="Write nothing; name the files that are not current.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of the files. Default: the profiles that come with afterdose.",
)
@click.option(
    "--overlay",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The site overlay, where it changes protocols or activities.",
)
def render_profiles(check: bool, out: Path | None, overlay: Path | None) -> None:
    """Make PlanDefinitions, ActivityDefinitions, Questionnaires and CapabilityStatements from the mappings.

    Exit status with --check: 1 when a file is not current.
    """
    folder = out or bundled() / "profiles"
    rendered = rendered_profiles(overlay)
    old = stale(rendered, folder)
    if check:
        for name in old:
            click.echo(f"{folder / name} is not current", err=True)
        raise click.exceptions.Exit(1 if old else 0)
    folder.mkdir(parents=True, exist_ok=True)
    for name in old:
        (folder / name).write_text(as_text(rendered[name]), encoding="utf-8")
        click.echo(folder / name)


def rendered_profiles(overlay: Path | None = None) -> dict[str, Resource]:
    """The definitions of an installation, by the name of their file."""
    return render(read_sources(load_content(overlay)), served=metadata.rest(), called=_CALLED)
