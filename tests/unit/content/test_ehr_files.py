"""The files about EHRs load, and a mistake in one is told with file and key."""

from pathlib import Path

import pytest

from afterdose.content.content import load_content
from afterdose.content.ehrs import read_ehr
from afterdose.content.locate import bundled
from afterdose.core.errors import BadContent

FILES = sorted((bundled() / "mappings" / "ehrs").glob("*.toml"))
HEAD = 'title = "X"\nsources = ["https://example.org"]\nas_of = 2026-01-01\n'


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_every_file_loads(file: Path) -> None:
    assert load_content().ehr(file.stem).title


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "title: is missing"),
        (HEAD + "[rungs]\ngoal = 'task'", "rungs.goal: expected one of goal, worklist"),
        (HEAD + "[rungs]\nplan = 'task'", "expected one of care-plan"),
        (HEAD + "[types.Plan]", "expected a resource type of FHIR R4"),
        (HEAD + "[types.Task]\nneeds = ['luck']", "expected one of location, pool, sender"),
        (HEAD + "[types.Task]\nfind = { patient = '{patient}' }", "has to be known again"),
        (HEAD + "[types.Task]\nfind = { patient = '{person}' }", "only {patient} and {since} are filled in"),
        (HEAD + "[types.Encounter]\npoll = { date = 'ge{since}' }", "expected a search for one {patient}"),
        (HEAD + "[polling]\ncohorts = ['crowds']", "expected one of groups, lists, visits_at, file"),
    ],
)
def test_a_mistake_is_told_with_its_key(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(text)

    with pytest.raises(BadContent) as refused:
        read_ehr(str(file))
    assert said in str(refused.value)
