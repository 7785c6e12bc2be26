"""The RESTful interactions on one type (R4 http.html), free of HTTP: the app, transactions and the tests share them."""

from __future__ import annotations

import itertools
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode

from afterdose.sandbox.behaviour import Behaviour
from afterdose.sandbox.outcome import Json, Refusal
from afterdose.sandbox.resources import Store, Version, instant
from afterdose.sandbox.search import Pairs, Query, matches, parse
from afterdose.sandbox.subscriptions import check_subscription
from afterdose.sandbox.validity import check_id, check_resource, check_type

MAX_PAGE = 500
_PAGES_KEPT = 200
_ETAG = re.compile(r'(?:W/)?"?([^"]*)"?')


@dataclass(frozen=True)
class Written:
    """The result of a write: 201 for a new resource, 200 for a changed or found one, 204 for a deletion."""

    status: int
    version: Version


class Interactions:
    """Read and write resources as the present `Behaviour` lets one. Raises `Refusal`."""

    def __init__(self, store: Store, behaviour: Callable[[], Behaviour], base_url: str) -> None:
        self.store = store
        self.base_url = base_url
        self._behaviour = behaviour
        self._pages: OrderedDict[str, list[Version]] = OrderedDict()
        self._tokens = itertools.count(1)

    @property
    def behaviour(self) -> Behaviour:
        """The switches as they stand now."""
        return self._behaviour()

    def read(self, type_: str, id_: str) -> Version:
        """http.html#read: 404 for what never was, 410 for what was deleted."""
        self._check_present(type_)
        version = self.store.latest(type_, id_)
        if version is None:
            raise Refusal(404, "not-found", f"there is no {type_} with this id")
        if version.deleted:
            raise Refusal(410, "deleted", f"this {type_} was deleted")
        return version

    def vread(self, type_: str, id_: str, number: str) -> Version:
        """http.html#vread."""
        self._check_present(type_)
        version = self.store.version(type_, id_, number)
        if version is None:
            raise Refusal(404, "not-found", f"this {type_} has no such version")
        if version.deleted:
            raise Refusal(410, "deleted", f"this version is the deletion of the {type_}")
        return version

    def create(self, type_: str, body: object, if_none_exist: str | None = None, id_: str | None = None) -> Written:
        """http.html#create and #ccreate. `id_` is for transactions, which give out ids before they write."""
        self._check_writable(type_)
        resource = _checked(type_, body)
        with self.store.transaction():
            found = self.existing(type_, if_none_exist)
            return Written(200, found) if found else Written(201, self._write(type_, id_, resource))

    def existing(self, type_: str, if_none_exist: str | None) -> Version | None:
        """What a conditional create finds. Where it is honoured, it looks at the store itself and not at the index."""
        if if_none_exist is None or self.behaviour.if_none_exist not in ("honoured", "raced"):
            return None
        query = parse(type_, parse_qsl(if_none_exist.partition("?")[2] or if_none_exist), strict=True)
        if not query.criteria:
            raise Refusal(412, "incomplete", "If-None-Exist must hold search parameters that select something")
        seen = self._indexed if self.behaviour.if_none_exist == "raced" else self.store.living
        found = [v for v in seen(type_) if v.resource and matches(v.resource, query, self.base_url)]
        if len(found) > 1:
            raise Refusal(412, "multiple-matches", f"If-None-Exist matches {len(found)} resources")
        return found[0] if found else None

    def update(self, type_: str, id_: str, body: object, if_match: str | None = None) -> Written:
        """http.html#update, #concurrency and #upsert. Every update makes a version, also one that changes nothing."""
        self._check_writable(type_)
        check_id(id_)
        resource = _checked(type_, body)
        if resource.get("id") != id_:
            raise Refusal(400, "invalid", "the body's id must be the id of the URL")
        with self.store.transaction():
            current = self.store.latest(type_, id_)
            self._check_match(current, if_match)
            if current is None and not self.behaviour.update_create:
                raise Refusal(405, "not-supported", "this server does not let clients choose ids")
            new = current is None or current.deleted
            return Written(201 if new else 200, self._write(type_, id_, resource))

    def delete(self, type_: str, id_: str, if_match: str | None = None) -> Written | None:
        """http.html#delete; deleting what is not there is no error, and writes nothing."""
        self._check_writable(type_)
        with self.store.transaction():
            current = self.store.latest(type_, id_)
            if current is None or current.deleted:
                return None
            self._check_match(current, if_match)
            return Written(204, self.store.write(type_, id_, None))

    def search(self, type_: str, pairs: Pairs, *, strict: bool = False, link_base: str | None = None) -> Json:
        """http.html#search: a searchset Bundle; the pages of one search show one moment (http.html#paging)."""
        self._check_present(type_)
        link_base = link_base or self.base_url
        pairs = list(pairs)
        fields = dict(pairs)
        if "_getpages" in fields:
            return self._page(type_, fields["_getpages"], fields, link_base)
        query = parse(type_, pairs, strict=strict)
        found = self._find(type_, query)
        size = min(MAX_PAGE, self.behaviour.page_size if query.count is None else query.count)
        if query.count_only or size == 0:
            return {"resourceType": "Bundle", "type": "searchset", "total": len(found), "link": []}
        with self.store.transaction():
            token = str(next(self._tokens))
            self._pages[token] = found
            while len(self._pages) > _PAGES_KEPT:
                self._pages.popitem(last=False)
        first = {"_getpages": token, "_offset": "0", "_count": str(size)}
        bundle = self._page(type_, token, first, link_base)
        bundle["link"][0]["url"] = f"{link_base}/{type_}?{urlencode(pairs)}"
        return bundle

    def _find(self, type_: str, query: Query) -> list[Version]:
        found = [v for v in self._indexed(type_) if v.resource and matches(v.resource, query, self.base_url)]
        for key in reversed(query.sort):
            field: Callable[[Version], str] = _by_id if key.endswith("_id") else _by_update
            found.sort(key=field, reverse=key.startswith("-"))
        return found

    def _indexed(self, type_: str) -> list[Version]:
        """What a search can find now."""
        lag, now = timedelta(seconds=self.behaviour.search_lag), self.store.now()
        return [version for version in self.store.living(type_) if version.created + lag <= now]

    def _page(self, type_: str, token: str, fields: dict[str, str], link_base: str) -> Json:
        found = self._pages.get(token)
        try:
            offset, size = int(fields["_offset"]), int(fields["_count"])
        except (KeyError, ValueError):
            offset, size = 0, 0
        if found is None or offset < 0 or size < 1:
            raise Refusal(410, "not-found", "this page of a search is no longer kept: search again")

        def link(relation: str, at: int) -> Json:
            query = urlencode({"_getpages": token, "_offset": at, "_count": size})
            return {"relation": relation, "url": f"{link_base}/{type_}?{query}"}

        links = [link("self", offset)]
        if offset + size < len(found):
            links.append(link("next", offset + size))
        entries = [
            {"fullUrl": f"{link_base}/{v.type}/{v.id}", "resource": v.copy(), "search": {"mode": "match"}}
            for v in found[offset : offset + size]
        ]
        bundle: Json = {"resourceType": "Bundle", "type": "searchset", "total": len(found), "link": links}
        return {**bundle, "entry": entries} if entries else bundle

    def _write(self, type_: str, id_: str | None, resource: Json) -> Version:
        if type_ == "Subscription" and resource["status"] == "requested" and self.behaviour.activates:
            resource = {**resource, "status": "active"}
        return self.store.write(type_, id_, resource, version_ids=self.behaviour.etags)

    def _check_match(self, current: Version | None, if_match: str | None) -> None:
        if if_match is None or not self.behaviour.etags:
            return
        wanted = _ETAG.fullmatch(if_match.strip())
        number = None if current is None or current.deleted else str(current.number)
        if wanted is None or number is None or wanted[1] not in (number, "*"):
            raise Refusal(self.behaviour.conflict_status, "conflict", "If-Match does not name the present version")

    def _check_present(self, type_: str) -> None:
        check_type(type_)
        if type_ in self.behaviour.absent:
            raise Refusal(404, "not-supported", f"this server has no {type_}")

    def _check_writable(self, type_: str) -> None:
        self._check_present(type_)
        if type_ in self.behaviour.read_only:
            raise Refusal(405, "not-supported", f"this server has {type_} for reading only", Allow="GET")


def _checked(type_: str, body: object) -> Json:
    resource = check_resource(type_, body)
    if type_ == "Subscription":
        check_subscription(resource)
    return resource


def _by_update(version: Version) -> str:
    return instant(version.updated)


def _by_id(version: Version) -> str:
    return version.id
