"""Builds what works on what was received, once, from the settings: the workers, their store and their EHR clients."""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from importlib.metadata import version
from types import TracebackType
from typing import Self

from afterdose import memory
from afterdose.bootstrap import Clock, utc_now
from afterdose.clinics import clinic_for
from afterdose.connections import connect, ladders
from afterdose.content.content import load_content
from afterdose.core.errors import BadSettings
from afterdose.ehr.ladder import check_pins, site_tells
from afterdose.fhir.encode.rungs import Artifact
from afterdose.pollers import poller
from afterdose.rulebook import rules_in_force
from afterdose.senders import local_codes
from afterdose.settings import Settings, SourceSettings, TargetSettings
from afterdose.store.store import open_store
from afterdose.subscribers import follower
from afterdose.work.deciding import Decider
from afterdose.work.persist import persist
from afterdose.work.reconcile import Reconciler
from afterdose.work.snapshot.gather import Gatherer
from afterdose.work.snapshot.identity import Identities
from afterdose.work.snapshot.surroundings import Surroundings
from afterdose.work.source import Source
from afterdose.work.sources.cohort import CohortSweeper
from afterdose.work.sources.follow import Follower
from afterdose.work.sources.sweep import Sweeper
from afterdose.work.starting import follow_rules, go_live
from afterdose.work.target import Target
from afterdose.work.watch import Watch
from afterdose.work.worker import Worker

SOFTWARE = "afterdose"


def software_version() -> str:
    """The version of the installed distribution."""
    return version("afterdose")


