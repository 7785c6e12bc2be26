"""``afterdose plan --format svg``: one patient's course as a drawing that can be read."""

import re
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from afterdose.content.locate import bundled
from fhir_inputs import KETAMINE, a_file, at, infusion, run, spray

SVG = "{http://www.w3.org/2000/svg}"
LABEL_DAYS = [f"2026-01-{day:02}" for day in (5, 8, 12, 15, 19, 22, 26, 29)]
LABEL_DAYS += ["2026-02-02", "2026-02-09", "2026-02-16", "2026-02-23", "2026-03-02", "2026-03-16"]
MON_WED_FRI = ["2026-01-05", "2026-01-07", "2026-01-09", "2026-01-12", "2026-01-14", "2026-01-16"]
WIDE = 0.58
"""A cautious width of a character, in sizes of its font."""

Element = ElementTree.Element
Box = tuple[str, float, float, float, float]


def drawn(*arguments: str) -> Element:
    result = run("plan", "--format", "svg", "--as-of-dose", *arguments)
    assert result.exit_code == 0, result.output
    return parsed(result.stdout)


def parsed(svg: str) -> Element:
    return ElementTree.fromstring(svg)  # noqa: S314 - our own output


def a1(folder: Path) -> Element:
    return drawn(a_file(folder, *(spray(f"dose-{day}", f"{day} 10:00") for day in LABEL_DAYS)))


def a3(folder: Path) -> Element:
    return drawn(a_file(folder, *(infusion(f"dose-{day}", f"{day} 09:00") for day in MON_WED_FRI)))


def of_class(svg: Element, name: str) -> list[Element]:
    return [one for one in svg.iter() if one.get("class") == name]


def rows(svg: Element) -> list[str]:
    """The words of each row."""
    return [" ".join(text.text or "" for text in row.iter(f"{SVG}text")) for row in of_class(svg, "row")]


def marks(svg: Element, name: str) -> list[Element]:
    return [mark for row in of_class(svg, "row") for mark in of_class(row, name)]


def boxes(element: Element, x: float = 0, y: float = 0) -> list[Box]:
    """The place of every text: its words, left, top, right, bottom."""
    moved = re.fullmatch(r"translate\((\S+) (\S+)\)", element.get("transform", ""))
    x, y = (x + float(moved[1]), y + float(moved[2])) if moved else (x, y)
    found = [box for child in element for box in boxes(child, x, y)]
    if element.tag != f"{SVG}text":
        return found
    size, words = float(element.attrib["font-size"]), element.text or ""
    width, base = len(words) * size * WIDE, y + float(element.attrib["y"])
    left = x + float(element.attrib["x"]) - width * {"end": 1, "middle": 0.5}.get(element.get("text-anchor", ""), 0)
    return [*found, (words, left, base - 0.75 * size, left + width, base + 0.2 * size)]


def overlaps(svg: Element) -> list[tuple[str, str]]:
    return [
        (one[0], other[0])
        for one, other in combinations(boxes(svg), 2)
        if one[1] < other[3] and other[1] < one[3] and one[2] < other[4] and other[2] < one[4]
    ]


@pytest.mark.parametrize("schedule", [a1, a3])
def test_no_label_lies_on_another_or_outside_the_drawing(schedule: Any, tmp_path: Path) -> None:
    svg = schedule(tmp_path)
    assert overlaps(svg) == []
    width, height = float(svg.attrib["width"]), float(svg.attrib["height"])
    outside = [box for box in boxes(svg) if box[1] < 0 or box[2] < 0 or box[3] > width or box[4] > height]
    assert outside == []


def test_labels_that_lie_on_each_other_are_noticed() -> None:
    text = '<text x="{}" y="10" font-size="13">Mon 5 Jan</text>'
    svg = f'<svg xmlns="{SVG[1:-1]}">{text.format(0)}{text.format(20)}{text.format(200)}</svg>'
    assert len(overlaps(parsed(svg))) == 1


