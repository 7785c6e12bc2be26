"""What the cases leave in the EHR, as examples. `python tests/cases/examples.py` writes `profiles/examples/`.

One Bundle a case that leaves anything: the resources as an EHR would hold them, had it taken our identifiers for ids.
"""

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from test_cases import CASES, PATIENT, content, run  # noqa: E402

from afterdose.core.identity import artifact_id  # noqa: E402
from afterdose.fhir.encode.care import Letterhead  # noqa: E402
from afterdose.fhir.encode.sentences import Wording  # noqa: E402
from afterdose.work.reports.preview import resources  # noqa: E402

EXAMPLES = HERE.parents[1] / "profiles" / "examples"
_EHR = "https://ehr.example.org/fhir"


def examples() -> dict[str, str]:
    """The text of every example by the name of its file."""
    bundles = {f"Bundle-{case.name}.json": _bundle(case) for case in CASES}
    return {name: json.dumps(bundle, indent=2, ensure_ascii=False) + "\n" for name, bundle in bundles.items() if bundle}


def _bundle(case: Path) -> dict[str, Any] | None:
    snapshot, care = run(case)
    words = Wording(
        clinic=snapshot.clinic,
        protocols=snapshot.protocols,
        plan=content().words,
        reason_text=content().reason_text,
        software="afterdose",
    )
    head = Letterhead(
        patient=snapshot.patient or PATIENT,
        canonicals=content().canonicals,
        codes=content().codes,
        words=words,
        dose_bases={},
        references={},
    )
    left = {str(artifact_id(key)) for key, row in snapshot.known.artifacts.items() if row.named is not None}
    made = [one for one in resources(care, head) if one["id"] not in left]
    if not made:
        return None
    entries = [{"fullUrl": f"{_EHR}/{one['resourceType']}/{one['id']}", "resource": one} for one in made]
    return {"resourceType": "Bundle", "id": case.name, "type": "collection", "entry": entries}


if __name__ == "__main__":
    EXAMPLES.mkdir(exist_ok=True)
    wanted = examples()
    for old in EXAMPLES.glob("*.json"):
        if old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        (EXAMPLES / name).write_text(text, encoding="utf-8")