class Workshop:
    """The workers of one process, with their store and their EHR clients."""

    def __init__(self, settings: Settings, *, clock: Clock = utc_now) -> None:
        self.settings = settings
        self.content = load_content(settings.site_overlay)
        self.store = open_store(settings.database, clock=clock)
        self._clock = clock
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._connections = connect(settings, clock, ladders(settings, self.content))
        for name, connection in self._connections.targets.items():
            connection.line.on_return = partial(self.store.agenda.hasten, name)
        self.reconciler = self._reconciler()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the settings' number of workers, and beside them a rehearsal of their work and what watches it.

        Raises BadSettings where patients are followed of whom the settings do not name the source or the target.
        """
        self._check_origins()
        live = [target.name for target in self.settings.targets.values() if target.mode == "live"]
        go_live(self.store, live, self._clock())
        for name, fingerprint in rules_in_force(self.settings).items():
            follow_rules(self.store, name, fingerprint, self._clock())
        self._begin(Watch(store=self.store, clock=self._clock, stop=self._stop).run, "afterdose-watch")
        self._begin(self._rehearse, "afterdose-rehearsal")
        for number in range(self.settings.work.threads):
            worker = self.worker(f"{software_version()}-{number}")
            self._begin(worker.run, f"afterdose-worker-{number}")
        for source in self.settings.sources.values():
            if source.poll is not None:
                self._begin(self.sweeper(source.name).run, f"afterdose-sweep-{source.name}")
            if source.readable:
                self._begin(self.follower(source.name).run, f"afterdose-follow-{source.name}")

    def _check_origins(self) -> None:
        """Without its source a dose cannot be understood, and whoever has one would be given up."""
        sources, targets = self.store.facts.origins()
        said = [(f"sources.{one}", "readable = false") for one in sources if one not in self.settings.sources]
        said += [(f"targets.{one}", 'mode = "shadow"') for one in targets if one not in self.settings.targets]
        if said:
            lines = (f"{key}: expected, for doses that are known; where it is out of use: {use}" for key, use in said)
            raise BadSettings("\n".join(lines))

    def _rehearse(self) -> None:
        self.reconciler.rehearse()
        memory.settle()

    def _begin(self, work: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=persist, args=(work, self._stop), name=name)
        thread.start()
        self._threads.append(thread)

    def worker(self, name: str) -> Worker:
        """One worker, not started."""
        work = self.settings.work
        return Worker(
            name,
            store=self.store,
            reconciler=self.reconciler,
            clock=self._clock,
            lease=work.lease,
            poll_interval=work.poll_interval,
            retry_for=work.retry_for,
            retry_cap=work.retry_cap,
            stop=self._stop,
            shut=self.shut,
        )

    def sweeper(self, name: str) -> Sweeper | CohortSweeper:
        """What polls a source for which the settings say so, not started."""
        source, connection = self.settings.sources[name], self._connections.sources[name]
        if connection is None:
            raise BadSettings(f"sources.{name}.poll: expected a source that can be read")
        return poller(source, connection.client, self.content, store=self.store, clock=self._clock, stop=self._stop)

    def follower(self, name: str) -> Follower:
        """What follows the Subscriptions of a source that can be read, not started."""
        connection = self._connections.sources[name]
        if connection is None:
            raise BadSettings(f"sources.{name}.readable: expected true")
        source, given = self.settings.sources[name], (self.settings, self.content, connection.client)
        return follower(source, *given, store=self.store, clock=self._clock, stop=self._stop)

    def shut(self) -> Mapping[str, datetime]:
        """The targets that are left alone, and until when."""
        lines = {name: connection.line.shut_until() for name, connection in self._connections.targets.items()}
        return {name: until for name, until in lines.items() if until is not None}

    def stop(self) -> None:
        """Claim nothing more; returns when every worker has finished the patient in hand."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def close(self) -> None:
        """Stop, then close every connection."""
        self.stop()
        self._connections.close()
        self.store.close()

    def _reconciler(self) -> Reconciler:
        settings, content = self.settings, self.content
        sources = {name: self._source(source) for name, source in settings.sources.items()}
        surroundings = Surroundings(
            codes=content.codes,
            protocols=content.protocols,
            clinic_for=clinic_for(settings, content),
            clock=self._clock,
        )
        gatherer = Gatherer(store=self.store, sources=sources, surroundings=surroundings)
        return Reconciler(
            store=self.store,
            content=content,
            targets={name: self._target(target) for name, target in settings.targets.items()},
            identities=Identities(store=self.store, sources=tuple(sources.values()), clock=self._clock),
            gatherer=gatherer,
            decider=Decider(store=self.store, content=content, gatherer=gatherer, clinic_for=surroundings.clinic_for),
            dose_bases={name: _dose_bases(settings, target) for name, target in settings.targets.items()},
            clock=self._clock,
            software=SOFTWARE,
            release=software_version(),
        )

    def _source(self, source: SourceSettings) -> Source:
        connection = self._connections.sources[source.name]
        return Source(
            name=source.name,
            target=source.target,
            base_url=source.base_url,
            zone=source.zone,
            client=connection.client if connection else None,
            local_codes=local_codes(source, self.settings.site_overlay),
        )

    def _target(self, target: TargetSettings) -> Target:
        pins = {Artifact(artifact): rung for artifact, rung in target.rungs.items()}
        facts, clinic = self.content.ehr(target.ehr), self.content.clinic(target.clinic)
        try:
            check_pins(pins, facts, site_tells(clinic, target.sender))
        except BadSettings as error:
            raise BadSettings(f"targets.{target.name}.{error}") from None
        return Target(
            name=target.name,
            base_url=target.base_url,
            client=self._connections.targets[target.name].client,
            clinic=clinic,
            shadow=target.mode == "shadow",
            accept_auto=target.accept == "auto",
            name_drug=not target.hide_drug,
            facts=facts,
            pins=pins,
            sender=target.sender,
        )


def _dose_bases(settings: Settings, target: TargetSettings) -> Mapping[str, str]:
    """Source -> what stands before a reference to one of its doses, seen from the target."""
    return {
        source.name: "" if source.base_url == target.base_url else source.base_url
        for source in settings.sources.values()
        if source.target == target.name
    }
