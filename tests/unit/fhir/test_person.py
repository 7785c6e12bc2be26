"""What a Patient says of the person and of the record."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from afterdose.fhir.decode.person import PersonSaid, read_person

BASE = "https://ehr.example.org/fhir"


def said(**patient: object) -> PersonSaid:
    resource = {"resourceType": "Patient", "id": "p1", **patient}
    return read_person(resource, asked="p1", base_url=BASE, zone=ZoneInfo("America/New_York"))


def link(kind: str, reference: str) -> dict[str, object]:
    return {"other": {"reference": reference}, "type": kind}


def test_nothing_said_is_a_living_person_whose_record_is_in_use() -> None:
    assert said() == PersonSaid()


def test_links_to_patients_of_this_server_are_read_in_both_directions() -> None:
    links = [
        link("replaced-by", "Patient/p2"),
        link("replaces", f"{BASE}/Patient/p0"),
        link("replaces", "Patient/p3/_history/4"),
        link("seealso", "Patient/p9"),
    ]

    found = said(link=links)

    assert (found.successors, found.predecessors) == ({"p2"}, {"p0", "p3"})


@pytest.mark.parametrize(
    "reference", ["https://elsewhere.example.org/fhir/Patient/p2", "RelatedPerson/p2", "Patient/../x", "Patient/p1", ""]
)
def test_links_to_others_and_to_itself_say_nothing(reference: str) -> None:
    assert said(link=[link("replaced-by", reference)]) == PersonSaid()


@pytest.mark.parametrize("links", ["Patient/p2", [None], [{}], [{"other": "Patient/p2", "type": "replaced-by"}], {}, 3])
def test_links_of_another_shape_say_nothing(links: object) -> None:
    assert said(link=links) == PersonSaid()


def test_another_patient_in_answer_is_the_survivor() -> None:
    found = read_person({"resourceType": "Patient", "id": "p2", "active": False}, asked="p1", base_url=BASE, zone=None)

    assert found == PersonSaid(successors=frozenset({"p2"}))


def test_a_death_may_have_a_time_a_day_or_none() -> None:
    assert said(deceasedBoolean=True) == PersonSaid(deceased=True)
    assert said(deceasedBoolean=False) == PersonSaid()
    moment = said(deceasedDateTime="2026-01-05T10:00:00-05:00")
    assert moment == PersonSaid(deceased=True, died_by=datetime(2026, 1, 5, 15, tzinfo=UTC))
    assert said(deceasedDateTime="2026-01-05").died_by == datetime(2026, 1, 6, 5, tzinfo=UTC)
    assert said(deceasedDateTime="2026") == PersonSaid(deceased=True)


def test_a_record_is_out_of_use_only_where_that_is_said() -> None:
    assert not said(active=False).active
    assert said(active="no").active
