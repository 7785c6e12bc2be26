"""The store as the rest of the program sees it: one object that opens and closes everything."""

from collections.abc import Callable
from datetime import datetime

from afterdose.store.agenda import Agenda
from afterdose.store.audit import Audit
from afterdose.store.backfills import Backfills
from afterdose.store.cohorts import Cohorts
from afterdose.store.committer import Committer
from afterdose.store.custody import Custody
from afterdose.store.deliveries import Deliveries
from afterdose.store.engine import Database
from afterdose.store.facts import Facts
from afterdose.store.ledger import Ledger
from afterdose.store.outcomes import Outcomes
from afterdose.store.pauses import Pauses
from afterdose.store.persons import Persons
from afterdose.store.quarantine import Quarantine
from afterdose.store.readings import Readings
from afterdose.store.reviews import Reviews
from afterdose.store.rulebooks import Rulebooks
from afterdose.store.sqlite import beside
from afterdose.store.subscriptions import Subscriptions
from afterdose.store.sweeps import Sweeps
from afterdose.store.unread import UnreadNames
from afterdose.store.vanished import Vanished
from afterdose.store.wake import NotifyWake, PipeWake, Wake


class Store:
    """Everything durable. Threads share one store; each process opens its own, after any fork."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._wake: Wake = (
            PipeWake(beside(database.path, "wake"))
            if database.path is not None
            else NotifyWake(database.connect_postgres)
        )
        self.committer = Committer(database, self._wake, clock)
        self.facts = Facts(database, clock)
        self.agenda = Agenda(database, self._wake, clock)
        self.ledger = Ledger(database, clock)
        self.persons = Persons(database, self._wake, clock)
        self.custody = Custody(database, self._wake, clock)
        self.outcomes = Outcomes(database, clock)
        self.reviews = Reviews(database, clock)
        self.readings = Readings(database)
        self.audit = Audit(database, clock)
        self.pauses = Pauses(database, self._wake, clock)
        self.rulebooks = Rulebooks(database, clock)
        self.vanished = Vanished(self.pauses, clock)
        self.quarantine = Quarantine(database)
        self.deliveries = Deliveries(database, clock)
        self.sweeps = Sweeps(database, clock)
        self.cohorts = Cohorts(database, clock)
        self.backfills = Backfills(database, clock)
        self.subscriptions = Subscriptions(database, clock)
        self.unread = UnreadNames(database, clock)

    def check_schema(self) -> None:
        """Raise StoreUnusable, naming `afterdose migrate`, where the schema is not the one this program knows."""
        self._database.check_schema()

    def check_ready(self) -> None:
        """Raise StoreBusy or StoreUnusable where nothing can be stored now, whatever the reason."""
        self._database.check_writable()
        self._database.check_schema()

    def close(self) -> None:
        """Write what senders wait for, then close every connection."""
        self.committer.close()
        self._wake.close()
        self._database.close()


def open_store(url: str, *, clock: Callable[[], datetime]) -> Store:
    """Open the database at an SQLAlchemy URL (``sqlite:////var/lib/afterdose/afterdose.db``, ``postgresql://...``).

    ``clock`` answers the present as an aware datetime; every due time, lease and timestamp comes from it. Raises
    StoreUnusable where the schema is not the one of this program, StoreBusy where the server does not answer.
    """
    database = Database(url)
    try:
        database.check_schema()
    except BaseException:
        database.close()
        raise
    return Store(database, clock)
