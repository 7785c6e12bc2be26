"""A narrative as plain text, for people whose EHR shows no markup. Pure."""

import re
from html import unescape

_LINE = re.compile(r"</(?:p|li|tr|ul|table|div)>|<br ?/>")
_CELL = re.compile(r"</t[dh]>(?=<t[dh]>)")
_TAG = re.compile(r"<[^>]*>")


def plain_text(div: str) -> str:
    """The text of a narrative of ours, one line for each paragraph, list entry and table row."""
    text = _CELL.sub(" | ", div.replace("<li>", "- "))
    lines = _TAG.sub("", _LINE.sub("\n", text)).split("\n")
    return "\n".join(unescape(line).strip() for line in lines if line.strip())
