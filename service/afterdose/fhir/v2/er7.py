"""Reads an HL7 v2 message as it comes on a wire (ER7, HL7 v2.9 chapter 2, sections 2.5 to 2.7 and 2.14).

Tolerant of what feeds really send: segment ends of ``\\r``, ``\\n`` or both, segments that nobody knows, encoding
characters of the sender's choice, undeclared character sets. Strict about what could change a meaning: a header that
cannot be read, and bytes that are not in the character set that the message declares.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import hl7

from afterdose.core.errors import BadInput, Problem

NULL = '""'
"""HL7's way to say "delete what you have": for us, the field says nothing."""
MOST_DELIMITERS = 20_000

_CHARSETS = {
    "": "utf-8",
    "ASCII": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "UNICODE": "utf-8",
    **{f"8859/{part}": f"iso8859_{part}" for part in (*range(1, 10), 15)},
    "BIG-5": "big5",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "WINDOWS-1252": "cp1252",
    "CP1252": "cp1252",
}
"""HL7 table 0211, as far as one codec can read it, and two names that are not in it but in use."""
_UNDECLARED = frozenset({"", "ASCII"})
_ESCAPED = frozenset({"ISO IR14", "ISO IR87", "ISO IR159"})
"""The sets of ISO-2022-JP-2, which a message changes to by escape sequences; they stand among repetitions of MSH-18."""
_HEADER = re.compile(rb"MSH([^\w\s])([^\w\s\x00-\x20\x7f-\xff]{3,5})(?=\1)")
_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_LINE_BREAKS = (".br", ".sp")
_BATCHES = (b"FHS", b"BHS")


@dataclass(frozen=True, slots=True)
class Encoding:
    """MSH-1, MSH-2 and the codec of MSH-18: what an answer has to be written in."""

    field: str = "|"
    characters: str = "^~\\&"
    codec: str = "utf-8"

    @property
    def component(self) -> str:
        """The separator of components."""
        return self.characters[0]

    @property
    def escape(self) -> str:
        """The escape character."""
        return self.characters[2]

    @property
    def subcomponent(self) -> str:
        """The separator of subcomponents."""
        return self.characters[3] if len(self.characters) > 3 else "&"


Repetition = tuple[tuple[str, ...], ...]
"""Components, each of subcomponents; escape sequences are resolved."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment; ``number`` counts those of its name, from 1."""

    name: str
    number: int
    fields: tuple[tuple[Repetition, ...], ...]

    def repetitions(self, field: int) -> tuple[Repetition, ...]:
        """The repetitions of a field that say something."""
        found = self.fields[field] if field < len(self.fields) else ()
        return tuple(each for each in found if any(part not in ("", NULL) for component in each for part in component))

    def text(self, field: int, component: int = 1, subcomponent: int = 1) -> str | None:
        """One value of the first repetition, without blanks around it; None where it says nothing."""
        return part(next(iter(self.repetitions(field)), ()), component, subcomponent)


@dataclass(frozen=True, slots=True)
class Message:
    """A message: its segments in order, ``header`` (MSH) first."""

    encoding: Encoding
    segments: tuple[Segment, ...]
    raw: bytes

    @property
    def header(self) -> Segment:
        """MSH; its fields count as HL7 counts them, MSH-1 being the field separator."""
        return self.segments[0]


def part(repetition: Repetition, component: int = 1, subcomponent: int = 1) -> str | None:
    """One value of a repetition, None where it says nothing."""
    parts = repetition[component - 1] if component <= len(repetition) else ()
    value = parts[subcomponent - 1].strip() if subcomponent <= len(parts) else ""
    return value if value not in ("", NULL) else None


