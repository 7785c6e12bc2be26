"""Which SMART scopes we ask for, and what a grant leaves out. Pure; derived from ``INTERACTIONS``, what we call.

Version 1 writes ``system/Appointment.read`` and ``system/Appointment.write``, version 2 ``system/Appointment.crus``
(SMART App Launch 2.2, scopes-and-launch-context.html). An EHR may answer one scope that it does not know by refusing
the whole request (RFC 6749, section 5.2, ``invalid_scope``), so where it lists its scopes we ask for no others.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from enum import Enum

from afterdose.ehr.interactions import ASKED_OF_CARE, INTERACTIONS, Interaction
from afterdose.ehr.ladder import Ladder
from afterdose.fhir.encode.rungs import STEPS

Needs = Mapping[str, frozenset[Interaction]]
"""Resource type -> what we ask of it."""

ALL_WE_CALL: Needs = INTERACTIONS

SUBSCRIPTION = "Subscription"

_LETTERS = {
    "c": frozenset({Interaction.CREATE}),
    "r": frozenset({Interaction.READ}),
    "u": frozenset({Interaction.UPDATE, Interaction.PATCH}),
    "d": frozenset({Interaction.DELETE}),
    "s": frozenset({Interaction.SEARCH}),
}
_READS = frozenset({Interaction.READ, Interaction.SEARCH})
_WRITES = frozenset({Interaction.CREATE, Interaction.UPDATE, Interaction.PATCH, Interaction.DELETE})
_SCOPE = re.compile(r"system/([A-Za-z]+|\*)\.(read|write|\*|c?r?u?d?s?)")


class ScopeStyle(Enum):
    """The two ways in which SMART writes scopes; the values are the capabilities that declare them."""

    V1 = "permission-v1"
    V2 = "permission-v2"


def only_reads(needs: Needs = ALL_WE_CALL) -> Needs:
    """What we ask of a server that doses are read from and nothing is written to."""
    return {type_: wanted & _READS for type_, wanted in needs.items() if wanted & _READS}


def of_ladders(ladders: Collection[Ladder], needs: Needs = ALL_WE_CALL) -> Needs:
    """What is left of ``needs`` where artifacts are written as these ladders say; and what the EHR reads for that."""
    written = {one.type for ladder in ladders for one in ladder.decisions.values() if one.type is not None}
    updated = {type_ for type_ in written if any(ladder.can_update(type_) for ladder in ladders)}
    ended = {type_ for type_ in written if any(ladder.end_of(type_) is not None for ladder in ladders)}
    rungs = {type_ for steps in STEPS.values() for type_ in steps}
    found = {type_: wanted for type_, wanted in needs.items() if type_ not in rungs}
    for type_ in sorted(rungs & needs.keys()):
        left_over = set() if type_ in updated else {Interaction.UPDATE}
        left_over |= set() if type_ in ended else {Interaction.PATCH}
        wanted = needs[type_] - left_over if type_ in written else needs[type_] & ASKED_OF_CARE.get(type_, frozenset())
        if wanted:
            found[type_] = wanted
    for type_ in sorted({type_ for ladder in ladders if written for type_ in ladder.facts.reads}):
        found[type_] = found.get(type_, frozenset()) | _READS
    return found


def without_subscriptions(needs: Needs = ALL_WE_CALL) -> Needs:
    """What we ask of a server at which we make no Subscriptions: some refuse a whole request for one strange scope."""
    return {type_: wanted for type_, wanted in needs.items() if type_ != SUBSCRIPTION}


def scopes_to_ask(needs: Needs, *, capabilities: Iterable[str], supported: Iterable[str]) -> tuple[str, ...]:
    """The scopes for ``needs``, one style throughout, less what ``supported`` (``scopes_supported``) leaves out.

    An EHR that lists no system scopes says nothing by that (Epic), and is asked for all.
    """
    listed = [scope for scope in supported if _SCOPE.fullmatch(scope)]
    style = _style(frozenset(capabilities), listed)
    if listed:
        # A scope of the other style allows nothing in this one, but it does show what the EHR can grant.
        offered = granted(listed)
        needs = {type_: wanted & _of_type(offered, type_) for type_, wanted in needs.items()}
    return tuple(scope for type_ in sorted(needs) for scope in _render(type_, needs[type_], style))


def granted(scopes: Iterable[str]) -> Needs:
    """What scopes allow; those that are no SMART system scopes allow nothing that we know of."""
    allowed: dict[str, frozenset[Interaction]] = {}
    for scope in scopes:
        match = _SCOPE.fullmatch(scope)
        if match:
            allowed[match[1]] = allowed.get(match[1], frozenset()) | _interactions(match[2])
    return allowed


def left_out(asked: Iterable[str], given: Iterable[str]) -> tuple[str, ...]:
    """The scopes of ``asked`` that ``given`` does not cover whole, in whatever style it is written."""
    given = frozenset(given)
    allowed = granted(given)
    missing = []
    for scope in asked:
        match = _SCOPE.fullmatch(scope)
        covered = match is not None and _interactions(match[2]) <= _of_type(allowed, match[1])
        if scope not in given and not covered:
            missing.append(scope)
    return tuple(missing)


def grants_any(asked: Iterable[str], given: Iterable[str]) -> bool:
    """Whether anything that was asked for was given; of scopes that are not SMART's we cannot tell, so they count."""
    wanted, allowed = granted(asked), granted(given)
    return not wanted or any(interactions & _of_type(allowed, type_) for type_, interactions in wanted.items())


def _style(capabilities: frozenset[str], listed: list[str]) -> ScopeStyle:
    """Version 2 says exactly what is needed, so it is taken where the EHR knows it; older servers name neither."""
    has_v2 = any(scope.rpartition(".")[2] not in ("read", "write", "*") for scope in listed)
    has_v1 = any(scope.rpartition(".")[2] in ("read", "write", "*") for scope in listed)
    if has_v2 != has_v1:
        return ScopeStyle.V2 if has_v2 else ScopeStyle.V1
    return ScopeStyle.V2 if ScopeStyle.V2.value in capabilities else ScopeStyle.V1


def _render(type_: str, wanted: frozenset[Interaction], style: ScopeStyle) -> list[str]:
    if not wanted:
        return []
    if style is ScopeStyle.V2:
        return [f"system/{type_}." + "".join(letter for letter, what in _LETTERS.items() if what & wanted)]
    parts = [name for name, group in (("read", _READS), ("write", _WRITES)) if wanted & group]
    return [f"system/{type_}.{part}" for part in parts]


def _interactions(permission: str) -> frozenset[Interaction]:
    match permission:
        case "read":
            return _READS
        case "write":
            return _WRITES
        case "*":
            return _READS | _WRITES
        case letters:
            return frozenset(one for letter, what in _LETTERS.items() if letter in letters for one in what)


def _of_type(allowed: Needs, type_: str) -> frozenset[Interaction]:
    return allowed.get(type_, frozenset()) | allowed.get("*", frozenset())
