"""The narrative of a resource: which XHTML may stand in ``text.div``.

Rules txt-1 and txt-2 and the lists of elements and attributes are from
http://hl7.org/fhir/R4/narrative.html; well-formedness is XML's. Links that run code are refused as well.
"""

import re

_NAMESPACE = "http://www.w3.org/1999/xhtml"

_ELEMENT_NAMES = """
    a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5 h6 hr i
    img li ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var
"""
_ELEMENTS = frozenset(_ELEMENT_NAMES.split())
_ATTRIBUTE_NAMES = """
    abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char charoff charset
    cite class colspan compact coords dir frame headers height hreflang hspace id lang longdesc name nowrap
    rel rev rowspan rules scope shape span start style summary tabindex title type valign value vspace width
    xml:lang xml:space xmlns
"""
_ATTRIBUTES = frozenset(_ATTRIBUTE_NAMES.split())
# Attributes that only one element may have.
_ATTRIBUTE_OF = {"href": "a", "src": "img"}
_LINKS = frozenset({"cite", "href", "longdesc", "src"})

_NAME = r"[A-Za-z][A-Za-z0-9:]*+"
_ATTRIBUTE = rf"\s++({_NAME})\s*+=\s*+(\"[^<\"]*+\"|'[^<']*+')"
_ATTRIBUTES_OF_TAG = re.compile(_ATTRIBUTE)
_TOKEN = re.compile(
    rf"""(?P<text>[^<]++)
    |</(?P<close>{_NAME})>
    |<(?P<open>{_NAME})(?P<attributes>(?:\s++{_NAME}\s*+=\s*+(?:"[^<"]*+"|'[^<']*+'))*+)\s*+(?P<empty>/?)>
    |<!--(?:(?!--).)*+-->""",
    re.VERBOSE | re.DOTALL,
)
# A narrative has no DTD, so only XML's own entities are defined.
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6}|amp|lt|gt|quot|apos);")
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.\-]*):")
_SAFE_SCHEMES = frozenset({"http", "https", "mailto", "tel"})
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

Fault = tuple[str, str]
_BROKEN: Fault = ("invariant", "txt-1: is not well-formed XHTML")


def narrative_fault(div: str) -> Fault | None:
    """What is wrong with the XHTML of a narrative (issue code and sentence), or None. Linear in its length."""
    if _ILLEGAL.search(div):
        return ("value", "holds a control character")
    div = div.strip(" \t\r\n")
    open_tags: list[str] = []
    position, said_something = 0, False
    while position < len(div):
        token = _TOKEN.match(div, position)
        if token is None or (position > 0 and not open_tags):
            return _BROKEN
        position = token.end()
        if (text := token["text"]) is not None:
            if not open_tags or not _entities_known(text):
                return _BROKEN
            said_something = said_something or not text.isspace()
        elif (name := token["open"]) is not None:
            fault = _tag_fault(name, token["attributes"], is_root=not open_tags)
            if fault is not None:
                return fault
            said_something = said_something or name == "img"
            if not token["empty"]:
                open_tags.append(name)
        elif (name := token["close"]) is not None:
            if not open_tags or open_tags.pop() != name:
                return _BROKEN
        elif not open_tags:
            return _BROKEN
    if open_tags:
        return _BROKEN
    return None if said_something else ("invariant", "txt-2: the narrative says nothing")


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
        if attribute not in _ATTRIBUTES and _ATTRIBUTE_OF.get(attribute) != name:
            return ("invariant", "txt-1: holds an attribute that a narrative may not have")
        if attribute == "xmlns" and value != _NAMESPACE:
            return _no_namespace()
        if (attribute in _LINKS and not _is_safe_link(value, name)) or (
            attribute == "style" and ("url(" in value.lower() or "expression(" in value.lower())
        ):
            return ("invariant", "txt-1: holds a link that may run code or load a style")
    return _no_namespace() if is_root and "xmlns" not in attributes else None


def _no_namespace() -> Fault:
    return ("invariant", "txt-1: the <div> must be in the XHTML namespace (xmlns)")


def _entities_known(text: str) -> bool:
    return "&" not in text or len(_ENTITY.findall(text)) == text.count("&")


def _is_safe_link(value: str, element: str) -> bool:
    if "&" in value.partition("?")[0]:
        return False
    scheme = _SCHEME.match(value)
    if scheme is None:
        return True
    kind = scheme[1].lower()
    return kind in _SAFE_SCHEMES or (element == "img" and kind == "data" and value.lstrip().startswith("data:image/"))
