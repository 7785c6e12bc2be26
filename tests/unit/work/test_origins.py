"""Doses whose source or target the settings no longer name: said at the start, instead of giving their patients up."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from afterdose.core.errors import BadSettings
from afterdose.settings import load_settings
from afterdose.store.rows import Arrival
from afterdose.store.store import open_store
from afterdose.workshop import Workshop
from web_server import write_settings


def arrival(source: str, target: str) -> Arrival:
    return Arrival(
        source=source,
        resource_type="MedicationAdministration",
        resource_id=f"of-{target}",
        target=target,
        patient="p1",
        interaction="upsert",
        via="push",
        version=None,
        last_updated=None,
        raw=b"{}",
    )


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("ehr", "ehr", None),
        ("old", "ehr", "sources.old: expected, for doses that are known; where it is out of use: readable = false"),
        ("ehr", "old", 'targets.old: expected, for doses that are known; where it is out of use: mode = "shadow"'),
    ],
)
def test_workers_start_where_source_and_target_of_every_dose_are_named(
    tmp_path: Path, source: str, target: str, said: str | None
) -> None:
    settings = load_settings(write_settings(tmp_path), {"AFTERDOSE_TARGETS__EHR__BASE_URL": "http://127.0.0.1:9/fhir"})
    with closing(open_store(settings.database, clock=lambda: datetime.now(UTC))) as store:
        for one, other in (("ehr", "ehr"), (source, target)):
            store.committer.submit([arrival(one, other)])

    with Workshop(settings) as workshop:
        if said is None:
            workshop.start()
        else:
            with pytest.raises(BadSettings) as caught:
                workshop.start()
            assert str(caught.value) == said
