"""SMART Backend Services as values: what a server says of itself, what we send for a token, what comes back. Pure.

Rules: SMART App Launch 2.2, backend-services.html, client-confidential-asymmetric.html and conformance.html;
RFC 6749 (OAuth 2.0), RFC 7523 (assertions). Nothing here signs or knows the time: see ``keys`` and ``tokens``.
A token that is not given is EhrUnavailable, whatever the reason: it says nothing about the patient in hand, and what
is wrong with a registration or a key is put right by a person while the patients wait.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import SplitResult, quote_plus, urlencode, urlsplit

from afterdose.core.errors import BadInput, EhrUnavailable
from afterdose.ehr.waits import retry_after
from afterdose.ehr.wire import Answer, Request
from afterdose.fhir import strict_json
from afterdose.fhir.strict_json import Json

ASSERTION_LASTS = timedelta(minutes=4)
"""SMART allows five minutes; the fifth is for clocks that differ."""

TOKEN_LASTS = timedelta(minutes=5)
"""Of a token whose ``expires_in`` is missing or no length of time: what SMART recommends at most."""

SHORTEST_TOKEN = timedelta(seconds=10)
LONGEST_TOKEN = timedelta(hours=1)
"""A token is not kept for longer, so that a changed registration is noticed."""

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# http://hl7.org/fhir/smart-app-launch/conformance.html, "Using CapabilityStatement"
_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_JSON = "application/json"
_TOKEN = re.compile(r"[!-~]{1,8000}")
_ERROR = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_IP_ADDRESS = re.compile(r"\[.*\]|[0-9.]+|0x[0-9a-f.x]+", re.IGNORECASE)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SmartConfiguration:
    """What a server says about getting a token; empty where it says nothing."""

    token_url: str
    algorithms: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token. ``scopes`` is None where the server does not say what it granted: then it is what was asked."""

    value: str = field(repr=False)
    lasts: timedelta
    scopes: tuple[str, ...] | None


def discovery_request(base_url: str) -> Request:
    """``GET [base]/.well-known/smart-configuration``."""
    path = ".well-known/smart-configuration"
    return Request(method="GET", url=f"{base_url.rstrip('/')}/{path}", template=path, headers={"Accept": _JSON})


def decode_configuration(answer: Answer) -> SmartConfiguration | None:
    """The answer to ``discovery_request``; None where it is no such document or names no token endpoint."""
    document = _json(answer)
    token_url = document.get("token_endpoint") if document and answer.status == 200 else None
    if document is None or not isinstance(token_url, str):
        return None
    return SmartConfiguration(
        token_url=token_url,
        algorithms=_texts(document.get("token_endpoint_auth_signing_alg_values_supported")),
        capabilities=_texts(document.get("capabilities")),
        scopes=_texts(document.get("scopes_supported")),
    )


def decode_security(statement: Mapping[str, Json]) -> SmartConfiguration | None:
    """The token endpoint in a CapabilityStatement's ``rest.security``, as servers named it before ``.well-known``."""
    for rest in _objects(statement.get("rest")):
        security = rest.get("security")
        for extension in _objects(security.get("extension") if isinstance(security, dict) else None):
            for part in _objects(extension.get("extension")) if extension.get("url") == _OAUTH_URIS else ():
                token_url = part.get("valueUri")
                if part.get("url") == "token" and isinstance(token_url, str):
                    return SmartConfiguration(token_url=token_url)
    return None


def is_same_server(url: str, base_url: str) -> bool:
    """Whether both name one scheme, host and port."""
    try:
        return _server(urlsplit(url)) == _server(urlsplit(base_url))
    except ValueError:
        return False


