"""References as they come (https://hl7.org/fhir/R4/references.html): which of them name a resource of this server.

A reference is only ever turned into an id; nothing here, and nobody because of what is decided here, follows
a URL that was received. Whatever is not clearly a resource of the given server is None.
"""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import SplitResult, urlsplit

_ID = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9\-.]{1,64}"
"""FHIR's id, without ``.`` and ``..``, which a URL path would resolve away."""
_LOCAL = re.compile(rf"([A-Z][A-Za-z]+)/({_ID})(?:/_history/{_ID})?")
_ANYWHERE = re.compile(rf"(?<![A-Za-z])[A-Z][A-Za-z]+/{_ID}")
"""Begins where letters begin, so that a long row of them is read once only."""
_DEFAULT_PORT = {"http": 80, "https": 443}


def is_id(text: str) -> bool:
    """Whether ``text`` can be the id of a resource in a URL."""
    return re.fullmatch(_ID, text) is not None


def local_id(reference: str | None, type_: str, base_url: str) -> str | None:
    """The id of the ``type_`` resource of the server at ``base_url`` that ``reference`` names, or None.

    Relative (``Type/1``), absolute under exactly this base, and versioned references name one. Other
    hosts and types, ``urn:``, ``#contained``, and anything with a query, a fragment, user
    information or control characters do not.
    """
    found = _local(reference, base_url)
    return found[1] if found is not None and found[0] == type_ else None


def patient_id(subject_reference: str | None, *, base_url: str) -> str | None:
    """The id of the Patient that a subject reference names on this server, or None."""
    return local_id(subject_reference, "Patient", base_url)


def short(reference: str) -> str:
    """``Type/id`` of a literal reference, without server and version, to compare with a site's lists."""
    *_, last = [reference, *(found.group() for found in _ANYWHERE.finditer(reference))]
    return last


def contained(resource: Mapping[str, object], reference: str | None) -> Mapping[str, object] | None:
    """The contained resource that ``#id`` names, or None."""
    if reference is None or not reference.startswith("#"):
        return None
    inside = resource.get("contained")
    if not isinstance(inside, Sequence) or isinstance(inside, str):
        return None
    for candidate in inside:
        if isinstance(candidate, dict) and candidate.get("id") == reference[1:]:
            return candidate
    return None


def _local(reference: str | None, base_url: str) -> tuple[str, str] | None:
    if reference is None:
        return None
    relative = _LOCAL.fullmatch(reference)
    if relative is None:
        rest = _below(reference, base_url)
        relative = _LOCAL.fullmatch(rest) if rest is not None else None
    return (relative[1], relative[2]) if relative is not None else None


def _below(reference: str, base_url: str) -> str | None:
    """What follows the base in an absolute reference; None where the server or the path is another."""
    if not reference.isascii() or not reference.isprintable() or set(reference) & set("\\?#@"):
        return None
    try:
        theirs, ours = urlsplit(reference), urlsplit(base_url)
        same = _server(theirs) == _server(ours) is not None
    except ValueError:
        return None
    base = ours.path.rstrip("/") + "/"
    if not same or not theirs.path.startswith(base):
        return None
    return theirs.path[len(base) :]


def _server(url: SplitResult) -> tuple[str, str, int | None] | None:
    """Scheme, host and port; raises ValueError where the port is no number."""
    if not url.scheme or not url.hostname:
        return None
    return url.scheme, url.hostname, url.port or _DEFAULT_PORT.get(url.scheme)
