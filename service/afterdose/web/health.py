"""Whether this server runs (/healthz), whether it can work (/readyz), and what it has done (/metrics)."""

from collections.abc import Callable, Mapping

from flask import Blueprint, Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST

from afterdose.core.errors import AfterdoseError
from afterdose.fhir.times import format_instant
from afterdose.store.subscriptions import SubscriptionRow
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
        rows = services.subscriptions() if ready else ()
        told = {
            "subscriptions": [_subscription(row, polled) for row in rows],
            "degraded": any(r.troubles for r in rows),
        }
        return jsonify(ready=ready, checks=found, paused=paused, polled=polled, **told), 200 if ready else 503

    @routes.get("/metrics")
    def metrics() -> Response:
        return Response(services.metrics.exposition(), content_type=CONTENT_TYPE_LATEST)

    return routes


def _subscription(row: SubscriptionRow, polled: Mapping[str, str | None]) -> dict[str, object]:
    """One by which a source notifies us. What is wrong with one never makes this server unready: notifications have to
    reach it for that to end, and ``polled`` says whether a poll finds what does not come."""
    return {
        "source": row.source,
        "type": row.resource_type,
        "status": row.status,
        "heard": format_instant(row.heard_at) if row.heard_at else None,
        "troubles": {code: format_instant(since) for code, since in row.troubles.items()},
        "polled": row.source in polled,
    }


def _result(check: Callable[[], str | None]) -> str:
    """ "ok", or what is wrong; our own errors speak for themselves and hold no patient data."""
    try:
        return check() or "ok"
    except AfterdoseError as error:
        return str(error)
