"""Keeping what people changed: a three-way merge of what we last wrote, what stands there, what we want.

Pure. Ownership is per top-level element, and per entry inside a list: an element (or entry) is ours
while it still reads as the server returned it after our write. What a person changed is theirs
from then on; what a person removed is not put back; what we never wrote is left alone.
``Owned`` is the memory between two writes, kept in the ledger as JSON:

* element -> fingerprint of what the server returned, or
* element -> list of [fingerprint of what we wanted, fingerprint of what the server returned, what the entry refers to].

What an entry refers to (``Appointment/7``, None where it names nothing) is how it is known again once we want it in
other words: an activity that a person removed stays away, one that a person reworded is not named a second time.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

Resource = dict[str, Any]
Owned = Mapping[str, Any]

_NOT_CONTENT = frozenset({"resourceType", "id", "meta", "implicitRules", "language"})


_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def fingerprint(value: object) -> str:
    """A short digest of a JSON value, the same for the same content whatever the order of members."""
    try:
        canonical = orjson.dumps(value, default=str, option=_SORTED)
    except TypeError:  # whole numbers beyond 64 bits, or nested deeper than it goes
        canonical = _CANONICAL.encode(value).encode()
    return hashlib.sha256(canonical).hexdigest()[:20]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What to send. ``ours`` remembers what in it is ours; ``taken_over`` names elements people changed."""

    resource: Resource
    ours: Mapping[str, Any]
    taken_over: tuple[str, ...] = ()
    changed: bool = True


def merge(desired: Resource, current: Resource | None, owned: Owned) -> Merged:
    """Bring ``current`` to ``desired`` as far as it is still ours. ``current`` None: a first write."""
    if current is None:
        ours: dict[str, Any] = {}
        for element in _content(desired):
            wanted = desired[element]
            if isinstance(wanted, list):
                ours[element] = [[fingerprint(entry), place, _named(entry)] for place, entry in enumerate(wanted)]
            else:
                ours[element] = fingerprint(wanted)
        return Merged(resource=desired, ours=ours)
    resource = dict(current)
    ours, taken_over = {}, []
    for element in sorted(_content(desired) | set(owned)):
        wanted, there, before = desired.get(element), current.get(element), owned.get(element)
        if isinstance(wanted, list) or isinstance(before, list):
            kept, mine = _merge_list(wanted or [], there or [], before or [])
            if kept:
                resource[element] = kept
            else:
                resource.pop(element, None)
            ours[element] = mine
        elif before is None and there is not None and there != wanted:
            taken_over.append(element)
        elif before is not None and (fingerprint(there) if there is not None else None) != before:
            ours[element] = before
            taken_over.append(element)
        elif wanted is None:
            resource.pop(element, None)
        else:
            resource[element] = wanted
            ours[element] = fingerprint(wanted)
    resource.pop("meta", None)
    if meta := _merge_meta(desired.get("meta", {}), current.get("meta", {})):
        resource["meta"] = meta
    changed = any(resource.get(element) != current.get(element) for element in _content(resource) | _content(current))
    return Merged(resource=resource, ours=ours, taken_over=tuple(taken_over), changed=changed)


def settle(merged: Merged, returned: Resource) -> dict[str, Any]:
    """Ownership after the write, read from what the server returned (it may have normalised ours)."""
    owned: dict[str, Any] = {}
    as_sent = returned is merged.resource
    for element, mine in merged.ours.items():
        there = returned.get(element)
        if isinstance(mine, list):
            sent = _marks(merged.resource.get(element))
            marks = sent if as_sent else _marks(there)
            stored, names = _stored_as(sent, marks), _names(there, marks)
            placed = [(one, place if isinstance(place, str) else stored[place], name) for one, place, name in mine]
            owned[element] = [[wanted, mark, names.get(mark, name)] for wanted, mark, name in placed]
        elif element in merged.taken_over:
            owned[element] = mine
        elif there is not None:
            owned[element] = mine if as_sent else fingerprint(there)
    return owned


def rebase(owned: Owned, current: Resource) -> dict[str, Any]:
    """Ownership once the EHR itself has rewritten what we wrote: nobody else has touched ``current`` since.

    What it left out stays remembered as it was: a person who puts it back is a person.
    """
    found: dict[str, Any] = {}
    for element, mine in owned.items():
        there = current.get(element)
        if isinstance(mine, list):
            marks = _marks(there)
            stored, names = _stored_as([returned for _, returned, _ in mine], marks), _names(there, marks)
            found[element] = [
                [wanted, now, names.get(now, name)] for (wanted, _, name), now in zip(mine, stored, strict=True)
            ]
        else:
            found[element] = mine if there is None else fingerprint(there)
    return found


def put_back(owned: Owned, current: Resource) -> dict[str, Any]:
    """Ownership in an EHR that was put back from a copy: what was ours is ours, in the older state that reads there.

    Of a list those entries are ours that read as ours, or refer to what one of ours refers to; what it lacks was lost
    and not removed, so that it is written again. Every other entry may be a person's.
    """
    found: dict[str, Any] = {}
    for element, mine in owned.items():
        there = current.get(element)
        if isinstance(mine, list):
            known, named = {entry[1]: entry for entry in mine}, {name for _, _, name in mine} - {None}
            found[element] = [
                known.get(mark, [mark, mark, name])
                for mark, name in _names(there, _marks(there)).items()
                if mark in known or name in named
            ]
        elif there is not None:
            found[element] = fingerprint(there)
    return found


