"""One patient's course as a drawing: doses, windows, sessions and what is missing, on the clinic's local days. Pure.

The drawing is one SVG document that needs nothing else. A line of it shows two weeks, so that text stays readable;
within a line each dose has a row of its own with its words beside it. Stretches in which nothing happens are left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from afterdose.core.care import local_day
from afterdose.core.clinic import Clinic
from afterdose.fhir.encode.sentences import Wording
from afterdose.work.reports.course_rows import Band, Row, rows
from afterdose.work.reports.preview import Preview
from afterdose.work.reports.svg import FAINT, TEXT_SIZE, Mark, element, folded, plain, shape, words

_DAYS = 14
"""In one line."""
_DAY_WIDTH, _MARGIN, _NAMES, _SAID = 56.0, 16.0, 216.0, 402.0
_LEFT = _MARGIN + _NAMES
_RIGHT = _LEFT + _DAYS * _DAY_WIDTH
_WIDTH = _RIGHT + _SAID + _MARGIN
_LEADING, _HEAD, _LEAST_ROW, _BAND, _TIP = 17.0, 40.0, 44.0, 18.0, 6.0
_FULL, _DECLINING, _CLOSED = "#a9d3f5", "#d6eafa", "#f0f0f0"
_HATCH = (
    '<pattern id="cut" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="6" height="6" fill="#ffffff"/><path d="M0 0V6" stroke="#8c8c8c" stroke-width="2"/></pattern>'
)
_MEANINGS = {
    Mark.DOSE: "Dose",
    Mark.NO_FOLLOW_UP: "Not given, or without follow-up",
    Mark.PLANNED_DOSE: "Planned dose",
    Mark.PREPARATION: "Preparation visit",
    Mark.IN_WINDOW: "Session in the window",
    Mark.EDGE: "Session that ends after the window",
    Mark.EARLY_EDGE: "Session just before the window",
    Mark.POST_WINDOW: "Session after the window",
    Mark.UNMET: "No session possible",
}


@dataclass(frozen=True, slots=True)
class _Line:
    """A stretch of local days, and what lies in it."""

    day: date
    clinic: Clinic
    rows: tuple[Row, ...]

    @property
    def start(self) -> datetime:
        return _midnight(self.day, self.clinic)

    @property
    def end(self) -> datetime:
        return _midnight(self.day + timedelta(days=1) * _DAYS, self.clinic)

    def x(self, moment: datetime) -> float:
        """Where an instant is: each local day is as wide as the others, also when the clocks change."""
        moment = min(max(moment, self.start), self.end)
        day = min(local_day(moment, self.clinic), self.day + timedelta(days=1) * (_DAYS - 1))
        begins, ends = _midnight(day, self.clinic), _midnight(day + timedelta(days=1), self.clinic)
        return _LEFT + ((day - self.day).days + (moment - begins) / (ends - begins)) * _DAY_WIDTH


def drawing(preview: Preview, wording: Wording) -> str:
    """The course of one patient as SVG."""
    clinic, all_rows = wording.clinic, rows(preview, wording)
    lines = _lines([row for row in all_rows if row.first is not None], clinic)
    timeless = [row for row in all_rows if row.first is None]
    title = _title(all_rows, clinic)
    told = " ".join(f"{row.name}, {row.when}. {row.said}." for row in all_rows)
    y, parts = 0.0, [element("rect", width=_WIDTH, height="100%", fill="#ffffff")]
    parts.append(words(title, _MARGIN, 30.0, size=18, font_weight="bold"))
    parts.append(words(f"Days and times of {clinic.title} ({clinic.zone.key}).", _MARGIN, 52.0, fill=FAINT))
    y = 66.0
    for piece, height in (*_legend(lines), *_body(lines), *_without_time(timeless)):
        parts.append(element("g", *piece, transform=f"translate(0 {y:.0f})"))
        y += height
    return element(
        "svg",
        element("title", plain(title), id="title"),
        element("desc", plain(told or "Nothing to show."), id="told"),
        element("defs", _HATCH),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        width=_WIDTH,
        height=y + _MARGIN,
        viewBox=f"0 0 {_WIDTH:.0f} {y + _MARGIN:.0f}",
        role="img",
        aria_labelledby="title told",
        font_family="Arial, Liberation Sans, DejaVu Sans, sans-serif",
    )


_Piece = tuple[list[str], float]
"""Markup from 0 downwards, and how high it is."""


def _title(all_rows: Sequence[Row], clinic: Clinic) -> str:
    days = [local_day(row.first, clinic) for row in all_rows if row.first is not None]
    if not days:
        return "Doses and follow-up"
    return f"Doses and follow-up, {_day(min(days))} to {_day(max(days))}"


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


def _midnight(day: date, clinic: Clinic) -> datetime:
    return datetime.combine(day, time(), clinic.zone).astimezone(UTC)


def _lines(all_rows: Sequence[Row], clinic: Clinic) -> list[_Line]:
    """The lines in which something lies, the first from the Monday before the first row."""
    stretches = [(local_day(start, clinic), local_day(end, clinic)) for row in all_rows for start, end in row.stretches]
    if not stretches:
        return []
    first = min(start for start, _ in stretches)
    monday = first - timedelta(days=1) * first.weekday()
    numbers = {
        number
        for start, end in stretches
        for number in range((start - monday).days // _DAYS, (end - monday).days // _DAYS + 1)
    }
    empty = [_Line(monday + timedelta(days=1) * _DAYS * number, clinic, ()) for number in sorted(numbers)]
    lines = [_Line(one.day, clinic, tuple(row for row in all_rows if row.within(one.start, one.end))) for one in empty]
    return [line for line in lines if line.rows]


def _legend(lines: Sequence[_Line]) -> Iterator[_Piece]:
    """What the shapes and fills mean that occur, four beside each other."""
    used = {mark for line in lines for row in line.rows for mark, _ in row.marks}
    items = [(shape(mark, 10.0, 0.0), text) for mark, text in _MEANINGS.items() if mark in used]
    bands = [row.band for line in lines for row in line.rows if row.band is not None]
    hours = {band.hours for band in bands}
    opens, declines, closes = next(iter(hours)) if len(hours) == 1 else (None, None, None)
    if bands:
        full = f"Window, full ({opens:g} to {declines:g} h)" if opens is not None else "Window, full"
        late = f"Window, declining ({declines:g} to {closes:g} h)" if opens is not None else "Window, declining"
        items.append((_patch(_FULL), full))
        items.append((_taper(0.0, 24.0, _BAND / 2, _TIP / 2, 0.0), late))
    if any(band.closes < band.would_close for band in bands):
        items.append((_patch("url(#cut)"), "Window cut off by the next dose"))
    if any(not _is_open(line.day + timedelta(days=1) * day, line.clinic) for line in lines for day in range(_DAYS)):
        items.append((_patch(_CLOSED), "Clinic closed"))
    width = (_WIDTH - 2 * _MARGIN) / 4
    drawn = [
        element(
            "g",
            picture,
            words(text, 32.0, 5.0),
            transform=f"translate({_MARGIN + width * (number % 4):.0f} {14 + 26 * (number // 4)})",
        )
        for number, (picture, text) in enumerate(items)
    ]
    yield [element("g", *drawn, class_="legend")] if drawn else [], 26.0 * -(-len(items) // 4) + 12


def _patch(fill: str) -> str:
    return element("rect", x=0, y=-_BAND / 2, width=24, height=_BAND, fill=fill, stroke="#8c8c8c")


def _body(lines: Sequence[_Line]) -> Iterator[_Piece]:
    before: _Line | None = None
    for line in lines:
        weeks = (line.day - before.day).days // 7 - 2 if before is not None else 0
        if weeks:
            yield [words(f"{weeks} weeks without doses and visits are not shown.", _LEFT, 18.0, fill=FAINT)], 28.0
        yield _drawn(line, before.rows if before is not None else ())
        before = line


def _drawn(line: _Line, above: Sequence[Row]) -> _Piece:
    said = [folded(row.said, _SAID - 12) for row in line.rows]
    heights = [max(_LEAST_ROW, len(one) * _LEADING + 12) for one in said]
    bottom = _HEAD + sum(heights)
    drawn = [*_days(line, bottom), *_cuts(line, bottom)]
    y = _HEAD
    for row, lines, height in zip(line.rows, said, heights, strict=True):
        drawn.append(_rule(y))
        drawn.append(_row(row, line, lines, y, height, continued=row in above))
        y += height
    return [*drawn, _rule(bottom)], bottom + 22


def _days(line: _Line, bottom: float) -> Iterator[str]:
    years = sorted({line.day.year, (line.day + timedelta(days=1) * (_DAYS - 1)).year})
    yield words(" and ".join(map(str, years)), _LEFT - 8, 32.0, size=12, text_anchor="end", font_weight="bold")
    for number in range(_DAYS):
        day, x = line.day + timedelta(days=1) * number, _LEFT + number * _DAY_WIDTH
        if not _is_open(day, line.clinic):
            yield element("rect", x=x, y=0, width=_DAY_WIDTH, height=bottom, fill=_CLOSED)
        yield element("path", d=f"M{x:.0f} 0V{bottom:.0f}", stroke="#cfcfcf")
        middle = x + _DAY_WIDTH / 2
        yield words(f"{day:%a}", middle, 16.0, size=12, fill=FAINT, text_anchor="middle")
        yield words(f"{day.day} {day:%b}", middle, 32.0, size=12, text_anchor="middle")
    yield element("path", d=f"M{_RIGHT:.0f} 0V{bottom:.0f}", stroke="#cfcfcf")


def _cuts(line: _Line, bottom: float) -> Iterator[str]:
    """A thin line at each dose: what lies beyond it comes after that dose."""
    for row in line.rows:
        mark, moment = row.marks[0]
        if mark in (Mark.DOSE, Mark.PLANNED_DOSE) and line.start <= moment < line.end:
            d = f"M{line.x(moment):.1f} {_HEAD:.0f}V{bottom:.0f}"
            yield element("path", d=d, stroke="#8c8c8c", stroke_dasharray="2 4")


def _row(row: Row, line: _Line, said: Sequence[str], y: float, height: float, *, continued: bool) -> str:
    middle = y + height / 2
    name = f"{row.name}, continued" if continued else row.name
    drawn = [words(name, _MARGIN, middle - 4, font_weight="bold")]
    drawn.append(words(row.when, _MARGIN, middle + 13, size=12, fill=FAINT))
    if row.band is not None:
        drawn += _bands(row.band, line, middle)
    for mark, moment in row.marks:
        if line.start <= moment < line.end:
            drawn.append(shape(mark, line.x(moment), middle, row.tip or row.name))
    top = middle - (len(said) - 1) * _LEADING / 2 + TEXT_SIZE / 3
    drawn += [words(text, _RIGHT + 12, top + number * _LEADING) for number, text in enumerate(said)]
    return element("g", *drawn, class_="row")


def _bands(band: Band, line: _Line, middle: float) -> Iterator[str]:
    """The parts of a window that lie in this line."""
    declines = min(max(band.declines, band.opens), band.closes)
    top = middle - _BAND / 2

    def part(start: datetime, end: datetime, fill: str, name: str) -> Iterator[str]:
        left, right = line.x(start), line.x(end)
        if right > left:
            yield element(
                "rect", x=left, y=top, width=right - left, height=_BAND, fill=fill, stroke="#8c8c8c", class_=name
            )

    yield from part(band.opens, declines, _FULL, "full")
    if (whole := band.would_close - declines) > timedelta():
        left, right = max(declines, line.start), min(band.closes, line.end)
        high, low = (_BAND / 2 - (_BAND - _TIP) / 2 * ((moment - declines) / whole) for moment in (left, right))
        if right > left:
            yield _taper(line.x(left), line.x(right), high, low, middle)
    yield from part(max(band.closes, band.opens), band.would_close, "url(#cut)", "cut")


def _taper(left: float, right: float, high: float, low: float, middle: float) -> str:
    """What declines is drawn so: the band narrows."""
    corners = ((left, middle - high), (right, middle - low), (right, middle + low), (left, middle + high))
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return element("polygon", points=points, fill=_DECLINING, stroke="#8c8c8c", class_="declining")


def _without_time(timeless: Sequence[Row]) -> Iterator[_Piece]:
    for row in timeless:
        said = folded(row.said, _WIDTH - _LEFT - _MARGIN)
        drawn = [_rule(0.0), words(row.name, _MARGIN, 18.0, font_weight="bold")]
        drawn.append(words(row.when, _MARGIN, 35.0, size=12, fill=FAINT))
        drawn += [words(text, _LEFT, 18.0 + number * _LEADING) for number, text in enumerate(said)]
        yield [element("g", *drawn, class_="row")], max(_LEAST_ROW, len(said) * _LEADING + 12)


def _rule(y: float) -> str:
    return element("path", d=f"M{_MARGIN:.0f} {y:.0f}H{_WIDTH - _MARGIN:.0f}", stroke="#cfcfcf")


def _is_open(day: date, clinic: Clinic) -> bool:
    hours = [*clinic.hours.get(day.isoweekday(), ()), *clinic.extended_hours.get(day.isoweekday(), ())]
    return day not in clinic.holidays and bool(hours)
