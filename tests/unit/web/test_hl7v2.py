"""HL7 v2 over HTTP: one message a request, and an answer that says what became of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from afterdose.settings import load_settings
from web_server import TOKEN, Web, open_web, write_settings

DATA = Path(__file__).parents[2] / "data" / "v2"
HL7 = "application/hl7-v2"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    path = write_settings(tmp_path)
    text = path.read_text()
    path.write_text(
        text.replace(
            'target = "ehr"\n',
            'target = "ehr"\nzone = "America/New_York"\npatient_identifier_system = "urn:mrn"\n'
            'ignored_messages = ["ADT", "ORM^O01"]\n',
        )
    )
    with open_web(tmp_path, load_settings(path, {})) as opened:
        yield opened


def message(name: str = "infusion", *changes: tuple[str, str]) -> bytes:
    text = (DATA / f"{name}.er7").read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return text.encode()


def post(web: Web, body: bytes, content_type: str = HL7) -> TestResponse:
    return web.client.post(
        "/hl7v2", data=body, headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": content_type}
    )


def fields(answer: TestResponse, name: str) -> list[str]:
    return next((line.split("|") for line in answer.text.split("\r") if line.startswith(name)), [])


def verdict(answer: TestResponse) -> str:
    return fields(answer, "MSA")[1]


def test_a_message_is_stored_before_it_is_accepted(web: Web) -> None:
    answer = post(web, message())

    assert (answer.status_code, answer.mimetype, verdict(answer)) == (200, HL7, "AA")
    assert fields(answer, "MSA")[2] == "M0001"
    assert web.store.facts.count() == 1
    assert web.counted('afterdose_events_total{interaction="upsert",repeated="no",source="ehr"} 1.0')


def test_sender_and_receiver_change_places_in_the_answer(web: Web) -> None:
    header = fields(post(web, message()), "MSH")

    assert header[2:6] == ["AFTERDOSE", "GH", "EMAR", "GH"]
    assert header[8] == "ACK^O17^ACK"
    assert header[11] == "2.5.1"


@pytest.mark.parametrize("content_type", [HL7, "x-application/hl7-v2+er7", "text/plain; charset=utf-8"])
def test_the_media_types_of_engines_are_taken(web: Web, content_type: str) -> None:
    assert post(web, message(), content_type).status_code == 200


def test_another_media_type_is_refused(web: Web) -> None:
    assert post(web, message(), "application/fhir+json").status_code == 415


def test_a_stranger_is_not_answered_about_the_message(web: Web) -> None:
    answer = web.client.post("/hl7v2", data=message(), headers={"Content-Type": HL7})

    assert answer.status_code == 401
    assert web.store.facts.count() == 0


def test_the_same_message_again_gets_the_same_answer_and_stores_nothing(web: Web) -> None:
    first, corrected, again = (post(web, message(name)) for name in ("infusion", "infusion-corrected", "infusion"))

    assert [verdict(one) for one in (first, corrected, again)] == ["AA"] * 3
    assert fields(first, "MSH")[9] == fields(again, "MSH")[9]
    assert web.store.facts.count() == 2


def test_a_control_id_that_is_used_again_for_another_dose_is_another_message(web: Web) -> None:
    post(web, message())
    other = post(web, message("infusion", ("|F2001", "|F2999")))

    assert verdict(other) == "AA"
    assert web.store.facts.count() == 2


def test_a_number_that_is_used_again_for_another_dose_is_refused_and_not_lost(web: Web) -> None:
    post(web, message())
    answer = post(web, message("infusion", ("M0001", "M0099"), ("20260105103000", "20260108103000")))

    assert (answer.status_code, verdict(answer)) == (400, "AE")
    assert fields(answer, "ERR")[2:4] == ["RXA^1^2", "205^Duplicate key identifier^HL70357"]
    assert [kept.body for kept in web.store.quarantine.newest(5)] == [
        message("infusion", ("M0001", "M0099"), ("20260105103000", "20260108103000"))
    ]


def test_a_deleted_dose_may_be_given_again_under_its_number(web: Web) -> None:
    answers = [
        post(web, message()),
        post(web, message("infusion-deleted")),
        post(web, message("infusion", ("M0001", "M0099"), ("20260105103000", "20260105113000"))),
    ]

    assert [verdict(one) for one in answers] == ["AA"] * 3


@pytest.mark.parametrize(
    ("before", "after", "code", "place", "condition"),
    [
        ("20260105103000", "20261305103000", "AE", "RXA^1^3", "102"),
        ("20260105103000", "", "AE", "RXA^1^3", "101"),
        ("70001^^^GH^MR~900^^^NHS^NH", "", "AE", "PID^1^3", "101"),
        ("|CP|A", "|DONE|A", "AE", "RXA^1^20", "103"),
        ("|M0001|", "||", "AE", "MSH^1^10", "101"),
        ("ORC|RE|P1001|F2001\n", "", "AE", "ORC^1", "100"),
        ("RAS^O17^RAS_O17", "RDE^O11^RDE_O11", "AR", "MSH^1^9", "200"),
        ("|P|2.5.1", "|T|2.5.1", "AR", "MSH^1^11", "202"),
        ("MSH|^~\\&|", "MSH|^^^^|", "AR", "MSH^1^2", "100"),
        ("|P|2.5.1", "|P|2.5.1||||||KLINGON", "AR", "MSH^1^18", "103"),
    ],
)
def test_a_refusal_names_segment_and_field(
    web: Web, before: str, after: str, code: str, place: str, condition: str
) -> None:
    answer = post(web, message("infusion", (before, after)))

    error = fields(answer, "ERR")
    assert (answer.status_code, verdict(answer)) == (400, code)
    assert error[2] == place
    assert error[3].split("^")[0] == condition
    assert web.store.facts.count() == 0


def test_an_old_version_has_its_error_in_the_first_field(web: Web) -> None:
    answer = post(web, message("infusion", ("2.5.1", "2.3"), ("20260105103000", "x")))

    assert fields(answer, "ERR") == ["ERR", "RXA^1^3^102&Data type error&HL70357"]


def test_what_is_refused_is_kept_for_a_person(web: Web) -> None:
    body = message("infusion", ("20260105103000", "yesterday"))

    post(web, body)

    (kept,) = web.store.quarantine.newest(5)
    assert kept.body == body
    assert kept.problems[0].path == "RXA[1]-3"


@pytest.mark.parametrize("type_", ["ADT^A08^ADT_A01", "ORM^O01"])
def test_types_that_the_site_ignores_are_accepted_and_not_looked_at(web: Web, type_: str) -> None:
    answer = post(web, message("infusion", ("RAS^O17^RAS_O17", type_)))

    assert (answer.status_code, verdict(answer)) == (200, "AA")
    assert web.store.facts.count() == 0


def test_what_is_no_message_is_rejected(web: Web) -> None:
    for body in (b"", b"{}", b"MSH", b"MSH|", b"\x00" * 100, b"PID|1\rMSH|^~\\&|"):
        answer = post(web, body)
        assert (answer.status_code, verdict(answer)) == (400, "AR")


@pytest.mark.parametrize(
    ("accept", "application", "good", "kinds"),
    [
        ("AL", "", True, ("ACK^O17^ACK", "CA")),
        ("Y", "", False, ("ACK^O17^ACK", "AE")),
        ("always", "AL", True, ("RRA^O18^RRA_O18", "AA")),
        ("AL", "NE", False, ("ACK^O17^ACK", "CE")),
        ("ER", "", False, ("ACK^O17^ACK", "CE")),
        ("NE", "AL", True, ("RRA^O18^RRA_O18", "AA")),
        ("", "AL", False, ("RRA^O18^RRA_O18", "AE")),
    ],
)
def test_the_answer_is_of_the_kind_that_the_header_asks_for(
    web: Web, accept: str, application: str, good: bool, kinds: tuple[str, str]
) -> None:
    changes = [("|P|2.5.1", f"|P|2.5.1|||{accept}|{application}")]
    if not good:
        changes.append(("20260105103000", "x"))
    answer = post(web, message("infusion", *changes))

    assert (fields(answer, "MSH")[8], verdict(answer)) == kinds


@pytest.mark.parametrize(("accept", "application"), [("ER", ""), ("NE", "NE"), ("ER", "ER")])
def test_a_sender_that_wants_no_answer_to_a_success_gets_none(web: Web, accept: str, application: str) -> None:
    answer = post(web, message("infusion", ("|P|2.5.1", f"|P|2.5.1|||{accept}|{application}")))

    assert (answer.status_code, answer.data) == (200, b"")
    assert web.store.facts.count() == 1


def test_no_answer_repeats_what_was_received(web: Web) -> None:
    answer = post(web, message("infusion", ("20260105103000", "MUSTER"), ("|CP|A", "|MUSTER|A")))

    assert "MUSTER" not in answer.text
    assert "70001" not in answer.text


def test_the_stored_fact_is_fhir_with_the_message_in_it(web: Web) -> None:
    post(web, message())

    claim = web.store.agenda.claim("test", lease=timedelta(minutes=1), now=datetime(2100, 1, 1, tzinfo=UTC))
    assert claim is not None
    ((fact,),) = web.store.facts.history("ehr", claim.patient).values()
    assert json.loads(fact.raw)["resourceType"] == "MedicationAdministration"
    assert (fact.version, fact.patient) == ("M0001", None)
    assert fact.last_updated == datetime(2026, 1, 5, 16, 20, tzinfo=UTC)
