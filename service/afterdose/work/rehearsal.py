"""A made-up dose goes through the pure parts before the first real one: what is loaded at first use is loaded then."""

from datetime import datetime, timedelta

from afterdose.content.content import Content
from afterdose.core.care import Care, Snapshot
from afterdose.core.dose import Dose, DoseKey, Drug, Effective, Family, ProductKind, Route
from afterdose.core.plan import decide
from afterdose.fhir.conform import check
from afterdose.fhir.encode.care import Letterhead
from afterdose.work.delivery.drafts import drafts, placeholder

_LASTED = timedelta(hours=1)


def rehearse(content: Content, head: Letterhead, now: datetime) -> Care:
    """Decide on a nasal dose that ended at ``now`` and check what would be written; what was decided."""
    dose = Dose(
        key=DoseKey("", "rehearsal"),
        version=None,
        status="completed",
        patient=head.patient,
        drug=Drug(family=Family.ESKETAMINE, kind=ProductKind.NASAL_ESKETAMINE),
        effective=Effective(start=now - _LASTED, end=now, is_period=True),
        heard_at=now,
        route=Route.NASAL,
    )
    snapshot = Snapshot(
        patient=head.patient,
        doses=(dose,),
        protocols=content.protocols,
        clinic=head.words.clinic,
        codes=content.codes,
    )
    care = decide(snapshot, now)
    made = drafts(care, head)
    references = {draft.key: placeholder(draft.key) for draft in made}
    for draft in made:
        check.problems(draft.build(references), profiles=content.profiles)
    return care
