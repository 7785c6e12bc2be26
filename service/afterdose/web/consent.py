"""OPTIONS /fhir: whether a sender of CloudEvents may deliver here, asked before it does.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md, section 4: it protects others from being
flooded and proves nothing, so it is answered to the origins that the settings name without asking who is there. The URL
that it may bring along (WebHook-Request-Callback) is never called.
"""

import re
from collections.abc import Collection

from flask import Blueprint, Response, request

from afterdose.settings import SourceSettings

ORIGIN = "WebHook-Request-Origin"
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\Z")


def blueprint(sources: Collection[SourceSettings]) -> Blueprint:
    """The route OPTIONS /fhir."""
    routes = Blueprint("consent", __name__, url_prefix="/fhir")

    def consent() -> Response:
        answer = Response(status=200, headers={"Allow": "HEAD, OPTIONS, POST"}, content_type=None)
        origin = request.headers.get(ORIGIN, "")
        if _HOST.match(origin):
            answer.headers["WebHook-Allowed-Origin"] = origin
            answer.headers["WebHook-Allowed-Rate"] = _rate(sources, origin)
        return answer

    routes.add_url_rule("", "consent", consent, methods=["OPTIONS"])
    return routes


def _rate(sources: Collection[SourceSettings], origin: str) -> str:
    """Requests a minute, the least of those who have this origin; * for as many as it likes."""
    own = [one.max_requests_per_minute for one in sources if origin.lower() in one.webhook_origins]
    limits = [limit for limit in own if limit is not None]
    return str(min(limits)) if limits else "*"
