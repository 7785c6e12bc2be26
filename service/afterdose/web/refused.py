"""Keeps what was refused of a known sender."""

from collections.abc import Sequence

from flask import request

from afterdose.core.errors import Problem, StoreError
from afterdose.logs import get_logger
from afterdose.web.services import WebServices

FHIR_TYPES = frozenset(
    {
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "application/fhir+json",
        "application/json",
        "application/json+fhir",
    }
)
"""The media types that FHIR, and what comes in an envelope, may have."""

_log = get_logger()


def quarantine(services: WebServices, source: str, body: bytes, problems: Sequence[Problem]) -> None:
    """Keep what was refused of a known sender: it takes a 4xx for an end and will not send it again."""
    code = problems[0].code
    services.metrics.refused.labels(source, code).inc()
    _log.warning("a request was refused and is kept in the quarantine", source=source, code=code, bytes=len(body))
    try:
        services.quarantine.keep(source, services.clock(), _media_type(), body, problems)
    except StoreError as error:
        services.metrics.unquarantined.labels(source).inc()
        _log.error("what was refused could not be kept", source=source, exc_info=error)


def _media_type() -> str | None:
    """The declared media type where it is one at all; it is not repeated otherwise."""
    return request.mimetype if request.mimetype in FHIR_TYPES else None
