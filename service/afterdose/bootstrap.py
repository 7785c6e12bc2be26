"""Builds what receives, once, from the settings: the WSGI application and what takes HL7 v2 messages.

What works on it is built in ``workshop``, which the processes that only receive need not load.
"""

import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from flask import Flask
from prometheus_client import CollectorRegistry

from afterdose import affinity, logs, memory
from afterdose.connections import published_keys
from afterdose.content.v2 import read_v2
from afterdose.core.errors import AfterdoseError
from afterdose.fhir.v2.translate import Facility
from afterdose.senders import sender_keys
from afterdose.settings import Settings, SourceSettings, load_settings
from afterdose.store.store import Store, open_store
from afterdose.subscribers import hearing
from afterdose.web.app import create_app
from afterdose.web.metrics import WebMetrics
from afterdose.web.port import follow_parent
from afterdose.web.services import WebServices
from afterdose.work.intake.messages import Desk, Messages
from afterdose.work.intake.reception import Origin

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The present. The only clock of the program; everything else is told what time it is."""
    return datetime.now(UTC)


def wsgi() -> Flask:
    """The WSGI application of one server process, with the settings that the environment names.

    Where that cannot be, one line says why, and the process ends.
    """
    logs.configure("info", "json")  # for what is wrong with the settings
    try:
        settings = load_settings(None, os.environ)
        logs.configure(settings.log.level, settings.log.format)
        if settings.web.one_cpu_each:
            affinity.keep_to_one_cpu(settings.data_dir / "cpus")
        follow_parent(settings.web.stop_timeout)
        app = web_app(settings, open_store(settings.database, clock=utc_now))
    except (AfterdoseError, OSError) as error:
        logs.get_logger().error("a server process cannot start", reason=str(error))
        sys.exit(1)
    memory.settle()
    return app


def web_app(settings: Settings, store: Store, *, clock: Clock = utc_now) -> Flask:
    """The WSGI application over an open store."""

    def keys() -> list[dict[str, object]]:
        return published_keys(settings, clock())

    heard = hearing(settings, store)
    return create_app(
        WebServices(
            settings=settings,
            submit=store.committer.submit,
            hurry=store.sweeps.hurry,
            hear=heard.hear,
            counts=heard.counts,
            keep_unread=store.unread.keep,
            quarantine=store.quarantine,
            deliveries=store.deliveries,
            sender_keys=sender_keys(settings),
            messages=message_desk(settings, store, clock=clock),
            clock=clock,
            checks={"database": _checked(store.check_ready), "keys": _checked(keys)},
            published_keys=keys,
            paused=lambda: list(store.pauses.all()),
            polled=lambda: _polled(settings, store),
            subscriptions=store.subscriptions.all,
            metrics=WebMetrics(
                CollectorRegistry(),
                gauges=lambda: _gauges(store, clock()),
                polled=lambda: _polled(settings, store),
                subscriptions=store.subscriptions.all,
            ),
        )
    )


def message_desk(settings: Settings, store: Store, *, clock: Clock) -> Messages:
    """What takes HL7 v2 messages, over an open store."""
    return Messages(
        mapping=read_v2(settings.site_overlay),
        desks={name: _desk(source) for name, source in settings.sources.items()},
        submit=store.committer.submit,
        versions=store.facts.versions,
        quarantine=store.quarantine,
        clock=clock,
    )


def _desk(source: SourceSettings) -> Desk:
    return Desk(
        origin=Origin(source.name, source.target, source.base_url),
        facility=Facility(zone=source.zone, patient_system=source.patient_identifier_system),
        ignored=source.ignored_messages,
    )


def _checked(check: Callable[[], object]) -> Callable[[], str | None]:
    def checked() -> str | None:
        check()
        return None

    return checked


def _gauges(store: Store, now: datetime) -> Mapping[str, float]:
    oldest = store.agenda.oldest_due(now)
    return {
        "afterdose_agenda_due": store.agenda.due_count(now),
        "afterdose_agenda_oldest_due_seconds": (now - oldest).total_seconds() if oldest else 0.0,
        "afterdose_agenda_parked": len(store.agenda.parked()),
        "afterdose_agenda_escalated": store.agenda.escalated_count(),
        "afterdose_targets_paused": len(store.pauses.all()),
        "afterdose_quarantine_bodies": store.quarantine.counts()[0],
    }


def _polled(settings: Settings, store: Store) -> Mapping[str, datetime | None]:
    """Since when everything of each source that is polled is known."""
    known = store.sweeps.polled()
    return {name: known.get(name) for name, source in settings.sources.items() if source.poll is not None}
