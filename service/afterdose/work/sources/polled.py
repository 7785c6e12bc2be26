"""A source that is polled, and the door through which what a poll finds comes in: the same as for what is sent.

Deletions are not found by any search, and some corrections neither: so an administration whose window is still open is
read by its id.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from afterdose.core.errors import BadInput, EhrError, EhrGone, EhrRefused, EhrUnavailable
from afterdose.ehr.answers import Resource
from afterdose.ehr.client import EhrClient
from afterdose.fhir import strict_json
from afterdose.fhir.decode.administration import TYPE as ADMINISTRATION
from afterdose.fhir.decode.administration import envelope
from afterdose.fhir.v2.translate import is_translated
from afterdose.logs import get_logger
from afterdose.store.rows import Arrival
from afterdose.store.store import Store
from afterdose.work.intake.bodies import receive
from afterdose.work.intake.reception import Origin, deletion
from afterdose.work.snapshot.patients import is_finding

_GONE = 410
_MOST_REFUSED = 10_000

_log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """A source that is polled: how to ask it, what for, how often, and from when on."""

    origin: Origin
    client: EhrClient
    types: frozenset[str]
    interval: timedelta
    overlap: timedelta
    look_back: timedelta
    identifier_system: str
    """By which what we have written is told from what others have."""


class Trouble:
    """Says once that a source cannot be polled, and why, and once that it is polled again."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._codes: dict[str, str] = {}

    def begins(self, what: str, error: EhrError) -> None:
        """``what``: the resource type, or another part of the poll, that could not be had."""
        if what not in self._codes:
            self._codes[what] = code = error.code or type(error).__name__
            told = {"source": self._source, "resource_type": what, "status": error.status, "code": code}
            _log.error("a source could not be polled", alarm="poll", **told)

    def ends(self, what: str) -> None:
        """It was had."""
        code = self._codes.pop(what, None)
        if code is not None:
            told = {"source": self._source, "resource_type": what, "code": code}
            _log.warning("a source is polled again", alarm="poll", **told)


class Finds:
    """What polls of one source found, on its way into the store."""

    def __init__(self, polled: Polled, *, store: Store, clock: Callable[[], datetime]) -> None:
        self._origin = polled.origin
        self._client = polled.client
        self._store = store
        self._clock = clock
        self._refused: set[bytes] = set()

    def take(self, found: Iterable[Resource], type_: str, *, refused_before: datetime | None) -> None:
        """Store what is new. What is refused is quarantined once: not what had changed by ``refused_before``."""
        arrivals: list[Arrival] = []
        for resource in found:
            body = strict_json.dumps(resource)
            try:
                (arrival,) = receive(body, self._origin, via="poll", expected_type=type_).arrivals
            except BadInput as bad:
                changed = envelope(resource).last_updated
                if (refused_before is None or changed is None or changed > refused_before) and self._is_new(body):
                    source = self._origin.source
                    self._store.quarantine.keep(source, self._clock(), None, body, bad.problems)
                    _log.error("a polled resource was refused", alarm="quarantine", source=source, resource_type=type_)
                continue
            if not self._is_known(arrival):
                arrivals.append(arrival)
        if arrivals:
            self._store.committer.submit(arrivals)

    def read_again(self, id_: str, *, refused_before: datetime | None) -> None:
        """Read an administration that is still worth correcting; one that cannot be read keeps no other waiting.

        Raises EhrUnavailable.
        """
        if is_translated(id_):
            return
        try:
            found = self._client.read(ADMINISTRATION, id_)
        except EhrGone as gone:
            self._take_absence(id_, sure=gone.status == _GONE)
        except EhrUnavailable:
            raise
        except EhrRefused as refused:
            told = {"source": self._origin.source, "resource_type": ADMINISTRATION, "status": refused.status}
            _log.warning("a tracked dose could not be read", code=refused.code, **told)
        else:
            self.take([found.resource], ADMINISTRATION, refused_before=refused_before)

    def _is_new(self, body: bytes) -> bool:
        """Whether this process has not refused these bytes before: not every EHR says when a resource was changed."""
        digest = sha256(body).digest()
        if digest in self._refused:
            return False
        if len(self._refused) >= _MOST_REFUSED:
            self._refused.clear()
        self._refused.add(digest)
        return True

    def _is_known(self, arrival: Arrival) -> bool:
        """Whether this version is the newest that is known, in whatever bytes it came."""
        latest = self._store.facts.latest(arrival.source, arrival.resource_id, arrival.resource_type)
        return (
            latest is not None
            and latest.interaction == arrival.interaction != "delete"
            and latest.version is not None
            and (latest.version, latest.last_updated) == (arrival.version, arrival.last_updated)
        )

    def _take_absence(self, id_: str, *, sure: bool) -> None:
        """A dose is not there: deleted, unless it came to us whole from elsewhere and was never there."""
        versions = self._store.facts.versions(self._origin.source, id_)
        known = [fact for fact in versions if not is_finding(fact)]
        was_there = any(fact.via != "push" or fact.interaction == "delete" for fact in known)
        if known and known[-1].interaction == "upsert" and (sure or was_there):
            self._store.committer.submit([deletion(self._origin, ADMINISTRATION, id_, via="poll")])
