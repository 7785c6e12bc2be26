"""WSGI routes to measure. Each is one more row of `accept.py`."""

import os
import zlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from afterdose.store.rows import Arrival
from afterdose.store.store import Store, open_store

StartResponse = Callable[[str, list[tuple[str, str]]], object]
PATIENTS = 1_000


def bare(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Read the body and answer 202: what the server and its HTTP layer cost."""
    environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    return _accepted(start_response)


def durable(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Read the body, store it durably, then answer 202."""
    raw = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    resource_id = environ["PATH_INFO"].rpartition("/")[2]
    arrival = Arrival(
        source="ehr",
        resource_id=resource_id,
        target="ehr",
        patient=str(zlib.crc32(resource_id.encode()) % PATIENTS),
        version="1",
        last_updated=datetime.now(UTC),
        raw=raw,
    )
    _store().committer.submit([arrival])
    return _accepted(start_response)


def _accepted(start_response: StartResponse) -> list[bytes]:
    start_response("202 Accepted", [("Content-Length", "0")])
    return [b""]


_opened: list[Store] = []


def _store() -> Store:
    if not _opened:
        _opened.append(open_store(os.environ["BENCHMARK_DATABASE"], clock=lambda: datetime.now(UTC)))
    return _opened[0]
