"""Makes, changes, finds and removes our Subscriptions at one source: ours alone, known by their marks.

A mark is the same every time, so whoever subscribes twice changes what is there. All Subscriptions are looked through,
because few servers can search for marks, and those that we remember are read, because a search may lag behind.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, TypeVar
from uuid import UUID

from afterdose.core.errors import EhrError, EhrGone, EhrRefused
from afterdose.ehr.answers import Resource
from afterdose.fhir.subscription import (
    TYPE,
    differs,
    standing,
    written,
)
from afterdose.store.rows import AuditEntry
from afterdose.store.store import Store
from afterdose.work.sources.wish import Wish

ACTOR = "afterdose"
NONE_YET = "~"
"""What an id begins with (and none can) that stands for a Subscription which is wanted and was never there."""

_R5 = ("5.", "6.")
_PAGE = "100"

Step = Literal["create", "update", "keep", "remove"]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What is to be done about one Subscription. ``id``: of the one that is there; ``status``: as that one says it.

    ``resource``: what is to stand there; it holds secrets. ``mark`` is None where nothing is to stand there.
    """

    step: Step
    resource_type: str | None
    variant: str | None = None
    mark: UUID | None = None
    id: str | None = None
    status: str | None = None
    resource: Resource = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber(Wish):
    """Brings a source to what is wanted of it."""

    store: Store
    clock: Callable[[], datetime]

    def plan(self, *, anew: bool = False) -> list[Planned]:
        """What has to be done so that the wanted Subscriptions stand there, and no others of ours.

        ``anew``: what is in order is written all the same. Raises EhrError, BadSettings.
        """
        wanted, found = self.wanted(), self.found()
        steps: list[Planned] = []
        for one in wanted:
            there = sorted((id_ for id_, resource in found.items() if str(one.mark) in self.marks_of(resource)))
            made = written(one, self.facts, self.mark_system)
            known = Planned(step="create", resource_type=one.resource_type, variant=one.variant, mark=one.mark)
            steps.append(self._step(known, made, found[there[0]] if there else None, anew=anew))
            for id_ in there[:1]:
                del found[id_]
        return [*self.removal(found), *steps]

    def removal(self, found: dict[str, Resource] | None = None) -> list[Planned]:
        """The steps that remove ``found``; without it, everything of ours."""
        found = self.found() if found is None else found
        known = {row.id: row.resource_type for row in self.store.subscriptions.of(self.source)}
        by_mark = {str(mark): type_ for mark, type_ in self.possible_marks()}
        return [
            Planned(
                step="remove",
                resource_type=known.get(id_)
                or next((by_mark[one] for one in self.marks_of(it) if one in by_mark), None),
                id=id_,
                status=standing(it).status,
            )
            for id_, it in sorted(found.items())
        ]

    def do(self, planned: Planned) -> str | None:
        """Do one step, and audit it; the id of what stands there now. Raises EhrError, StoreError."""
        id_ = planned.id
        if planned.step == "remove":
            self._remove(str(id_))
            return None
        if planned.step == "create":
            id_ = self._audited("C", None, lambda: self.client.create(planned.resource).id)
        elif planned.step == "update":
            self.activate(str(id_), planned.resource)
        kept = self.store.subscriptions
        self.replaced(str(planned.mark), str(id_))
        known = {"mark": str(planned.mark), "resource_type": planned.resource_type}
        if planned.step == "keep":
            kept.keep(self.source, str(id_), **known)
        else:
            fresh = {"activations": 0, "activated_at": self.clock(), "numbering": None, "gap_at": None, "unnamed": None}
            kept.keep(self.source, str(id_), **known, **fresh)
        self.store.sweeps.look_now(self.source)
        return id_

    def replaced(self, mark: str, id_: str) -> None:
        """Let the Subscription ``id_`` be the one with a mark; what is wrong with another one was wrong with it."""
        kept = self.store.subscriptions
        for row in kept.of(self.source):
            if row.mark == mark and row.id != id_:
                kept.trouble(self.source, id_, row.troubles)
                kept.forget(self.source, row.id)

    def activate(self, id_: str, resource: Resource) -> None:
        """Write what is to stand there, with the status that asks the EHR to activate it. Raises EhrError."""

        def write() -> None:
            found = self.client.read(TYPE, id_)
            self.client.update(TYPE, id_, {**resource, "id": id_}, if_match=found.etag)

        self._audited("U", id_, write)

    def found(self) -> dict[str, Resource]:
        """What stands at the source and is ours for this source, by id."""
        found = self.listed()
        for row in self.store.subscriptions.of(self.source):
            if row.mark is not None and row.id not in found and not row.id.startswith(NONE_YET):
                try:
                    read = self.client.read(TYPE, row.id).resource
                except EhrGone:
                    continue
                if row.mark in self.marks_of(read):
                    found[row.id] = read
        return found

    def _step(self, planned: Planned, made: Resource, there: Resource | None, *, anew: bool) -> Planned:
        if there is None:
            return replace(planned, resource=made)
        status = standing(there).status
        stale = anew or status not in self.facts.good or differs(there, made)
        step: Step = "update" if stale else "keep"
        return replace(planned, step=step, id=str(there["id"]), status=status, resource=made)

    def _remove(self, id_: str) -> None:
        """Have one of ours deleted, or switched off where the EHR deletes none; one that is gone is no error."""
        try:
            self._audited("D", id_, lambda: self.client.delete(TYPE, id_))
        except EhrGone:
            pass
        except EhrRefused:
            self.activate(id_, {**self.client.read(TYPE, id_).resource, "status": "off"})
        self.store.subscriptions.forget(self.source, id_)

    def _audited(self, action: Literal["C", "U", "D"], id_: str | None, write: Callable[[], _T]) -> _T:
        outcome = "done"
        try:
            done = write()
            id_ = id_ or str(done)
            return done
        except EhrError as error:
            outcome = error.shown
            raise
        finally:
            entry = AuditEntry(
                actor=ACTOR,
                action=action,
                entity_type=TYPE,
                entity_id=id_,
                outcome=outcome,
                target=self.target,
            )
            self.store.audit.append(entry)
