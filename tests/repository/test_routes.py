"""Every route is closed but four, and no answer tells what the server is made of."""

import re
from collections.abc import Iterator

import pytest
from flask import Blueprint, Flask
from prometheus_client import CONTENT_TYPE_LATEST

from afterdose.web import auth, problems
from web_server import OPERATIONS, TOKEN, Web, open_web

PUBLIC = {"/healthz", "/fhir/metadata", "/.well-known/jwks.json"}
MAY_BE_KEPT = "/.well-known/jwks.json"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
GIVEN_AWAY = re.compile(r"Traceback|werkzeug|flask|granian|python|\d+\.\d+\.\d+|/work|/root|/tmp|site-packages", re.I)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with open_web(tmp_path_factory.mktemp("routes")) as opened:
        yield opened


def paths(app: Flask) -> dict[str, set[str]]:
    """Every rule with its variables filled in, and the methods it takes."""
    found: dict[str, set[str]] = {}
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<[^>]+>", "x1", rule.rule)
        found.setdefault(path, set()).update(rule.methods or ())
    return found


def test_every_route_but_the_public_ones_asks_who_is_there(web: Web) -> None:
    asked = 0
    for path, methods in paths(web.app).items():
        for method in methods & set(METHODS):
            status = web.client.open(path, method=method).status_code
            if path not in PUBLIC or method not in ("GET", "HEAD", "OPTIONS"):
                assert status == 401, f"{method} {path} answered {status} to a stranger"
                asked += 1
    assert asked > 10


def test_the_public_routes_are_the_ones_that_are_meant_to_be(web: Web) -> None:
    rules = {rule.rule for rule in web.app.url_map.iter_rules() if rule.endpoint in auth.PUBLIC}

    assert rules == PUBLIC
    for path in PUBLIC:
        assert web.client.get(path).status_code == 200


def test_a_blueprint_that_nobody_thought_of_is_closed() -> None:
    app = Flask(__name__)
    forgotten = Blueprint("forgotten", __name__)
    forgotten.add_url_rule("/patients", "list", lambda: "everybody")
    app.add_url_rule("/loose", "loose", lambda: "everything")
    auth.close_by_default(app, {})
    app.register_blueprint(forgotten)
    problems.register(app)

    assert app.test_client().get("/patients").status_code == 401
    assert app.test_client().get("/loose").status_code == 401


@pytest.mark.parametrize("token", [None, TOKEN, OPERATIONS])
def test_no_answer_tells_what_the_server_is_made_of(web: Web, token: str | None) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    for path in [*paths(web.app), "/", "/nothing", "/fhir/../etc", "/static/x.css", "/fhir/x1/$everything"]:
        for method in (*METHODS, "TRACE", "BREW"):
            answer = web.client.open(path, method=method, headers=headers)
            headers_told = str(answer.headers).replace(CONTENT_TYPE_LATEST, "the format of Prometheus")
            told = f"{headers_told}{answer.text if path not in ('/metrics', '/fhir/metadata') else ''}"
            assert not GIVEN_AWAY.search(told), f"{method} {path}: {told}"
            assert answer.status_code < 500
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            may_be_kept = path == MAY_BE_KEPT and method in ("GET", "HEAD")
            assert answer.headers["Cache-Control"] == ("public, max-age=3600" if may_be_kept else "no-store")


def test_the_capability_statement_names_no_version_of_the_software(web: Web) -> None:
    statement = web.client.get("/fhir/metadata").get_json()

    assert "software" not in statement
    assert statement["fhirVersion"] == "4.0.1"


@pytest.mark.parametrize("path", ["/fhir/", "/fhir", "/fhir/MedicationAdministration/", "/fhir//", "/healthz/"])
def test_a_slash_at_the_end_never_redirects(web: Web, path: str) -> None:
    for method in ("GET", "POST"):
        status = web.client.open(path, method=method, headers={"Authorization": f"Bearer {TOKEN}"}).status_code
        assert not 300 <= status < 400


def test_trace_is_not_answered_with_what_was_sent(web: Web) -> None:
    answer = web.client.open("/fhir", method="TRACE", headers={"Authorization": f"Bearer {TOKEN}"})

    assert answer.status_code == 405
    assert TOKEN not in answer.text