def parse(raw: bytes) -> Message:
    """Read one message. Raises BadInput whose paths are segment and field (``MSH-18``), never a value."""
    body = raw.removeprefix(b"\xef\xbb\xbf").strip(b"\x0b\x1c \t\r\n")
    head = _HEADER.match(body)
    if body[:3] in _BATCHES:
        raise BadInput(Problem("not-supported", body[:3].decode(), "is a batch: messages are taken one at a time"))
    if head is None or _is_ambiguous(head[1] + head[2].ljust(4, b"&")):
        raise BadInput(Problem("structure", "MSH-2", "the message does not begin with MSH and its encoding characters"))
    codec = _codec(body, head[1], chr(head[2][1]))
    encoding = Encoding(head[1].decode("ascii"), head[2].decode("ascii"), codec)
    text = _lines(_decoded(body, codec))
    if sum(map(text.count, f"\r{encoding.field}{encoding.characters}")) > MOST_DELIMITERS:
        raise BadInput(Problem("too-costly", "", f"the message has more than {MOST_DELIMITERS} delimiters"))
    segments = tuple(_segments(hl7.parse(text), encoding))
    if sum(segment.name == "MSH" for segment in segments) > 1:
        raise BadInput(Problem("structure", "MSH[2]", "there is more than one message here"))
    return Message(encoding, segments, raw)


def _is_ambiguous(delimiters: bytes) -> bool:
    return len(set(delimiters)) < len(delimiters)


def _codec(body: bytes, separator: bytes, repetition: str) -> str:
    """That of the set in MSH-18. Bytes of a set that is not read could be taken for delimiters. Raises BadInput."""
    declared = re.split(rb"[\r\n]", body, maxsplit=1)[0].split(separator)[17:18]
    said = declared[0].decode("latin-1") if declared else ""
    named = {re.split(r"[\^\\]", each)[0].strip().upper() for each in said.split(repetition)} - {NULL} - _UNDECLARED
    if named & _ESCAPED and named <= _ESCAPED | {"ISO IR6"}:
        return "iso2022_jp_2"
    name = next(iter(named), "")
    if len(named) > 1 or name not in _CHARSETS:
        raise BadInput(Problem("code-invalid", "MSH-18", "is a character set that is not read here"))
    if name in _UNDECLARED and not _is_utf8(body):
        return "iso8859_1"
    return _CHARSETS[name]


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _decoded(body: bytes, codec: str) -> str:
    try:
        return body.decode(codec)
    except UnicodeDecodeError:
        raise BadInput(Problem("value", "MSH-18", "the message is not in the character set that it declares")) from None


def _lines(text: str) -> str:
    """The segments, one after the other, without empty ones."""
    return "\r".join(line.lstrip(" \t") for line in re.split(r"[\r\n]+", text) if line.strip())


def _segments(parsed: Any, encoding: Encoding) -> Iterator[Segment]:
    numbers: dict[str, int] = {}
    for place, segment in enumerate(parsed, start=1):
        name = str(segment[0])
        if not _SEGMENT.fullmatch(name):
            raise BadInput(Problem("structure", "", f"line {place} does not begin with the name of a segment"))
        numbers[name] = numbers.get(name, 0) + 1
        fields = tuple(tuple(_repetition(each, encoding) for each in field) for field in segment)
        yield Segment(name, numbers[name], fields)


def _repetition(parsed: Any, encoding: Encoding) -> Repetition:
    """python-hl7 gives a plain string wherever nothing is separated any further."""
    if isinstance(parsed, str):
        return ((_unescaped(parsed, encoding),),)
    return tuple(
        (_unescaped(component, encoding),)
        if isinstance(component, str)
        else tuple(_unescaped(str(each), encoding) for each in component)
        for component in parsed
    )


def _unescaped(value: str, encoding: Encoding) -> str:
    r"""Resolve ``\F\``, ``\X0D\``, ``\.br\`` and their like; formatting that plain text has not is dropped."""
    escape = encoding.escape
    if escape in value:
        sign = re.escape(escape)
        value = re.sub(
            rf"{sign}([^{sign}\r]{{1,64}}){sign}", lambda found: _meaning(found[1], found[0], encoding), value
        )
    return _CONTROL.sub("", value)


def _meaning(sequence: str, whole: str, encoding: Encoding) -> str:
    characters = {
        "F": encoding.field,
        "S": encoding.component,
        "R": encoding.characters[1],
        "E": encoding.escape,
        "T": encoding.subcomponent,
        "H": "",
        "N": "",
    }
    if sequence in characters:
        return characters[sequence]
    if sequence.startswith("X"):
        try:
            return bytes.fromhex(sequence[1:]).decode(encoding.codec)
        except ValueError:
            return ""
    if sequence.startswith(_LINE_BREAKS):
        return "\n"
    return "" if sequence.startswith((".", "C", "M", "Z")) else whole
