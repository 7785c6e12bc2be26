"""The few pieces of SVG that a drawing is made of: elements, text, and the shapes of doses and visits. Pure.

Everything that is written is escaped; nothing refers to anything outside the document.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from html import escape
from textwrap import wrap

TEXT_SIZE = 13
"""Pixels, of ordinary text."""
CHARACTER_WIDTH = 0.56
"""Of the text size: wide enough for the average character of usual sans-serif fonts."""
INK, FAINT = "#1a1a1a", "#5a5a5a"

_RADIUS = 7.0
_NOT_XML = re.compile("[^\\t\\n\\r\\u0020-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
"""What no XML document may hold: https://www.w3.org/TR/xml/#charsets."""


class Mark(StrEnum):
    """What a shape stands for. No two have the same form, so that colour is never all that tells them apart."""

    DOSE = "dose"
    NO_FOLLOW_UP = "dose-without-follow-up"
    PLANNED_DOSE = "planned-dose"
    IN_WINDOW = "in-window"
    EDGE = "edge"
    EARLY_EDGE = "early-edge"
    POST_WINDOW = "post-window"
    UNMET = "unmet"
    PREPARATION = "preparation"


def element(tag: str, *children: str, **attributes: object) -> str:
    """One element. ``children`` are markup; ``_`` in the name of an attribute is ``-``, and nothing at its end."""
    told = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{plain(_short(value))}"' for name, value in attributes.items()
    )
    return f"<{tag}{told}>{''.join(children)}</{tag}>" if children else f"<{tag}{told}/>"


def plain(text: str) -> str:
    """Text as it may stand in markup."""
    return escape(_NOT_XML.sub("", text))


def words(text: str, x: float, y: float, *, size: float = TEXT_SIZE, fill: str = INK, **attributes: object) -> str:
    """One line of text, on the base line ``y``."""
    return element("text", plain(text), x=x, y=y, font_size=size, fill=fill, **attributes)


def folded(text: str, width: float) -> Sequence[str]:
    """The lines of a text that is to be ``width`` pixels wide."""
    return wrap(_NOT_XML.sub("", text), max(1, int(width / (TEXT_SIZE * CHARACTER_WIDTH))))


def shape(mark: Mark, x: float, y: float, tip: str | None = None) -> str:
    """The shape of a mark around a point, with what it says when pointed at."""
    title = [element("title", plain(tip))] if tip else []
    return element("g", *title, _form(mark, x, y), class_=mark.value)


def _form(mark: Mark, x: float, y: float) -> str:
    r = _RADIUS
    if mark is Mark.DOSE:
        return _circle(x, y, fill=INK, stroke="#ffffff")
    if mark is Mark.NO_FOLLOW_UP:
        slash = element("path", d=_path((x - r, y + r), (x + r, y - r)), stroke=FAINT, stroke_width=2)
        return _circle(x, y, fill="#ffffff", stroke=FAINT) + slash
    if mark is Mark.PLANNED_DOSE:
        return _circle(x, y, fill="#ffffff", stroke=INK, stroke_width=2, stroke_dasharray="3 2")
    if mark is Mark.IN_WINDOW:
        return _polygon((x, y - r - 2), (x + r + 2, y), (x, y + r + 2), (x - r - 2, y), fill="#005a9c")
    if mark is Mark.EDGE:
        return _polygon((x - r - 1, y - r), (x + r + 1, y - r), (x, y + r + 1), fill="#b35900")
    if mark is Mark.EARLY_EDGE:
        return _polygon((x - r - 1, y + r), (x + r + 1, y + r), (x, y - r - 1), fill="#00735c")
    if mark is Mark.POST_WINDOW:
        return _polygon((x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r), fill="#8a3d73")
    if mark is Mark.UNMET:
        d = _path((x - r, y - r), (x + r, y + r)) + _path((x - r, y + r), (x + r, y - r))
        return element("path", d=d, stroke="#ffffff", stroke_width=6) + element(
            "path", d=d, stroke="#b00020", stroke_width=3
        )
    letter = words("P", x, y + 4, size=10, fill="#ffffff", text_anchor="middle", font_weight="bold")
    return _circle(x, y, fill="#4d4d4d", stroke="#ffffff", r=r + 1) + letter


def _circle(x: float, y: float, *, r: float = _RADIUS, **attributes: object) -> str:
    return element("circle", cx=x, cy=y, r=r, **attributes)


def _polygon(*points: tuple[float, float], fill: str) -> str:
    told = " ".join(f"{_short(x)},{_short(y)}" for x, y in points)
    return element("polygon", points=told, fill=fill, stroke="#ffffff")


def _path(start: tuple[float, float], end: tuple[float, float]) -> str:
    return f"M{_short(start[0])} {_short(start[1])}L{_short(end[0])} {_short(end[1])}"


def _short(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
