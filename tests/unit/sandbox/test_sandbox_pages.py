"""What a person reads in the sandbox is the record, in local time, and never the record's own markup or scripts."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
import requests

from afterdose.sandbox.narrative import harmless

XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'
HOSTILE = f"""<div {XHTML}>Before<script>alert(1)</script><SCRIPT src="//x">alert(2)</SCRIPT>
<img src="x" onerror="alert(3)"/><p onclick="alert(4)" style="position:fixed" class="banner" id="x">Plan</p>
<a href="javascript:alert(5)">link</a><a href="https://example.org/x?a=1&amp;b=2">good</a>
<svg onload="alert(6)"><circle/></svg><iframe src="//x">frame</iframe><form action="//x"><input name="q"/></form>
<style>body {{ display: none }}</style><base href="//x"/><meta http-equiv="refresh" content="0;url=//x"/>
<table><tr><td colspan="2">cell</td></tr></table> &lt;script&gt;alert(7)&lt;/script&gt;</main></div></div>
After<b>open"""
MARKUP = "<script>alert(1)</script>"


class Parsed(HTMLParser):
    """The elements and attributes that a browser would see."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.depth = 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.depth += tag not in {"br", "hr", "col", "meta"}

    def handle_endtag(self, _tag: str) -> None:
        self.depth -= 1


def page(ehr: Any, path: str = "patients/p") -> requests.Response:
    return requests.get(f"{ehr.page_url}{path}", timeout=10)


@pytest.fixture
def patient(ehr: Any) -> None:
    ehr.put({"resourceType": "Patient", "id": "p", "name": [{"given": ["Ada"], "family": "Example"}]})


def test_a_narrative_keeps_its_text_and_its_structure_and_nothing_that_acts() -> None:
    shown = harmless(HOSTILE)
    parsed = Parsed(shown)
    assert set(parsed.tags) == {"div", "p", "a", "table", "tr", "td", "b"}
    assert set(parsed.attributes) == {("href", "https://example.org/x?a=1&b=2"), ("colspan", "2")}
    assert parsed.depth == 0
    for kept in ("Before", "Plan", "link", "good", "cell", "&lt;script&gt;alert(7)&lt;/script&gt;", "After", "open"):
        assert kept in shown
    for gone in ("alert(1)", "alert(2)", "alert(6)", "frame", "display"):
        assert gone not in shown


@pytest.mark.parametrize(
    "hostile",
    [
        "<div><<script>script>alert(1)</script>",
        "<div title='\"><script>alert(1)</script>'>x</div>",
        '<div><a href="java&#115;cript:alert(1)">x</a></div>',
        '<div><a href=" javascript:alert(1)">x</a></div>',
        "<div><!-- --><script>alert(1)</script></div>",
        "<div><![CDATA[<script>alert(1)</script>]]></div>",
        "<div><?php <script>alert(1)</script> ?></div>",
        "<div><svg><title><style><img src=x onerror=alert(1)></style></title></svg></div>",
        "<div><noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript></div>",
        "<div><scr\x00ipt>alert(1)</scr\x00ipt></div>",
        "<div/onclick=alert(1)>x",
        "</div></main><script>alert(1)</script>",
        "<script",
        "<div><p",
    ],
)
def test_no_known_trick_gets_an_element_or_an_attribute_past_the_allow_list(hostile: str) -> None:
    parsed = Parsed(harmless(hostile))
    assert set(parsed.tags) <= {"div", "a", "p"}
    assert {name for name, _ in parsed.attributes} <= {"title"}
    assert parsed.depth == 0


@pytest.mark.usefixtures("patient")
def test_a_hostile_plan_is_shown_harmlessly_on_the_page(ehr: Any) -> None:
    ehr.put(
        {
            "resourceType": "CarePlan",
            "id": "c",
            "status": "draft",
            "intent": "proposal",
            "title": MARKUP,
            "subject": {"reference": "Patient/p"},
            "text": {"status": "generated", "div": HOSTILE},
        }
    )
    answer = page(ehr)
    parsed = Parsed(answer.text)
    assert not {"script", "img", "iframe", "svg", "form", "input", "base"} & set(parsed.tags)
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
    assert "draft" in answer.text
    assert "proposal" in answer.text


