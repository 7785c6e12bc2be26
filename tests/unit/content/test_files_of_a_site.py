"""The files of a site as editors save them, and those that nobody reads."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from afterdose.content import load_content
from afterdose.content.locate import bundled, unread
from afterdose.core.clinic import Clinic
from afterdose.core.errors import BadContent

EXAMPLE = "mappings/clinics/example.toml"
UNITS = "mappings/codes/ConceptMap-units.json"
MARK = b"\xef\xbb\xbf"


def site(tmp_path: Path, files: dict[str, bytes]) -> Path:
    """A site overlay with these files."""
    for name, body in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(body)
    return tmp_path


def delivered(name: str) -> bytes:
    return (bundled() / name).read_bytes()


def test_the_overlay_wins_file_by_file(tmp_path: Path) -> None:
    overlay = site(tmp_path, {EXAMPLE: delivered(EXAMPLE).replace(b"America/New_York", b"Europe/Berlin")})
    content = load_content(overlay)
    assert content.clinic("example").zone.key == "Europe/Berlin"
    assert content.clinic("example-7-days").zone.key == "America/New_York"


def test_a_site_adds_a_clinic_and_names_it_by_name_or_by_path(tmp_path: Path) -> None:
    own = tmp_path / "mappings/clinics/main-street.toml"
    own.parent.mkdir(parents=True)
    shutil.copy(bundled() / EXAMPLE, own)
    content = load_content(tmp_path)
    assert isinstance(content.clinic("main-street"), Clinic)
    assert content.clinic(str(own)) == content.clinic("main-street")


def test_an_unknown_clinic_is_told_with_those_that_exist() -> None:
    with pytest.raises(BadContent, match=r"nowhere\.toml: there is no such file; there are: example, example-7-days"):
        load_content().clinic("nowhere")
    with pytest.raises(BadContent, match="there is no such file"):
        load_content().clinic("/nowhere/clinic.toml")


def test_an_overlay_that_is_no_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadContent, match="is not a directory"):
        load_content(tmp_path / "missing")


@pytest.mark.parametrize(
    "saved",
    [lambda body: MARK + body, lambda body: body.replace(b"\n", b"\r\n"), lambda body: body.replace(b"\n", b"\r")],
    ids=["with a byte order mark", "on Windows", "on an old Macintosh"],
)
def test_a_file_means_the_same_however_an_editor_saves_it(tmp_path: Path, saved: Callable[[bytes], bytes]) -> None:
    overlay = site(tmp_path, {name: saved(delivered(name)) for name in (EXAMPLE, UNITS)})

    assert load_content(overlay).clinic("example") == load_content().clinic("example")
    assert load_content(overlay).codes.units == load_content().codes.units


@pytest.mark.parametrize("name", [EXAMPLE, UNITS])
def test_an_encoding_that_is_not_utf_8_is_told_with_the_line(tmp_path: Path, name: str) -> None:
    overlay = site(tmp_path, {name: b"\n\n" + "Klinik Süd".encode("cp1252")})

    with pytest.raises(BadContent) as caught:
        load_content(overlay).clinic("example")

    assert str(caught.value) == f"{overlay / name}: is not UTF-8 (line 3); save it in that encoding"


def test_a_file_of_a_name_that_nobody_reads_is_told(tmp_path: Path) -> None:
    read = [EXAMPLE, "mappings/clinics/main-street.toml", "mappings/ehrs/ours.toml", UNITS]
    beside = ["mappings/README.md", "mappings/.git/HEAD", "mappings/codes/ConceptMap-north.json"]
    wrong = ["mappings/clinic/x.toml", "mappings/codes/ConceptMap-unit.json", "mappings/protocols/ours.toml"]
    overlay = site(tmp_path, dict.fromkeys([*read, *beside, *wrong], b""))

    told = list(unread(overlay, ["north"]))

    assert told == [f"{overlay / name}: no file of this name is read" for name in wrong]


def test_a_code_map_that_no_source_names_is_told(tmp_path: Path) -> None:
    overlay = site(tmp_path, {"mappings/codes/ConceptMap-north.json": b""})

    assert len(list(unread(overlay, []))) == 1


def test_an_overlay_that_is_one_folder_too_deep_is_told(tmp_path: Path) -> None:
    shutil.copytree(bundled() / "mappings/clinics", tmp_path / "mappings/clinics")

    assert list(unread(tmp_path, [])) == []
    assert list(unread(tmp_path / "mappings", [])) == [
        f"{tmp_path / 'mappings'}: holds neither mappings/ nor profiles/"
    ]


def test_a_clinic_that_is_never_open_is_refused(tmp_path: Path) -> None:
    lines = delivered(EXAMPLE).splitlines(keepends=True)
    overlay = site(tmp_path, {EXAMPLE: b"".join(line for line in lines if b"day = [" not in line)})

    with pytest.raises(BadContent, match="hours: expected a weekday with opening hours"):
        load_content(overlay).clinic("example")
