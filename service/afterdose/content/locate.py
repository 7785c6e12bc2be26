"""Where the mapping and profile files are: in the wheel, in a checkout, or in the site's own directory.

A site overlay has the same layout (``mappings/...``, ``profiles/...``) and wins file by file.
"""

import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path

from afterdose.core.errors import BadContent

_PACKAGE = Path(__file__).resolve().parents[1]
# Folders of which the settings choose a file by its name.
_CHOSEN_BY_NAME = ("mappings/clinics", "mappings/ehrs")


def bundled() -> Path:
    """The directory that holds ``mappings/`` and ``profiles/`` as delivered: in the wheel, else the checkout."""
    inside = _PACKAGE / "_content"
    return inside if inside.is_dir() else _PACKAGE.parents[1]


def find(relative: str, overlay: Path | None) -> Path:
    """The file ``relative``; the overlay's where it has one. Raises BadContent where nobody has it."""
    for root in _roots(overlay):
        if (root / relative).is_file():
            return root / relative
    raise BadContent(f"{relative}: there is no such file, neither as delivered nor in the site overlay")


def choose(folder: str, name_or_path: str, overlay: Path | None) -> Path:
    """A TOML file by its name in ``folder`` (``example``), or by its path (``/etc/afterdose/clinic.toml``).

    Raises BadContent that lists the names that exist.
    """
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        path = Path(name_or_path)
        if not path.is_file():
            raise BadContent(f"{path}: there is no such file")
        return path
    names = sorted({path.stem for root in _roots(overlay) for path in (root / folder).glob("*.toml")})
    if name_or_path not in names:
        raise BadContent(f"{folder}/{name_or_path}.toml: there is no such file; there are: {', '.join(names)}")
    return find(f"{folder}/{name_or_path}.toml", overlay)


def unread(overlay: Path, code_maps: Collection[str]) -> Iterator[str]:
    """What of a site overlay nobody reads, often a name with a slip in it. ``code_maps``: those that sources name."""
    if not any((overlay / folder).is_dir() for folder in ("mappings", "profiles")):
        yield f"{overlay}: holds neither mappings/ nor profiles/"
    of_a_site = {f"mappings/codes/ConceptMap-{name}.json" for name in code_maps}
    for path in sorted((overlay / "mappings").rglob("*")):
        inside = path.relative_to(overlay)
        chosen = path.suffix == ".toml" and str(inside.parent) in _CHOSEN_BY_NAME
        beside = path.suffix == ".md" or any(part.startswith(".") for part in inside.parts)
        if path.is_file() and not (chosen or beside or str(inside) in of_a_site or (bundled() / inside).is_file()):
            yield f"{path}: no file of this name is read"


def fingerprint(overlay: Path | None, *besides: Path) -> str:
    """A digest of every mapping and profile file that counts, and of the files ``besides``."""
    roots = _roots(overlay)
    folders = [root / folder for root in roots for folder in ("mappings", "profiles")]
    names = {str(path.relative_to(folder.parent)) for folder in folders for path in folder.rglob("*") if path.is_file()}
    digest = hashlib.sha256()
    for name, path in [*((name, find(name, overlay)) for name in sorted(names)), *((str(one), one) for one in besides)]:
        digest.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _roots(overlay: Path | None) -> tuple[Path, ...]:
    if overlay is None:
        return (bundled(),)
    if not overlay.is_dir():
        raise BadContent(f"{overlay}: the site overlay is not a directory")
    return (overlay, bundled())
