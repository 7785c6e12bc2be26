"""Answers to HL7 v2 messages: ACK and RRA with MSA and ERR (HL7 v2.9 chapter 2, sections 2.9.2, 2.9.3, 2.14.5).

An answer echoes of the message only what its header says of sender, receiver, control id and version. What was wrong is
told by segment and field, never by value.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from afterdose.core.errors import Problem
from afterdose.fhir.v2.er7 import Encoding, Message, Segment

_PLACE = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[([0-9]+)\])?(?:-([0-9]+))?")
_LONGEST_ECHO = 250
_MOST_ERRORS = 10
_OLD_ERR = re.compile(r"2\.[0-4](?:\.|\Z)")
"""Versions whose ERR has the place and the code in its first field."""

# HL7 table 0357 by FHIR issue type.
_CONDITIONS = {
    "structure": ("100", "Segment sequence error"),
    "required": ("101", "Required field missing"),
    "too-costly": ("104", "Value too long"),
    "too-long": ("104", "Value too long"),
    "value": ("102", "Data type error"),
    "code-invalid": ("103", "Table value not found"),
    "duplicate": ("205", "Duplicate key identifier"),
    "lock-error": ("206", "Application record locked"),
}
_UNSUPPORTED = {
    "BHS": ("200", "Unsupported message type"),
    "FHS": ("200", "Unsupported message type"),
    "MSH-11": ("202", "Unsupported processing id"),
    "MSH-9": ("200", "Unsupported message type"),
}
_RRA = {"O17": ("RRA", "O18", "RRA_O18"), "O01": ("RRA", "O02")}
"""The answers by the event of the message; O02 answers O01 before version 2.4."""
_CONDITIONS_OF_ANSWERS = frozenset({"AL", "ER", "NE", "SU"})
"""HL7 table 0155."""
_INTERNAL = ("207", "Application internal error")


class Verdict(StrEnum):
    """What became of a message; the values are the codes of the original mode (HL7 table 0008)."""

    ACCEPTED = "AA"
    ERROR = "AE"
    REJECTED = "AR"

    @property
    def enhanced(self) -> str:
        """The code of an accept acknowledgement."""
        return f"C{self.value[1]}"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to send. ``body`` is empty where the sender wants none."""

    verdict: Verdict
    body: bytes


def reply(message: Message, verdict: Verdict, problems: Sequence[Problem], now: datetime) -> Reply:
    """The answer that the header asks for.

    Without MSH-15 and MSH-16 an ACK of the original mode. With them the accept acknowledgement of the enhanced mode
    where MSH-15 wants one, else the application acknowledgement (RRA^O18) where MSH-16 wants one, else none. What is no
    condition there says nothing: who gets no answer sends the same message for ever.
    """
    said = (message.header.text(number) for number in (15, 16))
    accept, application = (one if one in _CONDITIONS_OF_ANSWERS else None for one in said)
    if accept is None and application is None:
        return _written(message.header, message.encoding, verdict, verdict.value, "ACK", problems, now)
    if _wanted(accept, verdict):
        return _written(message.header, message.encoding, verdict, verdict.enhanced, "ACK", problems, now)
    if _wanted(application, verdict):
        return _written(message.header, message.encoding, verdict, verdict.value, "RRA", problems, now)
    return Reply(verdict, b"")


def reply_unread(raw: bytes, problems: Sequence[Problem], now: datetime) -> Reply:
    """The rejection of what could not be read; with its control id and sender where its first line shows them."""
    encoding = Encoding()
    line = re.split(rb"[\r\n]", raw.lstrip(b"\xef\xbb\xbf\x0b \t\r\n"), maxsplit=1)[0]
    values = line.decode("ascii", errors="replace").split("|") if line.startswith(b"MSH|") else []
    fields = ((), ((("|",),),), *(((((value),),),) for value in values[1:20]))
    header = Segment("MSH", 1, tuple(fields))
    return _written(header, encoding, Verdict.REJECTED, Verdict.REJECTED.value, "ACK", problems, now)


def _wanted(condition: str | None, verdict: Verdict) -> bool:
    """HL7 table 0155: always, never, on error or rejection only, on success only."""
    accepted = verdict is Verdict.ACCEPTED
    return condition == "AL" or (condition == "SU" and accepted) or (condition == "ER" and not accepted)


def _written(
    header: Segment,
    encoding: Encoding,
    verdict: Verdict,
    code: str,
    type_: str,
    problems: Sequence[Problem],
    now: datetime,
) -> Reply:
    control_id, event = _echo(header, 10, encoding), _echo(header, 9, encoding, component=2)
    told = [_echo(header, number, encoding) for number in (3, 4, 5, 6)]
    separator = encoding.component
    if type_ == "RRA":
        kind = separator.join(_RRA.get(event, _RRA["O17"]))
    else:
        kind = separator.join(("ACK", event, "ACK")) if event else "ACK"
    # the answer's own control id, the same whenever the same message is answered in the same way
    own_id = sha256(f"{code}|{type_}|{told}|{control_id}".encode()).hexdigest()[:20]
    stamp = now.strftime("%Y%m%d%H%M%S+0000")
    version = _echo(header, 12, encoding) or "2.5.1"
    head = ["MSH", encoding.characters, told[2], told[3], told[0], told[1], stamp, "", kind, own_id]
    head += [_echo(header, 11, encoding) or "P", version]
    charset = _echo(header, 18, encoding)
    if charset:
        head += ["", "", "", "", "", charset]
    errors = [_error(problem, version, encoding) for problem in problems[:_MOST_ERRORS]]
    segments = [head, ["MSA", code, control_id], *errors]
    text = "".join(encoding.field.join(segment) + "\r" for segment in segments)
    return Reply(verdict, text.encode(encoding.codec, errors="replace"))


def _error(problem: Problem, version: str, encoding: Encoding) -> list[str]:
    found = _PLACE.match(problem.path)
    segment, number, field = found.groups() if found is not None else ("", "", "")
    plain = f"{segment}-{field}" if field else segment or ""
    number_code, words = _CONDITIONS.get(problem.code) or _UNSUPPORTED.get(plain) or _INTERNAL
    place = [segment or "", (number or "1") if segment else "", field or ""]
    condition = [number_code, words, "HL70357"]
    if _OLD_ERR.match(version):
        return ["ERR", encoding.component.join([*place, encoding.subcomponent.join(condition)])]
    text = _escaped(f"{problem.path or 'message'}: {problem.text}", encoding)
    location = encoding.component.join(place).rstrip(encoding.component)
    return ["ERR", "", location, encoding.component.join(condition), "E", "", "", "", text]


def _echo(header: Segment, field: int, encoding: Encoding, component: int = 0) -> str:
    """A field of the header as it came, or one component of it."""
    repetition = next(iter(header.repetitions(field)), ())
    if component:
        repetition = repetition[component - 1 : component]
    parts = (
        encoding.subcomponent.join(_escaped(value, encoding) for value in subcomponents) for subcomponents in repetition
    )
    return encoding.component.join(parts)[:_LONGEST_ECHO]


def _escaped(text: str, encoding: Encoding) -> str:
    names = {
        encoding.escape: "E",
        encoding.field: "F",
        encoding.component: "S",
        encoding.characters[1]: "R",
        encoding.subcomponent: "T",
    }
    sign = encoding.escape
    return "".join(f"{sign}{names[each]}{sign}" if each in names else each for each in text if each.isprintable())