def may_be_discovered(token_url: str, base_url: str) -> bool:
    """Whether a token endpoint that the server at ``base_url`` names may be used without the settings naming it too.

    The server itself always may. Another host has to be a name reached by https: an address is how a forged document
    would point into the site's own network. On a developer's machine both may be on loopback.
    """
    try:
        wanted, base = urlsplit(token_url), urlsplit(base_url)
        legal = bool(wanted.hostname) and wanted.port != 0 and wanted.username is None and wanted.password is None
    except ValueError:
        return False
    if not legal or wanted.query or wanted.fragment:
        return False
    if _server(wanted) == _server(base):
        return True
    host = (wanted.hostname or "").removesuffix(".")  # a name with its root is the same name
    if base.hostname in _LOOPBACK and host in _LOOPBACK:
        return wanted.scheme in ("http", "https")
    return wanted.scheme == "https" and host not in _LOOPBACK and not _IP_ADDRESS.fullmatch(host) and ":" not in host


def assertion_claims(client_id: str, audience: str, *, jti: str, now: datetime) -> Mapping[str, object]:
    """The claims of a client assertion. No ``iat`` and no ``nbf``: a server whose clock is behind would refuse them."""
    expires = int((now + ASSERTION_LASTS).timestamp())
    return {"iss": client_id, "sub": client_id, "aud": audience, "exp": expires, "jti": jti}


def assertion_form(assertion: str) -> Mapping[str, str]:
    """What proves who we are in a token request, with private_key_jwt."""
    return {"client_assertion_type": _ASSERTION_TYPE, "client_assertion": assertion}


def secret_form(client_id: str, secret: str) -> Mapping[str, str]:
    """The same with client_secret_post (RFC 6749, section 2.3.1)."""
    return {"client_id": client_id, "client_secret": secret}


def secret_header(client_id: str, secret: str) -> Mapping[str, str]:
    """The same with client_secret_basic: both parts are form-encoded first (RFC 6749, section 2.3.1)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def token_request(
    token_url: str, scopes: Sequence[str], *, form: Mapping[str, str], headers: Mapping[str, str]
) -> Request:
    """``POST`` to the token endpoint, with what proves who we are in ``form`` or ``headers``."""
    fields = {"grant_type": "client_credentials", "scope": " ".join(scopes), **form}
    return Request(
        method="POST",
        url=token_url,
        template="(token)",
        headers={"Accept": _JSON, "Content-Type": "application/x-www-form-urlencoded", **headers},
        body=urlencode(fields).encode("ascii"),
    )


def decipher_token(answer: Answer, *, now: datetime) -> Token:
    """The answer to ``token_request``. Raises EhrUnavailable; ``code`` is the server's own (``invalid_client`` ...)."""
    document = _json(answer) or {}
    value, kind = document.get("access_token"), document.get("token_type", "Bearer")
    if answer.status == 200 and isinstance(value, str) and _TOKEN.fullmatch(value):
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise EhrUnavailable("the token endpoint gave a token that is no bearer token", status=200)
        granted = document.get("scope")
        scopes = tuple(granted.split()) if isinstance(granted, str) and granted.strip() else None
        return Token(value=value, lasts=_lasts(document.get("expires_in")), scopes=scopes)
    error = document.get("error")
    code = error if isinstance(error, str) and _ERROR.fullmatch(error) else None
    what = f" ({code})" if code else " without an access token" if answer.status == 200 else ""
    text = f"the token endpoint answered {answer.status}{what}"
    raise EhrUnavailable(text, status=answer.status, code=code, retry_after=retry_after(answer.headers, now))


def _lasts(expires_in: Json) -> timedelta:
    """Seconds, as a number or (some servers) as text; what is no length of time counts as missing."""
    try:
        seconds = float(expires_in) if not isinstance(expires_in, bool | dict | list | None) else 0.0
    except (ValueError, OverflowError):
        seconds = 0.0
    if not seconds > 0:
        return TOKEN_LASTS
    return timedelta(seconds=min(max(seconds, SHORTEST_TOKEN.total_seconds()), LONGEST_TOKEN.total_seconds()))


def _json(answer: Answer) -> dict[str, Json] | None:
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _JSON and not media_type.endswith("+json"):
        return None
    try:
        value = strict_json.loads(answer.body.removeprefix(b"\xef\xbb\xbf"))
    except BadInput:
        return None
    return value if isinstance(value, dict) else None


def _server(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _texts(value: Json) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _objects(value: Json) -> list[dict[str, Json]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