def test_a1_every_dose_and_session_is_drawn(tmp_path: Path) -> None:
    svg = a1(tmp_path)
    tips = [mark.findtext(f"{SVG}title") for mark in marks(svg, "dose")]
    assert tips == [f"MedicationAdministration/dose-{day}" for day in LABEL_DAYS]
    assert len(marks(svg, "in-window")) == len([row for row in rows(svg) if "in the window" in row]) == 14
    assert "Dose 1 ended Mon 5 Jan 2026 10:10 EST Session Tue 6 Jan 2026 10:30 EST, in the window" in rows(svg)[0]
    assert len(of_class(svg, "full")) == len(of_class(svg, "declining")) - 1 == 14  # the legend has one more taper
    assert len(of_class(svg, "cut")) == 4


def test_a3_the_dose_without_a_session_says_why_and_the_edge_session_is_in_the_next_line(tmp_path: Path) -> None:
    svg = a3(tmp_path)
    assert len(marks(svg, "dose")) == 6
    assert (len(marks(svg, "in-window")), len(marks(svg, "unmet")), len(marks(svg, "edge"))) == (4, 1, 1)
    assert rows(svg)[2] == "Dose 3 ended Fri 9 Jan 2026 09:40 EST No session: Window cut by the next dose"
    assert rows(svg)[-1].startswith("Dose 6, continued ended Fri 16 Jan")
    legend = [text for text, *_ in boxes(of_class(svg, "legend")[0])]
    assert legend == [
        "Dose",
        "Session in the window",
        "Session that ends after the window",
        "No session possible",
        "Window, full (24 to 48 h)",
        "Window, declining (48 to 72 h)",
        "Window cut off by the next dose",
        "Clinic closed",
    ]


def test_a_mark_lies_at_its_local_time_also_when_the_clocks_change(tmp_path: Path) -> None:
    svg = drawn(a_file(tmp_path, infusion("spring", "2026-03-07 08:20"), infusion("later", "2026-03-12 09:00")))
    (session,) = marks(svg, "in-window")[:1]
    (dose, _) = marks(svg, "dose")
    days = {text: (left + right) / 2 for text, left, _, right, _ in boxes(svg)}
    width = days["8 Mar"] - days["7 Mar"]
    (circle,) = dose.iter(f"{SVG}circle")
    middle = float(next(session.iter(f"{SVG}polygon")).attrib["points"].split(",")[0])
    assert float(circle.attrib["cx"]) == pytest.approx(days["7 Mar"] - width * 3 / 24, abs=0.2)
    assert middle == pytest.approx(days["9 Mar"] - width * 3 / 24, abs=0.2)


def test_the_drawing_needs_nothing_else_and_can_be_read_aloud(tmp_path: Path) -> None:
    svg = a3(tmp_path)
    assert {one.tag.removeprefix(SVG) for one in svg.iter()} <= {
        "svg", "title", "desc", "defs", "pattern", "g", "rect", "path", "circle", "polygon", "text"
    }  # fmt: skip
    names = {name for one in svg.iter() for name in one.attrib}
    assert not [name for name in names if name.startswith("on") or "href" in name or name == "style"]
    values = [value for one in svg.iter() for value in one.attrib.values()]
    assert {value for value in values if "url(" in value} == {"url(#cut)"}
    assert svg.get("role") == "img"
    assert svg.findtext(f"{SVG}title") == "Doses and follow-up, 5 Jan 2026 to 16 Jan 2026"
    told = svg.findtext(f"{SVG}desc") or ""
    assert "Dose 3, ended Fri 9 Jan 2026 09:40 EST. No session: Window cut by the next dose." in told
    whole = ElementTree.tostring(svg, encoding="unicode").casefold()
    assert not [word for word in ("ketamine", "depress", "pat-1") if word in whole]


