"""Which version of an administration counts: a fold over everything that was received of it.

The same set of versions gives the same answer in any order of arrival, as long as the sender says
when each was last updated (decision 0008, rule 20).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from afterdose.core.dose import DoseKey


class Via(StrEnum):
    """How a version reached us. Only ``READ`` is authoritative: we asked for this one resource."""

    PUSH = "push"
    READ = "read"
    POLL = "poll"


class Interaction(StrEnum):
    """What happened to the resource at its source."""

    UPSERT = "upsert"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One received version of one administration. Instants are aware UTC.

    ``last_updated`` is the sender's ``meta.lastUpdated``, None when it gave none. ``content_hash``
    tells contents apart. ``subject`` is the raw reference to the patient.
    """

    key: DoseKey
    version: str | None
    last_updated: datetime | None
    received_at: datetime
    via: Via
    interaction: Interaction
    content_hash: str
    subject: str | None = None

    @property
    def moment(self) -> datetime:
        """The best knowledge of when this version came to be: the sender's word, else its receipt."""
        return self.last_updated or self.received_at


def newest(versions: Iterable[Version]) -> Version:
    """The version that counts.

    The latest re-read beats everything received before it, and everything received later that the
    sender does not date after it. Without a re-read: the sender's ``lastUpdated`` decides, then
    receipt; a version without ``lastUpdated`` and an unconfirmed delete are dated by their receipt.

    Raises:
        ValueError: when there are no versions.
    """
    return max(_candidates(list(versions)), key=_order)


def is_tie(versions: Iterable[Version]) -> bool:
    """Whether the sender gave two different contents the same ``lastUpdated`` and no re-read settles it.

    Then the source is read again; where that cannot be done, a person decides (decision 0008, rule 20).
    """
    candidates = _candidates(list(versions))
    best = max(candidates, key=_order)
    if best.via is Via.READ or best.last_updated is None:
        return False
    return any(
        one.last_updated == best.last_updated
        and (one.content_hash, one.interaction) != (best.content_hash, best.interaction)
        for one in candidates
    )


def heard_at(versions: Sequence[Version], *, same_time: Callable[[Version], bool]) -> datetime:
    """When we first received a version that gives the dose the time that now counts.

    ``same_time`` says whether a version gives that time; the caller can read contents, this module
    cannot. A corrected time starts lead time and lateness anew, a corrected text does not.
    """
    return min((one.received_at for one in versions if same_time(one)), default=newest(versions).received_at)


def _candidates(versions: list[Version]) -> list[Version]:
    if not versions:
        raise ValueError("an administration without versions")
    reads = [one for one in versions if one.via is Via.READ]
    if not reads:
        return versions
    read = max(reads, key=lambda one: (one.received_at, one.moment, one.content_hash))
    later = [
        one
        for one in versions
        if one.received_at > read.received_at and one.last_updated is not None and one.last_updated > read.moment
    ]
    return [read, *later]


def _order(version: Version) -> tuple[datetime, bool, datetime, bool, str]:
    return (
        version.moment,
        version.via is Via.READ,
        version.received_at,
        version.interaction is Interaction.DELETE,
        version.content_hash,
    )
