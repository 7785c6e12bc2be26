"""Takes HL7 v2 messages over HTTP: one message a request, its acknowledgement in the answer.

After HAPI's "HL7 over HTTP": 200 with an acceptance; a message that is refused gets its AE or AR with 400, and with 503
where nothing could be stored and the sender shall come again.
"""

import time

from flask import Blueprint, Response, request

from afterdose.core.errors import BadInput, Problem
from afterdose.fhir.v2.answer import Verdict
from afterdose.web.auth import current_sender
from afterdose.web.body import BodyReader
from afterdose.web.problems import RETRY_AFTER_SECONDS
from afterdose.web.refused import quarantine
from afterdose.web.services import WebServices

MEDIA_TYPES = frozenset({"application/hl7-v2", "x-application/hl7-v2+er7", "application/hl7-v2+er7", "text/plain"})
ANSWER = "application/hl7-v2"


def blueprint(services: WebServices, bodies: BodyReader) -> Blueprint:
    """The route /hl7v2."""
    metrics = services.metrics
    routes = Blueprint("hl7v2", __name__)

    @routes.post("/hl7v2")
    def take() -> Response:
        started = time.perf_counter()
        settings = current_sender().source
        source, body = settings.name, bodies.read(request, limit=settings.max_body_bytes)
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if request.mimetype not in MEDIA_TYPES or encoding != "identity":
            wrong = BadInput(Problem("not-supported", "", f"only {ANSWER} (ER7) is taken here"), status=415)
            quarantine(services, source, body, wrong.problems)
            raise wrong
        taken = services.messages.take(body, source)
        for arrival, receipt in taken.stored:
            metrics.events.labels(source, arrival.interaction, "yes" if receipt.duplicate else "no").inc()
        for problem in taken.problems[:1]:
            metrics.refused.labels(source, problem.code).inc()
        metrics.stored_seconds.observe(time.perf_counter() - started)
        if taken.reply.verdict is Verdict.ACCEPTED:
            return Response(taken.reply.body, status=200, content_type=ANSWER)
        if any(problem.code == "lock-error" for problem in taken.problems):
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            return Response(taken.reply.body, status=503, headers=headers, content_type=ANSWER)
        return Response(taken.reply.body, status=400, content_type=ANSWER)

    return routes
