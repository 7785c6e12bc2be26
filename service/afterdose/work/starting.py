"""What makes the patients of a whole target due: it went live, its rules have changed, or its EHR was put back.

A changed protocol, calendar or code map concerns everybody (decision 0008, rule 24). They are looked at one after the
other, spread out, so that neither the EHR nor who has just had a dose has to wait.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from afterdose.logs import get_logger
from afterdose.store.due import LIVE, PUT_BACK, RULES
from afterdose.store.rows import AgendaEntry
from afterdose.store.store import Store
from afterdose.store.vanished import AT_ONCE

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
            AgendaEntry(target=target, patient=patient, due_at=now, reason=LIVE) for patient in patients
        )


def follow_rules(store: Store, target: str, fingerprint: str, now: datetime) -> None:
    """Put everybody of a target on the agenda where other rules were in force when workers last started."""
    if not store.rulebooks.adopt(target, fingerprint):
        return
    patients = _put_everybody(store, target, RULES, now)
    _log.info("the rules have changed: every patient is looked at again", target=target, count=patients)


def write_again(store: Store, target: str, now: datetime) -> int:
    """Have written again what an EHR lost that was put back from a copy; how many patients are looked at for it.

    What was found to be gone since shortly before the target was paused was not removed by people.
    """
    store.ledger.believe_again(target, store.pauses.all().get(target, now) - AT_ONCE)
    return _put_everybody(store, target, PUT_BACK, now)


def _put_everybody(store: Store, target: str, reason: str, now: datetime) -> int:
    patients = store.agenda.patients(target)
    apart = min(APART, AT_MOST / max(len(patients), 1))
    store.agenda.put_all(
        AgendaEntry(target=target, patient=patient, due_at=now + place * apart, reason=reason)
        for place, patient in enumerate(patients)
    )
    return len(patients)
