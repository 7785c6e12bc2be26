"""Everything that the store knows about one administration, as plain JSON: for ``afterdose explain``."""

from collections.abc import Callable

from afterdose.core.dose import DoseKey
from afterdose.core.reasons import Reason
from afterdose.fhir.decode.administration import TYPE
from afterdose.store.rows import AgendaRow, Fact, LedgerRow, OutcomeRow, ReviewRow
from afterdose.store.schema import patient_key
from afterdose.store.store import Store
from afterdose.work.reports.report import Report, instant


def explanation(store: Store, key: DoseKey, reason_text: Callable[[Reason], str]) -> Report | None:
    """What became of an administration, None where nothing was ever received of it.

    ``outcome`` and what depends on it are null while no worker has looked at it yet.
    """
    fact = store.facts.latest(key.source, key.id)
    if fact is None:
        return None
    outcome = store.outcomes.find(key.source, key.id)
    patient = outcome.patient if outcome is not None else patient_key(fact.patient, key.source, key.id)
    agenda = store.agenda.find(fact.target, patient)
    reasons = outcome.reasons if outcome is not None else ()
    return {
        "administration": f"{TYPE}/{key.id}",
        "source": key.source,
        "target": fact.target,
        "patient": None if patient.startswith("~") else f"Patient/{patient}",
        "charted_for": _charted_for(store, fact, patient),
        "outcome": outcome.outcome.value if outcome is not None else None,
        "shadow": outcome is not None and outcome.shadow,
        "reasons": _told(reasons, reason_text),
        "dose": dict(outcome.details) if outcome is not None and outcome.details else None,
        "resources": [_resource(row) for row in _written(store, outcome)],
        "reviews": [review(row, reason_text) for row in _reviews(store, outcome)],
        "decided_at": instant(outcome.updated_at) if outcome is not None else None,
        "next_look": instant(outcome.next_look) if outcome is not None else None,
        "agenda": _agenda(agenda) if agenda is not None else None,
        "paused_since": instant(store.pauses.all().get(fact.target)),
        "versions": [_version(one) for one in store.facts.versions(key.source, key.id)],
    }


def _charted_for(store: Store, fact: Fact, patient: str) -> str | None:
    """The former record that a dose is charted under, where its patient has another one now."""
    person = store.persons.find(fact.target, fact.patient) if fact.patient is not None else None
    return f"Patient/{fact.patient}" if person is not None and person.kept_with == patient else None


def _written(store: Store, outcome: OutcomeRow | None) -> list[LedgerRow]:
    """The artifacts of the dose session and of its course."""
    if outcome is None:
        return []
    subjects = {outcome.session_id, outcome.course_id} - {None}
    return [row for row in store.ledger.load(outcome.target, outcome.patient) if row.key.subject in subjects]


def _reviews(store: Store, outcome: OutcomeRow | None) -> list[ReviewRow]:
    """The newest review of each administration of the dose session that founded one."""
    if outcome is None:
        return []
    others = store.outcomes.of_patient(outcome.target, outcome.patient) if outcome.session_id is not None else []
    keys = {outcome.key, *(row.key for row in others if row.session_id == outcome.session_id)}
    found = (store.reviews.find(key.source, key.id) for key in sorted(keys))
    return [row for row in found if row is not None]


def _told(reasons: tuple[Reason, ...], reason_text: Callable[[Reason], str]) -> list[Report]:
    return [{"code": reason.value, "text": reason_text(reason)} for reason in reasons]


def _resource(row: LedgerRow) -> Report:
    return {
        "kind": row.key.kind.value,
        "reference": f"{row.resource_type}/{row.ehr_id}" if row.ehr_id is not None else None,
        "identifier": str(row.identifier),
        "standing": row.standing.value,
        "under": f"Patient/{row.named}" if row.named is not None else None,
        "status": row.ehr_status,
        "booked": row.booked,
        "attempts": row.attempts,
        "sent_at": instant(row.sent_at),
    }


def review(row: ReviewRow, reason_text: Callable[[Reason], str]) -> Report:
    """A question to a person, as JSON shows it."""
    return {
        "administrations": [f"{TYPE}/{key.id}" for key in row.administrations],
        "reasons": _told(row.reasons, reason_text),
        "codes": list(row.codes),
        "due": instant(row.due),
        "opened_at": instant(row.opened_at),
        "closed_at": instant(row.closed_at),
        "closed_by": row.closed_by,
    }


def _agenda(row: AgendaRow) -> Report:
    return {
        "due_at": instant(row.due_at),
        "reasons": list(row.reasons),
        "attempts": row.attempts,
        "parked": row.parked,
        "being_worked_on_until": instant(row.lease_until),
    }


def _version(fact: Fact) -> Report:
    return {
        "received_at": instant(fact.received_at),
        "via": fact.via,
        "interaction": fact.interaction,
        "version": fact.version,
        "last_updated": instant(fact.last_updated),
    }
