"""Every error of afterdose, in one tree; the leaf says who has to act.

    AfterdoseError
    +-- BadInput          the sender: what was received cannot be accepted
    +-- BadContent        the site: a mapping, protocol or clinic file is wrong
    +-- BadSettings       hospital IT: the settings are wrong
    +-- StoreError        hospital IT: the database cannot be used as it is
    |   +-- StoreBusy     time: the database is locked; try again
    |   +-- StoreUnusable a person: wrong schema version, damage, no space
    |   +-- LeaseLost     nobody: another worker has taken the patient over
    +-- EhrError          what an EHR answered, or did not
        +-- EhrUnavailable    time: try again later
        |   +-- EhrAmbiguous  nobody knows whether the write happened: search first
        +-- EhrConflict       us: somebody wrote in between; re-read and redo
        +-- EhrRefused        a person: the EHR will not do this, however often we ask
        +-- EhrGone           a person removed it (404, 410)

No message may hold patient data: texts name elements, codes, hosts and numbers,
never values that were received.
"""

from dataclasses import dataclass
from datetime import timedelta


class AfterdoseError(Exception):
    """Root of all errors that afterdose raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with what was received: an OperationOutcome.issue without the patient's data.

    ``code`` is from FHIR's issue-type value set (http://hl7.org/fhir/R4/valueset-issue-type.html),
    ``path`` a FHIRPath of the element (``MedicationAdministration.status``; empty for the whole
    body), ``text`` one sentence for the person who must act, free of received values.
    """

    code: str
    path: str
    text: str


class BadInput(AfterdoseError):
    """What was received cannot be accepted; ``status`` is the HTTP status to answer with."""

    def __init__(self, *problems: Problem, status: int = 400) -> None:
        super().__init__("; ".join(f"{p.path or '(body)'}: {p.text}" for p in problems))
        self.problems = problems
        self.status = status


class BadContent(AfterdoseError):
    """A file of mappings/ or profiles/ is wrong; the message names file and key."""


class BadSettings(AfterdoseError):
    """The settings are wrong; the message names the key."""


class StoreError(AfterdoseError):
    """The database cannot be used as it is."""


class StoreBusy(StoreError):
    """The database stayed locked longer than we wait; the same call may succeed later."""


class StoreUnusable(StoreError):
    """The database needs a person: wrong schema version, damage, full or read-only disk."""


class LeaseLost(StoreError):
    """Another worker has taken this patient over; nothing may be written under this claim."""


class EhrError(AfterdoseError):
    """An EHR answered with an error, or not at all. ``code`` is its own code where it gave one."""

    def __init__(self, text: str, *, status: int | None = None, code: str | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.code = code

    @property
    def shown(self) -> str:
        """The EHR's own code, else the status of its answer, else the kind of error."""
        return self.code or (f"http-{self.status}" if self.status else type(self).__name__)


class EhrUnavailable(EhrError):
    """The EHR did not do it and may do it later; ``retry_after`` is what it asked for, if it did."""

    def __init__(
        self, text: str, *, status: int | None = None, code: str | None = None, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(text, status=status, code=code)
        self.retry_after = retry_after


class EhrAmbiguous(EhrUnavailable):
    """No answer that can be trusted: the write may or may not have happened."""


class EhrConflict(EhrError):
    """Somebody wrote the resource in between (409, 412): re-read and redo."""


class EhrRefused(EhrError):
    """The EHR refuses this for good (400, 403, 422 ...): a person has to look. ``element``: what it found wrong, as a
    path of element names, where it said that."""

    def __init__(
        self, text: str, *, status: int | None = None, code: str | None = None, element: str | None = None
    ) -> None:
        super().__init__(text, status=status, code=code)
        self.element = element


class EhrGone(EhrError):
    """The resource is not there, or not there any more (404, 410)."""
