"""HL7 v2 messages: one in, one answer out. Whatever carries them, an acceptance says that the doses are on disk.

A message is known by its control id and its content: the same message again gets the same answer and stores nothing,
however many others came in between. The same control id with another content is another message, because senders that
lose their count must not lose doses.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Protocol
from zoneinfo import ZoneInfo

from afterdose.core.errors import BadInput, Problem, StoreError
from afterdose.fhir import strict_json
from afterdose.fhir.decode.effective import effective
from afterdose.fhir.v2 import er7
from afterdose.fhir.v2.answer import Reply, Verdict, reply, reply_unread
from afterdose.fhir.v2.er7 import Message
from afterdose.fhir.v2.mapping import Action, V2Mapping
from afterdose.fhir.v2.translate import ER7, Facility, Translation, translate
from afterdose.logs import get_logger
from afterdose.store.rows import Arrival, Fact, Receipt
from afterdose.work.intake.bodies import receive
from afterdose.work.intake.reception import Origin

_log = get_logger()


class Quarantine(Protocol):
    """Where refused bytes of known senders are kept for a person."""

    def keep(
        self, source: str, received_at: datetime, media_type: str | None, body: bytes, problems: Sequence[Problem]
    ) -> object:
        """Keep them; may raise StoreError."""


@dataclass(frozen=True, slots=True)
class Desk:
    """A source as messages see it. ``ignored``: types that are acknowledged and no more (``ADT``, ``ADT^A08``)."""

    origin: Origin
    facility: Facility
    ignored: frozenset[str]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a message: the answer to send, what was stored of it, and what was wrong with it."""

    reply: Reply
    stored: tuple[tuple[Arrival, Receipt], ...] = ()
    problems: tuple[Problem, ...] = ()


class Messages:
    """Takes messages. Threads may share it."""

    def __init__(
        self,
        *,
        mapping: V2Mapping,
        desks: Mapping[str, Desk],
        submit: Callable[[Sequence[Arrival]], Sequence[Receipt]],
        versions: Callable[[str, str], Sequence[Fact]],
        quarantine: Quarantine,
        clock: Callable[[], datetime],
    ) -> None:
        self._mapping = mapping
        self._desks = desks
        self._submit = submit
        self._versions = versions
        self._quarantine = quarantine
        self._clock = clock

    def take(self, raw: bytes, source: str) -> Taken:
        """Store what a message says, and answer it. Never raises for what is in it or for the state of the store."""
        desk = self._desks[source]
        try:
            message = er7.parse(raw)
        except BadInput as bad:
            self._keep(raw, desk, bad.problems)
            return Taken(reply_unread(raw, bad.problems, self._clock()), problems=bad.problems)
        unwanted = self._unwanted(message, desk)
        if unwanted is not None:
            return self._answer(message, Verdict.REJECTED, unwanted) if unwanted else self._answer(message)
        try:
            return self._store(message, desk)
        except BadInput as bad:
            self._keep(raw, desk, bad.problems)
            return self._answer(message, Verdict.ERROR, bad.problems)
        except StoreError as error:
            _log.error("the store refused", source=source, exc_info=error)
            problem = Problem("lock-error", "", "nothing could be stored; send the same message again")
            return self._answer(message, Verdict.ERROR, (problem,))

    def refuse(self, raw: bytes, source: str, problem: Problem) -> Taken:
        """The answer to a message that was not even looked at."""
        self._keep(raw, self._desks[source], (problem,))
        return Taken(reply_unread(raw, (problem,), self._clock()), problems=(problem,))

    def _unwanted(self, message: Message, desk: Desk) -> tuple[Problem, ...] | None:
        """None: it is for us. (): it is ignored. Else why it is rejected."""
        header = message.header
        type_, event = header.text(9) or "", header.text(9, 2) or ""
        if (type_, event) not in self._mapping.messages:
            if {type_, f"{type_}^{event}"} & desk.ignored:
                return ()
            return (Problem("not-supported", "MSH-9", "is not a type of message that is taken here"),)
        processing = header.text(11)
        if processing is not None and processing not in self._mapping.processing_ids:
            return (Problem("not-supported", "MSH-11", "is not a kind of processing that is done here"),)
        return None

    def _store(self, message: Message, desk: Desk) -> Taken:
        if message.header.text(10) is None:
            raise BadInput(Problem("required", "MSH-10", "is needed to tell messages apart"))
        arrivals = []
        for one in translate(message, self._mapping, desk.facility):
            arrival = _arrival(one, desk.origin)
            known = self._versions(desk.origin.source, one.id)
            if any(_is_same(arrival, fact) for fact in known):
                continue
            if one.action is Action.ADD and known and _is_another(one, known[-1], desk.facility.zone):
                text = "was given to another administration already, and RXA-21 does not say that this corrects it"
                raise BadInput(Problem("duplicate", f"{one.place}-2", text))
            arrivals.append(arrival)
        receipts = self._submit(arrivals)
        return Taken(
            reply(message, Verdict.ACCEPTED, (), self._clock()),
            stored=tuple(zip(arrivals, receipts, strict=True)),
        )

    def _answer(
        self, message: Message, verdict: Verdict = Verdict.ACCEPTED, problems: tuple[Problem, ...] = ()
    ) -> Taken:
        return Taken(reply(message, verdict, problems, self._clock()), problems=problems)

    def _keep(self, raw: bytes, desk: Desk, problems: Sequence[Problem]) -> None:
        """Keep what was refused: not every sender shows its people what it was told."""
        source = desk.origin.source
        code = problems[0].code
        _log.warning("a message was refused and is kept in the quarantine", source=source, code=code, bytes=len(raw))
        try:
            self._quarantine.keep(source, self._clock(), ER7, raw, problems)
        except StoreError as error:
            _log.error("what was refused could not be kept", source=source, exc_info=error)


def _arrival(one: Translation, origin: Origin) -> Arrival:
    """Through the same door as FHIR, so that both are checked in the same way."""
    try:
        (arrival,) = receive(strict_json.dumps(one.resource), origin).arrivals
    except BadInput as bad:
        raise BadInput(*(Problem(each.code, one.place, f"{each.path}: {each.text}") for each in bad.problems)) from None
    return arrival


def _is_same(arrival: Arrival, fact: Fact) -> bool:
    return fact.version == arrival.version and fact.content_hash == sha256(arrival.raw).hexdigest()


def _is_another(one: Translation, fact: Fact, zone: ZoneInfo | None) -> bool:
    """Whether a number that is said to be new was used before, for an administration that began at another time."""
    before = strict_json.loads(fact.raw) if fact.raw else None
    if not isinstance(before, dict) or before.get("status") == "entered-in-error":
        return False
    return effective(before, zone)[0].start != effective(one.resource, zone)[0].start
