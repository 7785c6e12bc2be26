"""Whether this server runs (/healthz), whether it can work (/readyz), and what it has done (/metrics)."""

from collections.abc import Callable

from flask import Blueprint, Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST

from afterdose.core.errors import AfterdoseError
from afterdose.fhir.times import format_instant
from afterdose.web.services import WebServices


def public() -> Blueprint:
    """/healthz: this process answers; nothing is looked at, so that a slow database does not get it restarted."""
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="ok")

    return routes


def guarded(services: WebServices) -> Blueprint:
    """/readyz and /metrics, for those who run this server."""
    routes = Blueprint("operations", __name__)

    @routes.get("/readyz")
    def readyz() -> tuple[Response, int]:
        found = {name: _result(check) for name, check in services.checks.items()}
        ready = all(result == "ok" for result in found.values())
        paused = list(services.paused()) if ready else []
        known = services.polled() if ready else {}
        polled = {source: format_instant(since) if since else None for source, since in known.items()}
        return jsonify(ready=ready, checks=found, paused=paused, polled=polled), 200 if ready else 503

    @routes.get("/metrics")
    def metrics() -> Response:
        return Response(services.metrics.exposition(), content_type=CONTENT_TYPE_LATEST)

    return routes


def _result(check: Callable[[], str | None]) -> str:
    """ "ok", or what is wrong; our own errors speak for themselves and hold no patient data."""
    try:
        return check() or "ok"
    except AfterdoseError as error:
        return str(error)
