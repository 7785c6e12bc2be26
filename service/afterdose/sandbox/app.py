"""FHIR REST over HTTP (R4 http.html): reads the request, calls the interactions, writes the answer. JSON only."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from typing import Any, NoReturn

from flask import Blueprint, Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.http import http_date

from afterdose.sandbox import transactions
from afterdose.sandbox.capability import capability_statement
from afterdose.sandbox.interactions import Interactions, Written
from afterdose.sandbox.outcome import Json, Refusal, operation_outcome
from afterdose.sandbox.pages import pages
from afterdose.sandbox.resources import Version

FHIR_JSON = "application/fhir+json;charset=utf-8"
_JSON_TYPES = frozenset({"application/fhir+json", "application/json", "text/json", "json", "application/json+fhir"})
_ANY_TYPES = frozenset({"*/*", "application/*"})


def create_app(interactions: Interactions) -> Flask:
    """The sandbox as a WSGI application: FHIR under /fhir, the pages for people at the root."""
    app = Flask(__name__)
    app.url_map.strict_slashes = False
    app.register_blueprint(fhir(interactions), url_prefix="/fhir")
    app.register_blueprint(pages(interactions))

    @app.errorhandler(Refusal)
    def refused(refusal: Refusal) -> Response:
        return _json(refusal.outcome(), refusal.status, refusal.headers)

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> Response | HTTPException:
        if not request.path.startswith("/fhir"):
            return error
        code = error.code or 500
        kind = {404: "not-found", 405: "not-supported"}.get(code, "exception" if code >= 500 else "invalid")
        return _json(operation_outcome(kind, error.description or error.name), code)

    return app


def fhir(interactions: Interactions) -> Blueprint:
    """The routes of the RESTful API."""
    routes = Blueprint("fhir", __name__)

    @routes.before_request
    def check_request() -> None:
        bearer = interactions.behaviour.bearer
        given = request.headers.get("Authorization", "").encode()
        public = bearer is None or request.endpoint in ("fhir.metadata", "fhir.smart_configuration")
        if not public and not hmac.compare_digest(given, f"Bearer {bearer}".encode()):
            raise Refusal(401, "login", "this server wants a bearer token", WWW_Authenticate="Bearer")
        _check_accept()

    @routes.get("/metadata")
    def metadata() -> Response:
        return _json(capability_statement(interactions.behaviour, _link_base(), interactions.store.now()))

    @routes.get("/.well-known/smart-configuration")
    def smart_configuration() -> Response:
        token_url = interactions.behaviour.token_url
        if token_url is None:
            raise Refusal(404, "not-found", "this server names no token endpoint")
        document: Json = {
            "token_endpoint": token_url,
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
            "grant_types_supported": ["client_credentials"],
            "capabilities": ["client-confidential-asymmetric", "permission-v2"],
        }
        return jsonify(document)

    @routes.post("/")
    def bundle() -> Response:
        if interactions.behaviour.transaction == "undeclared":
            raise Refusal(405, "not-supported", "this server takes no transactions and no batches")
        wants = "return=representation" in request.headers.get("Prefer", "")
        return _json(transactions.process(interactions, _body(), representation=wants, link_base=_link_base()))

    @routes.get("/<type_>")
    def search(type_: str) -> Response:
        return _search(type_, [])

    @routes.post("/<type_>/_search")
    def search_by_post(type_: str) -> Response:
        if request.mimetype != "application/x-www-form-urlencoded":
            raise Refusal(415, "not-supported", "_search takes application/x-www-form-urlencoded")
        return _search(type_, list(request.form.items(multi=True)))

    def _search(type_: str, form: list[tuple[str, str]]) -> Response:
        strict = "handling=strict" in request.headers.get("Prefer", "")
        pairs = [*request.args.items(multi=True), *form]
        return _json(interactions.search(type_, pairs, strict=strict, link_base=_link_base()))

    @routes.post("/<type_>")
    def create(type_: str) -> Response:
        return _written(interactions.create(type_, _body(), request.headers.get("If-None-Exist")))

    @routes.get("/<type_>/<id_>")
    def read(type_: str, id_: str) -> Response:
        return _version(interactions.read(type_, id_))

    @routes.get("/<type_>/<id_>/_history/<number>")
    def vread(type_: str, id_: str, number: str) -> Response:
        return _version(interactions.vread(type_, id_, number))

    @routes.put("/<type_>/<id_>")
    def update(type_: str, id_: str) -> Response:
        return _written(interactions.update(type_, id_, _body(), request.headers.get("If-Match")))

    @routes.delete("/<type_>/<id_>")
    def delete(type_: str, id_: str) -> Response:
        written = interactions.delete(type_, id_, request.headers.get("If-Match"))
        return Response(status=204, headers=_version_headers(written.version) if written else {})

    @routes.route("/<type_>", methods=["PUT", "DELETE", "PATCH"])
    @routes.route("/<type_>/<id_>", methods=["POST", "PATCH"])
    def unsupported(**_: str) -> NoReturn:
        raise Refusal(
            405, "not-supported", "this server has no patch, no operations, and no conditional update or delete"
        )

    def _version_headers(version: Version) -> dict[str, str]:
        headers = {"Last-Modified": http_date(version.updated)}
        return {**headers, "ETag": f'W/"{version.number}"'} if interactions.behaviour.etags else headers

    def _version(version: Version) -> Response:
        return _json(version.copy(), 200, _version_headers(version))

    def _written(written: Written) -> Response:
        version = written.version
        headers = _version_headers(version)
        headers["Location"] = f"{_link_base()}/{version.type}/{version.id}"
        if interactions.behaviour.etags:
            headers["Location"] += f"/_history/{version.number}"
        if "return=minimal" in request.headers.get("Prefer", ""):
            return Response(status=written.status, headers=headers)
        return _json(version.copy(), written.status, headers)

    return routes


def _link_base() -> str:
    """This server's base as the client wrote it."""
    return f"{request.host_url}fhir"


def _json(body: Json, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(body, ensure_ascii=False), status, headers, content_type=FHIR_JSON)


def _check_accept() -> None:
    """http.html#mime-type: what cannot be answered in JSON is refused before anything is done."""
    wanted = request.args.get("_format") or request.headers.get("Accept", "*/*")
    kinds = {part.partition(";")[0].strip().lower().replace(" ", "+") for part in wanted.split(",")}
    if not kinds & (_JSON_TYPES | _ANY_TYPES):
        raise Refusal(406, "not-supported", "this server answers in application/fhir+json only")


def _body() -> Any:
    if request.mimetype not in _JSON_TYPES:
        raise Refusal(415, "not-supported", "this server takes application/fhir+json only")
    refuse: Callable[[str], NoReturn] = _refuse_constant
    try:
        return json.loads(request.get_data().decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "structure", "the body is not JSON in UTF-8") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
