"""What was read of a patient, for the audit: every read and search that left, with what came of it.

Reads are noted while one patient is worked on and kept together at the end: with the giving back of the patient, or by
themselves where the work failed. Writes are audited with the ledger, before they leave (``journal``).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from afterdose.core.errors import EhrError
from afterdose.ehr.wire import Answer, Request
from afterdose.store.audit import Audit
from afterdose.store.rows import AuditEntry, Claim

ACTOR = "afterdose"

_NOTES: ContextVar[tuple[Claim, list[AuditEntry]] | None] = ContextVar("_NOTES", default=None)
_ABOUT_NOBODY = "metadata"


@contextmanager
def reading(audit: Audit, claim: Claim) -> Iterator[Callable[[], list[AuditEntry]]]:
    """What this thread reads in the block is read for the claimed patient.

    Gives a function that hands over what was noted so far, to be kept by the caller; the rest is kept at the end.
    """
    notes: list[AuditEntry] = []

    def hand_over() -> list[AuditEntry]:
        handed, notes[:] = list(notes), []
        return handed

    token = _NOTES.set((claim, notes))
    try:
        yield hand_over
    finally:
        _NOTES.reset(token)
        audit.append(*notes)


def noted(request: Request, send: Callable[[Request], Answer]) -> Answer:
    """Send, and note it where it is a read for a patient."""
    outcome = "no answer"
    try:
        answer = send(request)
        outcome = str(answer.status)
        return answer
    except EhrError as error:
        outcome = str(error.status or type(error).__name__)
        raise
    finally:
        open_notes = _NOTES.get()
        if open_notes is not None and not request.changes and request.template != _ABOUT_NOBODY:
            claim, notes = open_notes
            notes.append(_entry(request, claim, outcome))


def _entry(request: Request, claim: Claim, outcome: str) -> AuditEntry:
    type_, _, rest = request.template.partition("/")
    by_id = rest == "{id}"
    return AuditEntry(
        actor=ACTOR,
        action="R" if by_id else "E",
        entity_type=type_.partition("?")[0],
        entity_id=request.url.rpartition("/")[2] if by_id else None,
        outcome=outcome,
        target=claim.target,
        patient=claim.patient,
    )
