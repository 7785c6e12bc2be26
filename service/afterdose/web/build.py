"""Builds the application of one server process from the settings alone: its store, its metrics, its checks."""

from collections.abc import Mapping
from datetime import UTC, datetime

from flask import Flask
from prometheus_client import CollectorRegistry

from afterdose.settings import Settings
from afterdose.store.store import Store, open_store
from afterdose.web import metrics
from afterdose.web.app import create_app
from afterdose.web.services import WebServices


def wsgi_app(settings: Settings) -> Flask:
    """The application over the database of ``settings``. Call it in the process that serves, after any fork.

    Raises StoreUnusable where the database has not been migrated, StoreBusy where its server does not answer.
    """
    store = open_store(settings.database, clock=_now)
    shared = metrics.directory(settings.data_dir)
    metrics.share_counters(shared)
    return create_app(
        WebServices(
            settings=settings,
            submit=store.committer.submit,
            quarantine=store.quarantine,
            clock=_now,
            checks={"database": store.check_schema},
            metrics=metrics.WebMetrics(CollectorRegistry(), lambda: _gauges(store), shared=shared),
        )
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _gauges(store: Store) -> Mapping[str, float]:
    now = _now()
    oldest = store.agenda.oldest_due(now)
    return {
        "afterdose_agenda_due": store.agenda.due_count(now),
        "afterdose_agenda_oldest_due_seconds": (now - oldest).total_seconds() if oldest else 0,
        "afterdose_agenda_parked": len(store.agenda.parked()),
        "afterdose_quarantine_bodies": store.quarantine.counts()[0],
    }