def test_planned_doses_and_preparation_visits_are_drawn(tmp_path: Path) -> None:
    order = {
        "resourceType": "MedicationRequest",
        "id": "order",
        "status": "active",
        "intent": "order",
        "authoredOn": at("2026-01-02 12:00"),
        "medicationCodeableConcept": KETAMINE,
        "subject": {"reference": "Patient/pat-1"},
        "reasonCode": infusion("x", "2026-01-07 10:00")["reasonCode"],
        "dosageInstruction": [{"timing": {"event": [at("2026-01-07 10:00")]}}],
    }
    svg = drawn(a_file(tmp_path, order))
    assert rows(svg) == [
        "Preparation 1 Fri 2 Jan 2026 16:00 EST P Visit before the first dose",
        "Planned dose Wed 7 Jan 2026 10:00 EST Ordered or booked, not given yet",
    ]
    given = drawn(a_file(tmp_path, order, infusion("given", "2026-01-07 10:00")))
    assert not marks(given, "planned-dose")


def test_doses_of_every_other_state_are_drawn_with_their_reason(tmp_path: Path) -> None:
    svg = drawn(
        a_file(
            tmp_path,
            infusion("wrong", "2026-01-05 09:00", status="entered-in-error"),
            infusion("open", "2026-01-12 09:00", status="in-progress"),
            infusion("day", "2026-01-20 09:00", effectivePeriod=None, effectiveDateTime="2026-01-20"),
            infusion("year", "2026-01-20 09:00", effectivePeriod=None, effectiveDateTime="2026"),
            infusion("late", "2026-06-01 09:00"),
        )
    )
    assert [re.split(r" (?=ended|began|on|time)", row)[0] for row in rows(svg)] == [f"Dose {n}" for n in range(1, 6)]
    assert "Taken back: Entered in error" in rows(svg)[0]
    assert "Waiting until the dose is over" in rows(svg)[1]
    assert "on Tue 20 Jan 2026, time unknown A person decides" in rows(svg)[2]
    assert rows(svg)[4].startswith("Dose 5 time unknown A person decides")
    assert "16 weeks without doses and visits are not shown." in [text for text, *_ in boxes(svg)]
    assert overlaps(svg) == []


@pytest.mark.parametrize("year", ["0001", "9999"])
def test_a_dose_at_an_end_of_the_calendar_is_told_of_without_a_place(year: str, tmp_path: Path) -> None:
    then = {"start": f"{year}-01-01T01:00:00Z", "end": f"{year}-01-01T01:40:00Z"}
    svg = drawn(
        a_file(tmp_path, infusion("now", "2026-01-05 09:00"), infusion("far", "2026-01-05 09:00", effectivePeriod=then))
    )
    assert svg.findtext(f"{SVG}title") == "Doses and follow-up, 5 Jan 2026 to 5 Jan 2026"
    assert rows(svg)[-1].startswith("Dose 2 time unknown A person decides")


def test_what_a_site_writes_is_escaped(tmp_path: Path) -> None:
    text = (bundled() / "mappings/clinics/example.toml").read_text(encoding="utf-8")
    clinic = tmp_path / "clinic.toml"
    clinic.write_text(text.replace('title = "Example clinic"', 'title = "<script>&\\u0007"'), encoding="utf-8")
    svg = drawn("--clinic", str(clinic), a_file(tmp_path, infusion("dose", "2026-01-05 09:00")))
    assert "Days and times of <script>& (America/New_York)." in [text for text, *_ in boxes(svg)]


def test_of_several_patients_one_has_to_be_chosen(tmp_path: Path) -> None:
    file = a_file(tmp_path, infusion("one", "2026-01-05 09:00"), infusion("two", "2026-01-06 09:00", patient="pat-2"))
    unclear = run("plan", "--format", "svg", file)
    assert unclear.exit_code == 2
    assert "choose with --patient among: pat-1, pat-2" in unclear.output
    nobody = run("plan", "--patient", "pat-3", file)
    assert nobody.exit_code == 2
    assert "its patients are: pat-1, pat-2" in nobody.output
    svg = drawn("--patient", "Patient/pat-2", file)
    assert [mark.findtext(f"{SVG}title") for mark in marks(svg, "dose")] == ["MedicationAdministration/two"]
