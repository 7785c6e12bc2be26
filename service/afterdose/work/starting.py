"""What makes the patients of a whole target due when workers start: it went live, or its rules have changed.

A changed protocol, calendar or code map concerns everybody (decision 0008, rule 24). They are looked at one after the
other, spread out, so that neither the EHR nor who has just had a dose has to wait.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from afterdose.logs import get_logger
from afterdose.store.rows import AgendaEntry
from afterdose.store.store import Store

AT_MOST = timedelta(hours=1)
"""Within so much everybody has had a turn."""
APART = timedelta(seconds=1)
"""So far apart the turns are where that is time enough for all."""

_log = get_logger()


def go_live(store: Store, targets: Iterable[str], now: datetime) -> None:
    """Whoever was only decided about while a target was in shadow mode is due, now that it is live."""
    for target in targets:
        patients = store.outcomes.decided_in_shadow(target)
        store.agenda.put_all(
            AgendaEntry(target=target, patient=patient, due_at=now, reason="live") for patient in patients
        )


def follow_rules(store: Store, target: str, fingerprint: str, now: datetime) -> None:
    """Put everybody of a target on the agenda where other rules were in force when workers last started."""
    if not store.rulebooks.adopt(target, fingerprint):
        return
    patients = store.agenda.patients(target)
    apart = min(APART, AT_MOST / max(len(patients), 1))
    store.agenda.put_all(
        AgendaEntry(target=target, patient=patient, due_at=now + place * apart, reason="rules")
        for place, patient in enumerate(patients)
    )
    _log.info("the rules have changed: every patient is looked at again", target=target, patients=len(patients))
