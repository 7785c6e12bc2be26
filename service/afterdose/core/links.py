"""Who a merged patient is now: following the links between Patients of one EHR.

A link is (former, successor): the record of the first was replaced by that of the second. Chains are followed to their
end; where they lead round in a circle, or to more than one end, nobody can say whose the record is. (FHIR R4
patient.html#links, decision 0018.)
"""

from collections.abc import Iterable

Link = tuple[str, str]

MOST_LINKS = 50
"""So many records of one person are followed; beyond that something is wrong, and a person has to look."""


def survivor(patient: str, links: Iterable[Link]) -> str | None:
    """The patient at the end of the links, ``patient`` itself where nobody replaced it; None where it is not clear."""
    after: dict[str, set[str]] = {}
    for former, successor in links:
        if former != successor:
            after.setdefault(former, set()).add(successor)
    seen, here = {patient}, {patient}
    ends: set[str] = set()
    while here:
        ends |= {one for one in here if one not in after}
        coming = {successor for one in here for successor in after.get(one, ())}
        if len(seen) > MOST_LINKS:
            return None
        here = coming - seen
        seen |= coming
    return next(iter(ends)) if len(ends) == 1 and not _goes_round(seen, after) else None


def _goes_round(patients: set[str], after: dict[str, set[str]]) -> bool:
    """Whether some of these patients can be reached from themselves."""
    left = {one: after.get(one, set()) & patients for one in patients}
    while left:
        done = {one for one, successors in left.items() if not successors & left.keys()}
        if not done:
            return True
        left = {one: successors for one, successors in left.items() if one not in done}
    return False
