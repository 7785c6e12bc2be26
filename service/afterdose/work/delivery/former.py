"""Making sure of what may have been written before two records were merged: it stands there, or it follows."""

from dataclasses import replace

from afterdose.core.care import ArtifactKind
from afterdose.core.errors import EhrRefused
from afterdose.core.reasons import Reason
from afterdose.work.delivery.deliver import Delivery
from afterdose.work.delivery.stands import StandsOtherwise
from afterdose.work.delivery.unwritten import Refusal


def find_under_former_records(delivery: Delivery) -> None:
    """Search for every artifact of whose writing under a former record no answer came.

    Raises EhrUnavailable where it is too early to know, and StandsOtherwise where it is known now.
    """
    journal = delivery.journal
    unsure = [row for row in journal.rows.values() if row.named is not None and row.ehr_id is None]
    known = False
    for row in unsure:
        if row.key.kind is ArtifactKind.PROVENANCE:
            continue
        try:
            found = delivery.stands.find(row)
        except EhrRefused as refused:
            delivery.refusals.append(Refusal(key=row.key, reason=Reason.EHR_REFUSED, code=refused.shown))
            continue
        if found.ehr_id is None:
            journal.keep(replace(row, named=None, sent_at=None, attempts=0))
        known = True
    if known:
        raise StandsOtherwise
