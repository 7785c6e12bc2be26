"""What earlier decisions left in the EHR, asked by subject: which generation counts, whose it is now."""

from dataclasses import dataclass, field
from uuid import UUID

from afterdose.core.care import ArtifactKey, ArtifactKind, Known, KnownArtifact, Standing

_OPEN = frozenset({Standing.INTENDED, Standing.WRITTEN, Standing.TAKEN_OVER})
_WORK = frozenset(ArtifactKind) - {ArtifactKind.PROVENANCE, ArtifactKind.MERGED_TASK}
_REVOKED = frozenset({"revoked", "entered-in-error"})
_NOT_KEPT = frozenset({"cancelled", "noshow", "entered-in-error"})


@dataclass(frozen=True, slots=True)
class Standings:
    """The ledger of one patient as the rules ask it."""

    known: Known
    _newest: dict[tuple[ArtifactKind, int], KnownArtifact] = field(init=False, repr=False, compare=False)
    _about: dict[int, list[KnownArtifact]] = field(init=False, repr=False, compare=False)
    _open: dict[ArtifactKind, list[KnownArtifact]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sort by subject and by kind, once for all questions; the highest generation of an artifact counts."""
        newest: dict[tuple[ArtifactKind, int], KnownArtifact] = {}
        about: dict[int, list[KnownArtifact]] = {}
        still_open: dict[ArtifactKind, list[KnownArtifact]] = {}
        for row in sorted(self.known.artifacts.values(), key=lambda row: row.key.generation):
            kind, subject, _ = row.key
            newest[kind, subject.int] = row
            about.setdefault(subject.int, []).append(row)
            if row.standing in _OPEN:
                still_open.setdefault(kind, []).append(row)
        for rows in still_open.values():
            rows.sort(key=lambda row: row.key)
        object.__setattr__(self, "_newest", newest)
        object.__setattr__(self, "_about", about)
        object.__setattr__(self, "_open", still_open)

    def latest(self, kind: ArtifactKind, subject: UUID) -> KnownArtifact | None:
        """The artifact of the highest generation, None when there never was one."""
        return self._newest.get((kind, subject.int))

    def key(self, kind: ArtifactKind, subject: UUID) -> ArtifactKey:
        """The key under which to have it: a new generation after our own withdrawal, else the same."""
        row = self.latest(kind, subject)
        if row is None:
            return ArtifactKey(kind, subject)
        return ArtifactKey(kind, subject, row.key.generation + (row.standing is Standing.WITHDRAWN))

    def is_tombstone(self, kind: ArtifactKind, subject: UUID) -> bool:
        """Whether a person ended or removed it: it is never created again."""
        row = self.latest(kind, subject)
        return row is not None and row.standing is Standing.REMOVED_BY_PERSON

    def ended_plan(self, course: UUID) -> KnownArtifact | None:
        """The plan of a course as a person ended or removed it, None where nobody has."""
        row = self.latest(ArtifactKind.CARE_PLAN, course)
        return row if row is not None and row.standing is Standing.REMOVED_BY_PERSON else None

    def is_open(self, kind: ArtifactKind, subject: UUID) -> bool:
        """Whether it is in the EHR, or may be, and nobody has ended it."""
        row = self.latest(kind, subject)
        return row is not None and is_open(row)

    def still_open(self, *kinds: ArtifactKind) -> list[KnownArtifact]:
        """The artifacts of these kinds that are in the EHR, or may be, and that nobody has ended."""
        return [row for kind in sorted(kinds) for row in self._open.get(kind, ())]

    def under_former_records(self) -> list[KnownArtifact]:
        """Everything open that names a former record of the patient; there it stays (decision 0018)."""
        return [row for row in self.still_open(*_WORK) if row.named is not None and not is_behind(row)]

    def visit(self, subject: UUID) -> KnownArtifact | None:
        """The Appointment that is people's now and to come or kept, None when there is none."""
        row = self.latest(ArtifactKind.APPOINTMENT, subject)
        return row if row is not None and row.standing in _OPEN and is_theirs(row) and not is_lost(row) else None

    def lost_visit(self, subject: UUID) -> KnownArtifact | None:
        """The visit that people had booked and that does not take place, None when there is none."""
        row = self.latest(ArtifactKind.APPOINTMENT, subject)
        if row is None or row.standing is Standing.WITHDRAWN or not row.booked:
            return None
        return row if row.standing is Standing.REMOVED_BY_PERSON or is_lost(row) else None

    def weight(self, subject: UUID) -> int:
        """How much has been done for a dose session or a course: booked, taken over, written, nothing.

        What stands under a former record counts for nothing, unless it is booked.
        """
        rows = self._about.get(subject.int, [])
        if any(row.booked for row in rows):
            return 3
        rows = [row for row in rows if row.named is None]
        if any(row.standing is Standing.TAKEN_OVER for row in rows):
            return 2
        return int(any(row.standing in _OPEN for row in rows))


def is_open(row: KnownArtifact) -> bool:
    """Whether it is in the EHR, or may be, and nobody has ended it."""
    return row.standing in _OPEN


def is_theirs(row: KnownArtifact) -> bool:
    """Whether people have booked it or made it theirs: software moves and cancels it no more."""
    return row.booked or row.standing is Standing.TAKEN_OVER


def is_lost(row: KnownArtifact) -> bool:
    """Whether a visit does not take place: cancelled, missed or entered in error."""
    return row.ehr_status in _NOT_KEPT


def is_behind(row: KnownArtifact) -> bool:
    """Whether nothing is left of a visit to affect: it does not take place, or it has."""
    return is_lost(row) or row.ehr_status == "fulfilled"


def is_revoked(row: KnownArtifact) -> bool:
    """Whether a plan that has ended is not to be carried out, and not only over."""
    return row.ehr_status in _REVOKED
