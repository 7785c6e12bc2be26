"""How this server differs from the next one: what real EHRs do differently, as switches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Behaviour:
    """One EHR's habits. The default is a well-behaved server; `dataclasses.replace` makes it into a worse one.

    `transaction`: `atomic` as the specification says; `per-entry` declares transactions and answers each entry for
    itself without ever rolling back; `undeclared` refuses `POST [base]` with 405.
    `if_none_exist`: `ignored` declares conditional create and ignores it; `undeclared` ignores it and says so;
    `raced` looks no further than the search index, which lags.
    `search_lag`: seconds, by the server's clock, for which a new resource can be read but is not found by search.
    `etags`: False leaves out ETag and meta.versionId, and ignores If-Match.
    `bearer`: the token that every request but `metadata` must carry.
    `token_url`: the token endpoint that `.well-known/smart-configuration` names; without it there is no such document.
    `activates`: False leaves a requested Subscription as it is and sends nothing (IBM's server, WSO2's, Medplum's).
    `read_only` types can be read and searched only; `absent` types are unknown to this server.
    """

    transaction: Literal["atomic", "per-entry", "undeclared"] = "atomic"
    if_none_exist: Literal["honoured", "raced", "ignored", "undeclared"] = "honoured"
    search_lag: float = 0.0
    etags: bool = True
    conflict_status: Literal[409, 412] = 412
    update_create: bool = True
    bearer: str | None = None
    token_url: str | None = None
    latency_ms: int = 0
    page_size: int = 50
    activates: bool = True
    read_only: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
