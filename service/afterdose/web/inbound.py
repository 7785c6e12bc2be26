"""Takes what senders push: a 2xx answer says that it is on disk.

Authentication, strict JSON, the structure of what we need, the durable store; nothing else happens before the answer.
Every shape that a FHIR server's subscription sends ends in ``work.intake``; here is only its HTTP.
"""

import time
from collections.abc import Iterable, Sequence
from uuid import uuid4
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Blueprint, Response, request
from prometheus_client import Counter
from werkzeug.exceptions import MethodNotAllowed

from afterdose.core.errors import BadInput, Problem
from afterdose.fhir import strict_json
from afterdose.fhir.decode import accepted, message
from afterdose.fhir.outcome import operation_outcome
from afterdose.fhir.resource_types import R4_TYPES
from afterdose.logs import get_logger
from afterdose.store.deliveries import digest_of
from afterdose.store.rows import Arrival, Receipt
from afterdose.web.auth import Sender, current_sender
from afterdose.web.body import BodyReader
from afterdose.web.problems import fhir_answer
from afterdose.web.proofs import Delivery
from afterdose.web.refused import FHIR_TYPES, quarantine
from afterdose.web.services import WebServices
from afterdose.work.intake import envelopes
from afterdose.work.intake.bodies import receive
from afterdose.work.intake.reception import Entry, Reception, deletion

MEDPLUM_DELETED = "X-Medplum-Deleted-Resource"
ALL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

_log = get_logger()


def blueprint(services: WebServices, bodies: BodyReader) -> Blueprint:
    """The routes below /fhir that take events."""
    door = _Door(services, bodies)
    routes = Blueprint("inbound", __name__, url_prefix="/fhir")
    types = ",".join(sorted(accepted.TYPES))
    of_type = f"/<any({types}):resource_type>"
    one = f"{of_type}/<resource_id>"
    routes.add_url_rule("", "base", door.take, methods=["POST"], provide_automatic_options=False)
    routes.add_url_rule("", "probe", door.probe, methods=["HEAD"], provide_automatic_options=False)
    routes.add_url_rule("/$process-message", "process_message", door.process_message, methods=["POST"])
    routes.add_url_rule(of_type, "create", door.take, methods=["POST"])
    routes.add_url_rule(one, "update", door.take, methods=["PUT", "POST"])
    routes.add_url_rule(one, "delete", door.delete, methods=["DELETE"])
    routes.add_url_rule("/<path:other>", "other", door.refuse, methods=ALL_METHODS)
    return routes


class _Door:
    """The views, with what they need."""

    def __init__(self, services: WebServices, bodies: BodyReader) -> None:
        self._services = services
        self._metrics = services.metrics
        self._events: dict[tuple[str, str, str], Counter] = {}
        self._bodies = bodies

    def probe(self) -> Response:
        """Answers who only asks whether somebody is there."""
        return _Empty()

    def take(self, resource_type: str | None = None, resource_id: str | None = None) -> Response:
        """POST of a resource or a Bundle; PUT (HAPI) or POST of a resource under its id."""
        started, sender = time.perf_counter(), current_sender()
        body = b""
        try:
            body = self._body(sender)
            repeated = self._is_repeated(sender, body)
            if not body and resource_id is None and sender.origin.polled and MEDPLUM_DELETED not in request.headers:
                return self._ask(sender, started)
            _check_headers()
            reception = self._receive(sender, body, resource_type, resource_id)
        except BadInput as bad:
            self._quarantine(sender, body, bad.problems)
            raise
        if not repeated:
            self._keep(sender, reception, started)
            self._remember(sender, body)
        return _answer(reception)

    def process_message(self) -> Response:
        """POST of a message (FHIR messaging); the answer is a message too."""
        started, sender = time.perf_counter(), current_sender()
        body = b""
        try:
            body = self._body(sender)
            repeated = self._is_repeated(sender, body)
            _check_headers()
            asked = message.header(strict_json.loads(body))
            reception = receive(body, sender.origin)
        except BadInput as bad:
            self._quarantine(sender, body, bad.problems)
            raise
        if not repeated:
            self._keep(sender, reception, started)
            self._remember(sender, body)
        refused = [problem for entry in reception.entries if entry.refused for problem in entry.problems]
        endpoint = f"{(self._services.settings.web.base_url or request.host_url).rstrip('/')}{request.path}"
        now = self._services.clock()
        return fhir_answer(message.answer(asked, refused, id_=uuid4(), endpoint=endpoint, at=now))

    def delete(self, resource_type: str, resource_id: str) -> Response:
        """DELETE of a resource (HAPI with subscription-send-delete-messages)."""
        started, sender = time.perf_counter(), current_sender()
        body = self._body(sender)
        arrival = deletion(sender.origin, resource_type, resource_id)
        if not self._is_repeated(sender, body):
            self._store([arrival], started)
            self._remember(sender, body)
        return _Empty()

    def refuse(self, other: str) -> Response:
        """Every other URL below /fhir. What comes to one that no resource can have is kept: some setting is wrong."""
        type_ = other.partition("/")[0]
        wrong = _not_taken()
        if (type_ in accepted.TYPES or type_ not in R4_TYPES) and request.method not in ("GET", "HEAD"):
            sender = current_sender()
            # A delete is nothing but its URL.
            self._quarantine(sender, self._body(sender) or f"{request.method} {request.path}".encode(), wrong.problems)
        if type_ in accepted.TYPES:
            raise MethodNotAllowed(valid_methods=["DELETE", "POST", "PUT"])
        raise wrong

    def _body(self, sender: Sender) -> bytes:
        return self._bodies.read(request, limit=sender.source.max_body_bytes)

    def _receive(self, sender: Sender, body: bytes, resource_type: str | None, resource_id: str | None) -> Reception:
        deleted = request.headers.get(MEDPLUM_DELETED)
        if deleted is None:
            return envelopes.receive(body, sender.origin, type_=resource_type, id_=resource_id)
        type_, _, deleted_id = deleted.partition("/")
        if type_ not in accepted.TYPES:
            raise _not_taken()
        if body.strip() != b"{}" or resource_id not in (None, deleted_id) or resource_type not in (None, type_):
            raise BadInput(Problem("invalid", "", f"{MEDPLUM_DELETED} contradicts the rest of the request"))
        return Reception(None, (Entry(deletion(sender.origin, type_, deleted_id)),))

    def _is_repeated(self, sender: Sender, body: bytes) -> bool:
        """Whether the same was taken already under the same name, so that it only gets its answer again.

        Raises BadInput with 409 where something else was.
        """
        delivery = sender.delivery
        if delivery is None:
            return False
        digest = _digest(body)
        taken = self._services.deliveries.taken(sender.source.name, _name(delivery, digest))
        if taken is not None and taken != digest:
            raise BadInput(Problem("duplicate", "", "something else was taken under the same id"), status=409)
        return taken is not None

    def _remember(self, sender: Sender, body: bytes) -> None:
        delivery = sender.delivery
        if delivery is not None:
            digest = _digest(body)
            name = _name(delivery, digest)
            self._services.deliveries.keep(sender.source.name, name, digest, delivery.until)

    def _ask(self, sender: Sender, started: float) -> Response:
        """Something happened and nothing is said of what (HAPI without a payload): the source is polled now."""
        source = sender.source.name
        self._services.hurry(source)
        self._metrics.events.labels(source, "hint", "no").inc()
        self._metrics.stored_seconds.observe(time.perf_counter() - started)
        return _Empty()

    def _keep(self, sender: Sender, reception: Reception, started: float) -> None:
        for entry in reception.entries:
            if entry.refused:
                self._quarantine(sender, entry.refused, entry.problems)
        self._store(reception.arrivals, started)
        if reception.unread:
            self._services.keep_unread(sender.source.name, reception.unread)
        self._services.hear(reception, sender.origin)
        if reception.unnamed:
            self._ask(sender, started)

    def _store(self, arrivals: Sequence[Arrival], started: float) -> None:
        """Return when everything is on disk. Raises StoreError; then nothing has been accepted."""
        receipts: Sequence[Receipt] = self._services.submit(arrivals)
        for arrival, receipt in zip(arrivals, receipts, strict=True):
            labels = (arrival.source, arrival.interaction, "yes" if receipt.duplicate else "no")
            if labels not in self._events:
                self._events[labels] = self._metrics.events.labels(*labels)
            self._events[labels].inc()
        self._metrics.stored_seconds.observe(time.perf_counter() - started)

    def _quarantine(self, sender: Sender, body: bytes, problems: Sequence[Problem]) -> None:
        quarantine(self._services, sender.source.name, body, problems)


