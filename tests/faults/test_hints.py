"""A sender that only names doses: they are read by id, filed under their patients, and read again at every hint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ward import MONDAY, OPEN_APPOINTMENTS, PATIENT, Resource, Ward, dose

from afterdose.sandbox import faults

ENDED = MONDAY - timedelta(hours=1)
FHIR = "application/fhir+json"
POLL = """
[sources.ehr.poll]
strategy = "last-updated"
"""
EMPTY = {
    "resourceType": "SubscriptionStatus",
    "type": "event-notification",
    "notificationEvent": [{"eventNumber": "1"}],
}


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    with Ward(tmp_path) as opened:
        yield opened


def bundle_of(cover: Resource) -> Resource:
    return {"resourceType": "Bundle", "type": "history", "entry": [{"resource": cover}]}


def naming(*ids: str) -> Resource:
    """An id-only notification as the Backport guide has it."""
    events = [
        {"eventNumber": str(number), "focus": {"reference": f"MedicationAdministration/{id_}"}}
        for number, id_ in enumerate(ids, 1)
    ]
    return bundle_of({"resourceType": "SubscriptionStatus", "type": "event-notification", "notificationEvent": events})


def settle(ward: Ward) -> None:
    while ward.step():
        pass
    ward.settle()


def reads(ward: Ward, id_: str) -> int:
    return sum(one.path.endswith(f"/MedicationAdministration/{id_}") for one in ward.ehr.requests)


def interactions(ward: Ward, id_: str) -> list[tuple[str, str, str | None]]:
    return [(fact.interaction, fact.via, fact.patient) for fact in ward.store.facts.versions("ehr", id_)]


def test_a_dose_that_is_only_named_is_read_and_planned_for_its_patient(ward: Ward) -> None:
    ward.ehr.put(dose("d1", ENDED))

    ward.send(naming("d1"))
    settle(ward)

    assert interactions(ward, "d1") == [("hint", "push", None), ("upsert", "read", PATIENT)]
    assert len(ward.appointments(*OPEN_APPOINTMENTS)) == 1
    assert reads(ward, "d1") == 1
    nobody = ward.store.agenda.find("ehr", "~ehr/d1")
    assert nobody is not None
    assert (nobody.due_at, nobody.parked) == (None, None)
    ward.check()


def test_every_hint_has_the_dose_read_again_even_where_it_was_another_drug(ward: Ward) -> None:
    saline = {"text": "sodium chloride 0.9 %"}
    ward.chart(dose("d1", ENDED, medicationCodeableConcept=saline))
    ward.settle()
    assert reads(ward, "d1") == 0

    ward.ehr.put(dose("d1", ENDED))
    ward.send(naming("d1"))
    settle(ward)
    assert len(ward.appointments(*OPEN_APPOINTMENTS)) == 1

    ward.ehr.put(dose("d1", ENDED, status="entered-in-error"))
    ward.send(naming("d1"))
    settle(ward)
    assert ward.appointments(*OPEN_APPOINTMENTS) == []
    assert reads(ward, "d1") == 2
    ward.check()


def test_a_hint_for_what_is_there_no_more_withdraws_the_dose(ward: Ward) -> None:
    ward.ehr.put(dose("d1", ENDED))
    ward.send(naming("d1", "never"))
    settle(ward)

    ward.ehr.delete("MedicationAdministration", "d1")
    ward.send(naming("d1"))
    settle(ward)

    assert ward.appointments(*OPEN_APPOINTMENTS) == []
    assert interactions(ward, "never") == [("hint", "push", None), ("delete", "read", None)]
    ward.check()


def test_a_hint_that_comes_while_the_dose_is_being_read_has_it_read_once_more(ward: Ward) -> None:
    ward.ehr.put(dose("d1", ENDED, status="in-progress"))

    def meanwhile(serve: Any, _pause: Any) -> Any:
        answer = serve()
        ward.ehr.put(dose("d1", ENDED))
        ward.send(naming("d1"))
        return answer

    ward.send(naming("d1"))
    ward.ehr.fail_next("GET", "/MedicationAdministration/d1", meanwhile)
    settle(ward)

    assert len(ward.appointments(*OPEN_APPOINTMENTS)) == 1
    ward.check()


def test_what_was_only_named_and_may_not_be_read_is_given_up_aloud(ward: Ward) -> None:
    ward.ehr.put(dose("d1", ENDED))
    ward.ehr.fail_next("GET", "/MedicationAdministration/d1", faults.status(400))

    ward.send(naming("d1"))
    while ward.step():
        pass

    assert [row.patient for row in ward.store.agenda.parked()] == ["~ehr/d1"]
    assert ward.appointments() == []


@pytest.mark.parametrize("notification", [b"", json.dumps(bundle_of(EMPTY)).encode()])
def test_a_notification_that_names_nothing_has_the_source_polled_at_once(tmp_path: Path, notification: bytes) -> None:
    with Ward(tmp_path, more=POLL) as ward:
        sweeper = ward.workshop.sweeper("ehr")
        sweeper.sweep()
        ward.ehr.put(dose("d1", ENDED))
        sweeper.sweep()
        assert ward.store.facts.count() == 0, "the next poll is not due yet"

        assert ward.nudge(notification, FHIR if notification else None) == 200
        sweeper.sweep()
        settle(ward)

        assert len(ward.appointments(*OPEN_APPOINTMENTS)) == 1
        assert ward.nudge(b" ", FHIR) == 400
        ward.check()


def test_a_notification_that_names_nothing_is_refused_where_nobody_would_ask(ward: Ward) -> None:
    assert ward.nudge(b"", FHIR) == 400
    assert ward.nudge(json.dumps(bundle_of(EMPTY)).encode(), FHIR) == 400
