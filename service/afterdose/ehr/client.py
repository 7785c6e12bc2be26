"""One EHR, as the rest of afterdose sees it: resources in and out, and errors that say who has to act."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from afterdose.core.errors import EhrError, EhrRefused
from afterdose.ehr import answers, wire
from afterdose.ehr.answers import Found, Page, Resource, Written
from afterdose.ehr.auth import Authentication
from afterdose.ehr.capabilities import Capabilities, decode_capabilities
from afterdose.ehr.claims import Claims
from afterdose.ehr.outbound import Outbound
from afterdose.ehr.target import Destination
from afterdose.ehr.wire import Answer, Parameters, Request, TransactionEntry
from afterdose.logs import get_logger

_log = get_logger()

CAPABILITIES_KEPT_FOR = timedelta(hours=24)
# A search that needs more pages than this has gone wrong: we ask for one patient's, or for the news of minutes.
MAX_PAGES = 50

OnCall = Callable[[str, str, int | None, timedelta], None]
"""Told of every call: method, path without ids, status (None: no whole answer), duration. Never patient data."""


Sender = Callable[[Request], Answer]
Guard = Callable[[Request, Sender], Answer]
"""What stands between us and the EHR: decides whether, when and how a request is sent."""


def _at_once(request: Request, send: Sender) -> Answer:
    """Nothing stands between."""
    return send(request)


def _ignore(method: str, template: str, status: int | None, duration: timedelta) -> None:
    """Nobody wants to know."""


class EndlessPages(EhrRefused):
    """The pages of a search lead back to themselves, or are too many. ``found``: what stood on them."""

    def __init__(self, type_: str, found: list[Resource]) -> None:
        super().__init__(f"{type_} search: the pages of the result do not end", code="too-costly")
        self.found = found


class EhrClient:
    """Calls one EHR. Threads may share it; nothing is ever retried here, but for a 401 once with a fresh token, and
    what was refused for a profile that it claims, without the claim.

    Every method raises EhrUnavailable, EhrRefused and, where the resource is named by id, EhrGone; writes raise
    EhrAmbiguous and EhrConflict too.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        clock: Callable[[], datetime],
        authentication: Authentication | None = None,
        on_call: OnCall = _ignore,
        guard: Guard = _at_once,
    ) -> None:
        """``clock`` gives the present as an aware datetime; ``on_call`` feeds metrics and logs."""
        self._outbound = Outbound(destination, authentication=authentication)
        self.base_url = destination.base_url.rstrip("/")
        self._clock = clock
        self._on_call = on_call
        self._guard = guard
        self._capabilities: tuple[Capabilities, datetime] | None = None
        self._capabilities_lock = threading.Lock()
        self._claims = Claims()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that were kept alive."""
        self._outbound.close()

    def read(self, type_: str, id_: str) -> Found:
        """One resource by its id; EhrGone where it is not there (any more)."""
        answer = self._call(wire.read(self.base_url, type_, id_))
        return answers.decipher_read(answer, type_, id_, now=self._clock())

    def read_patient(self, id_: str) -> Found:
        """A Patient by id. Another Patient in answer, or the address of one, is who this one was merged into."""
        answer = self._call(wire.read(self.base_url, "Patient", id_))
        return answers.decipher_patient(answer, id_, base_url=self.base_url, now=self._clock())

    def search(self, type_: str, parameters: Parameters, *, most_pages: int | None = None) -> list[Resource]:
        """All matches, over all pages, each id once; with ``most_pages`` those of the first pages.

        EndlessPages where the pages do not end.
        """
        found: dict[str, Resource] = {}
        request, seen = wire.search(self.base_url, type_, parameters), set[str]()
        while len(seen) < MAX_PAGES:
            page = self._page(request, type_)
            for resource in page.resources:
                found.setdefault(str(resource.get("id")), resource)
            if page.next_link is None or len(seen) + 1 == most_pages:
                return list(found.values())
            request = wire.next_page(self.base_url, type_, page.next_link)
            if request.url in seen:
                break
            seen.add(request.url)
        raise EndlessPages(type_, list(found.values()))

    def find_by_identifier(self, type_: str, system: str, value: str) -> list[Resource]:
        """The resources that carry this business identifier; what the EHR adds without it is left out."""
        matches = self.search(type_, {"identifier": wire.token(system, value)})
        return [resource for resource in matches if _carries(resource, system, value)]

    def create(self, resource: Mapping[str, object], *, if_none_exist: str | None = None) -> Written:
        """A new resource; with ``if_none_exist`` (see ``wire.identifier_query``) only where none matches it."""
        type_ = wire.type_of(resource)

        def send(fitted: Mapping[str, object]) -> Written:
            answer = self._call(wire.create(self.base_url, fitted, if_none_exist=if_none_exist))
            conditional = if_none_exist is not None
            return answers.decipher_write(
                answer, type_, base_url=self.base_url, now=self._clock(), conditional=conditional
            )

        return self._with_claims(resource, send)

    def update(self, type_: str, id_: str, resource: Mapping[str, object], *, if_match: str | None) -> Written:
        """A new version; EhrConflict where the EHR's version is not ``if_match`` (an ETag as it was received)."""

        def send(fitted: Mapping[str, object]) -> Written:
            answer = self._call(wire.update(self.base_url, type_, id_, fitted, if_match=if_match))
            return answers.decipher_write(answer, type_, base_url=self.base_url, now=self._clock(), id_=id_)

        return self._with_claims(resource, send)

    def delete(self, type_: str, id_: str) -> None:
        """Have it deleted; EhrGone where it is not there (any more)."""
        answers.decipher_delete(self._call(wire.delete(self.base_url, type_, id_)), type_, now=self._clock())

    def operation(self, type_: str, id_: str, name: str, parameters: Mapping[str, str] | None = None) -> Resource:
        """The Bundle that an operation on one resource answers with; EhrGone where there is no such operation, too."""
        answer = self._call(wire.operation(self.base_url, type_, id_, name, parameters or {}))
        return answers.decipher_operation(answer, type_, name, now=self._clock())

    def patch(self, type_: str, id_: str, replaced: Mapping[str, str], *, if_match: str | None) -> Written:
        """A new version with some top-level elements replaced, where an EHR takes a change no other way."""
        answer = self._call(wire.patch(self.base_url, type_, id_, replaced, if_match=if_match))
        return answers.decipher_write(answer, type_, base_url=self.base_url, now=self._clock(), id_=id_)

    def transaction(self, entries: Sequence[TransactionEntry]) -> list[Written | EhrError]:
        """Several writes at once; the result of each, because not every EHR that answers 200 did all of them."""
        entries = [replace(entry, resource=self._claims.fit(entry.resource)) for entry in entries]
        answer = self._call(wire.transaction(self.base_url, entries))
        return answers.decipher_transaction(answer, entries, base_url=self.base_url, now=self._clock())

    def capabilities(self) -> Capabilities:
        """What the EHR declares; asked for once in CAPABILITIES_KEPT_FOR, by one thread at a time."""
        with self._capabilities_lock:
            now = self._clock()
            if self._capabilities is None or not now < self._capabilities[1]:
                statement = answers.decipher_capabilities(self._call(wire.capabilities(self.base_url)), now=now)
                self._capabilities = (decode_capabilities(statement), now + CAPABILITIES_KEPT_FOR)
            return self._capabilities[0]

    def _with_claims(self, resource: Mapping[str, object], send: Callable[[Mapping[str, object]], Written]) -> Written:
        """Send a resource; without a claim once the EHR has refused it for that. Each try claims less."""
        while True:
            fitted = self._claims.fit(resource)
            try:
                return send(fitted)
            except EhrRefused as refused:
                if not self._claims.learn(fitted, refused):
                    raise
                told = {"resource_type": wire.type_of(resource), "element": refused.element, "code": refused.shown}
                _log.warning("an EHR refuses a profile that is claimed; it is claimed there no more", **told)

    def _page(self, request: Request, type_: str) -> Page:
        return answers.decipher_search(self._call(request), type_, now=self._clock())

    def _call(self, request: Request) -> Answer:
        started = time.monotonic()
        status: int | None = None
        try:
            answer = self._guard(request, self._outbound.send)
            status = answer.status
            return answer
        finally:
            self._on_call(request.method, request.template, status, timedelta(seconds=time.monotonic() - started))


def _carries(resource: Resource, system: str, value: str) -> bool:
    identifiers = resource.get("identifier")
    if isinstance(identifiers, dict):
        identifiers = [identifiers]
    if not isinstance(identifiers, list):
        return False
    wanted = (system, value)
    return any(isinstance(item, dict) and (item.get("system"), item.get("value")) == wanted for item in identifiers)
