"""Turns what went wrong into an answer: the only place that does. Nothing about the program gets into one.

Every answer is an OperationOutcome. What was not expected says nothing but a correlation id, under which the log has
the class of the error and its place.
"""

from collections.abc import Iterable, Mapping
from secrets import token_hex

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from afterdose.core.errors import BadInput, EhrUnavailable, Problem, StoreError, StoreUnusable
from afterdose.fhir import strict_json
from afterdose.fhir.outcome import operation_outcome
from afterdose.logs import get_logger
from afterdose.web.limits import TooMany

FHIR_JSON = "application/fhir+json"
RETRY_AFTER_SECONDS = 5

_log = get_logger()
# http://hl7.org/fhir/R4/valueset-issue-type.html
_ISSUES = {
    404: ("not-found", "there is nothing at this URL"),
    405: ("not-supported", "this URL does not take this method"),
    408: ("timeout", "the request did not arrive in time"),
    413: ("too-long", "the request is larger than this server takes"),
    414: ("too-long", "the URL is longer than this server takes"),
}


class Unauthenticated(Exception):
    """Nobody we know sent this, and the answer does not say what was wrong; or somebody we know (``reason``)."""

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason


def fhir_answer(resource: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A FHIR resource as an answer."""
    return Response(strict_json.dumps(resource), status=status, headers=headers, content_type=FHIR_JSON)


def refusal(problems: Iterable[Problem], status: int, headers: Mapping[str, str] | None = None) -> Response:
    """An OperationOutcome as an answer."""
    return fhir_answer(operation_outcome(problems), status, headers)


def register(app: Flask) -> None:
    """Let every error of ``app`` end here."""
    app.register_error_handler(BadInput, _bad_input)
    app.register_error_handler(Unauthenticated, _unauthenticated)
    app.register_error_handler(EhrUnavailable, _keys_unavailable)
    app.register_error_handler(TooMany, _too_many)
    app.register_error_handler(StoreError, _store_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def _bad_input(error: BadInput) -> Response:
    if error.status == 408:
        return _hang_up(refusal(error.problems, error.status))
    return refusal(error.problems, error.status, {"Connection": "close"} if error.status == 413 else None)


def _hang_up(answer: Response) -> Response:
    """The answer to a sender that fell silent in the middle: its connection ends with it.

    granian keeps a connection open, and our reading thread with it, until the rest of the request has come, whatever
    the answer says. It closes it at once when a streamed answer ends before its Content-Length does.
    """
    text = answer.get_data()
    answer.response = iter([text])
    answer.content_length = len(text) + 1
    answer.headers["Connection"] = "close"
    return answer


def _unauthenticated(error: Unauthenticated) -> Response:
    challenge = 'Bearer realm="afterdose"'
    if error.reason is None:
        return refusal([Problem("login", "", "authentication is required")], 401, {"WWW-Authenticate": challenge})
    # RFC 6750, section 3.1.
    challenge += f', error="invalid_token", error_description="{error.reason}"'
    return refusal([Problem("login", "", error.reason)], 401, {"WWW-Authenticate": challenge})


def _keys_unavailable(_error: EhrUnavailable) -> Response:
    """Whether the token is right cannot be told now; its sender shall come again."""
    problem = Problem("transient", "", "the token cannot be checked at present; send the same request again")
    return refusal([problem], 503, {"Retry-After": str(RETRY_AFTER_SECONDS)})


def _too_many(error: TooMany) -> Response:
    problem = Problem("throttled", "", "this source sends more requests than it may; send the same one again later")
    return refusal([problem], 429, {"Retry-After": str(error.seconds)})


def _store_error(error: StoreError) -> Response:
    """Nothing was accepted; the sender is told to come again, whoever has to act in between."""
    _log.error("the store refused", exc_info=error, reason=str(error), correlation_id=correlation_id())
    if isinstance(error, StoreUnusable):
        problem = Problem("exception", "", f"nothing can be stored at present (correlation id {correlation_id()})")
    else:
        problem = Problem("lock-error", "", "the store is busy; send the same request again")
    return refusal([problem], 503, {"Retry-After": str(RETRY_AFTER_SECONDS)})


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    code, text = _ISSUES.get(status, ("processing", "the request cannot be processed"))
    allow = {"Allow": ", ".join(sorted(error.valid_methods or ()))} if isinstance(error, MethodNotAllowed) else None
    return refusal([Problem(code, "", text)], status, allow)


def _unexpected(error: Exception) -> Response:
    _log.error("an error that was not expected", exc_info=error, correlation_id=correlation_id(), method=request.method)
    return refusal([Problem("exception", "", f"internal error (correlation id {correlation_id()})")], 500)


def correlation_id() -> str:
    """The id under which the log knows this request; made when it is first asked for."""
    if "correlation_id" not in g:
        g.correlation_id = token_hex(8)
    return str(g.correlation_id)
