"""The check of what a wheel holds notices what is missing. The real wheel is built and checked by .ci/run."""

import zipfile
from pathlib import Path

from wheel_contents import missing

TRACKED = ["README.md", "mappings/codes/a.json", "profiles/b.json", "service/README.md", "service/afterdose/cli.py"]


def wheel(folder: Path, *names: str) -> Path:
    path = folder / "afterdose.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return path


def test_a_wheel_with_package_mappings_and_profiles_lacks_nothing(tmp_path: Path) -> None:
    whole = ("afterdose/cli.py", "afterdose/_content/mappings/codes/a.json", "afterdose/_content/profiles/b.json")

    assert missing(wheel(tmp_path, *whole), TRACKED) == []


def test_a_wheel_without_them_is_caught(tmp_path: Path) -> None:
    assert missing(wheel(tmp_path, "afterdose/cli.py"), TRACKED) == [
        "afterdose/_content/mappings/codes/a.json",
        "afterdose/_content/profiles/b.json",
    ]