def test_every_text_of_every_resource_is_escaped(ehr: Any) -> None:
    subject = {"reference": "Patient/p"}
    ehr.put({"resourceType": "Patient", "id": "p", "name": [{"text": MARKUP}], "birthDate": MARKUP})
    ehr.put(
        {
            "resourceType": "Appointment",
            "id": "a",
            "status": "proposed",
            "description": MARKUP,
            "comment": MARKUP,
            "minutesDuration": MARKUP,
            "requestedPeriod": [{"start": MARKUP, "end": MARKUP}],
            "participant": [{"actor": subject, "status": "needs-action"}],
        }
    )
    ehr.put(
        {
            "resourceType": "Task",
            "id": "t",
            "status": "ready",
            "intent": "order",
            "description": MARKUP,
            "owner": {"display": MARKUP},
            "restriction": {"period": {"end": MARKUP}},
            "for": subject,
        }
    )
    ehr.put(
        {
            "resourceType": "MedicationAdministration",
            "id": "d",
            "status": "completed",
            "subject": subject,
            "effectiveDateTime": MARKUP,
            "medicationCodeableConcept": {"text": MARKUP},
            "dosage": {"text": MARKUP, "route": {"text": MARKUP}},
        }
    )
    ehr.put({"resourceType": "Flag", "id": "f", "status": f'"{MARKUP}', "subject": subject})
    for path in ("", "patients/p", f"patients/{MARKUP}"):
        answer = page(ehr, path)
        assert "script" not in Parsed(answer.text).tags, path


@pytest.mark.usefixtures("patient")
def test_a_page_loads_nothing_runs_nothing_and_says_what_it_is(ehr: Any) -> None:
    for path in ("", "patients/p"):
        answer = page(ehr, path)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
        assert "for demonstration and tests only, not a medical record system" in answer.text
        parsed = Parsed(answer.text)
        assert not {"script", "link", "img", "iframe"} & set(parsed.tags)
        assert all(value.startswith("/") for name, value in parsed.attributes if name in {"href", "src"})


def appointment(ehr: Any, **more: Any) -> str:
    ehr.put(
        {
            "resourceType": "Appointment",
            "id": "a",
            "status": "proposed",
            "minutesDuration": 60,
            "requestedPeriod": [{"start": "2026-03-03T15:00:00Z", "end": "2026-03-03T21:00:00Z"}],
            "participant": [
                {"actor": {"reference": "Patient/p"}, "status": "needs-action"},
                {"actor": {"reference": "Location/l"}, "status": "needs-action"},
            ],
            **more,
        }
    )
    return page(ehr).text


TIMEZONE = "http://hl7.org/fhir/StructureDefinition/timezone"


@pytest.mark.usefixtures("patient")
def test_a_period_is_shown_in_the_zone_that_the_appointment_names(ehr: Any) -> None:
    shown = appointment(ehr, extension=[{"url": TIMEZONE, "valueCode": "America/New_York"}])
    assert "Tue 03 Mar 2026, 10:00 \N{EN DASH} 16:00" in shown
    assert "America/New_York" in shown


@pytest.mark.usefixtures("patient")
def test_a_period_is_shown_in_the_zone_of_the_clinic_where_the_appointment_names_none(ehr: Any) -> None:
    ehr.put({"resourceType": "Location", "id": "l", "extension": [{"url": TIMEZONE, "valueCode": "Europe/Berlin"}]})
    assert "Tue 03 Mar 2026, 16:00 \N{EN DASH} 22:00" in appointment(ehr)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("zone", [None, "Nowhere/Land", "../../etc/passwd", ""])
def test_a_period_without_a_known_zone_is_shown_in_utc(ehr: Any, zone: str | None) -> None:
    shown = appointment(ehr, extension=[{"url": TIMEZONE, "valueCode": zone}] if zone is not None else [])
    assert "Tue 03 Mar 2026, 15:00 \N{EN DASH} 21:00" in shown
    assert '<span class="soft">UTC</span>' in shown


@pytest.mark.usefixtures("patient")
def test_a_dose_is_shown_in_the_time_in_which_it_was_written(ehr: Any) -> None:
    ehr.put(
        {
            "resourceType": "MedicationAdministration",
            "id": "d",
            "status": "completed",
            "subject": {"reference": "Patient/p"},
            "effectivePeriod": {"start": "2026-03-02T10:00:00-05:00", "end": "2026-03-02T10:40:00-05:00"},
            "medicationCodeableConcept": {"coding": [{"code": "6130", "display": "ketamine"}]},
            "dosage": {"dose": {"value": 35, "unit": "mg"}},
        }
    )
    shown = page(ehr).text
    assert "Mon 02 Mar 2026, 10:00 \N{EN DASH} 10:40 UTC-05:00" in shown
    assert "ketamine" in shown
    assert "35 mg" in shown


@pytest.mark.usefixtures("patient")
def test_the_list_of_patients_leads_to_each_of_them(ehr: Any) -> None:
    shown = page(ehr, "").text
    assert '<a href="/patients/p">Ada Example</a>' in shown
    assert page(ehr, "patients/nobody").status_code == 404


@pytest.mark.usefixtures("patient")
def test_another_patients_record_is_not_on_the_page(ehr: Any) -> None:
    ehr.put(
        {
            "resourceType": "Task",
            "id": "t",
            "status": "ready",
            "intent": "order",
            "description": "for somebody else",
            "for": {"reference": "Patient/other"},
        }
    )
    assert "for somebody else" not in page(ehr).text
