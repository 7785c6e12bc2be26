"""Counters of the web part, and the gauges that the database holds, in Prometheus' text format.

There are several server processes. Counters and histograms go into files in a directory that all processes share
(prometheus-client's multiprocess mode) and are added up when one process is asked. Gauges are not kept by any process:
they are read from the database at that moment.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from afterdose.store.subscriptions import SubscriptionRow

GAUGES = {
    "afterdose_agenda_due": "Patients whose care is to be looked at now.",
    "afterdose_agenda_oldest_due_seconds": "How long the one that has waited longest is due.",
    "afterdose_agenda_parked": "Patients given up until something arrives or a person replays them.",
    "afterdose_agenda_escalated": "Patients whose plan is not in the EHR 20 hours after the dose, or later.",
    "afterdose_targets_paused": "Targets that people have paused.",
    "afterdose_quarantine_bodies": "Refused requests that are kept for a person.",
}
"""The gauges that may be read from the database, by name."""

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
_add_files: Callable[[CollectorRegistry, str], object] = MultiProcessCollector


def share_counters(shared: Path) -> None:
    """Let the processes that are started from now on add up their counters, which begin at zero.

    prometheus-client looks for the directory when it is imported, so this process, which has imported it, is none of
    them.
    """
    shutil.rmtree(shared, ignore_errors=True)
    shared.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shared.mkdir(mode=0o700)
    os.environ[_DIRECTORY] = str(shared)


class WebMetrics:
    """What is counted at the door. ``gauges``, ``polled`` (by source) and ``subscriptions`` are called
    once a scrape."""

    def __init__(
        self,
        registry: CollectorRegistry,
        gauges: Callable[[], Mapping[str, float]],
        polled: Callable[[], Mapping[str, datetime | None]] = dict,
        subscriptions: Callable[[], Iterable[SubscriptionRow]] = tuple,
    ) -> None:
        self._registry = registry
        self._gauges = gauges
        self._polled = polled
        self._subscriptions = subscriptions
        self.events = Counter(
            "afterdose_events", "Events stored.", ("source", "interaction", "repeated"), registry=registry
        )
        self.refused = Counter(
            "afterdose_refused",
            "Requests and Bundle entries of known senders refused.",
            ("source", "code"),
            registry=registry,
        )
        self.unauthenticated = Counter(
            "afterdose_unauthenticated", "Requests without a right secret.", registry=registry
        )
        self.unquarantined = Counter(
            "afterdose_unquarantined", "Refused requests that could not be kept either.", ("source",), registry=registry
        )
        self.answers = Counter("afterdose_http_answers", "Answers by status.", ("status",), registry=registry)
        self.stored_seconds = Histogram(
            "afterdose_stored_seconds",
            "From the headers of a request until its events were on disk.",
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
            registry=registry,
        )

    def exposition(self) -> bytes:
        """Everything, for all processes of this server."""
        scraped = CollectorRegistry()
        shared = os.environ.get(_DIRECTORY)
        if shared:
            _add_files(scraped, shared)
        else:
            scraped.register(_Passing(self._registry))
        scraped.register(_Gauges(self._gauges, self._polled, self._subscriptions))
        return generate_latest(scraped)


class _Passing(Collector):
    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        return self._registry.collect()


class _Gauges(Collector):
    def __init__(
        self,
        read: Callable[[], Mapping[str, float]],
        polled: Callable[[], Mapping[str, datetime | None]],
        subscriptions: Callable[[], Iterable[SubscriptionRow]],
    ) -> None:
        self._read = read
        self._polled = polled
        self._subscriptions = subscriptions

    def collect(self) -> Iterable[Metric]:
        for name, value in self._read().items():
            yield GaugeMetricFamily(name, GAUGES[name], value=value)
        polled = GaugeMetricFamily(
            "afterdose_source_polled_timestamp_seconds",
            "When the newest poll of a source ended that succeeded, in Unix time; 0 where none has.",
            labels=("source",),
        )
        for source, since in self._polled().items():
            polled.add_metric((source,), since.timestamp() if since else 0.0)
        yield polled
        troubled = GaugeMetricFamily(
            "afterdose_subscriptions_troubled",
            "Subscriptions of a source that are switched off, missing or silent, or of which events are missing.",
            labels=("source",),
        )
        counts: dict[str, int] = {}
        for row in self._subscriptions():
            counts[row.source] = counts.get(row.source, 0) + bool(row.troubles)
        for source, count in counts.items():
            troubled.add_metric((source,), count)
        yield troubled
