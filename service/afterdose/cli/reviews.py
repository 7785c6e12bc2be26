"""``afterdose reviews``: which doses wait for a person, and that a person has answered."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from afterdose.cli.explain import only_source, review_line, shown, zone_of
from afterdose.cli.operate import config_option, opened, operator
from afterdose.content.content import load_content
from afterdose.core.dose import DoseKey
from afterdose.fhir.decode.administration import TYPE
from afterdose.fhir.references import local_id
from afterdose.settings import Settings
from afterdose.store.rows import AuditEntry, ReviewRow
from afterdose.store.schema import patient_key
from afterdose.store.store import Store
from afterdose.work.reports.explanation import review

# More open questions than anybody answers; the most urgent are shown.
_MOST_SHOWN = 1000


@click.command(short_help="List the doses that wait for a person.")
@click.option("--target", "only", help="The reviews of this target alone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--answered", metavar=f"{TYPE}/ID", help="Close the review of this dose: you have seen to it.")
@click.option("--source", help="With --answered: the source of the dose; needed where several know the id.")
@config_option
def reviews(only: str | None, as_json: bool, answered: str | None, source: str | None, config: Path | None) -> None:
    """List the doses that wait for a person, the most urgent first.

    Where the EHR takes Tasks, one asks about each of them too. A review closes when what it asks about is put right in
    the EHR, or its Task is completed there. Where the EHR takes none, close it here with --answered; it opens again
    when more is to be asked. `afterdose explain` says more of a dose.
    """
    with opened(config) as (settings, store):
        if only is not None and only not in settings.targets:
            raise click.BadParameter(f"the settings have {', '.join(settings.targets)}", param_hint="--target")
        if answered is not None:
            _close(answered, source, settings, store)
            return
        content = load_content(settings.site_overlay)
        rows = [row for row in store.reviews.open(_MOST_SHOWN) if only in (None, row.target)]
        store.audit.append(*(_audited(row) for row in rows))
    told: list[dict[str, Any]] = [
        {"source": row.founder.source, "target": row.target} | review(row, content.reason_text) for row in rows
    ]
    if as_json:
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        for one in told:
            doses = ", ".join(one["administrations"])
            click.echo(f"{doses} from {one['source']}: {review_line(one, zone_of(one, settings, content))}")
    click.echo(f"{len(rows)} open.", err=True)


def _close(administration: str, source: str | None, settings: Settings, store: Store) -> None:
    resource_id = local_id(administration, TYPE, "")
    if resource_id is None:
        raise click.BadParameter(f"is not {TYPE}/ID", param_hint="--answered")
    key = DoseKey(source or only_source(store, settings, resource_id), resource_id)
    row = store.reviews.open_of(key)
    if row is None or not store.reviews.resolve(row.id, operator()):
        raise click.ClickException(f"No review of {administration} from {key.source} is open.")
    store.audit.append(replace(_audited(row), action="U", outcome="closed"))
    click.echo("1 closed.", err=True)


def _audited(row: ReviewRow) -> AuditEntry:
    """That the question was shown; of whom, where the dose is of a known patient: others stand under their own key."""
    unknown = row.patient == patient_key(None, row.founder.source, row.founder.id)
    return shown("reviews", row.founder.id, row.target, None if unknown else row.patient)
