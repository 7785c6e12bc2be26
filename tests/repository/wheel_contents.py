"""Checks that a wheel holds every file of mappings/, profiles/ and the package: `wheel_contents.py FILE.whl`."""

import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = {"mappings/": "afterdose/_content/mappings/", "profiles/": "afterdose/_content/profiles/", "service/": ""}


def expected(tracked: Iterable[str]) -> set[str]:
    """Where the wheel should hold the tracked files of the repository that belong into it."""
    return {
        place + path.removeprefix(folder)
        for path in tracked
        for folder, place in PLACES.items()
        if path.startswith("service/afterdose/" if folder == "service/" else folder)
    }


def missing(wheel: Path, tracked: Iterable[str]) -> list[str]:
    """What the wheel should hold and does not."""
    with zipfile.ZipFile(wheel) as archive:
        return sorted(expected(tracked) - set(archive.namelist()))


if __name__ == "__main__":
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    if lacking := missing(Path(sys.argv[1]), listing.splitlines()):
        sys.exit("the wheel lacks:\n" + "\n".join(lacking))
    print(f"{Path(sys.argv[1]).name} holds every file it should")
