"""A stored narrative as harmless HTML (R4 narrative.html): rebuilt from an allow-list, never passed through."""

from __future__ import annotations

from html import escape
from html.parser import HTMLParser

_ELEMENTS = frozenset(
    """a abbr acronym address b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5 h6
    hr i kbd li ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var""".split()  # noqa: SIM905
)
_EMPTY = frozenset({"br", "col", "hr"})
# Their content is not text for a reader, so it goes with them.
_HIDDEN = frozenset({"script", "style", "iframe", "object", "template", "noscript", "svg", "math", "title", "textarea"})
_ATTRIBUTES = frozenset({"title", "lang", "dir", "colspan", "rowspan", "scope", "abbr", "headers", "span"})


def harmless(div: str) -> str:
    """The narrative with allowed elements and attributes only, everything closed, every text escaped."""
    rebuilder = _Rebuilder()
    rebuilder.feed(div)
    rebuilder.close()
    return rebuilder.result()


class _Rebuilder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._out: list[str] = []
        self._open: list[str] = []
        self._hidden: list[str] = []

    def result(self) -> str:
        closing = [f"</{tag}>" for tag in reversed(self._open)]
        return "".join(self._out + closing)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN:
            self._hidden.append(tag)
        elif not self._hidden and tag in _ELEMENTS:
            kept = "".join(f' {name}="{escape(value or "")}"' for name, value in attrs if _allowed(tag, name, value))
            self._out.append(f"<{tag}{kept}>")
            if tag not in _EMPTY:
                self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _HIDDEN:
            self.handle_starttag(tag, attrs)
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            if tag == self._hidden[-1]:
                self._hidden.pop()
        elif tag in self._open:
            while self._open:
                closed = self._open.pop()
                self._out.append(f"</{closed}>")
                if closed == tag:
                    break

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._out.append(escape(data))


def _allowed(tag: str, name: str, value: str | None) -> bool:
    if tag == "a" and name == "href":
        return (value or "").startswith(("https://", "http://"))
    return name in _ATTRIBUTES
