"""What pharmacy feeds send besides what they should: each message, and what has to become of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

BASE = """\
MSH|^~\\&|EMAR|GH|AFTERDOSE|GH|20260105112000-0500||RAS^O17^RAS_O17|{control}|P|2.5.1
PID|1||70001^^^GH^MR
PV1|1|O|PSY^1^2^GH
ORC|RE|P1|{filler}
RXA|0|1|20260105103000-0500|20260105111000-0500|6130^ketamine^RXNORM|35|mg^^UCUM||||||||||||F33.2^Depression^I10C|CP|A
RXR|IV^Intravenous^HL70162
"""
ORDER = "".join(BASE.splitlines(keepends=True)[3:])
RXA = BASE.splitlines()[4]
Change = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Oddity:
    """A message and its end: the code of the acknowledgement, the place and the condition (table 0357) of its error,
    how many doses are stored, and whether the bytes are kept for a person."""

    name: str
    change: Change
    code: str = "AA"
    place: str = ""
    condition: str = ""
    stored: int = 1
    kept: bool = False

    def message(self, number: int) -> bytes:
        """The message, about a dose of its own."""
        base = BASE.format(control=f"C{number:05d}", filler=f"F{number:05d}").replace("\n", "\r")
        return self.change(base.encode())


def put(before: str, after: str, count: int = 1) -> Change:
    """Replace text that is there."""

    def change(message: bytes) -> bytes:
        assert before.encode() in message, before
        return message.replace(before.encode(), after.encode(), count)

    return change


def field(segment: str, number: int, value: str, which: int = 1) -> Change:
    """Set a field of a segment, in the ``which``-th of its name."""

    def change(message: bytes) -> bytes:
        lines = message.decode().split("\r")
        place = [index for index, line in enumerate(lines) if line.startswith(segment)][which - 1]
        fields = lines[place].split("|")
        at = number - 1 if segment == "MSH" else number
        fields += [""] * (at + 1 - len(fields))
        fields[at] = value
        lines[place] = "|".join(fields)
        return "\r".join(lines).encode()

    return change


def without(segment: str) -> Change:
    return lambda message: b"\r".join(line for line in message.split(b"\r") if not line.startswith(segment.encode()))


def both(*changes: Change) -> Change:
    def change(message: bytes) -> bytes:
        for one in changes:
            message = one(message)
        return message

    return change


def accepted(name: str, change: Change, stored: int = 1) -> Oddity:
    return Oddity(name, change, stored=stored)


def error(name: str, change: Change, place: str, condition: str) -> Oddity:
    return Oddity(name, change, "AE", place, condition, stored=0, kept=True)


def rejected(name: str, change: Change, place: str, condition: str, *, kept: bool = True) -> Oddity:
    return Oddity(name, change, "AR", place, condition, stored=0, kept=kept)


def as_is(message: bytes) -> bytes:
    return message


def in_latin_1(message: bytes) -> bytes:
    return (
        put("70001^^^GH^MR", "70001^^^GH^MR||MÜLLER^JÖRG")(field("MSH", 18, "8859/1")(message))
        .decode()
        .encode("latin-1")
    )


def twice(message: bytes) -> bytes:
    """One message behind the other."""
    return message + message


def delimited(message: bytes) -> bytes:
    """With other delimiters throughout."""
    return message.translate(bytes.maketrans(b"|^~\\&", b"#@*?!"))


def two_orders(message: bytes) -> bytes:
    second = ORDER.format(filler="X" + message.split(b"|")[9].decode()).replace("\n", "\r")
    return message + second.encode()


def second_rxa(change: Change) -> Change:
    """Another administration within the order."""

    def changed(message: bytes) -> bytes:
        return field("RXA", 2, "2", 2)(change(message.replace(RXA.encode(), (RXA + "\r" + RXA).encode())))

    return changed


ACCEPTED = [
    accepted("as it should be", as_is),
    *(accepted(f"version {one}", field("MSH", 12, one)) for one in ("2.3", "2.3.1", "2.4", "2.5", "2.6", "2.7", "2.8")),
    accepted("version with country", field("MSH", 12, "2.5^USA&United States&ISO3166")),
    accepted("no version", field("MSH", 12, "")),
    accepted("event O01 of version 2.3", both(field("MSH", 9, "RAS^O01"), field("MSH", 12, "2.3"))),
    accepted("type without event", both(field("MSH", 9, "RAS"), field("MSH", 12, "2.2"))),
    accepted("no structure", field("MSH", 9, "RAS^O17")),
    accepted("mode of processing", field("MSH", 11, "P^T")),
    accepted("ended by newlines", lambda message: message.replace(b"\r", b"\n")),
    accepted("ended by both", lambda message: message.replace(b"\r", b"\r\n")),
    accepted("no end of the last segment", lambda message: message.rstrip(b"\r")),
    accepted("empty lines between", lambda message: message.replace(b"\r", b"\r\r\n")),
    accepted("byte order mark", lambda message: b"\xef\xbb\xbf" + message),
    accepted("blanks before the segments", lambda message: b"  " + message.replace(b"\r", b"\r  ")),
    accepted("other delimiters", delimited),
    accepted("five encoding characters", put("^~\\&|", "^~\\&#|")),
    accepted("a completion in lower case", field("RXA", 20, "cp")),
    accepted("a completion in words", field("RXA", 20, "Given")),
    accepted("something in MSH-14", field("MSH", 14, "CAC^01554")),
    accepted("a number of the type MRN", put("GH^MR", "GH^MRN")),
    accepted("Japanese by escape sequences", field("MSH", 18, "~ISO IR87")),
    accepted("UTF-8 declared", both(field("MSH", 18, "UNICODE UTF-8"), put("GH^MR", "GH^MR||MÜLLER^JÖRG"))),
    accepted("UTF-8 not declared", put("GH^MR", "GH^MR||ΔΗΜΟΣ")),
    accepted("ISO 8859-1", in_latin_1),
    accepted(
        "ISO 8859-1 not declared", lambda message: put("GH^MR", "GH^MR||MÜLLER")(message).decode().encode("latin-1")
    ),
    accepted("escapes", put("^ketamine^", "^ketamine \\T\\ \\F\\ \\X41\\ \\.br\\ \\H\\x\\N\\ \\E\\ \\Cxx\\^")),
    accepted("an escape without an end", put("^ketamine^", "^keta\\Tmine^")),
    accepted("segments of the sender's own", put("\rORC", "\rZPI|1|x\rORC")),
    accepted("software segment before PID", put("\rPID", "\rSFT|EMAR|1\rPID")),
    accepted("notes", put("\rRXR", "\rNTE|1||x\rRXR")),
    accepted("observations", put("HL70162\r", "HL70162\rOBX|1|NM|1^x||1\r")),
    accepted("no PV1", without("PV1")),
    accepted("no RXR", without("RXR")),
    accepted("RXR before RXA", lambda message: put("\rRXA", "\rRXR|IV\rRXA")(without("RXR")(message))),
    accepted("an unknown point of care", field("PV1", 3, "ELSEWHERE^^^OTHER")),
    accepted("nulls", both(field("RXA", 4, '""'), field("RXA", 9, '""'), field("PV1", 19, '""'))),
    accepted("an end before the start", field("RXA", 4, "20260105093000-0500")),
    accepted("no RXA-4", field("RXA", 4, "")),
    accepted("no offset", both(field("RXA", 3, "20260105103000"), field("RXA", 4, "20260105111000"))),
    accepted("minutes only", both(field("RXA", 3, "202601051030-0500"), field("RXA", 4, ""))),
    accepted("fractions of a second", field("RXA", 3, "20260105103000.1234-0500")),
    accepted("an hour only", both(field("RXA", 3, "2026010510"), field("RXA", 4, ""))),
    accepted("a day only", both(field("RXA", 3, "20260105"), field("RXA", 4, ""))),
    accepted("a time that the clocks skipped", both(field("RXA", 3, "20260308023000"), field("RXA", 4, ""))),
    accepted("no RXA-20", field("RXA", 20, "")),
    *(accepted(f"RXA-20 {one}", field("RXA", 20, one)) for one in ("CP", "PA", "NA", "RE", "CP^Complete^HL70322")),
    *(accepted(f"RXA-21 {one}", field("RXA", 21, one)) for one in ("A", "U", "D", "X", "")),
    accepted(
        "a deletion that says nothing else", both(field("RXA", 21, "D"), field("RXA", 3, ""), field("RXA", 5, ""))
    ),
    accepted("an amount in words", field("RXA", 6, "two puffs")),
    accepted("no amount", both(field("RXA", 6, ""), field("RXA", 7, ""))),
    accepted("a drug in words only", field("RXA", 5, "^ketamine 35 mg")),
    accepted("only the placer's number", field("ORC", 3, "")),
    accepted("several numbers of the patient", field("PID", 3, "1^^^NHS^NH~70001^^^GH^MR~9^^^OTHER&1.2.3&ISO^PI")),
    accepted("a number without a type", field("PID", 3, "70001")),
    accepted("two administrations of an order", second_rxa(as_is), stored=2),
    accepted("two orders", two_orders, stored=2),
    accepted("hundreds of fields", lambda message: message.replace(b"|CP|A", b"|CP|A" + b"|" * 500)),
    accepted("a long text", field("RXA", 9, "x" * 15_000)),
    accepted("framed for MLLP", lambda message: b"\x0b" + message + b"\x1c\r"),
]
ERRORS = [
    error("no PID", without("PID"), "PID^1^3", "101"),
    error("no number of the patient", field("PID", 3, ""), "PID^1^3", "101"),
    error("no ORC", without("ORC"), "ORC^1", "100"),
    error("no RXA", without("RXA"), "RXA^1", "100"),
    error("no order number", both(field("ORC", 2, ""), field("ORC", 3, "")), "ORC^1^3", "101"),
    error("no facility", field("MSH", 4, ""), "MSH^1^4", "101"),
    error("no control id", field("MSH", 10, ""), "MSH^1^10", "101"),
    error("no start", field("RXA", 3, ""), "RXA^1^3", "101"),
    error("no drug", field("RXA", 5, ""), "RXA^1^5", "101"),
    error("no number of the administration", both(field("RXA", 1, ""), field("RXA", 2, "")), "RXA^1^2", "101"),
    error("a time in words", field("RXA", 3, "yesterday"), "RXA^1^3", "102"),
    error("30 February", field("RXA", 3, "20260230103000"), "RXA^1^3", "102"),
    error("25 o'clock", field("RXA", 4, "20260105251000"), "RXA^1^4", "102"),
    error("a time of another format", field("RXA", 3, "2026-01-05T10:30:00"), "RXA^1^3", "102"),
    error("a completion that nobody knows", field("RXA", 20, "DONE"), "RXA^1^20", "103"),
    error("an action that nobody knows", field("RXA", 21, "Q"), "RXA^1^21", "103"),
    error("two patients", put("\rPV1", "\rPID|2||70002^^^GH^MR\rPV1"), "PID^2", "100"),
    error(
        "a number twice", lambda message: message.replace(RXA.encode(), (RXA + "\r" + RXA).encode()), "RXA^2^2", "205"
    ),
    error("the second of two is wrong", second_rxa(field("RXA", 3, "x", 2)), "RXA^2^3", "102"),
    error("continued from another", both(without("ORC"), field("MSH", 14, "1")), "MSH^1^14", "100"),
    error("a fragment", lambda message: message + b"DSC|1|F\r", "DSC^1", "100"),
    error("a continued segment", put("\rRXR", "\rADD|x\rRXR"), "ADD^1", "100"),
]
REJECTED = [
    rejected("nothing", lambda _: b"", "MSH^1^2", "100"),
    rejected("JSON", lambda _: b'{"resourceType": "MedicationAdministration"}', "MSH^1^2", "100"),
    rejected("XML", lambda _: b"<RAS_O17 xmlns='urn:hl7-org:v2xml'/>", "MSH^1^2", "100"),
    rejected("only a header", lambda _: b"MSH|^~\\&", "MSH^1^2", "100"),
    rejected("delimiters that are the same", put("^~\\&", "^^\\&"), "MSH^1^2", "100"),
    rejected("delimiters as XML writes them", put("^~\\&", "^~\\&amp;"), "MSH^1^2", "100"),
    rejected("a character set that nobody knows", field("MSH", 18, "KLINGON"), "MSH^1^18", "103"),
    rejected("UTF-16", lambda message: message.decode().encode("utf-16"), "MSH^1^2", "100"),
    rejected(
        "bytes that are not UTF-8",
        lambda message: in_latin_1(message).replace(b"8859/1", b"UNICODE UTF-8"),
        "MSH^1^18",
        "102",
    ),
    rejected("two messages", twice, "MSH^2", "100"),
    rejected("a batch", lambda message: b"BHS|^~\\&|EMAR|GH\r" + message + b"BTS|1\r", "BHS^1", "200"),
    rejected(
        "a file of batches",
        lambda message: b"FHS|^~\\&|EMAR|GH\rBHS|^~\\&\r" + message + b"BTS|1\rFTS|1\r",
        "FHS^1",
        "200",
    ),
    rejected("a further character set that is not read", field("MSH", 18, "~KLINGON"), "MSH^1^18", "103"),
    rejected("a segment that was broken in two", put("6130^", "61\r30^"), "", "100"),
    rejected("segment names in lower case", put("\rORC", "\rorc"), "", "100"),
    *(
        rejected(f"{one} is another type", field("MSH", 9, one), "MSH^1^9", "200", kept=False)
        for one in (
            "ADT^A08^ADT_A01",
            "ADT^A40^ADT_A39",
            "SIU^S12^SIU_S12",
            "RDE^O11^RDE_O11",
            "OMP^O09^OMP_O09",
            "RGV^O15",
            "ORM^O01",
            "ras^o17",
            "",
        )
    ),
    *(
        rejected(f"{one} is no production", field("MSH", 11, one), "MSH^1^11", "202", kept=False)
        for one in ("T", "D", "p")
    ),
]
ODDITIES = [*ACCEPTED, *ERRORS, *REJECTED]
