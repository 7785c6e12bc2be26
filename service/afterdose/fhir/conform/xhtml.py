"""The narrative of a resource: which XHTML may stand in ``text.div``.

Rules txt-1 and txt-2 are from http://hl7.org/fhir/R4/narrative.html, the lists of elements and attributes as HL7's
own validator has them, and what may stand in what is HTML's; well-formedness is XML's. Links that run code are refused
as well.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

_NAMESPACE = "http://www.w3.org/1999/xhtml"

_ELEMENT_NAMES = """
    a abbr acronym address b bdo big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5 h6
    hr i img kbd li ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var
"""
_ELEMENTS = frozenset(_ELEMENT_NAMES.split())
_ATTRIBUTE_NAMES = """
    abbr accesskey align axis char charoff class colspan dir headers id lang rowspan scope span style tabindex title
    valign width xml:lang xml:space xmlns
"""
_ATTRIBUTES = frozenset(_ATTRIBUTE_NAMES.split())
# Attributes that only these elements may have.
_ATTRIBUTES_OF: Mapping[str, frozenset[str]] = {
    "a": frozenset({"charset", "coords", "href", "hreflang", "name", "rel", "rev", "shape", "type"}),
    "blockquote": frozenset({"cite"}),
    "img": frozenset({"alt", "border", "height", "ismap", "longdesc", "src", "usemap"}),
    "q": frozenset({"cite"}),
    "td": frozenset({"nowrap"}),
    "table": frozenset({"border", "cellpadding", "cellspacing", "frame", "rules", "summary"}),
}
_LINKS = frozenset({"cite", "href", "longdesc", "src"})
# Elements that hold these and nothing else, and that alone may hold them.
_HOLDS: Mapping[str, frozenset[str]] = {
    "colgroup": frozenset({"col"}),
    "dl": frozenset({"dd", "dt"}),
    "ol": frozenset({"li"}),
    "table": frozenset({"caption", "col", "colgroup", "tbody", "tfoot", "thead", "tr"}),
    "tbody": frozenset({"tr"}),
    "tfoot": frozenset({"tr"}),
    "thead": frozenset({"tr"}),
    "tr": frozenset({"td", "th"}),
    "ul": frozenset({"li"}),
}
_HELD = frozenset().union(*_HOLDS.values())
_VOID = frozenset({"br", "col", "hr", "img"})
_BLOCKS = frozenset({"div", "ol", "pre", "table", "ul"})
_NOT_IN_A_PARAGRAPH = _BLOCKS | {"blockquote", "p"}
# Elements that hold running text: no block at any depth; the second set not even themselves.
_TEXT_NAMES = "address caption dd dt h1 h2 h3 h4 h5 h6 p pre span"
_TEXTS = frozenset(_TEXT_NAMES.split())
_NOT_IN_ITSELF_NAMES = "a abbr acronym b bdo big cite code dfn em i kbd q samp small strong sub sup tt var"
_NOT_IN_ITSELF = frozenset(_NOT_IN_ITSELF_NAMES.split())
_RUNNING_TEXT = _TEXTS | _NOT_IN_ITSELF

_NAME = r"[A-Za-z][A-Za-z0-9:]*+"
_ATTRIBUTE = rf"\s++({_NAME})\s*+=\s*+(\"[^<\"]*+\"|'[^<']*+')"
_ATTRIBUTES_OF_TAG = re.compile(_ATTRIBUTE)
# Text, an element that holds nothing else, the end and the beginning of one that may hold more, a comment.
# No group is possessive: before Python 3.11.5 such a group keeps what it has read by half (CPython's gh-106052).
_TOKEN = re.compile(
    rf"""(?P<text>[^<]++)
    |<(?P<leaf>{_NAME})>(?P<said>[^<]*+)</(?P=leaf)>
    |</(?P<close>{_NAME})>
    |<(?P<open>{_NAME})(?P<attributes>(?:\s++{_NAME}\s*+=\s*+(?:"[^<"]*+"|'[^<']*+'))*)\s*+(?P<empty>/?)>
    |<!--[^-]*+(?:-[^-]++)*-->""",
    re.VERBOSE | re.DOTALL,
)
# A narrative has no DTD, so only XML's own entities are defined.
_ENTITY = re.compile(r"&(?:#([0-9]{1,7})|#x([0-9A-Fa-f]{1,6})|amp|lt|gt|quot|apos);")
_HIGHEST = 0x10FFFF  # the last character of Unicode
_NOT_IN_A_LINK = re.compile(r"[\s\"{}]")
_HERE = re.compile(r"""\s(?:href|src)\s*=\s*["']#([^"']+)["']""")
_NAMED = re.compile(r"""\s(?:id|name)\s*=\s*["']([^"']+)["']""")
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.\-]*):")
_SAFE_SCHEMES = frozenset({"ftp", "http", "https", "mailto", "tel"})
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

Fault = tuple[str, str]
_BROKEN: Fault = ("invariant", "txt-1: is not well-formed XHTML")
_MISPLACED: Fault = ("invariant", "txt-1: holds an element, or text, where it may not stand")


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """Inside an element: which elements may stand there, and none of which is ``forbidden`` at any depth below.

    ``holds_text``: whether text may stand there; None: only white space.
    """

    name: str
    allowed: frozenset[str]
    forbidden: frozenset[str]
    holds_text: bool | None


def narrative_fault(div: str) -> Fault | None:
    """What is wrong with the XHTML of a narrative (issue code and sentence), or None. Linear in its length."""
    if _ILLEGAL.search(div):
        return ("value", "holds a control character")
    div = div.strip(" \t\r\n")
    around: list[_Place] = []
    here: _Place | None = None
    position, length, said_something = 0, len(div), False
    while position < length:
        token = _TOKEN.match(div, position)
        if token is None or (here is None and position > 0):
            return _BROKEN
        position = token.end()
        text, leaf, said, close, name, attributes, empty = token.groups()
        if leaf is not None:
            if here is None or leaf not in here.allowed:
                return _tag_fault(leaf, "", is_root=here is None) or _MISPLACED
            if said and (fault := _text_fault(said, _inside(leaf, here.forbidden))):
                return fault
            said_something = said_something or leaf == "img" or bool(said and not said.isspace())
        elif text is not None:
            if fault := _text_fault(text, here):
                return fault
            said_something = said_something or not text.isspace()
        elif name is not None:
            if (here is None or attributes or name not in _ELEMENTS) and (
                fault := _tag_fault(name, attributes, is_root=here is None)
            ):
                return fault
            if here is not None and name not in here.allowed:
                return _MISPLACED
            said_something = said_something or name == "img"
            if not empty:
                here = _inside(name, here.forbidden if here is not None else frozenset())
                around.append(here)
        elif close is not None:
            if here is None or around.pop().name != close:
                return _BROKEN
            here = around[-1] if around else None
        elif here is None:
            return _BROKEN
    if around:
        return _BROKEN
    return None if said_something else ("invariant", "txt-2: the narrative says nothing")


def _text_fault(text: str, here: _Place | None) -> Fault | None:
    if here is None or ("&" in text and not _entities_known(text)):
        return _BROKEN
    if here.holds_text is False or (here.holds_text is None and not text.isspace()):
        return _MISPLACED
    return None


@lru_cache(maxsize=1024)
def _inside(name: str, forbidden: frozenset[str]) -> _Place:
    """The place inside an element; ``forbidden``: what may not stand there because of the elements around it."""
    if name in _NOT_IN_ITSELF:
        forbidden |= {name}
    if name == "p":
        forbidden |= _NOT_IN_A_PARAGRAPH
    if name in _RUNNING_TEXT:
        forbidden |= _BLOCKS
    allowed = frozenset[str]() if name in _VOID else _HOLDS.get(name, _ELEMENTS - _HELD)
    return _Place(name, allowed - forbidden, forbidden, None if name in _HOLDS else name not in _VOID)


def _tag_fault(name: str, text: str, *, is_root: bool) -> Fault | None:
    if is_root and name != "div":
        return ("invariant", "txt-1: the narrative must be one <div> element")
    if name not in _ELEMENTS:
        return ("invariant", "txt-1: holds an element that a narrative may not have")
    if not text:
        return _no_namespace() if is_root else None
    attributes: dict[str, str] = {}
    for match in _ATTRIBUTES_OF_TAG.finditer(text):
        attribute, value = match[1], match[2][1:-1]
        if attribute in attributes or not _entities_known(value):
            return _BROKEN
        attributes[attribute] = value
        if attribute not in _ATTRIBUTES and attribute not in _ATTRIBUTES_OF.get(name, ()):
            return ("invariant", "txt-1: holds an attribute that a narrative may not have")
        if attribute == "xmlns" and value != _NAMESPACE:
            return _no_namespace()
        if (attribute in _LINKS and not _is_safe_link(value, name)) or (
            attribute == "style" and ("url(" in value.lower() or "expression(" in value.lower())
        ):
            return ("invariant", "txt-1: holds a link that is none, or that may run code or load a style")
    return _no_namespace() if is_root and "xmlns" not in attributes else None


def _no_namespace() -> Fault:
    return ("invariant", "txt-1: the <div> must be in the XHTML namespace (xmlns)")


def links_within(div: str) -> frozenset[str]:
    """The names that links of a narrative look for in it, or among the contained resources, and it does not hold."""
    if '"#' not in div and "'#" not in div:
        return frozenset()
    return frozenset(_HERE.findall(div)) - frozenset(_NAMED.findall(div))


def _entities_known(text: str) -> bool:
    if "&" not in text:
        return True
    found = list(_ENTITY.finditer(text))
    points = [int(one[1]) if one[1] else int(one[2] or "0", 16) for one in found]
    return len(found) == text.count("&") and max(points) <= _HIGHEST


def _is_safe_link(value: str, element: str) -> bool:
    if not value or _NOT_IN_A_LINK.search(value) or "&" in value.partition("?")[0]:
        return False
    scheme = _SCHEME.match(value)
    if scheme is None:
        return True
    kind = scheme[1].lower()
    return kind in _SAFE_SCHEMES or (element == "img" and kind == "data" and value.lstrip().startswith("data:image/"))
