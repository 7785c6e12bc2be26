"""WSGI routes to measure. Each is one more row of `accept.py`."""

import os
import zlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, request

from afterdose.store.rows import Arrival
from afterdose.store.store import Store, open_store

StartResponse = Callable[[str, list[tuple[str, str]]], object]
PATIENTS = 1_000


bare = Flask(__name__, static_folder=None)
"""One route that reads the body and answers 202: what the server and the web framework cost."""


@bare.put("/fhir/MedicationAdministration/<_resource_id>")
def accept(_resource_id: str) -> Response:
    """Read the body and answer; nothing is looked at."""
    request.get_data()
    return Response(status=202)


def raw(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """The same without a web framework: what the server and its HTTP layer cost."""
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
