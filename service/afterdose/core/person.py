"""What the EHR says of the patient as a person, as far as it decides what may be written, and for how long."""

from dataclasses import dataclass
from datetime import datetime

from afterdose.core.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """The patient whom a snapshot is about; without anything said, somebody living whose record is in use.

    ``hold``: why nothing may be written into this record now; what is written stays. ``died_by``: the latest moment at
    which the patient may have died, as said or else as first heard; None for the living.
    """

    hold: Reason | None = None
    died_by: datetime | None = None
