"""Subscriptions are followed: what did not come is found by number or by a poll, silence is noticed, and what the EHR
switched off is activated again. The EHR is a server on a real socket; the time is the test's."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from afterdose import logs
from afterdose.connections import connect
from afterdose.content.content import load_content
from afterdose.settings import Settings, load_settings
from afterdose.store.migrate import migrate
from afterdose.store.store import Store, open_store
from afterdose.store.subscriptions import SubscriptionRow
from afterdose.subscribers import follower, hearing, subscriber
from afterdose.work.intake.bodies import receive
from afterdose.work.intake.reception import Origin
from afterdose.work.sources.follow import ACTIVATIONS, GRACE, Follower
from afterdose.work.sources.subscribe import Subscriber
from doubles.topics import TopicEhr

pytestmark = pytest.mark.service

SETTINGS = """
data_dir = "{folder}"
[web]
base_url = "https://afterdose.hospital.example"
[targets.ehr]
base_url = "{ehr}"
clinic = "example"
{product}
[sources.ehr]
target = "ehr"
[[sources.ehr.secrets]]
value_file = "secret"
{poll}
[sources.ehr.subscribe]
types = ["MedicationAdministration"]
form = "topic-r4"
topic = "https://ehr.example/topics/{{type}}"
heartbeat = "1m"
"""
CONTENT = load_content(None)
POLL = '[sources.ehr.poll]\nstrategy = "last-updated"'


class Ward:
    """A site that follows one source. What it says is in `said`."""

    def __init__(self, folder: Path, ehr: TopicEhr, *, poll: bool = False, product: str = "") -> None:
        self.ehr = ehr
        self.now = datetime.now(UTC)
        (folder / "secret").write_text("s3cr3t-" + "a" * 40)
        config = folder / "afterdose.toml"
        config.write_text(SETTINGS.format(folder=folder, ehr=ehr.base_url, poll=POLL if poll else "", product=product))
        self.settings: Settings = load_settings(config, {})
        migrate(self.settings.database)
        self.store: Store = open_store(self.settings.database, clock=lambda: self.now)
        self.connections = connect(self.settings, lambda: self.now)
        self.log = io.StringIO()
        logs.configure("warning", "json", self.log)
        self.content = CONTENT
        self.follower = self.another_process()

    def close(self) -> None:
        self.connections.close()
        self.store.close()

    def another_process(self) -> Follower:
        given = self.settings.sources["ehr"], self.settings, self.content, self._client
        return follower(*given, store=self.store, clock=lambda: self.now, stop=threading.Event())

    def subscriber(self) -> Subscriber:
        given = self.settings.sources["ehr"], self.settings, self.content, self._client
        return subscriber(*given, store=self.store, clock=lambda: self.now)

    @property
    def _client(self) -> Any:
        connection = self.connections.sources["ehr"]
        assert connection is not None
        return connection.client

    def subscribe(self) -> None:
        for planned in self.subscriber().plan():
            self.subscriber().do(planned)
        self.takes(self.ehr.says("handshake"))

    def takes(self, notification: dict[str, Any]) -> None:
        """What the web part does with a notification."""
        origin = Origin("ehr", "ehr", self.ehr.base_url, asked=True)
        reception = receive(json.dumps(notification).encode(), origin)
        self.store.committer.submit(reception.arrivals)
        hearing(self.settings, self.store).hear(reception, origin)

    def later(self, **elapsed: float) -> None:
        self.now += timedelta(**elapsed)
        self.follower.follow()

    @property
    def row(self) -> SubscriptionRow:
        (row,) = self.store.subscriptions.of("ehr")
        return row

    @property
    def said(self) -> list[tuple[str, str]]:
        """Alarms so far: level and code."""
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [(line["level"], line["code"]) for line in lines if line.get("alarm") == "subscription"]

    def known(self) -> set[str]:
        facts = self.store.facts
        return {id_ for id_ in ("d1", "d2", "d3", "d4") if facts.latest("ehr", id_) is not None}


@pytest.fixture
def ehr() -> Iterator[TopicEhr]:
    with TopicEhr() as server:
        yield server


@pytest.fixture
def ward(tmp_path: Path, ehr: TopicEhr) -> Iterator[Ward]:
    made = Ward(tmp_path, ehr)
    made.subscribe()
    yield made
    made.close()


def dose(number: int) -> str:
    return f"MedicationAdministration/d{number}"


def give(ehr: TopicEhr, *numbers: int) -> None:
    ehr.staff.put({"resourceType": "Patient", "id": "p1"})
    for number in numbers:
        ehr.staff.put(
            {
                "resourceType": "MedicationAdministration",
                "id": f"d{number}",
                "status": "completed",
                "medicationCodeableConcept": {"text": "x"},
                "subject": {"reference": "Patient/p1"},
                "effectiveDateTime": "2026-01-05T10:00:00Z",
            }
        )


def test_events_that_did_not_come_are_asked_for_by_their_numbers(ward: Ward, ehr: TopicEhr) -> None:
    ward.takes(ehr.happens(dose(1)))
    ehr.happens(dose(2))
    ehr.happens(dose(3))
    ward.takes(ehr.happens(dose(4)))
    assert ward.known() == {"d1", "d4"}

    ward.later(seconds=GRACE.total_seconds() + 1)

    assert ward.known() == {"d1", "d2", "d3", "d4"}
    assert ward.said == [("error", "gap"), ("warning", "gap")]
    assert (ward.row.gap_at, ward.row.troubles) == (None, {})
    ward.later(seconds=30)
    assert len(ward.said) == 2


def test_a_number_that_is_only_late_is_no_alarm(ward: Ward, ehr: TopicEhr) -> None:
    first, second = ehr.happens(dose(1)), ehr.happens(dose(2))
    ward.takes(second)
    ward.later(seconds=5)
    ward.takes(first)
    ward.later(seconds=60)

    assert ward.said == []
    assert "$events" not in ehr.asked


def test_a_gap_survives_the_process_that_saw_it_and_one_of_two_processes_acts(ward: Ward, ehr: TopicEhr) -> None:
    ehr.happens(dose(1))
    ward.takes(ehr.happens(dose(2)))
    ward.now += GRACE
    others = [ward.another_process(), ward.another_process()]
    threads = [threading.Thread(target=one.follow) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ward.known() == {"d1", "d2"}
    assert ward.said == [("error", "gap"), ("warning", "gap")]


def test_what_the_server_has_purged_is_found_by_what_changed(ward: Ward, ehr: TopicEhr) -> None:
    give(ehr, 1, 2)
    ehr.first_kept = 2
    ehr.happens(dose(1))
    ward.takes(ehr.happens(dose(2)))
    ward.later(seconds=GRACE.total_seconds() + 1)

    assert ward.known() == {"d1", "d2"}
    assert ward.said == [("error", "gap"), ("warning", "gap")]


def test_a_server_without_the_operations_is_polled_at_once_where_it_is_polled(tmp_path: Path, ehr: TopicEhr) -> None:
    ehr.offers = set()
    ward = Ward(tmp_path, ehr, poll=True)
    ward.subscribe()
    begun = ward.store.sweeps.begin(
        "ehr", "MedicationAdministration", owner="x", interval=timedelta(minutes=5), lease=timedelta(minutes=5)
    )
    assert begun is not None
    ward.store.sweeps.finish(begun, ward.now)
    ehr.happens(dose(1))
    ward.takes(ehr.happens(dose(2)))
    ward.later(seconds=GRACE.total_seconds() + 1)
    assert ward.said == [("error", "gap")]

    hurried = ward.store.sweeps.begin(
        "ehr", "MedicationAdministration", owner="x", interval=timedelta(minutes=5), lease=timedelta(minutes=5)
    )
    assert hurried is not None
    ward.now += timedelta(seconds=5)
    ward.store.sweeps.finish(hurried, ward.now)
    ward.later(seconds=20)
    assert ward.said == [("error", "gap"), ("warning", "gap")]
    ward.close()


def test_events_that_were_not_named_are_asked_for(ward: Ward, ehr: TopicEhr) -> None:
    ward.takes(ehr.happens(dose(1), named=False))
    ward.takes(ehr.happens(dose(2), named=False))
    assert ward.known() == set()

    ward.later(seconds=1)

    assert ward.known() == {"d1", "d2"}
    assert (ward.row.unnamed, ward.said) == (None, [])


def test_silence_beyond_the_heartbeat_is_alarmed_once_and_what_was_lost_is_found(ward: Ward, ehr: TopicEhr) -> None:
    ward.later(seconds=1)
    assert ward.row.heartbeat == timedelta(minutes=1)
    ward.takes(ehr.says("heartbeat"))
    ehr.happens(dose(1))
    ward.later(seconds=100)
    assert ward.said == []
    ward.later(seconds=30)
    assert ward.said == [("error", "silent")]

    ward.later(seconds=GRACE.total_seconds() + 1)
    assert ward.known() == {"d1"}
    assert ward.said == [("error", "silent"), ("error", "gap"), ("warning", "gap")]

    ward.takes(ehr.says("heartbeat"))
    ward.later(seconds=20)
    assert ward.said[3:] == [("warning", "silent")]


@pytest.mark.parametrize("status", ["error", "off"])
def test_one_of_ours_that_was_switched_off_is_activated_again(ward: Ward, ehr: TopicEhr, status: str) -> None:
    ward.later(minutes=5)
    ehr.subscriptions["s1"]["status"] = status
    ward.later(minutes=5)

    assert ("error", status) in ward.said
    assert ehr.subscriptions["s1"]["status"] == "active"
    assert "Authorization: Bearer s3cr3t" in str(ehr.subscriptions["s1"]["channel"]["header"])
    assert [(one.action, one.outcome) for _, one in ward.store.audit.newest(1)] == [("U", "done")]
    ward.later(minutes=5)
    assert ("warning", status) in ward.said


def test_it_is_activated_again_some_times_and_then_left_to_people(ward: Ward, ehr: TopicEhr) -> None:
    tries = []
    for _ in range(200):
        ehr.subscriptions["s1"]["status"] = "off"
        ward.later(minutes=5)
        tries.append(ehr.subscriptions["s1"]["status"] == "active")

    assert sum(tries) == len(ACTIVATIONS)
    assert ward.said.count(("error", "off")) == 1
    ward.subscribe()
    ward.later(minutes=5)
    assert ehr.subscriptions["s1"]["status"] == "active"
    assert ward.said.count(("warning", "off")) == 1


def test_where_the_server_activates_none_ours_is_written_as_active(tmp_path: Path, ehr: TopicEhr) -> None:
    ehr.activates = False
    ward = Ward(tmp_path, ehr, product='ehr = "medplum"')
    ward.subscribe()
    assert ehr.subscriptions["s1"]["status"] == "active"
    ehr.subscriptions["s1"]["status"] = "requested"
    assert [planned.step for planned in ward.subscriber().plan()] == ["update", "keep"]
    ward.later(minutes=5)
    ward.later(minutes=5)

    assert ("error", "requested") in ward.said
    assert ehr.subscriptions["s1"]["status"] == "active"
    ward.close()


def test_one_that_ended_is_asked_for_without_an_end(ward: Ward, ehr: TopicEhr) -> None:
    ehr.subscriptions["s1"]["end"] = (ward.now + timedelta(minutes=1)).isoformat()
    ward.later(minutes=5)

    assert ("error", "expired") in ward.said
    assert "end" not in ehr.subscriptions["s1"]


def test_one_that_a_person_deleted_is_alarmed_and_not_made_again(ward: Ward, ehr: TopicEhr) -> None:
    ward.later(minutes=5)
    ehr.subscriptions.clear()
    ward.later(minutes=5)
    ward.later(minutes=5)

    assert ward.said.count(("error", "missing")) == 1
    assert ehr.subscriptions == {}
    ward.subscribe()
    ward.later(minutes=5)
    assert ward.said.count(("warning", "missing")) == 1
    assert len(ward.store.subscriptions.of("ehr")) == 1


def test_one_that_was_never_made_is_missing_until_it_is_made(tmp_path: Path, ehr: TopicEhr) -> None:
    ward = Ward(tmp_path, ehr)
    ward.later(minutes=5)
    assert ward.said == [("error", "missing")]

    ward.subscribe()
    ward.later(seconds=5)
    assert ("warning", "missing") in ward.said
    assert ward.row.id == "s1"
    ward.close()


def test_a_subscription_of_somebody_else_is_looked_at_and_never_written_to(ward: Ward, ehr: TopicEhr) -> None:
    other = {"resourceType": "Subscription", "id": "other", "status": "off", "reason": "x"}
    ehr.subscriptions["other"] = dict(other)
    ward.takes(ehr.says("heartbeat", "other"))
    ward.later(minutes=5)

    assert ("error", "off") in ward.said
    assert ehr.subscriptions["other"] == other


def test_what_was_not_named_is_found_by_what_changed_though_its_subscription_cannot_be_seen(
    ward: Ward, ehr: TopicEhr
) -> None:
    give(ehr, 1)
    ward.takes(ehr.happens(dose(1), "hidden", named=False))
    ward.later(minutes=6)

    assert ward.known() == {"d1"}
    assert ward.said[:2] == [("error", "gap"), ("warning", "gap")]
    ward.later(minutes=6)
    assert ward.row.id == "s1"


def test_nothing_is_done_while_the_target_is_paused(ward: Ward, ehr: TopicEhr) -> None:
    ward.store.pauses.pause("ehr")
    ehr.subscriptions["s1"]["status"] = "off"
    ward.later(minutes=10)

    assert ward.said == []
    assert ehr.subscriptions["s1"]["status"] == "off"
