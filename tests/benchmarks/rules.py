"""What deciding costs: decide, encode and conform in CPU milliseconds a dose, without any database or EHR."""

import statistics
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from doses import a_dose

from afterdose.content.content import Content, load_content
from afterdose.core.care import ArtifactKey, Care, Known, KnownArtifact, Snapshot, Standing
from afterdose.core.clinic import Clinic
from afterdose.core.dose import Context, Dose, DoseKey
from afterdose.core.plan import decide
from afterdose.fhir.conform import check
from afterdose.fhir.decode.dose import decode_dose
from afterdose.fhir.encode.care import RESOURCE_TYPE, Letterhead
from afterdose.fhir.encode.sentences import Wording
from afterdose.work.delivery.drafts import drafts

FIRST_DOSE = datetime(2026, 1, 5, 15, 10, tzinfo=UTC)
BETWEEN_DOSES = timedelta(days=3)


def measure(rounds: int = 100) -> dict[str, float]:
    """Medians for the first dose of a course and for the eighth."""
    content = load_content()
    clinic = content.clinic("example-7-days")
    return {
        f"{which} dose, decide + encode + conform ms": 1000 * _median(content, clinic, _doses(content, number), rounds)
        for which, number in (("first", 1), ("eighth", 8))
    }


def _doses(content: Content, number: int) -> list[Dose]:
    found = []
    for place in range(number):
        ended = FIRST_DOSE + place * BETWEEN_DOSES
        dose = decode_dose(
            a_dose(f"dose-{place}", "patient", ended),
            key=DoseKey("ehr", f"dose-{place}"),
            patient="patient",
            heard_at=ended + timedelta(minutes=5),
            codes=content.codes,
            zone=ZoneInfo("America/New_York"),
            context=Context(),
        )
        found.append(dose)
    return found


def _median(content: Content, clinic: Clinic, doses: list[Dose], rounds: int) -> float:
    """The last of `doses` arrives; everything before it has been written."""
    known, written = Known(), dict[ArtifactKey, str]()
    for count in range(1, len(doses)):
        care, written = _once(content, clinic, _snapshot(content, clinic, doses[:count], known), written)
        artifacts = {key: KnownArtifact(key=key, standing=Standing.WRITTEN) for key in written}
        known = Known(memberships=care.memberships, artifacts=artifacts)
    found = []
    for _ in range(rounds):
        begun = time.process_time()
        _once(content, clinic, _snapshot(content, clinic, doses, known), written)
        found.append(time.process_time() - begun)
    return statistics.median(found)


def _snapshot(content: Content, clinic: Clinic, doses: list[Dose], known: Known) -> Snapshot:
    return Snapshot(
        patient="patient",
        doses=tuple(doses),
        known=known,
        protocols=content.protocols,
        clinic=clinic,
        codes=content.codes,
    )


def _once(
    content: Content, clinic: Clinic, snapshot: Snapshot, written: Mapping[ArtifactKey, str]
) -> tuple[Care, dict[ArtifactKey, str]]:
    """Decide, and make and check what differs from what was `written`; what was decided, and what is written then."""
    words = Wording(
        clinic=clinic,
        protocols=content.protocols,
        plan=content.words,
        reason_text=content.reason_text,
        software="benchmark",
        name_drug=True,
    )
    head = Letterhead(
        patient="patient",
        canonicals=content.canonicals,
        codes=content.codes,
        words=words,
        dose_bases={"ehr": ""},
        references={},
    )
    care = decide(snapshot, snapshot.doses[-1].heard_at)
    made = drafts(care, head)
    references = {draft.key: f"{RESOURCE_TYPE[draft.key.kind]}/1" for draft in made}
    wanted = {draft.key: draft.wanted(references) for draft in made}
    for draft in made:
        if wanted[draft.key] == written.get(draft.key):
            continue
        if check.problems(draft.build(references), profiles=content.profiles):
            raise RuntimeError("what we make is not conformant")
    return care, wanted


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:45} {value:8.2f}")
