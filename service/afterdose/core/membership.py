"""Which id a dose session or a course keeps when administrations arrive, move, merge and split.

An id is minted once, from the founding administration, and then kept with its members (decision 0008,
rules 13 and 14). The functions here know nothing of doses: groups of keys in, ids out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from afterdose.core.dose import DoseKey


@dataclass(frozen=True, slots=True)
class Settled:
    """The id of one group, and the ids that were merged into it."""

    id: UUID
    superseded: tuple[UUID, ...] = ()


def settle(
    groups: Sequence[Sequence[DoseKey]],
    known: Mapping[DoseKey, UUID],
    *,
    name: Callable[[DoseKey, int], UUID],
    weight: Callable[[UUID], int],
) -> tuple[Settled, ...]:
    """One id for each group, none twice.

    ``groups`` are disjoint, their keys in the order of founding. ``known`` says which id a key had.
    ``name(key, turn)`` mints: turn 0 is the id that ``key`` founds, later turns are used where that
    one is taken. ``weight`` says how much has been done under an id: the heaviest id of a merge
    stays, then the oldest.
    """
    owned: list[list[UUID]] = [[] for _ in groups]
    for wanted, claimants in _claims(groups, known).items():
        winner = claimants[0]
        if len(claimants) > 1:
            winner = max(claimants, key=lambda place: (*_right(groups[place], wanted, known, name), -place))
        owned[winner].append(wanted)
    taken = {wanted for ids in owned for wanted in ids}
    settled = []
    for keys, ids in zip(groups, owned, strict=True):
        if len(ids) == 1:
            settled.append(Settled(ids[0]))
            continue
        if ids:
            kept = max(ids, key=lambda one: (weight(one), -ids.index(one)))
            settled.append(Settled(kept, tuple(one for one in ids if one != kept)))
            continue
        minted = _mint(keys[0], taken, name)
        taken.add(minted)
        settled.append(Settled(minted))
    return tuple(settled)


def _claims(groups: Sequence[Sequence[DoseKey]], known: Mapping[DoseKey, UUID]) -> dict[UUID, list[int]]:
    claims: dict[UUID, list[int]] = {}
    for place, keys in enumerate(groups):
        for key in keys:
            wanted = known.get(key)
            if wanted is not None and place not in claims.setdefault(wanted, []):
                claims[wanted].append(place)
    return claims


def _right(
    keys: Sequence[DoseKey], wanted: UUID, known: Mapping[DoseKey, UUID], name: Callable[[DoseKey, int], UUID]
) -> tuple[bool, int]:
    founder = any(name(key, 0) == wanted for key in keys)
    return founder, sum(known.get(key) == wanted for key in keys)


def _mint(founder: DoseKey, taken: set[UUID], name: Callable[[DoseKey, int], UUID]) -> UUID:
    turn = 0
    while name(founder, turn) in taken:
        turn += 1
    return name(founder, turn)