def _marks(there: object) -> list[str]:
    """The fingerprint of each entry of a list; of what is no list there are none."""
    return [fingerprint(entry) for entry in there] if isinstance(there, list) else []


def _stored_as(sent: Sequence[str], prints: Sequence[str]) -> list[str]:
    """How each entry of a list was stored: found again in whatever place, else as what stands in its place."""
    if len(prints) != len(sent):
        return list(sent)
    rewritten = [mark for mark in prints if mark not in set(sent)]
    lost = [mark for mark in sent if mark not in set(prints)]
    became = dict(zip(lost, rewritten, strict=True)) if len(lost) == len(rewritten) else {}
    return [became.get(mark, mark) for mark in sent]


def still_ours(current: Resource, owned: Owned, elements: Sequence[str]) -> bool:
    """Whether none of ``elements`` was changed by somebody else since our last write."""
    for element in elements:
        before, there = owned.get(element), current.get(element)
        if before is None:
            continue
        if isinstance(before, list):
            prints = {fingerprint(entry) for entry in there or []}
            if any(returned not in prints for _, returned, _ in before):
                return False
        elif (fingerprint(there) if there is not None else None) != before:
            return False
    return True


def took_effect(current: Resource, *, owned: Owned, sent: Owned) -> bool:
    """Whether a write without an answer was carried out: something reads as it was sent and not as it did before."""
    for element, mine in sent.items():
        there, before = current.get(element), owned.get(element)
        if isinstance(mine, list):
            known = {returned for _, returned, _ in before} if isinstance(before, list) else set()
            prints = {fingerprint(entry) for entry in there or []}
            if any(returned in prints and returned not in known for _, returned, _ in mine):
                return True
        elif mine != before and there is not None and fingerprint(there) == mine:
            return True
    return False


def _content(resource: Resource) -> set[str]:
    return set(resource) - _NOT_CONTENT


def _named(entry: object) -> str | None:
    """What an entry refers to, as type and id, wherever the EHR says that it is; None where it refers to nothing."""
    reference = entry.get("reference") if isinstance(entry, dict) else None
    if isinstance(reference, dict):
        reference = reference.get("reference")
    return "/".join(reference.split("/")[-2:]) if isinstance(reference, str) else None


def _names(entries: object, marks: Sequence[str]) -> dict[str, str | None]:
    """What each entry of a list refers to, by its fingerprint."""
    return dict(zip(marks, map(_named, entries), strict=True)) if isinstance(entries, list) else {}


def _merge_list(wanted: list[Any], there: list[Any], before: list[list[Any]]) -> tuple[list[Any], list[list[Any]]]:
    """Our entries in the order we want them, in the places where ours stood; others' entries untouched.

    In the second value an entry carries its place in the first, or, where a person removed or reworded it, the
    fingerprint it had (so that it is not put back later); and what it refers to.
    """
    returned_of = {wanted_then: returned for wanted_then, returned, _ in before}
    returned_as = {name: returned for _, returned, name in before if name is not None}
    prints_there = [fingerprint(entry) for entry in there]
    entry_of = dict(zip(prints_there, there, strict=True))
    ours_there = set(returned_of.values()) & set(prints_there)
    theirs_name = {_named(entry) for mark, entry in entry_of.items() if mark not in ours_there} - {None}
    to_place: list[tuple[str, Any]] = []
    removed: list[list[Any]] = []
    for entry in wanted:
        mark, name = fingerprint(entry), _named(entry)
        returned = returned_of.get(mark)
        if returned is None and mark in ours_there:  # written under another reference: inside a transaction
            to_place.append((mark, entry_of[mark]))
        elif returned is not None and returned in ours_there:
            to_place.append((mark, entry_of[returned]))
        elif returned is not None:
            removed.append([mark, returned, name])
        elif name is not None and returned_as.get(name, mark) not in {mark, *ours_there}:
            removed.append([mark, returned_as[name], name])
        elif mark not in entry_of and name not in theirs_name:
            to_place.append((mark, entry))
    kept: list[Any] = []
    mine: list[list[Any]] = []
    for entry, mark_there in zip(there, prints_there, strict=True):
        if mark_there not in ours_there:
            kept.append(entry)
        elif to_place:
            mark, ours = to_place.pop(0)
            mine.append([mark, len(kept), _named(ours)])
            kept.append(ours)
    for mark, ours in to_place:
        mine.append([mark, len(kept), _named(ours)])
        kept.append(ours)
    return kept, mine + removed


def _merge_meta(desired: Resource, current: Resource) -> Resource:
    meta = {key: value for key, value in current.items() if key not in {"versionId", "lastUpdated"}}
    for element, wanted in desired.items():
        there = list(meta.get(element, []))
        meta[element] = there + [entry for entry in wanted if not _among(entry, there)]
    return meta


def _among(entry: Any, entries: list[Any]) -> bool:
    if isinstance(entry, dict):
        return any(
            isinstance(other, dict)
            and (other.get("system"), other.get("code")) == (entry.get("system"), entry.get("code"))
            for other in entries
        )
    return entry in entries
