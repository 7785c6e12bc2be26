"""Records that are merged at EHRs that publish no links: the answer for the former record is what tells."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from test_vendors import PATIENT, Site, dose

from doubles.vendors import VENDORS, VendorEhr

SURVIVOR = "p-2"
RULES = {
    "epic": VENDORS["epic"],
    "oracle-health": replace(VENDORS["oracle-health"], answers_for_merged=False),
}


@pytest.fixture(params=RULES)
def vendor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def chart(ehr: VendorEhr) -> None:
    for id_ in (PATIENT, SURVIVOR):
        ehr.staff.put({"resourceType": "Patient", "id": id_, "birthDate": "1980-02-01"})


def test_a_dose_that_is_sent_for_a_former_record_is_planned_under_the_survivor(vendor: str, tmp_path: Path) -> None:
    with VendorEhr(RULES[vendor]) as ehr, Site(tmp_path, ehr, vendor, readable="true") as site:
        chart(ehr)
        ehr.merged[PATIENT] = SURVIVOR
        ehr.staff.put(dose())

        site.push(dose())

        (note,) = ehr.all("DocumentReference")
        assert note["subject"] == {"reference": f"Patient/{SURVIVOR}"}
        assert (site.outcome().patient, site.outcome().outcome) == (SURVIVOR, "planned")
        assert not any(path.endswith("Location") for _, path in ehr.requests)


def test_what_stood_before_the_merge_is_left_and_asked_about_on_the_rung_that_there_is(
    vendor: str, tmp_path: Path
) -> None:
    with VendorEhr(RULES[vendor]) as ehr, Site(tmp_path, ehr, vendor, readable="true") as site:
        chart(ehr)
        ehr.staff.put(dose())
        site.push(dose())
        before = ehr.all("DocumentReference")
        assert len(before) == 1

        ehr.merged[PATIENT] = SURVIVOR
        site.later(timedelta(hours=25))

        assert ehr.all("DocumentReference") == before
        assert site.outcome().patient == SURVIVOR
        messages = ehr.all("Communication")
        if messages:
            assert messages[0]["subject"] == {"reference": f"Patient/{SURVIVOR}"}
        else:
            assert "patient-merged" in site.asked()
