"""Records of one patient that are merged and parted while care is planned: nothing moves, nothing is doubled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stories import DOSE
from ward import PATIENT, Resource, Ward

pytestmark = pytest.mark.faults

OTHER = "p-2"


def patient(id_: str, **said: Any) -> Resource:
    return {"resourceType": "Patient", "id": id_, "birthDate": "1980-02-01", **said}


def replaced_by(other: str) -> dict[str, Any]:
    return {"active": False, "link": [{"other": {"reference": f"Patient/{other}"}, "type": "replaced-by"}]}


def replaces(other: str) -> dict[str, Any]:
    return {"link": [{"other": {"reference": f"Patient/{other}"}, "type": "replaces"}]}


def test_what_was_written_before_a_merge_stays_and_a_person_is_asked(tmp_path: Path) -> None:
    with Ward(tmp_path) as ward:
        ward.chart(DOSE)
        ward.settle()
        (plan,) = ward.plans()

        ward.chart(patient(OTHER))
        ward.chart(patient(PATIENT, **replaced_by(OTHER)))
        ward.settle()

        assert ward.plans() == [plan]
        (task,) = [one for one in ward.ehr.all("Task") if one["code"]["coding"][0]["code"] == "look-at-merge"]
        assert task["for"] == {"reference": f"Patient/{OTHER}"}
        assert task["focus"] == {"reference": f"CarePlan/{plan['id']}"}
        assert task["input"][0]["valueReference"] == {"reference": f"Patient/{PATIENT}"}
