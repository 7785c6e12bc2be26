"""GET /.well-known/jwks.json: the public halves of our keys, from which EHRs learn who signs for us.

SMART App Launch 2.2, client-confidential-asymmetric.html: without authentication, and with a Cache-Control that says
for how long an EHR may do without asking again. A new key signs only after that time.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta

from flask import Blueprint, Response, jsonify

PublishedKeys = Callable[[], Sequence[dict[str, object]]]


def blueprint(published: PublishedKeys, max_age: timedelta) -> Blueprint:
    """The route; ``published`` is asked for every answer, because keys are changed while we run."""
    routes = Blueprint("jwks", __name__)

    @routes.get("/.well-known/jwks.json")
    def keys() -> Response:
        answer = jsonify(keys=published())
        answer.headers["Cache-Control"] = f"public, max-age={round(max_age.total_seconds())}"
        return answer

    return routes
