"""What the sandbox holds: every version of every resource, in memory (R4 http.html#versions, #history, #delete)."""

from __future__ import annotations

import copy
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from afterdose.sandbox.outcome import Json, Refusal

Clock = Callable[[], datetime]


def instant(moment: datetime) -> str:
    """A FHIR instant in UTC with milliseconds (R4 datatypes.html#instant)."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Version:
    """One write. `resource` is None where the write was a deletion."""

    type: str
    id: str
    number: int
    updated: datetime
    created: datetime
    resource: Json | None

    @property
    def deleted(self) -> bool:
        """Whether this write took the resource away."""
        return self.resource is None

    def copy(self) -> Json:
        """The resource, for the caller to keep and change."""
        if self.resource is None:
            raise Refusal(410, "deleted", f"{self.type}/{self.id} was deleted in version {self.number}")
        return copy.deepcopy(self.resource)


class Store:
    """Chains of versions behind one lock; what a transaction wrote is announced when it commits, or is undone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._chains: dict[tuple[str, str], list[Version]] = {}
        self._history: list[Version] = []
        self._open_since: int | None = None
        self._listeners: list[Callable[[Version], None]] = []

    def listen(self, listener: Callable[[Version], None]) -> None:
        """Call `listener` for each committed write, in order. It runs under the lock and must not block."""
        self._listeners.append(listener)

    def now(self) -> datetime:
        """The server's clock, cut to the milliseconds that a FHIR instant shows."""
        moment = self._clock().astimezone(UTC)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen, or none. Transactions inside a transaction belong to the outer one."""
        with self._lock:
            if self._open_since is not None:
                yield
                return
            self._open_since = start = len(self._history)
            try:
                yield
            except BaseException:
                self._undo(start)
                raise
            finally:
                self._open_since = None
            for version in self._history[start:]:
                for listener in self._listeners:
                    listener(version)

    def _undo(self, start: int) -> None:
        for version in reversed(self._history[start:]):
            chain = self._chains[version.type, version.id]
            chain.pop()
            if not chain:
                del self._chains[version.type, version.id]
        del self._history[start:]

    def write(self, type_: str, id_: str | None, resource: Json | None, *, version_ids: bool = True) -> Version:
        """Append a version (None deletes); the server owns id, meta.versionId and meta.lastUpdated."""
        with self.transaction():
            id_ = id_ or str(uuid.uuid4())
            chain = self._chains.setdefault((type_, id_), [])
            number, now = len(chain) + 1, self.now()
            stored = None
            if resource is not None:
                stored = {"resourceType": type_, "id": id_, **copy.deepcopy(resource)}
                stored["id"] = id_
                stored["meta"] = {**stored.get("meta", {}), "versionId": str(number), "lastUpdated": instant(now)}
                if not version_ids:
                    del stored["meta"]["versionId"]
            version = Version(type_, id_, number, now, chain[0].created if chain else now, stored)
            chain.append(version)
            self._history.append(version)
            return version

    def latest(self, type_: str, id_: str) -> Version | None:
        """The newest version, which may be a deletion; None where the id was never used."""
        with self._lock:
            chain = self._chains.get((type_, id_))
            return chain[-1] if chain else None

    def version(self, type_: str, id_: str, number: str) -> Version | None:
        """One version by its number."""
        with self._lock:
            chain = self._chains.get((type_, id_), [])
            return next((version for version in chain if str(version.number) == number), None)

    def living(self, type_: str) -> list[Version]:
        """The newest version of every resource of a type that is not deleted, oldest resource first."""
        with self._lock:
            return [c[-1] for (kind, _), c in self._chains.items() if kind == type_ and not c[-1].deleted]

    def types(self) -> list[str]:
        """The types of which something is stored."""
        with self._lock:
            return sorted({kind for kind, _ in self._chains})

    def history(self, type_: str | None = None, id_: str | None = None) -> list[Version]:
        """Every committed write, oldest first."""
        with self._lock:
            return [v for v in self._history if type_ in (None, v.type) and id_ in (None, v.id)]
