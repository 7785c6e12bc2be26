"""The agenda under random orders of arriving, claiming, finishing, dying and waiting.

The model knows one thing: which patients have something that no finished look has seen. Such a patient must be due now,
or claimed; and no two live claims may ever be for one patient.
"""

import itertools
import tempfile
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from hypothesis.strategies import integers, sampled_from
from store_examples import LEASE, arrival

from afterdose.core.errors import LeaseLost
from afterdose.store.migrate import migrate
from afterdose.store.rows import Claim
from afterdose.store.store import open_store

PATIENTS = ("ann", "bob", "cyd")


class AgendaMachine(RuleBasedStateMachine):
    """Three patients, any number of workers."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        url = f"sqlite:///{self.folder.name}/data/afterdose.db"
        migrate(url)
        self.now = datetime(2026, 1, 5, tzinfo=UTC)
        self.store = open_store(url, clock=lambda: self.now)
        self.numbers = itertools.count()
        self.unseen: dict[str, set[int]] = {patient: set() for patient in PATIENTS}
        self.claims: list[tuple[Claim, datetime, set[int]]] = []

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(patient=sampled_from(PATIENTS))
    def arrive(self, patient: str) -> None:
        number = next(self.numbers)
        self.store.committer.submit([arrival(f"dose-{number}", patient)])
        self.unseen[patient].add(number)

    @rule()
    def claim(self) -> None:
        claimed = self.store.agenda.claim("worker", lease=LEASE, now=self.now)
        if claimed is not None:
            alive = [one for one, until, _ in self.claims if until > self.now]
            assert claimed.patient not in {one.patient for one in alive}
            self.claims.append((claimed, self.now + LEASE, set(self.unseen[claimed.patient])))

    @rule(which=integers(0, 5), hours=sampled_from([None, 0, 1]), how=sampled_from(["finish", "postpone", "park"]))
    def give_back(self, which: int, hours: int | None, how: str) -> None:
        if which >= len(self.claims):
            return
        claimed, _, seen = self.claims.pop(which)
        newest = all(one.fence < claimed.fence for one, _, _ in self.claims if one.patient == claimed.patient)
        row = self.store.agenda.find("main", claimed.patient)
        assert row is not None
        later = self.now + timedelta(hours=hours) if hours is not None else None
        try:
            if how == "finish":
                self.store.agenda.finish(claimed, later, "timer")
            elif how == "park":
                self.store.agenda.park(claimed, "failed")
            else:
                self.store.agenda.postpone(claimed, self.now, "busy")
        except LeaseLost:
            assert not newest or row.lease_owner is None
        else:
            assert newest
            if how != "postpone":
                self.unseen[claimed.patient] -= seen

    @rule(seconds=sampled_from([1, 30, 61, 3600]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @invariant()
    def what_no_look_has_seen_is_due(self) -> None:
        for patient, numbers in self.unseen.items():
            if numbers:
                row = self.store.agenda.find("main", patient)
                assert row is not None
                assert row.due_at is not None
                assert row.due_at <= self.now


def test_nothing_that_arrives_is_ever_overlooked() -> None:
    run_state_machine_as_test(
        AgendaMachine,
        settings=settings(
            max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