def _digest(body: bytes) -> str:
    """Of the whole request, since a delete is nothing but its URL."""
    deleted = request.headers.get(MEDPLUM_DELETED, "")
    return digest_of(request.method.encode(), request.full_path.encode(), deleted.encode(), body)


def _name(delivery: Delivery, digest: str) -> str:
    """No signature covers the URL: two deletes of one second have the same, and are two."""
    return delivery.id if delivery.is_named else f"{delivery.id} {digest}"


def _not_taken() -> BadInput:
    return BadInput(Problem("not-found", "", f"only {accepted.LISTED} are taken here"), status=404)


def _check_headers() -> None:
    """Raises BadInput with 415 where the body is not plain FHIR JSON."""
    if request.environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower() != "identity":
        raise BadInput(Problem("not-supported", "", "encoded (compressed) bodies are not taken"), status=415)
    if request.environ.get("CONTENT_TYPE") in FHIR_TYPES:
        return
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype not in FHIR_TYPES or charset not in ("utf-8", "utf8"):
        raise BadInput(Problem("not-supported", "", "only application/fhir+json in UTF-8 is taken"), status=415)


class _Empty(Response):
    """200 without a body and without a media type: HAPI would try to read the one, and fail for the other."""

    default_mimetype = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer; nearly every answer is this one, so nothing is worked out again."""
        if self.headers or self.status_code != 200:
            return super().__call__(environ, start_response)
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]


def _answer(reception: Reception) -> Response:
    """A Bundle for a Bundle, nothing for a resource; for an envelope what its sender wants to have."""
    if reception.bundle_type is not None:
        return fhir_answer(_reply(reception))
    if reception.validation is not None:
        return Response(
            strict_json.dumps({"validationResponse": reception.validation}), content_type="application/json"
        )
    problems = [problem for entry in reception.entries for problem in entry.problems]
    return fhir_answer(operation_outcome(problems, severity="warning")) if problems else _Empty()


def _reply(reception: Reception) -> dict[str, object]:
    """The Bundle that answers a Bundle, entry by entry."""
    type_ = "batch-response" if reception.bundle_type == "batch" else "transaction-response"
    reply: dict[str, object] = {"resourceType": "Bundle", "type": type_}
    if reception.entries:
        reply["entry"] = [{"response": _response(entry)} for entry in reception.entries]
    return reply


def _response(entry: Entry) -> dict[str, object]:
    if not entry.problems:
        return {"status": "200 OK"}
    status = "400 Bad Request" if entry.refused else "404 Not Found"
    return {"status": status, "outcome": operation_outcome(entry.problems)}
