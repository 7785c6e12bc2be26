"""Several clinics of one EHR: the place of a dose says which one plans for it."""

from pathlib import Path

import pytest

from afterdose.clinics import clinic_for, clinics_of
from afterdose.content import load_content
from afterdose.content.locate import bundled
from afterdose.core.errors import BadSettings
from afterdose.settings import Settings, load_settings
from builders import a_context, a_dose

SETTINGS = """
site_overlay = "site"
[targets.ehr]
base_url = "https://ehr.example.org/fhir"
clinic = "main"
clinics = {clinics}
[targets.other]
base_url = "https://other.example.org/fhir"
clinic = "main"
[sources.ehr]
target = "ehr"
[[sources.ehr.secrets]]
value = "0123456789abcdef0123456789abcdef"
"""


def site(folder: Path, clinics: list[str], **places: str | None) -> Settings:
    """Settings with clinic files of these names, each at its place in the EHR."""
    (folder / "site/mappings/clinics").mkdir(parents=True)
    text = (bundled() / "mappings/clinics/example.toml").read_text(encoding="utf-8")
    for name, place in places.items():
        at = f'location = "{place}"\n' if place else ""
        file = folder / f"site/mappings/clinics/{name}.toml"
        file.write_text(at + text.replace('name = "example"', f'name = "{name}"'), encoding="utf-8")
    (folder / "afterdose.toml").write_text(SETTINGS.format(clinics=clinics), encoding="utf-8")
    return load_settings(folder / "afterdose.toml", {})


def test_a_dose_at_the_place_of_a_further_clinic_is_planned_for_there(tmp_path: Path) -> None:
    settings = site(tmp_path, ["north"], main="Location/1", north="Location/2")
    chosen = clinic_for(settings, load_content(settings.site_overlay))

    def name_at(place: str, target: str = "ehr") -> str:
        return chosen(target, (a_dose(context=a_context(location_ids=(place,))),)).name

    assert [name_at(f"Location/{number}") for number in (1, 2, 3)] == ["main", "north", "main"]
    assert name_at("Location/2", "other") == "main"


@pytest.mark.parametrize(
    ("place", "told"),
    [(None, "north has no location, by which it would be chosen"), ("Location/1", "north has the location of another")],
)
def test_a_further_clinic_that_no_place_can_lead_to_is_refused(tmp_path: Path, place: str | None, told: str) -> None:
    settings = site(tmp_path, ["north"], main="Location/1", north=place)

    with pytest.raises(BadSettings, match=f"targets.ehr.clinics: {told}"):
        clinics_of("ehr", settings, load_content(settings.site_overlay))
