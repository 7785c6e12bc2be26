"""Builds the WSGI application from its services. Nothing here is global; two applications share nothing."""

from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask
from prometheus_client import Counter

from afterdose.ehr.keyring import PUBLISHED_FOR
from afterdose.web import auth, consent, health, hl7v2, inbound, jwks, metadata, problems, refused
from afterdose.web.body import BodyReader
from afterdose.web.metrics import WebMetrics
from afterdose.web.services import WebServices

# What a browser is told about every answer that does not say otherwise: show nothing, keep nothing, tell nobody.
_HEADERS = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    # Without it the HTTP server would name itself.
    ("Server", "afterdose"),
    ("X-Content-Type-Options", "nosniff"),
)


def create_app(services: WebServices) -> Flask:
    """The application: public routes, guarded routes, and a refusal for whatever is neither."""
    app = _App(services.metrics)
    # A redirect to the other spelling of a URL would turn some senders' POST into a GET.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    web = services.settings.web
    bodies = BodyReader(web.max_body_bytes, web.body_timeout, 2 * web.threads)
    doorkeeper = auth.Doorkeeper(
        services.settings,
        services.metrics,
        bodies,
        keys=services.sender_keys,
        clock=services.clock,
        keep=lambda source, body, problem: refused.quarantine(services, source, body, [problem]),
        counts=services.counts,
    )
    guards = {"hl7v2": doorkeeper.require_source, "inbound": doorkeeper.require_source}
    guards["consent"] = doorkeeper.require_consent
    auth.close_by_default(app, {**guards, "operations": doorkeeper.require_operations})
    app.register_blueprint(health.public())
    app.register_blueprint(health.guarded(services))
    app.register_blueprint(metadata.blueprint(services.clock()))
    app.register_blueprint(jwks.blueprint(services.published_keys, PUBLISHED_FOR))
    app.register_blueprint(consent.blueprint(services.settings.sources.values()))
    app.register_blueprint(inbound.blueprint(services, bodies))
    app.register_blueprint(hl7v2.blueprint(services, bodies))
    problems.register(app)
    return app


class _App(Flask):
    """Flask, with our headers on every answer and every answer counted."""

    def __init__(self, metrics: WebMetrics) -> None:
        super().__init__(__name__, static_folder=None, template_folder=None)
        self._metrics = metrics
        self._answers: dict[str, Counter] = {}

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Every view is an ordinary function; Flask would look at each again and again."""
        return func

    def wsgi_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            given = {name.lower() for name, _ in headers}
            self._count(status.partition(" ")[0])
            return start_response(status, headers + [one for one in _HEADERS if one[0].lower() not in given], exc_info)

        return super().wsgi_app(environ, start)

    def _count(self, status: str) -> None:
        if status not in self._answers:
            self._answers[status] = self._metrics.answers.labels(status)
        self._answers[status].inc()
